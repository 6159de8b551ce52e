"""The NumPy twins of the GPU kernels are what the definitions say.

So is what the GPU's ops make of them, gradients included. That the kernels do what their twins do
is shown in test_kernels_on_cpu.py.
"""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import strategies as st
from image_draws import (
    attentions,
    convolutions,
    group_norms,
    linears,
    norm_silu_convs,
    of_kernel,
)

from autograd import Tensor, backend, leaf
from autograd.testing import gradient_test
from tinyddpm import fast, schedule
from tinyddpm.fast.cuda import (
    add,
    attention as gpu_attention,
    columns,
    convolution,
    norm_silu,
    ops as gpu_ops,
    weight_gradient,
)
from tinyddpm.nn import UNet, UNetConfig, attention, block, conv, linear, norm
from tinyddpm.runs.computing import computing

TWINS = {
    "forward_on_gpu": norm_silu.forward,
    "backward_on_gpu": norm_silu.backward,
    "add_on_gpu": add.add,
    "im2col_on_gpu": columns.im2col,
    "col2im_on_gpu": columns.col2im,
    "convolve_on_gpu": convolution.convolve,
    "input_gradient_on_gpu": convolution.input_gradient,
    "weight_gradient_on_gpu": weight_gradient.weight_gradient,
}
TENSOR_CORES = pytest.mark.parametrize("tensor_cores", [False, True])


@pytest.fixture
def with_twins(monkeypatch):
    """The ops of fast/cuda with every kernel's twin in its place.

    Then float64 works, and no GPU is needed.
    """
    for name, twin in TWINS.items():
        monkeypatch.setattr(gpu_ops, name, twin)


def draw(*shapes, seed=0):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape) for shape in shapes]


def is_its_definition(op, definition, drawn):
    """Every rule of autograd.testing, and the output and the gradients of the definition."""
    gradient_test(op, reference=definition, draw=drawn, analytic=False)()


@pytest.mark.parametrize("most", [1, 300, 2**26])
def test_convolution(with_twins, monkeypatch, most):
    monkeypatch.setattr(gpu_ops, "COLUMNS", most)
    is_its_definition(gpu_ops.conv2d, conv.conv2d, convolutions())


def test_convolution_by_tensor_cores(with_twins, monkeypatch):
    monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x: True)
    is_its_definition(gpu_ops.conv2d, conv.conv2d, convolutions())


@TENSOR_CORES
def test_convolution_and_bias(with_twins, monkeypatch, tensor_cores):
    monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x: tensor_cores)
    drawn = of_kernel(3, bias=True, stride=st.integers(1, 2), padding=st.just(1))
    is_its_definition(gpu_ops.conv2d_bias, conv.conv2d_bias, drawn)


def test_linear(with_twins, monkeypatch):
    monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x: True)
    is_its_definition(gpu_ops.linear, linear.linear, linears())


def test_attention(monkeypatch):
    for name in ("softmax", "softmax_backward", "to_heads", "to_images"):
        monkeypatch.setattr(gpu_attention, f"{name}_on_gpu", getattr(gpu_attention, name))
    is_its_definition(gpu_attention.attention, attention.attention, attentions())


def test_the_matrix_of_windows_is_bounded(with_twins, monkeypatch):
    sizes = []

    def noted(*arguments):
        found = columns.im2col(*arguments)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(gpu_ops, "im2col_on_gpu", noted)
    monkeypatch.setattr(gpu_ops, "COLUMNS", 2000)
    x, w = map(leaf, draw((16, 8, 2, 3), (3, 3, 3, 4)))
    gpu_ops.conv2d(x, w).sum().backward()
    assert len(sizes) > 4 and max(sizes) <= 2000
    # Forward, and once more for the weight's gradient.
    assert sum(sizes) == 2 * 16 * 8 * 2 * 27


def test_group_norm(with_twins):
    is_its_definition(gpu_ops.group_norm, norm.group_norm, group_norms())


@TENSOR_CORES
def test_norm_silu_conv(with_twins, monkeypatch, tensor_cores):
    monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x: tensor_cores)
    is_its_definition(gpu_ops.norm_silu_conv, block.norm_silu_conv, norm_silu_convs())


@pytest.mark.parametrize("channels", [16, 24, 32, 64, 128, 512])
@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_a_block_of_a_norm_reads_whole_sectors(channels, groups):
    together = norm_silu.bundle(groups, channels // groups)
    assert groups % together == 0
    assert together * channels // groups % norm_silu.SECTOR == 0


def test_a_block_of_a_norm_takes_no_more_groups_than_it_can():
    found = {norm_silu.bundle(groups, width) for groups in range(1, 200) for width in range(1, 9)}
    assert max(found) <= norm_silu.MOST_GROUPS


@pytest.mark.parametrize(
    "blocks, pixels, parts", [(256, 1024, 1), (129, 4096, 1), (128, 4096, 2), (16, 4096, 16),
                              (1, 255, 1), (1, 256, 2), (1, 10**6, 256), (10**6, 10**6, 1)]
)  # fmt: skip
def test_few_blocks_are_cut_into_parts(blocks, pixels, parts):
    assert norm_silu.parts(blocks, pixels) == parts


# ---- what goes to the GPU's ops, and what does not ----------------------------------------------


def arguments(dtype=np.float32):
    shapes = (3, 5, 2, 6), (6,), (6,), (3, 3, 6, 8), (8,), (2, 8)
    x, gain, shift, w, b, row = (a.astype(dtype) for a in draw(*shapes))
    return {
        "norm_silu_conv": ((x, gain, shift, w, b, row, None), {"groups": 2}),
        "conv2d": ((x, w), {}),
        "conv2d_bias": ((x, w, b), {"stride": 1, "padding": 1}),
        "linear": ((x, w[0, 0], b), {}),
        "group_norm": ((x, gain, shift), {"groups": 2}),
    }


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """NumPy arrays are taken for a GPU's."""
    for module in (gpu_ops, fast):
        gpu = SimpleNamespace(__name__="cupy")
        monkeypatch.setattr(module, "array_module", lambda *arrays: gpu)
    monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x: True)


@pytest.mark.parametrize("name", arguments())
def test_numpy_arrays_are_left_to_the_cpu(name):
    call, options = arguments()[name]
    assert not getattr(gpu_ops, f"accepts_{name}")(*call, **options)
    assert fast.EQUIVALENTS[name][0](*call, **options)


@pytest.mark.parametrize("name", arguments())
def test_what_is_accepted_of_a_gpu(name, as_on_a_gpu):
    accepts = fast.EQUIVALENTS[name][0]
    call, options = arguments()[name]
    assert accepts(*call, **options)
    assert accepts(*(Tensor(a) if isinstance(a, np.ndarray) else a for a in call), **options)
    assert not accepts(*arguments(np.float64)[name][0], **options)
    for i, a in enumerate(call):
        if isinstance(a, np.ndarray):
            for other in (a.astype(np.float64), np.zeros(0, np.float32)):
                assert not accepts(*call[:i], other, *call[i + 1 :], **options)


def test_which_norm_silu_conv_is_accepted_of_a_gpu(as_on_a_gpu):
    accepts = fast.EQUIVALENTS["norm_silu_conv"][0]
    (x, gain, shift, w, b, row, _), options = arguments()["norm_silu_conv"]
    pointwise = np.zeros((1, 1, 6, 8), np.float32)
    assert accepts(x, gain, shift, w, b, 0.0, None, **options)
    assert not accepts(x, gain, shift, w, b, row, x, **options)  # a mask
    assert not accepts(x, gain, shift, w, b, x, None, **options)  # an image of another shape
    assert not accepts(x, gain, shift, pointwise, b, row, None, **options)


def test_which_convolution_is_accepted_of_a_gpu(as_on_a_gpu):
    accepts = fast.EQUIVALENTS["conv2d"][0]
    (x, _), _ = arguments()["conv2d"]
    assert not accepts(x, np.zeros((6, 3, 6, 4), np.float32))  # larger than the image
    assert accepts(x, np.zeros((3, 3, 6, 4), np.float32), stride=2)


def test_without_tensor_cores_cublas_multiplies(as_on_a_gpu, monkeypatch):
    call, options = arguments()["linear"]
    monkeypatch.setattr(gpu_ops, "has_tensor_cores", lambda x: False)
    assert not fast.EQUIVALENTS["linear"][0](*call, **options)


@pytest.mark.parametrize("capability, answer", [("75", False), ("80", True), ("100", True)])
def test_which_gpu_has_tensor_cores(monkeypatch, capability, answer):
    gpu = SimpleNamespace(ndarray=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "cupy", gpu)
    array = SimpleNamespace(device=SimpleNamespace(compute_capability=capability))
    assert backend.has_tensor_cores(array) is answer
    assert not backend.has_tensor_cores(np.zeros(1, np.float32))


def test_which_attention_is_accepted_of_a_gpu(as_on_a_gpu):
    accepts = fast.EQUIVALENTS["attention"][0]
    (x, *_), _ = arguments()["conv2d"]
    assert accepts(x, x, x, heads=2) and accepts(Tensor(x), x, Tensor(x), heads=3)
    assert not accepts(x, x, x, heads=4) and not accepts(x, x[:1], x, heads=2)
    assert not accepts(x, x, x.astype(np.float64), heads=2)


def test_tf32_is_set_and_put_back(monkeypatch):
    now = {"f": 1}
    core = SimpleNamespace(get_compute_type=now.get, set_compute_type=now.__setitem__)
    monkeypatch.setitem(sys.modules, "cupy._core", core)
    with pytest.raises(ZeroDivisionError), backend.tf32():
        assert now == {"f": 7} and backend.is_tf32()
        1 / 0
    assert now == {"f": 1} and not backend.is_tf32()
    monkeypatch.setitem(sys.modules, "cupy._core", None)  # not installed
    with backend.tf32():
        assert now == {"f": 1}


@pytest.mark.parametrize("asked", [True, False])
def test_a_run_computes_within_tf32_where_it_is_asked_for(monkeypatch, asked):
    within = []

    @contextmanager
    def tf32():
        within.append("in")
        yield
        within.append("out")

    monkeypatch.setattr(backend, "tf32", tf32)
    unet = UNet(UNetConfig(base=4, groups=2)).initialise(0)
    try:
        with computing(unet, unet, schedule.linear(10), "cuda", tf32=asked):
            assert within == ["in"] * asked
    finally:
        fast.disable()
    assert within == ["in", "out"] * asked
