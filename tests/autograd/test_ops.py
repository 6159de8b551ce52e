"""Every primitive of ops.py and more_ops.py: forward against NumPy or SciPy, backward against numbers, float32 in and out.

TABLE has one row for each; a primitive without a row fails `test_the_table_has_every_primitive`.
"""
import inspect
from typing import NamedTuple

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograd import Tensor, backward, leaf, more_ops, ops
from autograd.check import check_pullback

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)
SOME_AXES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)


class Row(NamedTuple):
    draw: object  # a hypothesis strategy of (arrays, options)
    reference: object  # what NumPy or SciPy gives
    analytic: bool = True  # can the complex step check it?


def values(draw, shape, low=-2.0, high=2.0, kinks=()):
    x = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).uniform(low, high, shape)
    for kink in kinks:
        x = np.where(abs(x - kink) < 0.05, kink + 0.1, x)
    return np.asarray(x)


def distinct(draw, shape):
    """All values at least 0.1 apart, so that no small step changes which is the largest."""
    n = int(np.prod(shape))
    x = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).permutation(n) * 0.1 - 0.05 * n
    return x.reshape(shape)


def elementwise(low=-2.0, high=2.0, kinks=(), **options):
    @st.composite
    def strategy(draw):
        return (values(draw, draw(SHAPES), low, high, kinks),), options
    return strategy()


def broadcasting(low=-2.0, high=2.0, low2=None, high2=None, count=2):
    @st.composite
    def strategy(draw):
        shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=3, max_side=3)).input_shapes
        first = values(draw, shapes[0], low, high)
        return (first, *[values(draw, s, low if low2 is None else low2, high if high2 is None else high2) for s in shapes[1:]]), {}
    return strategy()


@st.composite
def never_equal(draw):
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)).input_shapes
    x, y = [np.asarray(np.round(values(draw, s) * 5) / 5) for s in shapes]
    return (x, np.asarray(y + 0.1)), {}


@st.composite
def matrices(draw, vectors=False):
    n, k, m = [draw(st.integers(1, 3)) for _ in range(3)]
    stacks = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3)).input_shapes
    left = draw(st.sampled_from([(n, k), (*stacks[0], n, k)] + [(k,)] * vectors))
    right = draw(st.sampled_from([(k, m), (*stacks[1], k, m)] + [(k,)] * vectors))
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
    basic = hnp.basic_indices(x.shape, allow_newaxis=True)
    integers = hnp.integer_array_indices(x.shape)
    n = x.shape[0]
    mixed = st.sampled_from([[0, 0, -1], (..., np.array([0, 0])), (slice(None, None, -1), None), (np.array([n - 1, 0, 0]), ...), np.array(0), 0])
    return (x,), {"key": draw(st.one_of(basic, integers, hnp.arrays(bool, x.shape), hnp.arrays(bool, n), mixed))}


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
    from_shape = tuple(1 if draw(st.booleans()) else n for n in shape)[draw(st.integers(0, len(shape))):]
    return (values(draw, from_shape),), {"shape": shape}


@st.composite
def choices(draw):
    condition, x, y = [values(draw, s) for s in draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3)).input_shapes]
    return (np.asarray(condition > 0), x, y), {}


@st.composite
def dropouts(draw):
    x = values(draw, draw(SHAPES))
    return (x,), {"rate": draw(st.sampled_from([0, 0.25, np.float64(0.5)])), "uniform": values(draw, x.shape, 0, 1)}


TABLE = {
    ops.add: Row(broadcasting(), np.add),
    ops.sub: Row(broadcasting(), np.subtract),
    ops.mul: Row(broadcasting(), np.multiply),
    ops.div: Row(broadcasting(low2=0.5), np.divide),
    ops.neg: Row(elementwise(), np.negative),
    ops.square: Row(elementwise(), np.square),
    ops.matmul: Row(matrices(), np.matmul),
    more_ops.matmul: Row(matrices(vectors=True), np.matmul),  # no primitive itself: it calls the one above
    ops.sum: Row(reductions(), np.sum),
    ops.mean: Row(reductions(), np.mean),
    ops.reshape: Row(reshapes(), lambda x, shape: x.reshape(shape)),
    ops.transpose: Row(transposes(), np.transpose),
    ops.concat: Row(concats(), lambda *xs, axis: np.concatenate(xs, axis)),
    ops.silu: Row(elementwise(-6, 6), lambda x: x * scipy.special.expit(x)),
    ops.softmax: Row(along_an_axis(), scipy.special.softmax),
    more_ops.abs: Row(elementwise(kinks=(0,)), np.abs, analytic=False),
    more_ops.sqrt: Row(elementwise(low=0.1), np.sqrt),
    more_ops.exp: Row(elementwise(), np.exp),
    more_ops.log: Row(elementwise(low=0.1), np.log),
    more_ops.tanh: Row(elementwise(), np.tanh),
    more_ops.sigmoid: Row(elementwise(-6, 6), scipy.special.expit),
    more_ops.relu: Row(elementwise(kinks=(0,)), lambda x: np.maximum(x, 0), analytic=False),
    more_ops.gelu: Row(elementwise(), lambda x: x * scipy.special.ndtr(x)),
    more_ops.clip: Row(elementwise(kinks=(-1, 0.5), low=-2, high=2).map(lambda drawn: (drawn[0], {"low": -1, "high": 0.5})),
                       lambda x, low, high: np.clip(x, low, high), analytic=False),
    more_ops.dropout: Row(dropouts(), lambda x, rate, uniform: np.where(uniform < rate, 0, x / (1 - rate))),
    more_ops.pow: Row(broadcasting(low=0.3, low2=-2.0), np.power),
    more_ops.maximum: Row(never_equal(), np.maximum, analytic=False),
    more_ops.minimum: Row(never_equal(), np.minimum, analytic=False),
    more_ops.where: Row(choices(), np.where),
    more_ops.max: Row(reductions(distinct), np.max, analytic=False),
    more_ops.logsumexp: Row(reductions(), lambda x, **options: np.log(np.sum(np.exp(x), **options))),
    more_ops.broadcast_to: Row(spreads(), np.broadcast_to),
    more_ops.stack: Row(stacks(), lambda *xs, axis: np.stack(xs, axis)),
    more_ops.pad: Row(pads(), lambda x, width: np.pad(x, width)),
    more_ops.index: Row(indices(), lambda x, key: x[key]),
    more_ops.take: Row(takes(), np.take),
}
EVERY = pytest.mark.parametrize("op", TABLE, ids=lambda op: op.__name__)


def primitives(module):
    return {f for f in vars(module).values() if inspect.isfunction(f) and hasattr(f, "__wrapped__") and f.__module__ == module.__name__}


def test_the_table_has_every_primitive():
    assert primitives(ops) | primitives(more_ops) == set(TABLE) - {more_ops.matmul}


def is_checked(a):
    return a.dtype == np.float64


@EVERY
@given(data=st.data())
def test_forward_is_numpys(op, data):
    arrays, options = data.draw(TABLE[op].draw)
    out, expected = op(*[Tensor(a) for a in arrays], **options).data, TABLE[op].reference(*arrays, **options)
    assert type(out) is np.ndarray and out.shape == np.shape(expected)
    np.testing.assert_allclose(out, expected, rtol=1e-14, atol=1e-14)


@EVERY
@given(data=st.data(), seed=st.integers(0, 1000))
def test_pullback_is_the_derivative(op, data, seed):
    """Along random directions, for a drawn g; and g, inputs and output keep every bit."""
    arrays, options = data.draw(TABLE[op].draw)
    check_pullback(op, *arrays, options=options, seed=seed, analytic=TABLE[op].analytic, directions=2)


@EVERY
@given(data=st.data())
def test_float32_stays_float32(op, data):
    arrays, options = data.draw(TABLE[op].draw)
    leaves = [leaf(a.astype(np.float32)) if is_checked(a) else a for a in arrays]
    out = op(*leaves, **options)
    assert out.dtype == np.float32
    backward(out, np.ones(out.shape, np.float32))
    for x in leaves:
        if isinstance(x, Tensor):
            assert x.grad.dtype == np.float32 and x.grad.shape == x.shape


@EVERY
@given(data=st.data())
def test_float32_gradients_agree_with_float64(op, data):
    arrays, options = data.draw(TABLE[op].draw)
    gradients = []
    for dtype in (np.float32, np.float64):
        leaves = [leaf(a.astype(np.float32).astype(dtype)) if is_checked(a) else a for a in arrays]
        out = op(*leaves, **options)
        backward(out, np.cos(np.arange(out.size)).reshape(out.shape).astype(dtype))
        gradients.append([x.grad for x in leaves if isinstance(x, Tensor)])
    for single, double in zip(*gradients):
        np.testing.assert_allclose(single, double, rtol=2e-4, atol=2e-5)


# Python numbers in place of arrays: never float64, and no derivative for them.

@pytest.mark.parametrize("f, slope", [
    (lambda x: x ** 2, lambda x: 2 * x), (lambda x: x ** 0.5, lambda x: 0.5 / np.sqrt(x)), (lambda x: x ** -1, lambda x: -1 / x**2),
    (lambda x: x ** 0, lambda x: 0 * x), (lambda x: 2 ** x, lambda x: 2**x * np.log(2)), (lambda x: 0.5 ** x, lambda x: 0.5**x * np.log(0.5)),
    (lambda x: more_ops.maximum(x, 1), lambda x: 1.0 * (x > 1)), (lambda x: more_ops.minimum(1.0, x), lambda x: 1.0 * (x < 1)),
    (lambda x: more_ops.where(x > 1, x, 0), lambda x: 1.0 * (x > 1)), (lambda x: more_ops.where(x > 1, 0.5, x), lambda x: 1.0 * (x <= 1)),
    (lambda x: more_ops.clip(x, high=1), lambda x: 1.0 * (x < 1)), (lambda x: 2 / x, lambda x: -2 / x**2),
])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_as_arguments(f, slope, dtype):
    for values in (np.array([0.3, 0.9, 1.7], dtype), np.array(0.7, dtype)):
        x = leaf(values)
        y = f(x)
        assert y.dtype == dtype and y.shape == values.shape
        y.backward(np.ones_like(values))
        np.testing.assert_allclose(x.grad, slope(values.astype(np.float64)), rtol=1e-5)


def gradient(f, *arrays):
    leaves = [leaf(np.array(a, dtype=np.float64)) for a in arrays]
    f(*leaves).sum().backward()
    return [x.grad.tolist() for x in leaves]


def test_ties_share():
    assert gradient(more_ops.maximum, [1, 2, 3], [1, 3, 2]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert gradient(more_ops.minimum, [1, 2, 3], [1, 3, 2]) == [[0.5, 1, 0], [0.5, 0, 1]]
    assert gradient(more_ops.max, [1, 4, 4, 4, 4]) == [[0, 0.25, 0.25, 0.25, 0.25]]
    assert gradient(lambda x: more_ops.max(x, axis=1), [[1, 1], [0, 2]]) == [[[0.5, 0.5], [0, 1]]]


def test_at_the_kinks():
    assert gradient(more_ops.relu, [-1, 0, 1]) == [[0, 0, 1]]
    assert gradient(more_ops.abs, [-1, 0, 1]) == [[-1, 0, 1]]
    assert gradient(lambda x: more_ops.clip(x, low=0, high=1), [-1, 0, 1, 2]) == [[0, 1, 1, 0]]


def test_pow_at_zero():
    assert gradient(lambda x: x ** 0, [0, 2]) == [[0, 0]]
    assert gradient(lambda x: x ** 1, [0, 2]) == [[1, 1]]
    assert gradient(lambda x: x ** 3, [-2, 0]) == [[12, 0]]
    assert gradient(more_ops.pow, [0, 2], [0, 0])[0] == [0, 0]
    assert gradient(more_ops.pow, [0, 1], [2, 3]) == [[0, 3], [0, 0]]


def test_pow_of_a_negative_number_by_a_constant_array():
    """No gradient for the exponent is asked for, so no logarithm of a negative number is taken."""
    assert gradient(lambda x: x ** np.array([2.0, 3.0]), [-1, -2]) == [[-2, 12]]


def test_repeated_indices_add_up():
    assert gradient(lambda x: x[[0, 0, 2, 0]], [1, 2, 3]) == [[3, 0, 1]]
    assert gradient(lambda x: x[np.array([[0, -3]]), 1:], [[1, 2], [3, 4], [5, 6]]) == [[[0, 2], [0, 0], [0, 0]]]
    assert gradient(lambda x: more_ops.take(x, indices=[1, -1, 1]), [[1, 2], [3, 4]]) == [[[0, 2], [0, 1]]]
    assert gradient(lambda x: x[np.array([True, False, True])], [1, 2, 3]) == [[1, 0, 1]]


def test_no_overflow():
    big = [-1000.0, 0.0, 1000.0]
    for op in (ops.silu, ops.softmax, more_ops.sigmoid, more_ops.logsumexp, more_ops.tanh, more_ops.gelu):
        for dtype in (np.float32, np.float64):
            x = leaf(np.array(big, dtype))
            op(x).sum().backward()
            assert np.isfinite(op(x).data).all() and np.isfinite(x.grad).all(), op.__name__


def test_dropout_keeps_the_mean_and_says_what_is_wrong():
    x, uniform = np.ones(100_000), np.random.default_rng(0).random(100_000)
    assert abs(more_ops.dropout(x, rate=0.3, uniform=uniform).data.mean() - 1) < 0.01
    assert more_ops.dropout(np.ones(2), rate=0.5, uniform=np.array([0.5, 0.4999])).data.tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"dropout: rate must be in \[0, 1\), got 1"):
        more_ops.dropout(x, rate=1, uniform=uniform)
    with pytest.raises(ValueError, match=r"dropout: uniform must have x's shape \(3,\), got \(2,\)"):
        more_ops.dropout(np.ones(3), rate=0.5, uniform=np.ones(2))


def test_matmul_computes_only_what_is_needed(monkeypatch):
    """With a constant on one side its gradient, a product as dear as the forward one, is not computed."""
    x, w = np.ones((2, 3)), np.ones((3, 4))
    for needs in ((True, False), (False, True)):
        _, pullback = ops.matmul.__wrapped__(x, w, needs=needs)
        assert tuple(part is not None for part in pullback(np.ones((2, 4)))) == needs


def test_tensor_methods_are_numpys():
    x = np.arange(24.0).reshape(2, 3, 4)
    t = leaf(x)
    for ours, theirs in [(t.reshape(4, 6), x.reshape(4, 6)), (t.reshape((4, 6)), x.reshape(4, 6)), (t.reshape(-1), x.reshape(-1)),
                         (t.transpose(), x.T), (t.transpose(1, 0, 2), x.transpose(1, 0, 2)), (t.transpose((1, 0, 2)), x.transpose(1, 0, 2)),
                         (t.T, x.T), (t.sum(axis=1), x.sum(1)), (t.mean(axis=(0, 2), keepdims=True), x.mean((0, 2), keepdims=True)),
                         (t.sum().reshape(()), x.sum()), (abs(-t), abs(x)), (t[..., 1:], x[..., 1:])]:
        np.testing.assert_array_equal(ours.data, theirs)
