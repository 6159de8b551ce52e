"""The NumPy twins of the GPU kernels are what the definitions say.

So is what the GPU's ops make of them, gradients included. That the kernels do what their twins do
is shown in test_kernels_on_cpu.py.
"""

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from autograd import Tensor, backend, backward, leaf, ops
from tinyddpm import fast, schedule
from tinyddpm.fast.cuda import add, columns, norm_silu, ops as gpu_ops
from tinyddpm.nn import UNet, UNetConfig, block, conv, norm
from tinyddpm.runs.computing import computing

TWINS = {
    "forward_on_gpu": norm_silu.forward,
    "backward_on_gpu": norm_silu.backward,
    "add_on_gpu": add.add,
    "im2col_on_gpu": columns.im2col,
    "col2im_on_gpu": columns.col2im,
}
CONVOLUTIONS = [  # image, kernel, options
    ((5, 4), (3, 3), {}),
    ((4, 6), (3, 3), {"stride": 2}),
    ((7, 5), (3, 2), {"stride": 3, "padding": ((2, 1), (0, 1))}),
    ((3, 4), (1, 1), {"padding": 0}),
    ((5, 5), (1, 1), {"stride": 2, "padding": 0}),
    ((4, 4), (5, 3), {"padding": ((2, 2), (1, 1))}),
    ((6, 4), (3, 3), {"stride": 2, "padding": ((0, 1), (0, 1))}),
]


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


def value_and_gradients(f, arrays, **options):
    """The output and, for a random gradient of it, those of all arrays.

    What is no array is passed on.
    """
    leaves = [leaf(a) if isinstance(a, np.ndarray) else a for a in arrays]
    out = f(*leaves, **options)
    backward(out, np.random.default_rng(1).standard_normal(out.shape))
    return [out.data, *(t.node.grad for t in leaves if isinstance(t, Tensor))]


def assert_same(f, definition, arrays, **options):
    found = value_and_gradients(f, arrays, **options)
    for a, b in zip(found, value_and_gradients(definition, arrays, **options), strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("most", [1, 300, 2**26])
@pytest.mark.parametrize("image, kernel, options", CONVOLUTIONS)
def test_convolution(with_twins, monkeypatch, image, kernel, options, most):
    monkeypatch.setattr(gpu_ops, "COLUMNS", most)
    assert_same(gpu_ops.conv2d, conv.conv2d, draw((*image, 2, 3), (*kernel, 3, 4)), **options)


def test_the_matrix_of_windows_is_bounded(with_twins, monkeypatch):
    sizes = []

    def noted(*arguments):
        found = columns.im2col(*arguments)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(gpu_ops, "im2col_on_gpu", noted)
    monkeypatch.setattr(gpu_ops, "COLUMNS", 2000)
    assert_same(gpu_ops.conv2d, conv.conv2d, draw((16, 8, 2, 3), (3, 3, 3, 4)))
    assert len(sizes) > 4 and max(sizes) <= 2000
    # Forward, and once more for the weight's gradient.
    assert sum(sizes) == 2 * 16 * 8 * 2 * 27


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(with_twins, groups):
    x, gain, bias = draw((3, 5, 2, 6), (6,), (6,))
    assert_same(gpu_ops.group_norm, norm.group_norm, (3 + 2 * x, gain, bias), groups=groups)
    y, mean, r = norm_silu.forward(x, gain, bias, groups, 1e-5, True)
    expected = ops.silu(norm.group_norm(x, gain, bias, groups=groups)).data
    np.testing.assert_allclose(y, expected, atol=1e-12)


@pytest.mark.parametrize("added", [0.0, (2, 4), (3, 5, 2, 4)])
def test_norm_silu_conv(with_twins, added):
    shapes = (3, 5, 2, 6), (6,), (6,), (3, 3, 6, 4), (4,)
    arrays = [*draw(*shapes), *(draw(added, seed=2) if added else [0.0])]
    assert_same(gpu_ops.norm_silu_conv, block.norm_silu_conv, [*arrays, None], groups=2)


@pytest.mark.parametrize("needs", [(0,), (3,), (4,), (5,), (0, 3)])
def test_only_the_gradients_that_are_needed(with_twins, needs):
    arrays = draw((3, 5, 2, 6), (6,), (6,), (3, 3, 6, 4), (4,), (2, 4))
    arrays = [leaf(a) if i in needs else a for i, a in enumerate(arrays)]
    backward(gpu_ops.norm_silu_conv(*arrays, None, groups=2), np.ones((3, 5, 2, 4)))
    assert all(np.abs(arrays[i].node.grad).max() > 0 for i in needs)


# ---- what goes to the GPU's ops, and what does not ----------------------------------------------


def arguments(dtype=np.float32):
    shapes = (3, 5, 2, 6), (6,), (6,), (3, 3, 6, 8), (8,), (2, 8)
    x, gain, shift, w, b, row = (a.astype(dtype) for a in draw(*shapes))
    return {
        "norm_silu_conv": ((x, gain, shift, w, b, row, None), {"groups": 2}),
        "conv2d": ((x, w), {}),
        "group_norm": ((x, gain, shift), {"groups": 2}),
    }


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """NumPy arrays are taken for a GPU's."""
    for module in (gpu_ops, fast):
        gpu = SimpleNamespace(__name__="cupy")
        monkeypatch.setattr(module, "array_module", lambda *arrays: gpu)


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


def test_tf32_is_set_and_put_back(monkeypatch):
    now = {"f": 1}
    core = SimpleNamespace(get_compute_type=now.get, set_compute_type=now.__setitem__)
    monkeypatch.setitem(sys.modules, "cupy._core", core)
    with pytest.raises(ZeroDivisionError), backend.tf32():
        assert now == {"f": 7}
        1 / 0
    assert now == {"f": 1}
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
    unet = UNet(UNetConfig(base=4, groups=2))
    try:
        with computing(unet, unet, schedule.linear(10), "cuda", tf32=asked):
            assert within == ["in"] * asked
    finally:
        fast.disable()
    assert within == ["in", "out"] * asked
