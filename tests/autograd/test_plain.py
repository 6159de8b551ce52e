"""What a Tensor gives that has no derivative: comparisons, numbers, text, NumPy's own functions."""

import operator

import numpy as np
import pytest

from autograd import Tensor, leaf, more_ops, no_grad, ops

COMPARE = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


@pytest.mark.parametrize("compare", COMPARE)
def test_comparisons_are_plain_boolean_arrays(compare):
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    for x, y in [
        (leaf(a), leaf(b)),
        (leaf(a), b),
        (a, leaf(b)),
        (leaf(a), 2.0),
        (leaf(a), Tensor(b)),
    ]:
        got = compare(x, y)
        assert type(got) is np.ndarray and got.dtype == bool
        np.testing.assert_array_equal(got, compare(a, b))
    assert compare(leaf(np.array(1.0)), 1.0) == compare(1.0, 1.0)
    for number in (np.float64(2), np.float32(2)):
        np.testing.assert_array_equal(compare(number, leaf(a)), compare(number, a))


def test_where_x_is_zero():
    x = leaf(np.array([0.0, 2.0, 0.0]))
    np.testing.assert_array_equal(more_ops.where(x == 0, 1.0, x).data, [1, 2, 1])
    np.testing.assert_array_equal(more_ops.where(x != 0, 1.0, x).data, [0, 1, 0])


def test_a_tensor_is_still_a_key_by_itself():
    x, y = leaf(np.ones(3)), leaf(np.ones(3))
    names = {x: "x", y: "y"}
    assert names[x] == "x" and names[y] == "y" and len({x, y, x}) == 2


def test_in_means_among_the_elements():
    x = leaf(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert 3 in x and 5 not in x


ONE = [np.array(2.5), np.array([2.5]), np.array([[2.5]], np.float32)]


@pytest.mark.parametrize("data", ONE)
def test_one_number_is_a_number(data):
    for x in (leaf(data), Tensor(data), leaf(data) * 1):
        assert (float(x), int(x), x.item(), bool(x)) == (2.5, 2, 2.5, True)
        assert (f"{x:.3f}", f"{x:8.1e}", format(x, "+g")) == ("2.500", " 2.5e+00", "+2.5")
    assert not leaf(np.zeros(1))


FOR_ONE = [float, int, bool, lambda x: x.item(), lambda x: f"{x:.3f}"]


@pytest.mark.parametrize("f", FOR_ONE)
@pytest.mark.parametrize("shape", [(3,), (0,), (2, 2)])
def test_several_numbers_are_not_one(f, shape):
    with pytest.raises(TypeError, match=r"expected a Tensor of one number, got one of shape \("):
        f(leaf(np.zeros(shape)))


def test_text():
    x = leaf(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert (
        str(x)
        == repr(x)
        == f"{x}"
        == "Tensor(array([[1., 2.],\n              [3., 4.]]), from leaf)"
    )
    assert repr(Tensor(np.array([1, 2]))) == "Tensor(array([1, 2]))"
    assert repr(leaf(np.array(1.0)) * 2) == "Tensor(array(2.), from mul)"


# ---- NumPy's functions ---------------------------------------------------------------------------


def test_numpy_functions_that_only_look():
    a = np.arange(6.0).reshape(2, 3)
    x = leaf(a)
    assert (np.shape(x), np.ndim(x), np.size(x), np.argmax(x)) == ((2, 3), 2, 6, 5)
    zeros = np.zeros_like(x)
    assert type(zeros) is np.ndarray and zeros.shape == (2, 3)
    assert np.allclose(x, a) and np.array_equal(a, x * 1)
    np.testing.assert_array_equal(np.isclose(x, b=leaf(a)), True)


INSTEAD = {
    "use autograd.ops.sum, or": np.sum,
    "use autograd.ops.mean, or": np.mean,
    "use autograd.ops.transpose, or": np.transpose,
    "use autograd.ops.concat, or": lambda x: np.concatenate([x, x]),
    "use autograd.more_ops.stack, or": lambda x: np.stack([x, x]),
    "use autograd.more_ops.where, or": lambda x: np.where(x > 0, x, 0),
    "use autograd.more_ops.max, or": np.max,
    "use autograd.more_ops.clip, or": lambda x: np.clip(x, 0, 1),
    "np.norm: expected arrays, got a Tensor; take its array, x.data": np.linalg.norm,
    "np.asarray: expected an array, got a Tensor with a gradient": np.asarray,
}


@pytest.mark.parametrize("problem, f", INSTEAD.items())
def test_numpy_functions_that_would_lose_the_gradient_name_what_keeps_it(problem, f):
    """Several made arrays of objects of it, without a word."""
    with pytest.raises(TypeError) as caught:
        f(leaf(np.ones((2, 2))))
    assert problem in str(caught.value) and "x.data" in str(caught.value)


def test_a_constant_is_an_array_to_numpy():
    a = np.arange(3.0)
    with no_grad():
        x = leaf(a) * 2
    found = np.asarray(x)
    assert type(found) is np.ndarray and found.dtype == np.float64
    np.testing.assert_array_equal(found, 2 * a)


# ---- floating-point errors -----------------------------------------------------------------------

UNDERFLOWING = [ops.silu, ops.softmax, more_ops.sigmoid, more_ops.logsumexp]


@pytest.mark.parametrize("op", UNDERFLOWING)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_harmless_underflow_is_no_error_in_a_program_that_raises_errors(op, dtype):
    """The numbers are the same, and the program's own settings hold again afterwards."""
    values = np.array([-1e4, -800, -100, -87.5, 0, 1, 87.5, 100, 800, 1e4], dtype)
    results = []
    for errors in ("ignore", "raise"):
        with np.errstate(all=errors):
            x = leaf(values)
            y = op(x)
            y.backward(np.full(y.shape, 1e-30, dtype))
            results.append((y.data, x.grad))
    for found, expected in zip(*results):
        np.testing.assert_array_equal(found, expected)
    with np.errstate(all="raise"):
        op(leaf(values)).backward(np.full(y.shape, 1e-30, dtype))
        assert set(np.geterr().values()) == {"raise"}
        with pytest.raises(FloatingPointError, match="overflow"):
            more_ops.exp(leaf(values))


def test_where_spoils_the_gradient_of_the_branch_not_taken_as_its_docs_say():
    with np.errstate(divide="ignore", invalid="ignore"):
        x = leaf(np.array([0.0, 2.0]))
        more_ops.where(x > 0, more_ops.log(x), 0.0).sum().backward()
    assert np.isnan(x.grad[0]) and x.grad[1] == 0.5
    x = leaf(np.array([0.0, 2.0]))
    more_ops.where(x > 0, more_ops.log(more_ops.where(x > 0, x, 1.0)), 0.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0.5])
