"""Every op, forward and backward: CuPy gives what NumPy gives, in float64 and in float32.

The arguments of the primitives are those of tests/autograd/test_ops.py, whose table has every one.
"""

from contextlib import nullcontext

import numpy as np
import pytest
from image_draws import OPS
from on_gpu import assert_same, moved
from op_table import TABLE

from autograd import leaf, more_ops
from autograd.testing import RULES, gradient_test
from tinyddpm import fast

HOW = {"device": "cuda", "skip": set(RULES) - {"device"}, "examples": 12}


@pytest.mark.parametrize("op", TABLE, ids=lambda op: op.__name__)
def test_cupy_gives_what_numpy_gives(op):
    gradient_test(op, **TABLE[op] | HOW)()


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("faster", [False, True])
def test_the_networks_ops_give_what_numpy_gives(name, faster):
    """In float64 and in float32, where the hand-written kernels serve them if they are enabled."""
    op, drawn = OPS[name]
    with fast.enabled() if faster else nullcontext():
        gradient_test(op, draw=drawn, **HOW)()


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
