"""Further ops, for people who build other things than a U-Net.

They follow NumPy in names, axes and broadcasting. Whatever can be differentiated is a positional
argument; everything else (`axis`, `key`, `low`, `rate` ...) is a keyword:

    >>> y = clip(exp(x), low=0.0, high=10.0)
    >>> z = logsumexp(y, axis=-1) + max(y, axis=-1)

Where a derivative does not exist (at ties, or |x| at 0), each op says which subgradient it takes.
"""

import math
from typing import Any

import numpy as np

from . import ops
from .backend import Array, Forward, array_module, expect, special, underflow_is_zero
from .engine import primitive
from .ops import Axis
from .tensor import Tensor

# --- elementwise, one argument --------------------------------------------------------------------


@primitive
def abs(x: Array) -> Forward:
    """|x|, with derivative 0 at 0."""
    xp = array_module(x)
    return xp.abs(x), lambda g: (g * xp.sign(x),)


@primitive
def sqrt(x: Array) -> Forward:
    """The square root √x."""
    out = array_module(x).sqrt(x)
    return out, lambda g: (g / (2 * out),)


@primitive
def exp(x: Array) -> Forward:
    """The exponential eˣ."""
    out = array_module(x).exp(x)
    return out, lambda g: (g * out,)


@primitive
def log(x: Array) -> Forward:
    """The natural logarithm."""
    return array_module(x).log(x), lambda g: (g / x,)


@primitive
def tanh(x: Array) -> Forward:
    """The hyperbolic tangent."""
    out = array_module(x).tanh(x)
    return out, lambda g: (g * (1 - out * out),)


@primitive
@underflow_is_zero
def sigmoid(x: Array) -> Forward:
    """The logistic function 1 / (1 + e⁻ˣ)."""
    s = ops.sigmoid_of(x)
    return s, lambda g: (g * (s * (1 - s)),)


@primitive
def relu(x: Array) -> Forward:
    """The larger of x and 0, with derivative 0 at 0."""
    return array_module(x).maximum(x, 0), lambda g: (g * (x > 0),)


@primitive
def gelu(x: Array) -> Forward:
    """The product x · Φ(x), where Φ is the normal distribution function.

    This is the exact form, not the approximation by a tanh.
    (Hendrycks & Gimpel 2016, "Gaussian error linear units", section 2.)
    """
    xp = array_module(x)
    cdf = 0.5 * (1 + special(x).erf(x * math.sqrt(0.5)))

    def pullback(g: Array) -> tuple[Array]:
        density = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return (g * (cdf + x * density),)

    return x * cdf, pullback


@primitive
def clip(x: Array, *, low: float | None = None, high: float | None = None) -> Forward:
    """Limits x to low..high (None: no bound). The derivative is 1 within and on the bounds."""
    xp = array_module(x)
    out = xp.clip(x, low, high)
    inside = out == x
    return out, lambda g: (g * inside,)


@primitive
def dropout(x: Array, *, rate: float, uniform: Array) -> Forward:
    """Zero where `uniform` < `rate`, x / (1 - rate) elsewhere, so the mean stays the same.

    Source: Srivastava et al. 2014, "Dropout", section 10.

    Args:
        x: any array.
        rate: the fraction of elements to drop, in [0, 1).
        uniform: numbers from [0, 1), in x's shape. The caller draws them, and can draw them again.

    Raises:
        ValueError: the rate is out of range, or the shapes differ.
    """
    expect(0 <= rate < 1, "rate", "a fraction from 0 to below 1", rate)
    expect(uniform.shape == x.shape, "uniform", f"x's shape {x.shape}", uniform.shape)
    mask, scale = uniform >= rate, 1 / (1 - float(rate))
    return x * mask * scale, lambda g: (g * mask * scale,)


# --- elementwise, more arguments ------------------------------------------------------------------


@primitive
def pow(x: Array, y: Array, *, needs: tuple[bool, ...] = (True, True)) -> Forward:
    """The power x ** y, where one of the two may be a plain number.

    The derivative with respect to y, xʸ · log x, is real only for x > 0. At x = 0 we take 0.
    """
    out = x**y
    xp = array_module(out)

    def pullback(g: Array) -> tuple[Array | None, Array | None]:
        gx = gy = None
        if needs[0]:
            # At y = 0 the power must not be -1: the derivative is 0, even where x is 0.
            gx = g * (y * x ** (y - (y != 0)))
        if needs[1]:
            base = xp.asarray(x, dtype=out.dtype)  # xp.log of a Python number would be float64
            gy = g * (out * xp.log(xp.where(base == 0, 1, base)))
        return gx, gy

    return out, pullback


@primitive
def maximum(x: Array, y: Array) -> Forward:
    """The larger of two, element by element. Where they are equal, each gets half the gradient."""
    return array_module(x, y).maximum(x, y), lambda g: _split(g, x == y, x > y)


@primitive
def minimum(x: Array, y: Array) -> Forward:
    """The smaller of two, element by element. Where they are equal, each gets half the gradient."""
    return array_module(x, y).minimum(x, y), lambda g: _split(g, x == y, x < y)


def _split(g: Array, tie: Array, first: Array) -> tuple[Array, Array]:
    """All of g for the argument that was chosen, or half for each at a tie."""
    gx: Array = array_module(g).where(tie, 0.5 * g, g * first)
    return gx, g - gx


@primitive
def where(condition: Array, x: Array, y: Array) -> Forward:
    """Elements of x where the plain boolean array `condition` holds, of y elsewhere.

    The branch not taken is differentiated too, with g = 0, and 0 · ∞ is NaN. At x = 0 that spoils
    `where(x > 0, log(x), 0.0)`. Replace what is unsafe first: `log(where(x > 0, x, 1.0))`.
    """
    xp = array_module(condition, x, y)

    def pullback(g: Array) -> tuple[None, Array, Array]:
        return None, xp.where(condition, g, 0), xp.where(condition, 0, g)

    return xp.where(condition, x, y), pullback


# --- reductions -----------------------------------------------------------------------------------


@primitive
def max(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Forward:
    """The largest along an axis, several, or all. At a tie the gradient is shared equally."""
    top = x.max(axis=axis, keepdims=True)

    def pullback(g: Array) -> tuple[Array]:
        ties = x == top
        each = g.reshape(top.shape) / ties.sum(axis=axis, keepdims=True, dtype=x.dtype)
        return (each * ties,)

    return top if keepdims else top.squeeze(axis), pullback


@primitive
@underflow_is_zero
def logsumexp(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Forward:
    """The logarithm of the sum of eˣ along an axis.

    The largest x is taken out first, so that nothing overflows. The pullback is a softmax.
    """
    xp = array_module(x)
    top = x.real.max(axis=axis, keepdims=True)
    e = xp.exp(x - top)
    total = e.sum(axis=axis, keepdims=True)
    out = top + xp.log(total)
    p = e / total
    return out if keepdims else out.squeeze(axis), lambda g: (g.reshape(top.shape) * p,)


# --- shapes and places ----------------------------------------------------------------------------


@primitive
def broadcast_to(x: Array, *, shape: tuple[int, ...]) -> Forward:
    """Repeats x to a shape. The engine sums the gradient over the repetitions."""
    return array_module(x).broadcast_to(x, shape), lambda g: (g,)


@primitive
def stack(*xs: Array, axis: int = 0) -> Forward:
    """The arrays side by side along a new axis."""
    xp = array_module(*xs)
    return xp.stack(xs, axis=axis), lambda g: tuple(xp.moveaxis(g, axis, 0))


@primitive
def pad(x: Array, *, width: Any) -> Forward:
    """Zeros around x: `width` is a number, a pair (before, after), or one pair for each axis."""
    pairs = np.broadcast_to(width, (x.ndim, 2)).tolist()
    inner = tuple(slice(before, before + n) for (before, _), n in zip(pairs, x.shape))
    return array_module(x).pad(x, pairs), lambda g: (g[inner],)


@primitive
def index(x: Array, *, key: Any) -> Forward:
    """x[key] with NumPy's rules. An element taken twice gets both gradients.

    `key` is an integer, a slice, None, `...`, a boolean or integer array, or a tuple of these.
    """
    shape, xp = x.shape, array_module(x)

    def pullback(g: Array) -> tuple[Array]:
        gx = xp.zeros(shape, g.dtype)
        if _repeats(key):
            xp.add.at(gx, key, g)
        else:
            gx[key] = g
        return (gx,)

    return x[key], pullback


def _repeats(key: Any) -> bool:
    """Can `key` name an element twice? Only lists and arrays of integers can."""
    keys = key if isinstance(key, tuple) else (key,)
    return any(isinstance(k, list) or (getattr(k, "ndim", 0) and k.dtype != bool) for k in keys)


@primitive
def take(x: Array, *, indices: Any, axis: int | None = None) -> Forward:
    """The elements at some places along an axis. An element taken twice gets both gradients.

    Args:
        x: an array of at least one dimension.
        indices: integers of any shape.
        axis: None to take from the flattened x.
    """
    shape, xp = x.shape, array_module(x)
    indices = xp.asarray(indices)

    def pullback(g: Array) -> tuple[Array]:
        if axis is None:
            gx = xp.zeros(math.prod(shape), g.dtype)
            xp.add.at(gx, indices, g)
        else:
            gx = xp.zeros(shape, g.dtype)
            xp.add.at(gx, (slice(None),) * (axis % len(shape)) + (indices,), g)
        return (gx.reshape(shape),)

    return xp.take(x, indices, axis=axis), pullback


# --- products -------------------------------------------------------------------------------------


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """The product x @ y with all of NumPy's rules.

    It is `ops.matmul`, except that a 1-D argument counts as a single row (x) or column (y).
    """
    row, column = x.ndim == 1, y.ndim == 1
    x = ops.reshape(x, shape=(1, -1)) if row else x
    y = ops.reshape(y, shape=(-1, 1)) if column else y
    out = ops.matmul(x, y)
    if row or column:
        *front, n, m = out.shape
        out = ops.reshape(out, shape=(*front, *([] if row else [n]), *([] if column else [m])))
    return out
