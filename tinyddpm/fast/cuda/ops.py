"""Faster equivalents of the definitions in `tinyddpm.nn`, on float32 arrays of a GPU.

Each is a primitive with its definition's arguments. Beside it stands `accepts_…`: for which
arguments it is the same and faster. Everything else is left to the definition: a CPU, float64 in a
gradient check, dropout.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from autograd import Tensor, primitive
from autograd.backend import Forward, array_module, has_tensor_cores

from ...types import Array
from ..convolutions import Padding, Sides
from .add import add_on_gpu
from .columns import col2im_on_gpu, im2col_on_gpu
from .convolution import convolve_on_gpu, input_gradient_on_gpu
from .norm_silu import backward_on_gpu, forward_on_gpu
from .weight_gradient import weight_gradient_on_gpu

Operand: TypeAlias = Array | Tensor
Needs: TypeAlias = tuple[bool, ...]
Gradients: TypeAlias = tuple[Array | None, Array | None, Array | None]
Backward: TypeAlias = Callable[[Array, Needs], Gradients]  # of input, weight and bias

COLUMNS = 2**26  # numbers in the matrix of windows at any time: 256 MB
MOST = 2**31  # numbers in an array: the kernels count in 32 bits


def is_fast(*operands: Any) -> bool:
    """Are these, or do these Tensors hold, GPU arrays of float32, none of them empty?"""
    arrays = [a.data if isinstance(a, Tensor) else a for a in operands]
    return all(
        array_module(a).__name__ == "cupy" and a.dtype.char == "f" and 0 < a.size < MOST
        for a in arrays
    )


def accepts_norm_silu_conv(
    x: Operand,
    gain: Operand,
    shift: Operand,
    weight: Operand,
    bias: Operand,
    added: Operand | float,
    mask: Operand | None,
    *,
    groups: int,
    eps: float = 1e-5,
) -> bool:
    """No dropout and a 3×3 kernel. It adds nothing, a row for each sample, or a whole image."""
    if mask is not None or not accepts_group_norm(x, gain, shift, groups=groups):
        return False
    if not accepts_conv2d(x, weight) or weight.shape[:2] != (3, 3):
        return False
    if not is_fast(bias) or bias.shape != weight.shape[3:]:
        return False
    if isinstance(added, float):
        return added == 0
    row, image = (x.shape[2], *bias.shape), (*x.shape[:3], *bias.shape)
    return is_fast(added) and added.shape in (row, image)


@primitive
def norm_silu_conv(
    x: Array,
    gain: Array,
    shift: Array,
    weight: Array,
    bias: Array,
    added: Array | float,
    mask: None,
    *,
    groups: int,
    eps: float = 1e-5,
    needs: Needs = (True,) * 7,
) -> Forward:
    """conv2d(silu(group_norm(x)), weight) + bias + added, as `nn.block.norm_silu_conv`."""
    x, gain, shift, bias = _contiguous(x, gain, shift, bias)
    hidden, mean, r = forward_on_gpu(x, gain, shift, groups, eps, silu=True)
    ndim = getattr(added, "ndim", 0)
    row, image = (_contiguous(added)[0] if ndim == n else None for n in (2, 4))
    y, conv_backward = _convolve(hidden, weight, 1, _sides(1), bias, row, image)

    def pullback(g: Array) -> tuple[Array | None, ...]:
        (g,) = _contiguous(g)
        g_hidden, g_weight, g_bias = conv_backward(g, (any(needs[:3]), *needs[3:5]))
        gx = g_gain = g_shift = None
        if g_hidden is not None:
            gx, of_samples = backward_on_gpu(g_hidden, x, gain, shift, mean, r, silu=True)
            g_gain, g_shift = of_samples.sum(1)
        g_added = _sum_of_pixels(g) if ndim == 2 else g
        return gx, g_gain, g_shift, g_weight, g_bias, g_added, None

    return y, pullback


def accepts_conv2d(x: Operand, w: Operand, *, stride: int = 1, padding: Padding = 1) -> bool:
    """Any kernel that fits into the image, as long as one row of windows can be held."""
    if not is_fast(x, w) or x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        return False
    height, width = _output_size(x, w, stride, _sides(padding))
    row = width * x.shape[2] * math.prod(w.shape[:3])
    output = height * width * x.shape[2] * w.shape[3]
    return min(height, width) > 0 and row < MOST and output < MOST


@primitive
def conv2d(
    x: Array,
    w: Array,
    *,
    stride: int = 1,
    padding: Padding = 1,
    needs: Needs = (True, True),
) -> Forward:
    """As `nn.conv.conv2d`."""
    y, conv_backward = _convolve(_contiguous(x)[0], w, stride, _sides(padding))
    return y, lambda g: conv_backward(_contiguous(g)[0], (*needs, False))[:2]


def accepts_conv2d_bias(
    x: Operand, w: Operand, bias: Operand, *, stride: int, padding: Padding
) -> bool:
    """As `accepts_conv2d`."""
    if not accepts_conv2d(x, w, stride=stride, padding=padding):
        return False
    return is_fast(bias) and bias.shape == w.shape[3:]


@primitive
def conv2d_bias(
    x: Array, w: Array, bias: Array, *, stride: int, padding: Padding, needs: Needs = (True,) * 3
) -> Forward:
    """conv2d(x, w) + bias, as `nn.conv.conv2d_bias`."""
    x, bias = _contiguous(x, bias)
    y, conv_backward = _convolve(x, w, stride, _sides(padding), bias)
    return y, lambda g: conv_backward(_contiguous(g)[0], needs)


def accepts_linear(x: Operand, weight: Operand, bias: Operand) -> bool:
    """Any x (…, inputs) on a GPU with tensor cores; without them cuBLAS is as fast."""
    if not is_fast(x, weight, bias) or x.ndim <= 1:
        return False
    fits = x.shape[-1] == weight.shape[0] and bias.shape == weight.shape[1:]
    fits = fits and math.prod(x.shape[:-1]) * weight.shape[-1] < MOST
    return fits and has_tensor_cores(x.data if isinstance(x, Tensor) else x)


@primitive
def linear(x: Array, weight: Array, bias: Array, *, needs: Needs = (True,) * 3) -> Forward:
    """x @ weight + bias, as `nn.linear.linear`: a 1×1 convolution of a single pixel."""
    c_in, c_out = weight.shape
    x, bias = _contiguous(x, bias)
    pixel, kernel = x.reshape(1, 1, -1, c_in), weight.reshape(1, 1, c_in, c_out)
    y, conv_backward = _convolve(pixel, kernel, 1, _sides(0), bias)

    def pullback(g: Array) -> tuple[Array | None, ...]:
        gx, gw, gb = conv_backward(_contiguous(g)[0].reshape(1, 1, -1, c_out), needs)
        return None if gx is None else gx.reshape(x.shape), None if gw is None else gw[0, 0], gb

    return y.reshape(*x.shape[:-1], c_out), pullback


def accepts_group_norm(
    x: Operand, gain: Operand, bias: Operand, *, groups: int, eps: float = 1e-5
) -> bool:
    """Any image."""
    if not is_fast(x, gain, bias) or x.ndim != 4 or x.shape[3] % groups:
        return False
    return gain.shape == bias.shape == x.shape[3:]


@primitive
def group_norm(
    x: Array,
    gain: Array,
    bias: Array,
    *,
    groups: int,
    eps: float = 1e-5,
    needs: Needs = (True,) * 3,
) -> Forward:
    """As `nn.norm.group_norm`."""
    x, gain, bias = _contiguous(x, gain, bias)
    y, mean, r = forward_on_gpu(x, gain, bias, groups, eps, silu=False)

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        (g,) = _contiguous(g)
        gx, of_samples = backward_on_gpu(g, x, gain, bias, mean, r, silu=False)
        g_gain, g_bias = of_samples.sum(1)
        return gx, g_gain, g_bias

    return y, pullback


def _convolve(
    x: Array,
    w: Array,
    stride: int,
    padding: Sides,
    bias: Array | None = None,
    row: Array | None = None,
    image: Array | None = None,
) -> tuple[Array, Backward]:
    """The output, and the pullback of input, weight and bias. All arrays are contiguous.

    bias, row and image are added as in `add.add`.
    """
    if has_tensor_cores(x):
        return _by_tiles(x, _contiguous(w)[0], stride, padding, bias, row, image)
    y, backward = _by_columns(x, w, stride, padding)
    if bias is not None:
        add_on_gpu(y, bias, row, image)
    return y, backward


def _by_tiles(
    x: Array,
    w: Array,
    stride: int,
    padding: Sides,
    bias: Array | None,
    row: Array | None,
    image: Array | None,
) -> tuple[Array, Backward]:
    """By tensor cores (`convolution.py`, `weight_gradient.py`)."""
    kernel, corner = w.shape[:2], (padding[0][0], padding[1][0])
    size = _output_size(x, w, stride, padding)
    y = convolve_on_gpu(x, w, stride, corner, size, bias, row, image)

    def backward(g: Array, needs: Needs) -> Gradients:
        gx = gw = gb = None
        if needs[0]:
            gx = input_gradient_on_gpu(g, w, stride, corner, x.shape[:2])
        if any(needs[1:]):
            gw, gb = weight_gradient_on_gpu(x, g, kernel, stride, corner)
        return gx, gw, gb

    return y, backward


def _by_columns(x: Array, w: Array, stride: int, padding: Sides) -> tuple[Array, Backward]:
    """By the matrix of windows, a bounded part of it at a time, and by cuBLAS."""
    xp, c_out = array_module(x), w.shape[3]
    w_matrix = w.reshape(-1, c_out)
    size = _output_size(x, w, stride, padding)
    geometry = w.shape[:2], stride, (padding[0][0], padding[1][0]), size
    row = size[1] * x.shape[2]  # output pixels
    step = max(1, COLUMNS // (row * w_matrix.shape[0]))
    parts = [(start, min(size[0], start + step)) for start in range(0, size[0], step)]
    pointwise = geometry == ((1, 1), 1, (0, 0), x.shape[:2])

    def columns(rows: tuple[int, int]) -> Array:
        if pointwise:
            return x[slice(*rows)].reshape(-1, x.shape[3])
        return im2col_on_gpu(x, *geometry, rows)

    y = xp.empty((*size, x.shape[2], c_out), x.dtype)
    for rows in parts:
        xp.matmul(columns(rows), w_matrix, out=y[slice(*rows)].reshape(-1, c_out))

    def backward(g: Array, needs: Needs) -> Gradients:
        gx = xp.zeros_like(x) if needs[0] else None
        gw = xp.zeros_like(w_matrix) if needs[1] else None
        gb = _sum_of_pixels(g).sum(0) if needs[2] else None
        for rows in parts:
            g_matrix = g[slice(*rows)].reshape(-1, c_out)
            if gw is not None:
                gw += columns(rows).T @ g_matrix
            if gx is not None and pointwise:
                xp.matmul(g_matrix, w_matrix.T, out=gx[slice(*rows)].reshape(-1, x.shape[3]))
            elif gx is not None:
                col2im_on_gpu(g_matrix @ w_matrix.T, gx, *geometry, rows)
        return gx, None if gw is None else gw.reshape(w.shape), gb

    return y, backward


def _sides(padding: Padding) -> Sides:
    """One number is for all four sides."""
    return ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding


def _output_size(x: Operand, w: Operand, stride: int, padding: Sides) -> tuple[int, int]:
    """(Ho, Wo), not positive where the kernel does not fit."""
    height, width = ((x.shape[i] + sum(padding[i]) - w.shape[i]) // stride + 1 for i in (0, 1))
    return height, width


def _sum_of_pixels(g: Array) -> Array:
    """(H, W, N, C) -> (N, C)."""
    return g.reshape(-1, g.shape[2] * g.shape[3]).sum(0).reshape(g.shape[2:])


def _contiguous(*arrays: Any) -> list[Array]:
    return [array_module(a).ascontiguousarray(a) for a in arrays]
