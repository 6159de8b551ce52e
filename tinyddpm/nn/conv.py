"""Convolution as one matrix product (im2col), the readable reference for faster ones.

An output pixel is a product: the window of the image under the kernel, times the weight. So: write
the window of each pixel as one row of a matrix, and multiply by the weight as a matrix of
kh·kw·Cin rows and Cout columns (Chellapilla et al. 2006, "High performance convolutional neural
networks for document processing").
"""

import math
from typing import Any

from autograd import Tensor, primitive
from autograd.backend import Array, Forward, array_module, expect

from ..equivalents import replaceable
from .module import Module, Parameter


@replaceable
@primitive
def conv2d(
    x: Array, w: Array, *, stride: int = 1, padding: Any = 1, needs: tuple[bool, ...] = (True, True)
) -> Forward:
    """x (H, W, N, Cin), w (kh, kw, Cin, Cout) -> (Ho, Wo, N, Cout); nn/__init__.py says why so.

    Ho = (H + top + bottom − kh) // stride + 1, and Wo likewise. The kernel is not flipped:
    mathematicians call this a cross-correlation. `padding` is how many rows and columns of zeros
    surround the image: one number for all four sides, or ((top, bottom), (left, right)).
    """
    fits = x.ndim == 4 and w.ndim == 4 and x.shape[3] == w.shape[2]
    needed = "x (H, W, N, Cin) and w (kh, kw, Cin, Cout)"
    expect(fits, "conv2d", needed, f"{x.shape} and {w.shape}")
    rows, columns = [(padding, padding)] * 2 if isinstance(padding, int) else padding
    padded = array_module(x).pad(x, (rows, columns, (0, 0), (0, 0)))
    (height, width), (kh, kw, c_in, c_out), (hp, wp) = x.shape[:2], w.shape, padded.shape[:2]
    expect(kh <= hp and kw <= wp, "w", f"a kernel that fits into {hp}×{wp} pixels", f"{kh}×{kw}")
    w_matrix = w.reshape(kh * kw * c_in, c_out)
    y = windows(padded, kh, kw, stride) @ w_matrix  # (…, kh·kw·Cin) @ (kh·kw·Cin, Cout)

    def pullback(g: Array) -> tuple[Array | None, Array | None]:
        gx = gw = None
        g_matrix = g.reshape(-1, c_out)
        if needs[1]:  # the windows are made again: to keep them would take kh·kw times x's memory
            x_matrix = windows(padded, kh, kw, stride).reshape(-1, kh * kw * c_in)
            gw = (x_matrix.T @ g_matrix).reshape(kh, kw, c_in, c_out)
        if needs[0]:
            g_windows = (g_matrix @ w_matrix.T).reshape(*g.shape[:3], kh * kw * c_in)
            g_padded = add_windows(g_windows, padded.shape, kh, kw, stride)
            gx = g_padded[rows[0] : rows[0] + height, columns[0] : columns[0] + width]
        return gx, gw

    return y, pullback


def windows(padded: Array, kh: int, kw: int, stride: int) -> Array:
    """im2col: the window under each output pixel, (Hp, Wp, N, C) -> (Ho, Wo, N, kh·kw·C)."""
    hp, wp, n, c = padded.shape
    ho, wo = (hp - kh) // stride + 1, (wp - kw) // stride + 1
    out = array_module(padded).empty((ho, wo, n, kh, kw, c), padded.dtype)
    for i in range(kh):
        for j in range(kw):
            out[:, :, :, i, j] = padded[i : i + stride * ho : stride, j : j + stride * wo : stride]
    return out.reshape(ho, wo, n, kh * kw * c)


def add_windows(g: Array, shape: tuple[int, ...], kh: int, kw: int, stride: int) -> Array:
    """The pullback of `windows` (col2im): a pixel gets the sum over all windows that it is in."""
    ho, wo, n = g.shape[:3]
    g = g.reshape(ho, wo, n, kh, kw, shape[3])
    out = array_module(g).zeros(shape, g.dtype)
    for i in range(kh):
        for j in range(kw):
            out[i : i + stride * ho : stride, j : j + stride * wo : stride] += g[:, :, :, i, j]
    return out


class Conv2d(Module):
    """x (H, W, N, inputs) -> c · (conv2d(x, weight) + bias), (Ho, Wo, N, outputs).

    For c and zero see `Linear`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        padding: Any = None,
        c: float = 1.0,
        zero: bool = False,
    ) -> None:
        self.c, self.stride = c, stride
        self.padding = kernel // 2 if padding is None else padding
        spread = 0.0 if zero else math.sqrt(3 / (kernel * kernel * inputs)) / c
        self.weight = Parameter(kernel, kernel, inputs, outputs, spread=spread)
        self.bias = Parameter(outputs)

    def effective(self) -> tuple[Tensor, Tensor]:
        """The weight and the bias that the layer computes with."""
        return self.c * self.weight, self.c * self.bias

    def forward(self, x: Tensor) -> Tensor:
        return conv2d_bias(x, *self.effective(), stride=self.stride, padding=self.padding)


@replaceable
def conv2d_bias(x: Tensor, w: Tensor, bias: Tensor, *, stride: int, padding: Any) -> Tensor:
    """`conv2d`, and the bias added to every pixel."""
    return conv2d(x, w, stride=stride, padding=padding) + bias
