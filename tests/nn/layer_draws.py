"""Sizes, arguments and layers that the tests of the layers draw."""

import numpy as np
from hypothesis import assume, settings, strategies as st
from oracles import seeds

from tinyddpm.nn.attention import SelfAttention
from tinyddpm.nn.multipliers import ONES, Multipliers

C = Multipliers()
multipliers = st.sampled_from([ONES, C])
sizes = st.integers(1, 5)
counts = st.integers(1, 3)
few = settings(max_examples=10)  # for the layers of many parameters


@st.composite
def convolutions(draw):
    """x (H, W, N, Cin), w (kh, kw, Cin, Cout), stride and padding, such that the kernel fits."""
    h, w, kh, kw = draw(sizes), draw(sizes), draw(counts), draw(counts)
    side = st.tuples(st.integers(0, 2), st.integers(0, 2))
    padding = draw(st.one_of(st.integers(0, 2), st.tuples(side, side)))
    rows, columns = [(padding, padding)] * 2 if isinstance(padding, int) else padding
    assume(h + sum(rows) >= kh and w + sum(columns) >= kw)
    rng = np.random.default_rng(draw(seeds))
    n, c_in, c_out = (draw(counts) for _ in range(3))
    x, weight = rng.standard_normal((h, w, n, c_in)), rng.standard_normal((kh, kw, c_in, c_out))
    return x, weight, {"stride": draw(counts), "padding": padding}, (rows, columns)


@st.composite
def normed(draw):
    """x (H, W, N, C) and a number of groups; every group has at least three values."""
    h, w, n, groups, each = (draw(s) for s in (sizes, sizes, counts, counts, counts))
    assume(h * w * each >= 3)
    rng = np.random.default_rng(draw(seeds))
    # At 1e-3 the variance is below eps, which then decides.
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    return rng, scale * rng.standard_normal((h, w, n, groups * each)) + scale, groups


def attention(heads=2, channels=4, groups=2, c=C):
    return SelfAttention(channels, heads, groups, c)
