"""Winograd's convolution by tiles against the definition, which knows nothing of tiles.

In float64 to 1e-12, forward and backward.
"""

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from tinyddpm.fast import buffers
from tinyddpm.fast.tile_memory import strided
from tinyddpm.fast.tiles import TILES_4X4, TILES_5X5, UPSAMPLING_TILES, tiles_for
from tinyddpm.nn.block import repeat2
from tinyddpm.nn.conv import conv2d

ALGORITHMS = pytest.mark.parametrize(
    "algorithm, factor",
    [(TILES_4X4, 1), (TILES_5X5, 1), (UPSAMPLING_TILES, 2)],
    ids=["by 4", "by 5", "up-sampling"],
)
side, few = st.integers(1, 13), st.integers(1, 5)


def by_definition(x, w, g, factor):
    """Output, and the gradients of x and w, of the core's convolution."""
    definition = conv2d.__wrapped__.__wrapped__  # without the registry and without the graph
    if factor == 1:
        y, pullback = definition(x, w)
        return y, *pullback(g)
    large, repeat_pullback = repeat2.__wrapped__(x)
    y, pullback = definition(large, w)
    g_large, gw = pullback(g)
    return y, *repeat_pullback(g_large), gw


def by_tiles(algorithm, x, w, g, factor, row=0.0, residual=None):
    """The same by tiles, plus what is to be added."""
    height, width = x.shape[:2]
    size = (factor * height, factor * width)
    padded, hole = algorithm.padded(x, size)
    hole[...] = x
    y = algorithm.forward(padded, w, size, row, residual)
    g_padded, gw = algorithm.backward(g, padded, w)
    return y, g_padded[1 : height + 1, 1 : width + 1].copy(), gw


def draw(seed, factor, height, width, n, c_in, c_out, dtype=np.float64):
    """x, w and g of these sizes."""
    rng = np.random.default_rng(seed)
    shapes = (
        (height, width, n, c_in),
        (3, 3, c_in, c_out),
        (factor * height, factor * width, n, c_out),
    )
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def close(found, expected, tolerance):
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert abs(found - expected).max() <= tolerance * abs(expected).max()


def identical(found, expected):
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@ALGORITHMS
@given(
    height=side,
    width=side,
    n=few,
    c_in=few,
    c_out=few,
    band=st.sampled_from([1, 2000, 10**6]),
)
@example(height=1, width=1, n=1, c_in=1, c_out=1, band=1)
# whole tiles, in several bands
@example(height=12, width=8, n=2, c_in=3, c_out=4, band=1)
# and in one
@example(height=12, width=8, n=2, c_in=3, c_out=4, band=10**6)
# bands of several tile rows
@example(height=16, width=4, n=1, c_in=1, c_out=1, band=100)
@example(height=1, width=13, n=2, c_in=2, c_out=1, band=2000)
def test_it_is_the_definition(algorithm, factor, height, width, n, c_in, c_out, band):
    x, w, g = draw(0, factor, height, width, n, c_in, c_out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinyddpm.fast.tile_memory.BAND", band)
        buffers.drop_scratch()  # and with it the views that were made for another BAND
        algorithm.sizes.cache_clear()
        found = by_tiles(algorithm, x, w, g, factor)
        algorithm.sizes.cache_clear()
        for a, b in zip(found, by_definition(x, w, g, factor), strict=True):
            close(a, b, 1e-12)


@ALGORITHMS
@pytest.mark.parametrize("size", [(8, 8), (7, 5)], ids=["whole tiles", "ragged"])
def test_a_row_and_an_image_are_added(algorithm, factor, size):
    x, w, g = draw(1, factor, *size, 3, 4, 5)
    row, residual = np.random.default_rng(2).standard_normal((3, 5)), g
    found = by_tiles(algorithm, x, w, g, factor, row, residual)[0]
    expected = by_definition(x, w, g, factor)[0]
    close(found, expected + row + residual, 1e-12)


@ALGORITHMS
def test_float32_loses_about_a_digit(algorithm, factor):
    """For 32 channels a sum of 288 products, itself right to about 1e-6.

    A larger error would be one of the matrices'.
    """
    x, w, g = draw(3, factor, 16, 16, 4, 32, 32)
    found = by_tiles(algorithm, *(a.astype(np.float32) for a in (x, w, g)), factor)
    for a, b in zip(found, by_definition(x, w, g, factor), strict=True):
        close(a, b.astype(np.float32), 2e-5)


@ALGORITHMS
def test_what_nobody_needs_is_not_computed(algorithm, factor):
    x, w, g = draw(4, factor, 8, 8, 2, 3, 4)
    padded, hole = algorithm.padded(x, g.shape[:2])
    hole[...] = x
    both = [a.copy() for a in algorithm.backward(g, padded, w)]
    only_input, none = algorithm.backward(g, padded, w, needs_weight=False)
    assert none is None and np.array_equal(only_input, both[0])
    none, only_weight = algorithm.backward(g, padded, w, needs_input=False)
    assert none is None and np.array_equal(only_weight, both[1])


def test_the_tile_that_fits_is_taken():
    by_5 = [side for side in range(4, 33) if tiles_for((side, side)) is TILES_5X5]
    assert {5, 10, 14} <= set(by_5) and not {4, 7, 8, 16, 28, 32} & set(by_5)


def test_a_view_stays_inside_its_array():
    """NumPy refuses strides that reach beyond the buffer.

    So a wrong shape cannot read foreign memory.
    """
    with pytest.raises((TypeError, ValueError)):
        strided(np.zeros(10), (2, 6), (5, 1))


def test_views_are_made_again_when_scratch_memory_moves():
    """A small image, then a large one that needs more memory, then the small one.

    Its remembered views must not be of the old memory.
    """
    small, large = draw(7, 1, 4, 4, 1, 2, 2), draw(8, 1, 24, 24, 4, 6, 6)
    float64 = np.dtype(float)

    def memory_for_small():
        return TILES_4X4._memory(TILES_4X4.sizes((4, 4), 1, 2, 2), float64)

    buffers.drop_scratch()
    first = by_tiles(TILES_4X4, *small, 1)
    before = memory_for_small()
    assert memory_for_small() is before
    by_tiles(TILES_4X4, *large, 1)
    again = memory_for_small()
    points = again.input.by_point
    assert again is not before
    assert np.shares_memory(points, buffers.scratch("input points", points.shape, float64))
    assert identical(first, by_tiles(TILES_4X4, *small, 1))


def test_nothing_depends_on_what_scratch_memory_held():
    x, w, g = draw(6, 1, 7, 9, 2, 3, 4)
    buffers.drop_scratch()
    first = by_tiles(TILES_4X4, x, w, g, 1)
    for memory in buffers._own.memory.values():
        memory[...] = 0xFF  # NaNs
    assert identical(first, by_tiles(TILES_4X4, x, w, g, 1))
