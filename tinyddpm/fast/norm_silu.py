"""GroupNorm and SiLU in one: as few passes over memory as NumPy allows.

An elementwise NumPy operation on numbers in the processor's cache takes about 0.1 ns a number; from
main memory it takes several times as long. So the image is worked on in pieces of whole rows that
stay in the cache. One piece after the other goes through all operations, and the result goes
straight to where the next convolution wants it.

**Sums.** Mean and variance come from two sums for each sample and channel, and `ones @ x` is
NumPy's fastest sum. The variance as E[x²] − E[x]² loses digits where the mean is far larger than
the spread: its relative error is about 6e-8·(1 + mean²/variance). That is rare, so it is looked for
afterwards. Where it happened, the sums are repeated for x − mean, for which the formula is safe.

**SiLU by tanh.** x·sigmoid(x) = h + h·tanh(h) with h = x/2: no division, and nothing that
overflows. With u = 1 + tanh(h), y = h·u and dy/dh = u + y·(2 − u). That slope takes the place of h
and u: it is all that backward needs besides x.

**Backward.** With q = g·dy/dh, the gradient of h = a·x + b, everything follows from Σq and Σq·x
over the pixels: see `backward`.

**Groups.** What belongs to a group is averaged by a product with a small matrix, (N, C) @ (C, C).
It puts the mean of its group in the place of each channel, many times faster than NumPy's mean over
a short axis.

The definition, one line for each formula, is `nn.norm.group_norm` followed by `autograd.ops.silu`.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..types import Array
from .buffers import ones, scratch

PIECE = 2**16  # numbers in a piece of an image: four such arrays fill a second-level cache of 1 MB
MANY = 4  # pieces from which on it pays to write a row out
FAR = 100  # mean² / variance above which the sums are repeated, about the mean


class Saved(NamedTuple):
    """What backward needs besides x.

    Attributes:
        slope: dy/dh, (pieces, pixels, N·C); None for 1. Backward puts the gradient of x there.
        half: h is this times the normalised x.
        scale: a, (N, C).
        mean: (N, C).
        r: 1 / standard deviation, (N, C).
        gain: (C,).
        groups: how many.
    """

    slope: Array | None
    half: float
    scale: Array
    mean: Array
    r: Array
    gain: Array
    groups: int


def forward(
    x: Array,
    gain: Array,
    shift: Array,
    groups: int,
    out: Array,
    keep: bool = True,
    eps: float = 1e-5,
) -> Saved | None:
    """Write silu(group_norm(x)) to `out`, which may be a part of a larger image.

    Args:
        x: (H, W, N, C), contiguous.
        gain: (C,).
        shift: (C,).
        groups: how many.
        out: (H, W, N, C).
        keep: False if there will be no backward.
        eps: added to the variance.

    Returns:
        What backward needs, or None.
    """
    pieces, height = _pieces(x)
    mean, r = statistics(x, groups, eps)
    scale = gain * r * 0.5  # (N, C); the half is that of h = x/2
    offset = shift * 0.5 - mean * scale
    a, b = _over_a_piece("a", scale, pieces), _over_a_piece("b", offset, pieces)

    slopes = np.empty(pieces.shape, x.dtype) if keep else None
    h = scratch("h", pieces.shape[1:], x.dtype)
    rest = scratch("rest", pieces.shape[1:], x.dtype)
    shape = (height, *x.shape[1:])
    for i, piece in enumerate(pieces):
        u = rest if slopes is None else slopes[i]
        np.multiply(piece, a, out=h)
        np.add(h, b, out=h)
        np.tanh(h, out=u)
        np.add(u, 1, out=u)
        y = out[i * height : (i + 1) * height]
        np.multiply(h.reshape(shape), u.reshape(shape), out=y)
        if keep:  # u <- u + y·(2 − u)
            np.subtract(2, u, out=rest)
            np.multiply(rest.reshape(shape), y, out=rest.reshape(shape))
            np.add(u, rest, out=u)
    return Saved(slopes, 0.5, scale, mean, r, gain, groups) if keep else None


def forward_norm(
    x: Array, gain: Array, shift: Array, groups: int, eps: float = 1e-5
) -> tuple[Array, Saved]:
    """group_norm(x) alone, for attention: the output, and what backward needs."""
    mean, r = statistics(x, groups, eps)
    scale = gain * r
    y = x * scale
    y += shift - mean * scale
    return y, Saved(None, 1.0, scale, mean, r, gain, groups)


def backward(g: Array, x: Array, saved: Saved) -> tuple[Array, Array, Array]:
    """The gradients of x, gain and shift. It overwrites saved.slope.

    With x̂ = (x − mean)·r and ĝ the gradient of x̂, GroupNorm's gradient is
    r·(ĝ − E[ĝ] − x̂·E[ĝ·x̂]), where E is over a group. Here ĝ = half·q·gain. Collecting what
    multiplies q, what multiplies x and what is constant gives q·a + x·β + γ.

    Args:
        g: the gradient of the output (H, W, N, C), which may be a part of a larger image.
        x: as in `forward`.
        saved: as `forward` returned it.
    """
    slopes, half, scale, mean, r, gain, groups = saved
    height, width, _, c = x.shape
    pieces, _ = _pieces(x)
    if slopes is None:
        slopes = np.ones(pieces.shape, x.dtype)
    sum_q, sum_qx = _multiply_and_sum(slopes, g, x)
    sum_qx = (sum_qx - mean * sum_q) * r  # Σ q·x̂
    g_shift, g_gain = half * sum_q.sum(0), half * sum_qx.sum(0)

    group_mean = _group_mean(c, groups, x.dtype)
    per_pixel = gain * (half / (height * width))
    beta = -r * r * ((per_pixel * sum_qx) @ group_mean)
    gamma = -r * ((per_pixel * sum_q) @ group_mean) - beta * mean
    a = _over_a_piece("a", scale, pieces)
    beta = _over_a_piece("b", beta, pieces)
    gamma = _over_a_piece("c", gamma, pieces)
    linear = scratch("h", pieces.shape[1:], x.dtype)
    for q, piece in zip(slopes[::-1], pieces[::-1]):  # the last ones are still in the cache
        np.multiply(piece, beta, out=linear)
        np.add(linear, gamma, out=linear)
        np.multiply(q, a, out=q)
        np.add(q, linear, out=q)
    return slopes.reshape(x.shape), g_gain, g_shift


def _multiply_and_sum(slopes: Array, g: Array, x: Array) -> tuple[Array, Array]:
    """Overwrite slopes with q = slopes·g. Returns Σq and Σq·x over the pixels, (N, C) each."""
    pieces, height = _pieces(x)
    sum_q, sum_qx = np.zeros((2, pieces.shape[2]), g.dtype)
    product = scratch("h", pieces.shape[1:], g.dtype)
    one = ones(pieces.shape[1], g.dtype)
    shape = (height, *g.shape[1:])
    for i, (q, piece) in enumerate(zip(slopes, pieces)):
        rows = q.reshape(shape)
        np.multiply(rows, g[i * height : (i + 1) * height], out=rows)
        np.multiply(q, piece, out=product)
        sum_q += one @ q
        sum_qx += one @ product
    return sum_q.reshape(x.shape[2:]), sum_qx.reshape(x.shape[2:])


def statistics(x: Array, groups: int, eps: float) -> tuple[Array, Array]:
    """Mean and 1/standard deviation in the group of each sample and channel, (N, C) each."""
    mean, variance = _moments(x, groups)
    if (mean * mean > FAR * variance).any():
        rest, variance = _moments(x, groups, mean)
        mean = mean + rest
    return mean, 1 / np.sqrt(np.maximum(variance, 0) + eps)


def _moments(x: Array, groups: int, pivot: Array | None = None) -> tuple[Array, Array]:
    """Mean and variance of x − pivot in each sample's and channel's group, (N, C) each.

    The pivot is (N, C), or None for 0.
    """
    pieces, _ = _pieces(x)
    total, squares = np.zeros((2, pieces.shape[2]), x.dtype)
    d = scratch("h", pieces.shape[1:], x.dtype)
    one = ones(pieces.shape[1], x.dtype)
    for piece in pieces:
        if pivot is not None:
            piece = np.subtract(piece, pivot.reshape(-1), out=d)
        total += one @ piece
        squares += one @ np.square(piece, out=d)
    pixel_mean = _group_mean(x.shape[3], groups, x.dtype) / (x.shape[0] * x.shape[1])
    mean = total.reshape(x.shape[2:]) @ pixel_mean
    square = squares.reshape(x.shape[2:]) @ pixel_mean
    return mean, square - mean * mean


@lru_cache(256)
def _group_mean(c: int, groups: int, dtype: np.dtype) -> Array:
    """(C, C): row @ this puts the mean of its group in the place of each channel."""
    group = np.arange(c) * groups // c
    return (group[:, None] == group).astype(dtype) * (groups / c)


def _over_a_piece(name: str, row: Array, pieces: Array) -> Array:
    """A row (N, C) written out over a piece, if there are many pieces.

    NumPy is up to twice as fast where nothing is broadcast.
    """
    if len(pieces) < MANY:
        return row.reshape(-1)
    out = scratch(name, pieces.shape[1:], row.dtype)
    out[...] = row.reshape(-1)
    return out


def _pieces(x: Array) -> tuple[Array, int]:
    """The image x (H, W, N, C) as (pieces, pixels, N·C), and the number of rows in a piece.

    That number divides H, and a piece holds about PIECE numbers.
    """
    height, width, n, c = x.shape
    rows = max(1, min(height, PIECE // (width * n * c)))
    while height % rows:
        rows -= 1
    return x.reshape(height // rows, rows * width, n * c), rows
