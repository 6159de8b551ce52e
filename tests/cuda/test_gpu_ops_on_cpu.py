"""The ops of fast/cuda and the noise with the kernels themselves, run on the CPU.

So what they launch, and in which sizes, is tested too.
"""

import numpy as np
import pytest
from image_draws import attentions, convolutions, group_norms, linears, norm_silu_convs

from autograd import backend, leaf
from autograd.testing import RULES, gradient_test
from tinyddpm import noise
from tinyddpm.fast.cuda import (
    attention as gpu_attention,
    convolution,
    ops as gpu_ops,
    weight_gradient,
)
from tinyddpm.nn import attention, block, conv, linear, norm
from tinyddpm.noise import addressed, box_muller, philox
from tools.kernel_on_cpu import Kernel

pytestmark = pytest.mark.gpu_sim


@pytest.fixture(autouse=True)
def kernels_on_cpu(monkeypatch):
    def kernel(name, source):
        return Kernel(name, source, backend.KERNEL_OPTIONS)

    monkeypatch.setattr(backend, "kernel", kernel)


def float32_is_its_definition(equivalent, definition, drawn):
    """float32 goes to the kernels, and float64 to the definition, which the results must be near.

    So it is in a run, where `accepts_…` sees to it.
    """

    def op(x, *more, **options):
        return (equivalent if x.dtype == np.float32 else definition)(x, *more, **options)

    gradient_test(op, draw=drawn, skip=set(RULES) - {"float32"}, examples=10)()


@pytest.mark.parametrize("most", [1, 2**26])
def test_convolution(monkeypatch, most):
    monkeypatch.setattr(gpu_ops, "COLUMNS", most)
    float32_is_its_definition(gpu_ops.conv2d, conv.conv2d, convolutions())


def test_convolution_by_tensor_cores(monkeypatch):
    monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x: True)
    float32_is_its_definition(gpu_ops.conv2d, conv.conv2d, convolutions())


def test_linear(monkeypatch):
    monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x: True)
    float32_is_its_definition(gpu_ops.linear, linear.linear, linears())


def test_both_ways_to_convolve_are_the_same(monkeypatch):
    """With tensor cores and without, to float32's last digits: output and both gradients."""
    random = np.random.default_rng(0)
    shapes = (9, 8, 3, 20), (3, 3, 20, 36)
    x, w = (random.standard_normal(shape).astype(np.float32) for shape in shapes)
    for stride in (1, 2):
        found = []
        for tensor_cores in (False, True):
            monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x, yes=tensor_cores: yes)
            leaves = leaf(x), leaf(w)
            y = gpu_ops.conv2d(*leaves, stride=stride)
            (y * y).sum().backward()
            found.append([y.data, *(a.grad for a in leaves)])
        for columns, tiles in zip(*found):
            np.testing.assert_allclose(tiles, columns, rtol=0, atol=2e-6 * np.abs(columns).max())


def test_a_view_that_begins_at_any_number():
    """Copies of four numbers at once need addresses that are multiples of 16 bytes."""
    random = np.random.default_rng(0)
    x = random.standard_normal(1 + 3 * 3 * 4).astype(np.float32)[1:].reshape(3, 3, 1, 4)
    w = random.standard_normal(1 + 9 * 4 * 4).astype(np.float32)[1:].reshape(3, 3, 4, 4)
    arguments = 1, (1, 1), (3, 3)
    y = convolution.convolve_on_gpu(x, w, *arguments)
    expected = convolution.convolve(x, w, *arguments)
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    gx = convolution.input_gradient_on_gpu(y, w, *arguments)
    expected = convolution.input_gradient(y, w, *arguments)
    np.testing.assert_allclose(gx, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    found = weight_gradient.weight_gradient_on_gpu(x, y, (3, 3), 1, (1, 1))
    for gpu, cpu in zip(found, weight_gradient.weight_gradient(x, y, (3, 3), 1, (1, 1))):
        np.testing.assert_allclose(gpu, cpu, rtol=0, atol=2e-6 * np.abs(cpu).max())


def test_group_norm():
    float32_is_its_definition(gpu_ops.group_norm, norm.group_norm, group_norms())


@pytest.mark.parametrize("tensor_cores", [False, True])
def test_norm_silu_conv(monkeypatch, tensor_cores):
    monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x: tensor_cores)
    float32_is_its_definition(gpu_ops.norm_silu_conv, block.norm_silu_conv, norm_silu_convs())


@pytest.mark.parametrize("tensor_cores", [False, True])
def test_attention(monkeypatch, tensor_cores):
    monkeypatch.setattr(backend, "has_tensor_cores", lambda x: tensor_cores)
    float32_is_its_definition(gpu_attention.attention, attention.attention, attentions())


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
