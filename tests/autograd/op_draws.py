"""What autograd.testing cannot know: options and shapes that belong to one op. See op_table.py."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograd.testing import arrays_near, broadcastable, one_axis

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)
SOME_AXES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)
TWELVE = st.sampled_from([(2, 6), (12,), (3, 2, 2), (1, 12)])
MATRICES = broadcastable(signature="(n,k),(k,m)->(n,m)")
SIDES = st.integers(1, 3)
EQUAL = st.tuples(SHAPES, st.integers(1, 3)).map(lambda drawn: (drawn[0],) * drawn[1])


@st.composite
def vectors(draw):
    """Shapes of a product of which at least one factor is a vector."""
    n, k, m = draw(SIDES), draw(SIDES), draw(SIDES)
    shapes = [((k,), (k,)), ((n, k), (k,)), ((k,), (k, m)), ((m, n, k), (k,)), ((k,), (n, k, m))]
    return draw(st.sampled_from(shapes))


def orders(shape):
    """None, or the axes in some order, counted from either end."""
    signs = st.sampled_from([0, len(shape)])
    order = st.permutations(range(len(shape)))
    return st.one_of(st.none(), st.builds(lambda o, s: tuple(a - s for a in o), order, signs))


def widths(shape):
    pair = st.tuples(st.integers(0, 2), st.integers(0, 2))
    return st.one_of(st.integers(0, 2), pair, st.tuples(*[pair] * len(shape)))


def larger(shape):
    """Shapes that this one broadcasts to: more axes in front, and 1 replaced."""
    front = st.lists(SIDES, max_size=3 - len(shape))
    sides = st.tuples(*[st.integers(1, 4) if n == 1 else st.just(n) for n in shape])
    return st.builds(lambda a, b: (*a, *b), front, sides)


def new_axes(*shapes):
    return st.integers(-len(shapes[0]) - 1, len(shapes[0]))


def keys(shape):
    n = shape[0]
    by_hand = [
        [0, 0, -1],
        (..., np.array([0, 0])),
        (slice(None, None, -1), None),
        (np.array([n - 1, 0, 0]), ...),
        np.array(0),
        0,
    ]
    return st.one_of(
        hnp.basic_indices(shape, allow_newaxis=True),
        hnp.integer_array_indices(shape),
        hnp.arrays(bool, shape),
        hnp.arrays(bool, n),
        st.sampled_from(by_hand),
    )


def uniform(shape):
    return arrays_near(shape, (0.0, 1.0))


@st.composite
def concats(draw):
    shape = list(draw(SOME_AXES))
    axis = draw(one_axis(shape))
    xs = []
    for _ in range(draw(SIDES)):
        shape[axis] = draw(st.integers(0, 3))
        xs.append(draw(arrays_near(tuple(shape))))
    return tuple(xs), {"axis": axis}


@st.composite
def takes(draw):
    x = draw(SOME_AXES.flatmap(arrays_near))
    axis = draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    n = x.size if axis is None else x.shape[axis]
    which = draw(hnp.arrays(np.int64, draw(SHAPES), elements=st.integers(-n, n - 1)))
    return (x,), {"indices": draw(st.sampled_from([which, which.tolist()])), "axis": axis}
