"""The ops of fast/cuda and the noise with the kernels themselves, run on the CPU.

So what they launch, and in which sizes, is tested too.
"""

import numpy as np
import pytest

from autograd import backend, backward, leaf
from tinyddpm import noise
from tinyddpm.fast.cuda import ops as gpu_ops
from tinyddpm.nn import block, conv
from tinyddpm.noise import addressed, box_muller, philox
from tools.kernel_on_cpu import Kernel

pytestmark = pytest.mark.gpu_sim


@pytest.fixture(autouse=True)
def kernels_on_cpu(monkeypatch):
    def kernel(name, source):
        return Kernel(name, source, backend.KERNEL_OPTIONS)

    monkeypatch.setattr(backend, "kernel", kernel)


def value_and_gradients(f, arrays, **options):
    leaves = [leaf(a) if isinstance(a, np.ndarray) else a for a in arrays]
    out = f(*leaves, **options)
    backward(out, np.random.default_rng(1).standard_normal(out.shape).astype(out.dtype))
    return [out.data, *(t.node.grad for t in leaves if hasattr(t, "node"))]


def assert_same(f, definition, arrays, **options):
    exact = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arrays]
    found = value_and_gradients(f, arrays, **options)
    for a, b in zip(found, value_and_gradients(definition, exact, **options), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-5 * np.abs(b).max())


def draw(*shapes):
    random = np.random.default_rng(0)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("added", [None, (2, 5), (5, 3, 2, 5)])
def test_norm_silu_conv(added):
    arrays = [*draw((5, 3, 2, 6), (6,), (6,), (3, 3, 6, 5), (5,)), draw(added)[0] if added else 0.0]
    assert_same(gpu_ops.norm_silu_conv, block.norm_silu_conv, [*arrays, None], groups=3)


@pytest.mark.parametrize("most", [1, 2**26])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"stride": 2, "padding": ((0, 1), (0, 1))}])
def test_convolution(monkeypatch, options, most):
    monkeypatch.setattr(gpu_ops, "COLUMNS", most)
    assert_same(gpu_ops.conv2d, conv.conv2d, draw((6, 4, 2, 3), (3, 3, 3, 4)), **options)


def test_views_are_made_contiguous():
    def transposed(op):
        return lambda x, w: op(x.transpose(2, 3, 0, 1), w)

    arrays = draw((2, 3, 6, 4), (3, 3, 3, 4))
    assert_same(transposed(gpu_ops.conv2d), transposed(conv.conv2d), arrays)


DRAWS = [
    lambda *a: noise.bits(*a, 10),
    lambda *a: noise.uniform(*a, (5,)),
    lambda *a: noise.uniform(*a, (3, 3), np.float64),
    lambda *a: noise.integers(*a, 1000, (3,)),
    lambda *a: noise.normal(*a, (3, 7)),
    lambda *a: noise.normal(*a, (2, 5), np.float64),
    lambda *a: noise.normal(*a),
    lambda *a: noise.normal(*a, (0, 2)),
]


@pytest.mark.parametrize("draw_noise", DRAWS)
@pytest.mark.parametrize("step", [0, 2**64 - 1])
def test_noise_is_the_same_to_the_last_bit(monkeypatch, draw_noise, step):
    address = 7, "eps", step, [0, 3, 2**32 - 1]
    expected = draw_noise(*address)
    monkeypatch.setattr(addressed, "words_at", philox.words_on_gpu)
    monkeypatch.setattr(addressed, "box_muller", box_muller.box_muller_on_gpu)
    got = draw_noise(*address)
    assert got.dtype == expected.dtype and got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()
