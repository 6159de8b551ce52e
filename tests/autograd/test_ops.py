"""Every primitive: forward against NumPy or SciPy, backward against numbers, float32 in and out."""

import inspect

import numpy as np
import pytest
from hypothesis import given, strategies as st
from op_table import TABLE

from autograd import Tensor, backward, leaf, more_ops, ops
from autograd.check import check_pullback

EVERY = pytest.mark.parametrize("op", TABLE, ids=lambda op: op.__name__)


def primitives(module):
    own = {f for f in vars(module).values() if getattr(f, "__module__", None) == module.__name__}
    return {f for f in own if inspect.isfunction(f) and hasattr(f, "__wrapped__")}


def test_the_table_has_every_primitive():
    assert primitives(ops) | primitives(more_ops) == set(TABLE) - {more_ops.matmul}


def is_checked(a):
    return a.dtype == np.float64


@EVERY
@given(data=st.data())
def test_forward_is_numpys(op, data):
    arrays, options = data.draw(TABLE[op].draw)
    expected = TABLE[op].reference(*arrays, **options)
    out = op(*[Tensor(a) for a in arrays], **options).data
    assert type(out) is np.ndarray and out.shape == np.shape(expected)
    np.testing.assert_allclose(out, expected, rtol=1e-14, atol=1e-14)


@EVERY
@given(data=st.data(), seed=st.integers(0, 1000))
def test_pullback_is_the_derivative(op, data, seed):
    """Along random directions, for a drawn g; and g, inputs and output keep every bit."""
    row = TABLE[op]
    arrays, options = data.draw(row.draw)
    check_pullback(op, *arrays, options=options, seed=seed, analytic=row.analytic, directions=2)


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
