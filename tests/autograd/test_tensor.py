"""Tensor's notation: operators, numbers on either side, methods."""

import operator

import numpy as np
import pytest

from autograd import Tensor, leaf

OPERATORS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "pow": operator.pow,
    "matmul": operator.matmul,
    "neg": lambda x, y: -x * y,
    "abs": lambda x, y: abs(-x) + y,
    "mixed": lambda x, y: y / x - y,
}
every_operator = pytest.mark.parametrize("f", OPERATORS.values(), ids=OPERATORS)


@every_operator
def test_operators_with_tensors_and_arrays_on_either_side(f):
    a, b = np.array([1.0, 2.0, 4.0]), np.array([3.0, 0.5, 2.0])
    results = []
    for x, y in [(leaf(a), leaf(b)), (leaf(a), b), (a, leaf(b)), (leaf(a), Tensor(b))]:
        out = f(x, y)
        assert type(out) is Tensor
        np.testing.assert_array_equal(out.data, f(a, b))
        out.backward(np.ones(out.shape))
        results.append([getattr(t, "grad", None) for t in (x, y)])
    np.testing.assert_array_equal(results[1][0], results[0][0])
    np.testing.assert_array_equal(results[2][1], results[0][1])
    assert results[3][1] is None


NUMBERS = [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0)]
ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("number_first", [False, True])
@pytest.mark.parametrize("f", ARITHMETIC)
def test_numbers_on_either_side(f, number_first, number):
    def with_number(x):
        return f(number, x) if number_first else f(x, number)

    dtype = np.float32 if isinstance(number, np.float32) else np.float64
    values = np.array([1.0, 3.0], dtype)
    x = leaf(values)
    out = with_number(x)
    assert type(out) is Tensor and out.dtype == values.dtype
    np.testing.assert_array_equal(out.data, with_number(values))
    out.sum().backward()
    assert x.grad.dtype == values.dtype


def test_tensor_describes_itself():
    x = leaf(np.ones((2, 3), np.float32))
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, np.float32, 2)
    assert repr(leaf(np.array(1.0)) * 2) == "Tensor(array(2.), from mul)"
    assert float((x * 2).sum()) == 12
    assert [row.shape for row in x] == [(3,), (3,)]
    assert not hasattr(Tensor(x.data), "__dict__")


METHODS = {
    "reshape": lambda x: x.reshape(4, 6),
    "reshape to a tuple": lambda x: x.reshape((4, 6)),
    "flatten": lambda x: x.reshape(-1),
    "transpose": lambda x: x.transpose(),
    "transpose to axes": lambda x: x.transpose(1, 0, 2),
    "transpose to a tuple": lambda x: x.transpose((1, 0, 2)),
    "T": lambda x: x.T,
    "sum": lambda x: x.sum(axis=1),
    "mean": lambda x: x.mean(axis=(0, 2), keepdims=True),
    "a number": lambda x: x.sum().reshape(()),
    "abs": lambda x: abs(-x),
    "index": lambda x: x[..., 1:],
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_methods_are_numpys(method):
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(method(leaf(x)).data, method(x))
