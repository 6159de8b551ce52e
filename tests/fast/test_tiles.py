"""Winograd's convolution by tiles against the definition, which knows nothing of tiles: in float64 to 1e-12, forward and backward."""
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinyddpm.fast import buffers
from tinyddpm.fast.tiles import CONV3, CONV3_BY_5, UPSAMPLE_CONV3, _view, conv3, winograd
from tinyddpm.nn.block import repeat2
from tinyddpm.nn.conv import conv2d

ALGORITHMS = pytest.mark.parametrize("algorithm, factor", [(CONV3, 1), (CONV3_BY_5, 1), (UPSAMPLE_CONV3, 2)], ids=["by 4", "by 5", "up-sampling"])
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
    padded, hole = algorithm.padded(x, (factor * height, factor * width))
    hole[...] = x
    y = algorithm.forward(padded, w, (factor * height, factor * width), row, residual)
    g_padded, gw = algorithm.backward(g, padded, w)
    return y, g_padded[1:height + 1, 1:width + 1].copy(), gw


def draw(seed, factor, height, width, n, c_in, c_out, dtype=np.float64):
    """x, w and g of these sizes."""
    rng = np.random.default_rng(seed)
    shapes = (height, width, n, c_in), (3, 3, c_in, c_out), (factor * height, factor * width, n, c_out)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def close(found, expected, tolerance):
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert abs(found - expected).max() <= tolerance * abs(expected).max()


@ALGORITHMS
@given(height=side, width=side, n=few, c_in=few, c_out=few, band=st.sampled_from([1, 2000, 10**6]))
@example(height=1, width=1, n=1, c_in=1, c_out=1, band=1)
@example(height=12, width=8, n=2, c_in=3, c_out=4, band=1)       # whole tiles, in several bands
@example(height=12, width=8, n=2, c_in=3, c_out=4, band=10**6)   # and in one
@example(height=16, width=4, n=1, c_in=1, c_out=1, band=100)     # bands of several tile rows
@example(height=1, width=13, n=2, c_in=2, c_out=1, band=2000)
def test_it_is_the_definition(algorithm, factor, height, width, n, c_in, c_out, band):
    x, w, g = draw(0, factor, height, width, n, c_in, c_out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinyddpm.fast.tiles.BAND", band)
        buffers.drop_scratch()  # and with it the views that were made for another BAND
        for found, expected in zip(by_tiles(algorithm, x, w, g, factor), by_definition(x, w, g, factor), strict=True):
            close(found, expected, 1e-12)


@ALGORITHMS
@pytest.mark.parametrize("size", [(8, 8), (7, 5)], ids=["whole tiles", "ragged"])
def test_a_row_and_an_image_are_added(algorithm, factor, size):
    x, w, g = draw(1, factor, *size, 3, 4, 5)
    row, residual = np.random.default_rng(2).standard_normal((3, 5)), g
    found, expected = by_tiles(algorithm, x, w, g, factor, row, residual)[0], by_definition(x, w, g, factor)[0]
    close(found, expected + row + residual, 1e-12)


@ALGORITHMS
def test_float32_loses_about_a_digit(algorithm, factor):
    """For 32 channels a sum of 288 products, itself right to about 1e-6; a larger error would be one of the matrices'."""
    x, w, g = draw(3, factor, 16, 16, 4, 32, 32)
    single = [a.astype(np.float32) for a in (x, w, g)]
    for found, expected in zip(by_tiles(algorithm, *single, factor), by_definition(x, w, g, factor), strict=True):
        close(found, expected.astype(np.float32), 2e-5)


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


@pytest.mark.parametrize("algorithm", [CONV3, CONV3_BY_5], ids=["by 4", "by 5"])
def test_every_entry_of_the_matrices_matters(algorithm):
    """One-dimensional: Aᵀ[(G w)·(Bᵀ x)] is the correlation of x with w, exactly enough to catch an entry off by 1e-3."""
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal(algorithm.m + 2), rng.standard_normal(3)
    assert np.allclose(algorithm.At @ ((algorithm.G @ w) * (algorithm.Bt @ x)), np.correlate(x, w, "valid"), rtol=0, atol=1e-13)


def test_every_entry_matters_with_up_sampling():
    rng = np.random.default_rng(5)
    small, w = rng.standard_normal(4), rng.standard_normal(3)
    expected = np.correlate(small[[0, 1, 1, 2, 2, 3]], w, "valid")
    assert np.allclose(UPSAMPLE_CONV3.At @ ((UPSAMPLE_CONV3.G @ w) * (UPSAMPLE_CONV3.Bt @ small)), expected, rtol=0, atol=1e-13)
    assert UPSAMPLE_CONV3.Bt.shape == (5, 4)


def test_the_published_matrices():
    """Lavin & Gray 2016, section 4.3: F(4×4, 3×3)."""
    Bt, G, At = winograd(4, [0, 1, -1, 2, -2])
    assert np.array_equal(Bt, [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                               [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]])
    assert np.allclose(24 * G, [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], rtol=0, atol=1e-14)
    assert np.array_equal(At, [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def test_the_tile_that_fits_is_taken():
    assert [conv3((side, side)) is CONV3_BY_5 for side in (4, 5, 7, 8, 10, 14, 16, 28, 32)] == [
        False, True, False, False, True, True, False, False, False]


def test_a_view_stays_inside_its_array():
    """NumPy refuses strides that reach beyond the buffer, so a wrong shape cannot read foreign memory."""
    with pytest.raises((TypeError, ValueError)):
        _view(np.zeros(10), (2, 6), (5, 1))


def test_views_are_made_again_when_scratch_memory_moves():
    """A small image, then a large one that needs more memory, then the small one: its remembered views must not be of the old memory."""
    small, large = draw(7, 1, 4, 4, 1, 2, 2), draw(8, 1, 24, 24, 4, 6, 6)
    buffers.drop_scratch()
    first = by_tiles(CONV3, *small, 1)
    space = CONV3._space(1, 1, 1, 2, 2, np.dtype(float))
    by_tiles(CONV3, *large, 1)
    again = CONV3._space(1, 1, 1, 2, 2, np.dtype(float))
    assert again is not space and np.shares_memory(again.v, buffers.scratch("v", again.v.shape, np.dtype(float)))
    assert all(np.array_equal(a, b) for a, b in zip(first, by_tiles(CONV3, *small, 1), strict=True))


def test_nothing_depends_on_what_scratch_memory_held():
    x, w, g = draw(6, 1, 7, 9, 2, 3, 4)
    buffers.drop_scratch()
    first = by_tiles(CONV3, x, w, g, 1)
    for memory in buffers._own.memory.values():
        memory[...] = 0xFF  # NaNs
    second = by_tiles(CONV3, x, w, g, 1)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
