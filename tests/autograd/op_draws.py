"""Strategies that draw (arrays, options) for each kind of op: see op_table.py."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)
SOME_AXES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)
SEEDS = st.integers(0, 2**32 - 1)


def values(draw, shape, low=-2.0, high=2.0, kinks=()):
    """Uniform numbers, none of them close to a kink."""
    x = np.random.default_rng(draw(SEEDS)).uniform(low, high, shape)
    for kink in kinks:
        x = np.where(abs(x - kink) < 0.05, kink + 0.1, x)
    return np.asarray(x)


def distinct(draw, shape):
    """All values at least 0.1 apart, so that no small step changes which is the largest."""
    n = int(np.prod(shape))
    x = np.random.default_rng(draw(SEEDS)).permutation(n) * 0.1 - 0.05 * n
    return x.reshape(shape)


def shapes_that_broadcast(draw, count=2, max_dims=3):
    """Shapes that broadcast together."""
    together = hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=max_dims, max_side=3)
    return draw(together).input_shapes


# --- elementwise ----------------------------------------------------------------------------------


def elementwise(low=-2.0, high=2.0, kinks=(), options=None):
    """One array of numbers from low to high."""

    @st.composite
    def strategy(draw):
        return (values(draw, draw(SHAPES), low, high, kinks),), options or {}

    return strategy()


def broadcasting(low=-2.0, high=2.0, low_of_second=None):
    """Two arrays: numbers from low to high, the second's from `low_of_second` if that is given."""

    @st.composite
    def strategy(draw):
        first, second = shapes_that_broadcast(draw)
        other_low = low if low_of_second is None else low_of_second
        return (values(draw, first, low, high), values(draw, second, other_low, high)), {}

    return strategy()


@st.composite
def never_equal(draw):
    x, y = [np.round(values(draw, s) * 5) / 5 for s in shapes_that_broadcast(draw)]
    return (np.asarray(x), np.asarray(y + 0.1)), {}


@st.composite
def choices(draw):
    condition, x, y = [values(draw, s) for s in shapes_that_broadcast(draw, 3)]
    return (np.asarray(condition > 0), x, y), {}


@st.composite
def dropouts(draw):
    x = values(draw, draw(SHAPES))
    rate = draw(st.sampled_from([0, 0.25, np.float64(0.5)]))
    return (x,), {"rate": rate, "uniform": values(draw, x.shape, 0, 1)}


# --- products and reductions ----------------------------------------------------------------------


@st.composite
def matrices(draw, vectors=False):
    n, k, m = [draw(st.integers(1, 3)) for _ in range(3)]
    left_stack, right_stack = shapes_that_broadcast(draw, max_dims=2)
    left = draw(st.sampled_from([(n, k), (*left_stack, n, k)] + [(k,)] * vectors))
    right = draw(st.sampled_from([(k, m), (*right_stack, k, m)] + [(k,)] * vectors))
    return (values(draw, left), values(draw, right)), {}


def axes_of(draw, ndim):
    """None, one axis or several, from either end."""
    if ndim == 0 or draw(st.booleans()):
        return None
    several = draw(st.lists(st.integers(0, ndim - 1), min_size=1, unique=True))
    several = [a - ndim if draw(st.booleans()) else a for a in several]
    return several[0] if len(several) == 1 else tuple(several)


def reductions(content=values):
    @st.composite
    def strategy(draw):
        x = content(draw, draw(SHAPES))
        return (x,), {"axis": axes_of(draw, x.ndim), "keepdims": draw(st.booleans())}

    return strategy()


@st.composite
def along_an_axis(draw):
    x = values(draw, draw(SOME_AXES))
    return (x,), {"axis": draw(st.integers(-x.ndim, x.ndim - 1))}


# --- shapes and places ----------------------------------------------------------------------------


@st.composite
def reshapes(draw):
    x = values(draw, draw(st.sampled_from([(2, 6), (12,), (3, 2, 2), (1, 12)])))
    return (x,), {"shape": draw(st.sampled_from([(12,), (-1, 3), (2, 1, 6), 12]))}


@st.composite
def transposes(draw):
    x = values(draw, draw(SHAPES))
    order = [a - x.ndim if draw(st.booleans()) else a for a in draw(st.permutations(range(x.ndim)))]
    return (x,), {"axes": draw(st.sampled_from([None, tuple(order)]))}


@st.composite
def concats(draw):
    shape = list(draw(SOME_AXES))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    xs = []
    for _ in range(draw(st.integers(1, 3))):
        shape[axis] = draw(st.integers(0, 3))
        xs.append(values(draw, tuple(shape)))
    return tuple(xs), {"axis": axis}


@st.composite
def stacks(draw):
    shape = draw(SHAPES)
    xs = [values(draw, shape) for _ in range(draw(st.integers(1, 3)))]
    return tuple(xs), {"axis": draw(st.integers(-len(shape) - 1, len(shape)))}


@st.composite
def pads(draw):
    x = values(draw, draw(SOME_AXES))
    pair = st.tuples(st.integers(0, 2), st.integers(0, 2))
    return (x,), {"width": draw(st.one_of(st.integers(0, 2), pair, st.tuples(*[pair] * x.ndim)))}


@st.composite
def indices(draw):
    x = values(draw, draw(SOME_AXES))
    n = x.shape[0]
    by_hand = [
        [0, 0, -1],
        (..., np.array([0, 0])),
        (slice(None, None, -1), None),
        (np.array([n - 1, 0, 0]), ...),
        np.array(0),
        0,
    ]
    kinds = [
        hnp.basic_indices(x.shape, allow_newaxis=True),
        hnp.integer_array_indices(x.shape),
        hnp.arrays(bool, x.shape),
        hnp.arrays(bool, n),
        st.sampled_from(by_hand),
    ]
    return (x,), {"key": draw(st.one_of(kinds))}


@st.composite
def takes(draw):
    x = values(draw, draw(SOME_AXES))
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    n = x.size if axis is None else x.shape[axis]
    which = draw(hnp.arrays(np.int64, draw(SHAPES), elements=st.integers(-n, n - 1)))
    return (x,), {"indices": draw(st.sampled_from([which, which.tolist()])), "axis": axis}


@st.composite
def spreads(draw):
    shape = draw(SHAPES)
    before = tuple(1 if draw(st.booleans()) else n for n in shape)
    before = before[draw(st.integers(0, len(shape))) :]
    return (values(draw, before),), {"shape": shape}
