"""Every primitive of ops.py and more_ops.py, forward and backward: CuPy gives what NumPy gives.

The arguments are those of tests/autograd/test_ops.py, whose table has every primitive.
"""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from on_gpu import assert_same, moved
from op_table import TABLE

from autograd import Tensor, backward, leaf, more_ops
from autograd.backend import array_module


def forward_and_backward(op, arrays, options):
    """The result, and the gradient for each argument that has one."""
    leaves = [leaf(a) if a.dtype == np.float32 else a for a in arrays]
    out = op(*leaves, **options)
    xp = array_module(out.data)
    backward(out, xp.cos(xp.arange(out.size)).reshape(out.shape).astype(out.dtype))
    return [out.data] + [x.grad for x in leaves if isinstance(x, Tensor)]


@pytest.mark.parametrize("op", TABLE, ids=lambda op: op.__name__)
@settings(max_examples=12)
@given(data=st.data())
def test_cupy_gives_what_numpy_gives(op, data):
    arrays, options = data.draw(TABLE[op].draw)
    arrays = tuple(a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays)
    expected = forward_and_backward(op, arrays, options)
    found = forward_and_backward(op, moved(arrays), moved(options))
    for i, (gpu, cpu) in enumerate(zip(found, expected, strict=True)):
        what = f"gradient {i}" if i else "result"
        assert_same(gpu, cpu, f"{op.__name__}, {what}")


def test_a_mix_of_host_and_device_is_refused():
    """Nothing is moved behind one's back: CuPy does not convert, and we do not help it to."""
    host, device = np.ones(3, np.float32), moved(np.ones(3, np.float32))
    mixes = (
        lambda: leaf(device) + host,
        lambda: host * leaf(device),
        lambda: more_ops.maximum(leaf(device), host),
        lambda: leaf(host) @ device,
        lambda: np.asarray(device),
    )
    for mix in mixes:
        with pytest.raises(TypeError):
            mix()


WITH_NUMBERS = [
    lambda x: x**2,
    lambda x: 2**x,
    lambda x: x**-1,
    lambda x: 2 / x,
    lambda x: 1 - x,
    lambda x: more_ops.maximum(x, 1),
    lambda x: more_ops.where(x > 1, x, 0),
    lambda x: more_ops.clip(x, high=1),
    lambda x: abs(-x),
]


@pytest.mark.parametrize("f", WITH_NUMBERS)
def test_numbers_as_arguments(f):
    array = np.array([0.3, 0.9, 1.7], np.float32)
    results = []
    for x in (leaf(moved(array)), leaf(array)):
        y = f(x)
        y.sum().backward()
        results.append((y.data, x.grad))
    for gpu, cpu in zip(*results):
        assert_same(gpu, cpu)
