"""Faster equivalents of the definitions in `tinyddpm.nn`, on NumPy arrays of float32.

Each is a primitive with its definition's arguments and, beside it, `accepts_…`: for which arguments it is known to be
the same and faster. Everything else (a GPU, float64 in a gradient check, dropout, other kernels) is left to the definition.
"""
import numpy as np

from autograd import Tensor, primitive

from . import norm_silu
from .buffers import ones
from .convolutions import by_tiles, few_outputs, one_by_one, pixels_times
from .tiles import UPSAMPLE_CONV3, conv3

FEW = 4     # channels up to which tiles do not pay
SMALL = 2   # side of an image up to which they do not: a tile has 4×4 outputs


def is_fast(x):
    """Is this, or does this Tensor hold, a NumPy array of float32, not empty?"""
    x = x.data if isinstance(x, Tensor) else x
    return type(x) is np.ndarray and x.dtype == np.float32 and x.size > 0


def accepts_norm_silu_conv(x, gain, shift, weight, bias, added, mask, *, groups, eps=1e-5):
    """No dropout, a 3×3 kernel, an image that is not tiny, and to be added: nothing, a row for each sample, or a whole image."""
    if mask is not None or not (is_fast(x) and is_fast(gain) and is_fast(shift) and is_fast(weight) and is_fast(bias)):
        return False
    if x.ndim != 4 or weight.ndim != 4 or x.shape[3] % groups:
        return False
    height, width, n, c_in = x.shape
    c_out = weight.shape[3]
    shapes_fit = weight.shape == (3, 3, c_in, c_out) and bias.shape == (c_out,) and gain.shape == shift.shape == (c_in,)
    nothing_added = isinstance(added, float) and added == 0
    if min(height, width) <= SMALL and c_out > FEW:
        return False  # its parts have equivalents that suit it better
    return shapes_fit and (nothing_added or is_fast(added) and added.shape in ((n, c_out), (height, width, n, c_out)))


@primitive
def norm_silu_conv(x, gain, shift, weight, bias, added, mask, *, groups, eps=1e-5, needs=(True,) * 7):
    """conv2d(silu(group_norm(x)), weight) + bias + added, as `nn.block.norm_silu_conv`, and nothing of it computed twice."""
    x, size, keep = np.ascontiguousarray(x), x.shape[:2], any(needs)
    is_image = isinstance(added, np.ndarray) and added.ndim == 4
    row, image = (bias, np.ascontiguousarray(added)) if is_image else (bias + added, None)
    if weight.shape[3] <= FEW:
        hidden = np.empty(x.shape, x.dtype)
        saved = norm_silu.forward(x, gain, shift, groups, hidden, keep, eps)
        y, conv_backward = few_outputs(hidden, weight)
        y += row
        y = y + image if is_image else y
    else:
        algorithm = conv3(size)
        padded, hidden = algorithm.padded(x, size, keep)
        saved = norm_silu.forward(x, gain, shift, groups, hidden, keep, eps)
        y, conv_backward = by_tiles(algorithm, padded, size, weight, row, image)

    def pullback(g):
        g = np.ascontiguousarray(g)
        g_row = sum_of_pixels(g)
        g_hidden, g_weight = conv_backward(g, any(needs[:3]), needs[3])
        gx, g_gain, g_shift = norm_silu.backward(g_hidden, x, saved) if any(needs[:3]) else (None, None, None)
        return gx, g_gain, g_shift, g_weight, g_row.sum(0), g if is_image else g_row, None

    return y, pullback


def accepts_upsample_conv(x, weight, bias):
    """A 3×3 kernel."""
    return (is_fast(x) and is_fast(weight) and is_fast(bias) and x.ndim == weight.ndim == 4
            and weight.shape == (3, 3, x.shape[3], weight.shape[3]) and bias.shape == weight.shape[3:])


@primitive
def upsample_conv(x, weight, bias, *, needs=(True,) * 3):
    """conv2d(repeat2(x), weight) + bias, as `nn.block.upsample_conv`, without the large image."""
    height, width, n, _ = x.shape
    size = (2 * height, 2 * width)
    padded, hole = UPSAMPLE_CONV3.padded(x, size, keep=any(needs))
    hole[...] = x
    row = np.broadcast_to(bias, (n, len(bias)))
    y, conv_backward = by_tiles(UPSAMPLE_CONV3, padded, size, weight, row)

    def pullback(g):
        g = np.ascontiguousarray(g)
        gx, g_weight = conv_backward(g, needs[0], needs[1])
        return gx.copy() if needs[0] else None, g_weight, sum_of_pixels(g).sum(0)

    return y, pullback


def accepts_conv2d(x, w, *, stride=1, padding=1):
    """1×1, or 3×3 with more than a few inputs and an image that is not tiny."""
    return is_fast(x) and is_fast(w) and _convolution(x, w, stride, padding) is not None


@primitive
def conv2d(x, w, *, stride=1, padding=1, needs=(True, True)):
    """`nn.conv.conv2d` by the method that suits its shape."""
    y, conv_backward = _convolution(x, w, stride, padding)(np.ascontiguousarray(x), w, any(needs))
    return y, lambda g: conv_backward(np.ascontiguousarray(g), *needs)


def accepts_conv2d_bias(x, w, bias, *, stride, padding):
    """As `accepts_conv2d`."""
    return accepts_conv2d(x, w, stride=stride, padding=padding) and is_fast(bias) and bias.shape == w.shape[3:]


@primitive
def conv2d_bias(x, w, bias, *, stride, padding, needs=(True,) * 3):
    """conv2d(x, w) + bias, as `nn.conv.conv2d_bias`, in place."""
    y, conv_backward = _convolution(x, w, stride, padding)(np.ascontiguousarray(x), w, any(needs))
    y += bias

    def pullback(g):
        g = np.ascontiguousarray(g)
        return *conv_backward(g, *needs[:2]), sum_of_pixels(g).sum(0)

    return y, pullback


def _convolution(x, w, stride, padding):
    """The function that convolves such arrays, or None if it is the definition that does."""
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2] or padding not in (0, 1):
        return None
    kind = (*w.shape[:2], stride, padding)
    if kind == (1, 1, 1, 0):
        return lambda x, w, keep: one_by_one(x, w)
    if kind == (3, 3, 1, 1) and min(w.shape[2:]) > FEW and min(x.shape[:2]) > SMALL:
        return _conv3
    return None


def _conv3(x, w, keep):
    size, n, c_out = x.shape[:2], x.shape[2], w.shape[3]
    algorithm = conv3(size)
    padded, hole = algorithm.padded(x, size, keep)
    hole[...] = x
    y, conv_backward = by_tiles(algorithm, padded, size, w, np.zeros((n, c_out), x.dtype))

    def backward(g, needs_input, needs_weight):
        gx, gw = conv_backward(g, needs_input, needs_weight)
        return gx.copy() if needs_input else None, gw

    return y, backward


def sum_of_pixels(g):
    """(H, W, N, C) -> (N, C)."""
    height, width, n, c = g.shape
    return (ones(height * width, g.dtype) @ g.reshape(height * width, n * c)).reshape(n, c)


def accepts_linear(x, weight, bias):
    """Any x (…, inputs)."""
    return (is_fast(x) and is_fast(weight) and is_fast(bias) and x.ndim > 1
            and x.shape[-1] == len(weight) and bias.shape == weight.shape[1:])


@primitive
def linear(x, weight, bias, *, needs=(True,) * 3):
    """x @ weight + bias, as `nn.linear.linear`."""
    y, product_backward = pixels_times(np.ascontiguousarray(x), weight)
    y += bias

    def pullback(g):
        g = np.ascontiguousarray(g)
        return *product_backward(g, *needs[:2]), ones(g.size // len(bias), g.dtype) @ g.reshape(-1, len(bias))

    return y, pullback


def accepts_group_norm(x, gain, bias, *, groups, eps=1e-5):
    """Any image."""
    return (is_fast(x) and is_fast(gain) and is_fast(bias) and x.ndim == 4
            and gain.shape == bias.shape == x.shape[3:] and x.shape[3] % groups == 0)


@primitive
def group_norm(x, gain, bias, *, groups, eps=1e-5, needs=(True,) * 3):
    """As `nn.norm.group_norm`."""
    x = np.ascontiguousarray(x)
    y, saved = norm_silu.forward_norm(x, gain, bias, groups, eps)
    return y, lambda g: norm_silu.backward(g, x, saved)


def accepts_attention(q, k, v, *, heads):
    """Images of one shape."""
    return is_fast(q) and is_fast(k) and is_fast(v) and q.ndim == 4 and q.shape == k.shape == v.shape and q.shape[3] % heads == 0


@primitive
def attention(q, k, v, *, heads, needs=(True,) * 3):
    """softmax(q kᵀ/√d) v, as `nn.attention.attention`: in place, and with one node of the graph instead of fifteen."""
    height, width, n, channels = q.shape
    scale = (channels // heads)**-0.5

    def by_head(h):  # (H, W, N, C) -> (N, heads, H·W, d), a view
        return h.reshape(height * width, n, heads, -1).transpose(1, 2, 0, 3)

    q, k, v = by_head(q), by_head(k), by_head(v)
    p = q @ k.swapaxes(2, 3)
    p *= scale
    p -= p.max(3, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(3, keepdims=True)
    out = np.empty((height, width, n, channels), p.dtype)
    np.matmul(p, v, out=by_head(out))

    def pullback(g):
        g_q, g_k, g_v = np.empty((3, *out.shape), g.dtype)
        g = by_head(np.ascontiguousarray(g))
        np.matmul(p.swapaxes(2, 3), g, out=by_head(g_v))
        g_p = g @ v.swapaxes(2, 3)
        g_p -= np.einsum("nhij,nhij->nhi", g_p, p)[..., None]
        g_p *= p
        g_p *= scale
        np.matmul(g_p, k, out=by_head(g_q))
        np.matmul(g_p.swapaxes(2, 3), q, out=by_head(g_k))
        return g_q, g_k, g_v

    return out, pullback
