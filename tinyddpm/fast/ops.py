"""Faster equivalents of the definitions in `tinyddpm.nn`, on NumPy arrays of float32.

Each is a primitive with its definition's arguments. Beside it stands `accepts_…`: for which
arguments it is known to be the same and faster. Everything else is left to the definition: a GPU,
float64 in a gradient check, dropout, other kernels.
"""

from typing import Any, TypeAlias

import numpy as np

from autograd import Tensor, primitive
from autograd.backend import Forward

from ..types import Array
from . import norm_silu
from .attention import softmax_attention
from .buffers import ones
from .convolutions import (
    Backward,
    Gradients,
    Padding,
    by_tiles,
    few_outputs,
    one_by_one,
    pixels_times,
)
from .tiles import UPSAMPLING_TILES, tiles_for

Operand: TypeAlias = Array | Tensor
Needs: TypeAlias = tuple[bool, ...]

FEW = 4  # channels up to which tiles do not pay
SMALL = 2  # side of an image up to which they do not: a tile has 4×4 outputs


def is_fast(*operands: Any) -> bool:
    """Are these, or do these Tensors hold, NumPy arrays of float32, none of them empty?"""
    for x in operands:
        if isinstance(x, Tensor):
            x = x.data
        if type(x) is not np.ndarray or x.dtype != np.float32 or x.size == 0:
            return False
    return True


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
    """No dropout, a 3×3 kernel, an image that is not tiny.

    It adds nothing, a row for each sample, or a whole image.
    """
    if mask is not None or not is_fast(x, gain, shift, weight, bias):
        return False
    if x.ndim != 4 or weight.ndim != 4 or x.shape[3] % groups:
        return False
    height, width, n, c_in = x.shape
    c_out = weight.shape[3]
    if min(height, width) <= SMALL and c_out > FEW:
        return False  # its parts have equivalents that suit it better
    if weight.shape != (3, 3, c_in, c_out) or bias.shape != (c_out,):
        return False
    if gain.shape != (c_in,) or shift.shape != (c_in,):
        return False
    if isinstance(added, float):
        return added == 0
    return is_fast(added) and added.shape in ((n, c_out), (height, width, n, c_out))


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
    """conv2d(silu(group_norm(x)), weight) + bias + added, as `nn.block.norm_silu_conv`.

    Nothing of it is computed twice.
    """
    x, size, keep = np.ascontiguousarray(x), x.shape[:2], any(needs)
    is_image = isinstance(added, np.ndarray) and added.ndim == 4
    offset, image = (bias, np.ascontiguousarray(added)) if is_image else (bias + added, None)
    if weight.shape[3] <= FEW:
        hidden = np.empty(x.shape, x.dtype)
        saved = norm_silu.forward(x, gain, shift, groups, hidden, keep, eps)
        y, conv_backward = few_outputs(hidden, weight)
        y += offset
        y = y if image is None else y + image
    else:
        algorithm = tiles_for(size)
        padded, hidden = algorithm.padded(x, size, keep)
        saved = norm_silu.forward(x, gain, shift, groups, hidden, keep, eps)
        y, conv_backward = by_tiles(algorithm, padded, size, weight, offset, image)

    def pullback(g: Array) -> tuple[Array | None, ...]:
        g = np.ascontiguousarray(g)
        g_offset = sum_of_pixels(g)
        g_hidden, g_weight = conv_backward(g, any(needs[:3]), needs[3])
        gx = g_gain = g_shift = None
        if g_hidden is not None and saved is not None:
            gx, g_gain, g_shift = norm_silu.backward(g_hidden, x, saved)
        return gx, g_gain, g_shift, g_weight, g_offset.sum(0), g if is_image else g_offset, None

    return y, pullback


def accepts_upsample_conv(x: Operand, weight: Operand, bias: Operand) -> bool:
    """A 3×3 kernel."""
    if not is_fast(x, weight, bias) or x.ndim != 4 or weight.ndim != 4:
        return False
    return weight.shape[:3] == (3, 3, x.shape[3]) and bias.shape == weight.shape[3:]


@primitive
def upsample_conv(x: Array, weight: Array, bias: Array, *, needs: Needs = (True,) * 3) -> Forward:
    """conv2d(repeat2(x), weight) + bias, as `nn.block.upsample_conv`, without the large image."""
    height, width, n, _ = x.shape
    size = (2 * height, 2 * width)
    padded, hole = UPSAMPLING_TILES.padded(x, size, keep=any(needs))
    hole[...] = x
    offset = np.broadcast_to(bias, (n, len(bias)))
    y, conv_backward = by_tiles(UPSAMPLING_TILES, padded, size, weight, offset)

    def pullback(g: Array) -> tuple[Array | None, ...]:
        g = np.ascontiguousarray(g)
        gx, g_weight = conv_backward(g, needs[0], needs[1])
        return None if gx is None else gx.copy(), g_weight, sum_of_pixels(g).sum(0)

    return y, pullback


def accepts_conv2d(x: Operand, w: Operand, *, stride: int = 1, padding: Padding = 1) -> bool:
    """1×1, or 3×3 with more than a few channels and an image that is not tiny."""
    if not is_fast(x, w) or x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        return False
    kind = (*w.shape[:2], stride, padding)
    if kind == (1, 1, 1, 0):
        return True
    return kind == (3, 3, 1, 1) and min(w.shape[2:]) > FEW and min(x.shape[:2]) > SMALL


@primitive
def conv2d(
    x: Array, w: Array, *, stride: int = 1, padding: Padding = 1, needs: Needs = (True, True)
) -> Forward:
    """`nn.conv.conv2d` by the method that suits its shape."""
    y, conv_backward = _convolve(x, w, any(needs))
    return y, lambda g: conv_backward(np.ascontiguousarray(g), *needs)


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
    """conv2d(x, w) + bias, as `nn.conv.conv2d_bias`, in place."""
    y, conv_backward = _convolve(x, w, any(needs))
    y += bias

    def pullback(g: Array) -> tuple[Array | None, ...]:
        g = np.ascontiguousarray(g)
        return *conv_backward(g, *needs[:2]), sum_of_pixels(g).sum(0)

    return y, pullback


def _convolve(x: Array, w: Array, keep: bool) -> tuple[Array, Backward]:
    """By the method for this kernel, 1×1 or 3×3. `keep` as in `TileAlgorithm.padded`."""
    x = np.ascontiguousarray(x)
    return one_by_one(x, w) if len(w) == 1 else _three_by_three(x, w, keep)


def _three_by_three(x: Array, w: Array, keep: bool) -> tuple[Array, Backward]:
    size, n, c_out = x.shape[:2], x.shape[2], w.shape[3]
    algorithm = tiles_for(size)
    padded, hole = algorithm.padded(x, size, keep)
    hole[...] = x
    y, conv_backward = by_tiles(algorithm, padded, size, w, np.zeros((n, c_out), x.dtype))

    def backward(g: Array, needs_input: bool, needs_weight: bool) -> Gradients:
        gx, gw = conv_backward(g, needs_input, needs_weight)
        return None if gx is None else gx.copy(), gw

    return y, backward


def sum_of_pixels(g: Array) -> Array:
    """(H, W, N, C) -> (N, C)."""
    height, width, n, c = g.shape
    one = ones(height * width, g.dtype)
    return (one @ g.reshape(height * width, n * c)).reshape(n, c)


def accepts_linear(x: Operand, weight: Operand, bias: Operand) -> bool:
    """Any x (…, inputs)."""
    if not is_fast(x, weight, bias) or x.ndim <= 1:
        return False
    return x.shape[-1] == len(weight) and bias.shape == weight.shape[1:]


@primitive
def linear(x: Array, weight: Array, bias: Array, *, needs: Needs = (True,) * 3) -> Forward:
    """As `nn.linear.linear`, x @ weight + bias."""
    y, product_backward = pixels_times(np.ascontiguousarray(x), weight)
    y += bias

    def pullback(g: Array) -> tuple[Array | None, ...]:
        g = np.ascontiguousarray(g)
        outputs = len(bias)
        g_bias = ones(g.size // outputs, g.dtype) @ g.reshape(-1, outputs)
        return *product_backward(g, *needs[:2]), g_bias

    return y, pullback


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
    x = np.ascontiguousarray(x)
    y, saved = norm_silu.forward_norm(x, gain, bias, groups, eps)
    return y, lambda g: norm_silu.backward(g, x, saved)


def accepts_attention(q: Operand, k: Operand, v: Operand, *, heads: int) -> bool:
    """Images of one shape."""
    if not is_fast(q, k, v) or q.ndim != 4 or q.shape[3] % heads:
        return False
    return q.shape == k.shape == v.shape


@primitive
def attention(q: Array, k: Array, v: Array, *, heads: int, needs: Needs = (True,) * 3) -> Forward:
    """softmax(q kᵀ/√d) v, as `nn.attention.attention`."""
    return softmax_attention(q, k, v, heads)
