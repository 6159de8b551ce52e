"""GroupNorm and SiLU in one against the definitions, and where float32 has no digits to spare."""

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from autograd import ops
from tinyddpm.fast import buffers, norm_silu
from tinyddpm.nn.norm import group_norm


def by_definition(x, gain, shift, g, groups, silu=True):
    """Output and the gradients of x, gain and shift."""
    h, norm_pullback = group_norm.__wrapped__.__wrapped__(x, gain, shift, groups=groups)
    if not silu:
        return h, *norm_pullback(g)
    y, silu_pullback = ops.silu.__wrapped__(h)
    return y, *norm_pullback(silu_pullback(g)[0])


def in_one(x, gain, shift, g, groups):
    """The same, into and out of the middle of larger images."""
    large = x.shape[0] + 2, x.shape[1] + 3, *x.shape[2:]
    out, g_large = np.full((2, *large), np.nan, x.dtype)
    hole, g_hole = (image[1:-1, 1:-2] for image in (out, g_large))
    g_hole[...] = g
    saved = norm_silu.forward(x, gain, shift, groups, hole)
    assert np.isnan(out).sum() == out.size - x.size, "it wrote beside its place"
    return hole, *norm_silu.backward(g_hole, x, saved)


def draw(seed, height, width, n, groups, per_group, dtype=np.float64):
    rng = np.random.default_rng(seed)
    c = groups * per_group
    x, g = rng.standard_normal((2, height, width, n, c)).astype(dtype)
    gain, shift = rng.standard_normal((2, c)).astype(dtype)
    return x, gain, shift, g


def close(found, expected, tolerance):
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert abs(found - expected).max() <= tolerance * abs(expected).max()


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 6),
    n=st.integers(1, 4),
    groups=st.integers(1, 4),
    per_group=st.integers(1, 3),
    piece=st.sampled_from([1, 50, 10**5]),
)
@example(height=8, width=3, n=2, groups=2, per_group=3, piece=1)
@example(height=8, width=3, n=2, groups=2, per_group=3, piece=80)
@example(height=7, width=2, n=1, groups=4, per_group=1, piece=80)
def test_it_is_the_definition(height, width, n, groups, per_group, piece):
    x, gain, shift, g = draw(0, height, width, n, groups, per_group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm_silu, "PIECE", piece)
        found = in_one(x, gain, shift, g, groups)
    expected = by_definition(x, gain, shift, g, groups)
    for name, a, b in zip(("y", "x", "gain", "shift"), found, expected, strict=True):
        assert a.shape == b.shape and abs(a - b).max() <= 1e-11 * max(1, abs(b).max()), name


@pytest.mark.parametrize("mean", [0, 100, -100])
def test_a_mean_far_larger_than_the_spread(mean):
    """E[x²] − E[x]² would be off by 1e-3 here.

    What remains, a few times 100·6e-8, comes from the input's own size.
    """
    x, gain, shift, g = draw(1, 32, 32, 4, 4, 4, np.float32)
    x += mean
    wide = [a.astype(np.float64) for a in (x, gain, shift, g)]
    for found, expected in zip(in_one(x, gain, shift, g, 4), by_definition(*wide, 4), strict=True):
        close(found, expected.astype(np.float32), 5e-5)


def test_the_variance_when_the_first_pixel_is_far_off():
    """The bound of the docstring.

    Even if nothing but the pivot's pixel spreads, the error is a small multiple of H·W·6e-8.
    """
    x = np.zeros((32, 32, 2, 8), np.float32)
    x[0, 0] = 1000
    x += np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    mean, r = norm_silu.statistics(x, 2, 1e-5)
    groups = x.astype(np.float64).reshape(-1, 2, 2, 4)
    expected_mean, deviation = groups.mean((0, 3))[..., None], groups.std((0, 3))[..., None]
    assert np.allclose(r.reshape(2, 2, 4), 1 / deviation, rtol=4 * 1024 * 6e-8, atol=0)
    assert np.allclose(mean.reshape(2, 2, 4), expected_mean, rtol=0, atol=1e-3)


def test_large_values_overflow_nothing():
    """silu(x) is 0 far to the left and x far to the right. Any warning is an error here."""
    x, gain, shift, g = draw(3, 4, 4, 2, 2, 2, np.float32)
    y, gx, *_ = in_one(x, gain * 1e4, shift, g, 2)
    expected = by_definition(*(a.astype(np.float64) for a in (x, gain * 1e4, shift, g)), 2)
    close(y, expected[0].astype(np.float32), 1e-5)
    assert np.isfinite(gx).all()


def test_without_backward_nothing_is_kept_and_the_bits_are_the_same():
    x, gain, shift, _ = draw(4, 9, 5, 3, 2, 4, np.float32)
    kept, alone = np.empty((2, *x.shape), np.float32)
    assert norm_silu.forward(x, gain, shift, 2, kept) is not None
    assert norm_silu.forward(x, gain, shift, 2, alone, keep=False) is None
    assert np.array_equal(kept, alone)


def test_the_norm_alone():
    x, gain, shift, g = draw(5, 7, 3, 2, 3, 2)
    y, saved = norm_silu.forward_norm(x, gain, shift, 3)
    found = y, *norm_silu.backward(g, x, saved)
    for a, b in zip(found, by_definition(x, gain, shift, g, 3, silu=False), strict=True):
        close(a, b, 1e-12)


def test_nothing_depends_on_what_scratch_memory_held():
    args = draw(6, 7, 9, 2, 2, 2)
    first = in_one(*args, 2)
    for memory in buffers._own.memory.values():
        memory[...] = 0xFF
    assert all(np.array_equal(a, b) for a, b in zip(first, in_one(*args, 2), strict=True))
