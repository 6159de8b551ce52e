"""Particular values of the ops: numbers as arguments, ties, kinks, zeros, repeats, overflow."""

import numpy as np
import pytest

from autograd import leaf, more_ops, ops

# Python numbers in place of arrays: never float64, and no derivative for them.
WITH_A_NUMBER = [
    (lambda x: x**2, lambda x: 2 * x),
    (lambda x: x**0.5, lambda x: 0.5 / np.sqrt(x)),
    (lambda x: x**-1, lambda x: -1 / x**2),
    (lambda x: x**0, lambda x: 0 * x),
    (lambda x: 2**x, lambda x: 2**x * np.log(2)),
    (lambda x: 0.5**x, lambda x: 0.5**x * np.log(0.5)),
    (lambda x: more_ops.maximum(x, 1), lambda x: 1.0 * (x > 1)),
    (lambda x: more_ops.minimum(1.0, x), lambda x: 1.0 * (x < 1)),
    (lambda x: more_ops.where(x > 1, x, 0), lambda x: 1.0 * (x > 1)),
    (lambda x: more_ops.where(x > 1, 0.5, x), lambda x: 1.0 * (x <= 1)),
    (lambda x: more_ops.clip(x, high=1), lambda x: 1.0 * (x < 1)),
    (lambda x: 2 / x, lambda x: -2 / x**2),
]


@pytest.mark.parametrize("f, slope", WITH_A_NUMBER)
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


def test_ties_share_the_gradient():
    assert gradient(more_ops.maximum, [1, 2, 3], [1, 3, 2]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert gradient(more_ops.minimum, [1, 2, 3], [1, 3, 2]) == [[0.5, 1, 0], [0.5, 0, 1]]
    assert gradient(more_ops.max, [1, 4, 4, 4, 4]) == [[0, 0.25, 0.25, 0.25, 0.25]]
    assert gradient(lambda x: more_ops.max(x, axis=1), [[1, 1], [0, 2]]) == [[[0.5, 0.5], [0, 1]]]


def test_at_the_kinks():
    assert gradient(more_ops.relu, [-1, 0, 1]) == [[0, 0, 1]]
    assert gradient(more_ops.abs, [-1, 0, 1]) == [[-1, 0, 1]]
    assert gradient(lambda x: more_ops.clip(x, low=0, high=1), [-1, 0, 1, 2]) == [[0, 1, 1, 0]]


def test_pow_at_zero():
    assert gradient(lambda x: x**0, [0, 2]) == [[0, 0]]
    assert gradient(lambda x: x**1, [0, 2]) == [[1, 1]]
    assert gradient(lambda x: x**3, [-2, 0]) == [[12, 0]]
    assert gradient(more_ops.pow, [0, 2], [0, 0])[0] == [0, 0]
    assert gradient(more_ops.pow, [0, 1], [2, 3]) == [[0, 3], [0, 0]]


def test_pow_of_a_negative_number_by_a_constant_array():
    """No gradient for the exponent is asked for, so no logarithm of a negative number is taken."""
    assert gradient(lambda x: x ** np.array([2.0, 3.0]), [-1, -2]) == [[-2, 12]]


def test_repeated_indices_add_up():
    assert gradient(lambda x: x[[0, 0, 2, 0]], [1, 2, 3]) == [[3, 0, 1]]
    assert gradient(lambda x: x[np.array([True, False, True])], [1, 2, 3]) == [[1, 0, 1]]

    rows = [[1, 2], [3, 4], [5, 6]]
    assert gradient(lambda x: x[np.array([[0, -3]]), 1:], rows) == [[[0, 2], [0, 0], [0, 0]]]
    taken = gradient(lambda x: more_ops.take(x, indices=[1, -1, 1]), [[1, 2], [3, 4]])
    assert taken == [[[0, 2], [0, 1]]]


WITH_EXPONENTIALS = [
    ops.silu,
    ops.softmax,
    more_ops.sigmoid,
    more_ops.logsumexp,
    more_ops.tanh,
    more_ops.gelu,
]


@pytest.mark.parametrize("op", WITH_EXPONENTIALS, ids=lambda op: op.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_overflow(op, dtype):
    x = leaf(np.array([-1000.0, 0.0, 1000.0], dtype))
    op(x).sum().backward()
    assert np.isfinite(op(x).data).all() and np.isfinite(x.grad).all()


def test_dropout_keeps_the_mean_and_says_what_is_wrong():
    x, uniform = np.ones(100_000), np.random.default_rng(0).random(100_000)
    assert abs(more_ops.dropout(x, rate=0.3, uniform=uniform).data.mean() - 1) < 0.01
    at_the_rate = more_ops.dropout(np.ones(2), rate=0.5, uniform=np.array([0.5, 0.4999]))
    assert at_the_rate.data.tolist() == [2, 0]
    with pytest.raises(ValueError, match="rate: expected a fraction from 0 to below 1, got 1"):
        more_ops.dropout(x, rate=1, uniform=uniform)
    with pytest.raises(ValueError, match=r"uniform: expected x's shape \(3,\), got \(2,\)"):
        more_ops.dropout(np.ones(3), rate=0.5, uniform=np.ones(2))


def test_matmul_computes_only_what_is_needed():
    """A constant factor needs no gradient, which would cost as much as the forward product."""
    x, w = np.ones((2, 3)), np.ones((3, 4))
    for needs in ((True, False), (False, True)):
        _, pullback = ops.matmul.__wrapped__(x, w, needs=needs)
        assert tuple(part is not None for part in pullback(np.ones((2, 4)))) == needs
