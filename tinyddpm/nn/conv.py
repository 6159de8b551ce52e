"""Convolution as one matrix product (im2col), the readable reference that faster ones are compared with.

Every output pixel is the product of the window of the image under the kernel with the weight. So: write the window of each
pixel as one row of a matrix, and multiply by the weight as a matrix of kh·kw·Cin rows and Cout columns
(Chellapilla et al. 2006, "High performance convolutional neural networks for document processing").
"""
import math

from autograd import primitive
from autograd.backend import array_module

from .equivalents import replaceable
from .module import Module, Parameter


@replaceable
@primitive
def conv2d(x, w, *, stride=1, padding=1, needs=(True, True)):
    """x (H, W, N, Cin), w (kh, kw, Cin, Cout) -> (Ho, Wo, N, Cout), where Ho = (H + top + bottom − kh) // stride + 1, and Wo likewise.

    padding  rows and columns of zeros around the image: one number for all four sides, or ((top, bottom), (left, right))
    The kernel is not flipped: mathematicians call this a cross-correlation.
    """
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        raise ValueError(f"conv2d: expected x (H, W, N, Cin) and w (kh, kw, Cin, Cout), got {x.shape} and {w.shape}")
    rows, columns = ((padding, padding), (padding, padding)) if isinstance(padding, int) else padding
    xp = array_module(x)
    padded = xp.pad(x, (rows, columns, (0, 0), (0, 0)))
    height, width, (kh, kw, c_in, c_out) = *x.shape[:2], w.shape
    if padded.shape[0] < kh or padded.shape[1] < kw:
        raise ValueError(f"conv2d: a {kh}×{kw} kernel does not fit into an image of {padded.shape[0]}×{padded.shape[1]} (padding included)")
    w_matrix = w.reshape(kh * kw * c_in, c_out)
    y = windows(padded, kh, kw, stride) @ w_matrix  # (Ho, Wo, N, kh·kw·Cin) @ (kh·kw·Cin, Cout)

    def pullback(g):
        gx = gw = None
        g_matrix = g.reshape(-1, c_out)
        if needs[1]:  # made again rather than kept: it is kh·kw times as large as x
            gw = windows(padded, kh, kw, stride).reshape(-1, kh * kw * c_in).T @ g_matrix
            gw = gw.reshape(kh, kw, c_in, c_out)
        if needs[0]:
            g_windows = (g_matrix @ w_matrix.T).reshape(*g.shape[:3], kh * kw * c_in)
            g_padded = add_windows(g_windows, padded.shape, kh, kw, stride)
            gx = g_padded[rows[0]:rows[0] + height, columns[0]:columns[0] + width]
        return gx, gw

    return y, pullback


def windows(padded, kh, kw, stride):
    """im2col: the window under each output pixel, (Hp, Wp, N, C) -> (Ho, Wo, N, kh·kw·C)."""
    hp, wp, n, c = padded.shape
    ho, wo = (hp - kh) // stride + 1, (wp - kw) // stride + 1
    out = array_module(padded).empty((ho, wo, n, kh, kw, c), padded.dtype)
    for i in range(kh):
        for j in range(kw):
            out[:, :, :, i, j] = padded[i:i + stride * ho:stride, j:j + stride * wo:stride]
    return out.reshape(ho, wo, n, kh * kw * c)


def add_windows(g, shape, kh, kw, stride):
    """The adjoint of `windows` (col2im): a pixel gets the sum over all windows that it is in."""
    ho, wo, n = g.shape[:3]
    g = g.reshape(ho, wo, n, kh, kw, shape[3])
    out = array_module(g).zeros(shape, g.dtype)
    for i in range(kh):
        for j in range(kw):
            out[i:i + stride * ho:stride, j:j + stride * wo:stride] += g[:, :, :, i, j]
    return out


class Conv2d(Module):
    """x (H, W, N, inputs) -> c · (conv2d(x, weight) + bias), (Ho, Wo, N, outputs). For c and zero see `Linear`."""

    def __init__(self, inputs, outputs, kernel=3, stride=1, padding=None, c=1.0, zero=False):
        self.c, self.stride = c, stride
        self.padding = kernel // 2 if padding is None else padding
        fan_in = kernel * kernel * inputs
        self.weight = Parameter(kernel, kernel, inputs, outputs, spread=0.0 if zero else math.sqrt(3 / fan_in) / c)
        self.bias = Parameter(outputs)

    def effective(self):
        """The weight and the bias that the layer computes with."""
        return self.c * self.weight, self.c * self.bias

    def forward(self, x):
        return conv2d_bias(x, *self.effective(), stride=self.stride, padding=self.padding)


@replaceable
def conv2d_bias(x, w, bias, *, stride, padding):
    return conv2d(x, w, stride=stride, padding=padding) + bias
