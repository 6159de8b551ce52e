"""Further ops, for people who build other things than a U-Net. They follow NumPy in names, axes and broadcasting.

What can be differentiated is a positional argument; everything else (`axis`, `key`, `low`, `rate` ...) is a keyword:

    >>> y = clip(exp(x), low=0.0, high=10.0)
    >>> z = logsumexp(y, axis=-1) + max(y, axis=-1)

Where a derivative does not exist (ties, |x| at 0) each op says which subgradient it takes.
"""
import math

import numpy as np

from . import ops
from .backend import array_module, special
from .engine import primitive

# --- elementwise, one argument -----------------------------------------------------------------------------------------


@primitive
def abs(x):
    """|x|, with derivative 0 at 0."""
    xp = array_module(x)
    return xp.abs(x), lambda g: (g * xp.sign(x),)


@primitive
def sqrt(x):
    out = array_module(x).sqrt(x)
    return out, lambda g: (g / (2 * out),)


@primitive
def exp(x):
    out = array_module(x).exp(x)
    return out, lambda g: (g * out,)


@primitive
def log(x):
    return array_module(x).log(x), lambda g: (g / x,)


@primitive
def tanh(x):
    out = array_module(x).tanh(x)
    return out, lambda g: (g * (1 - out * out),)


@primitive
def sigmoid(x):
    s = ops.sigmoid_of(x)
    return s, lambda g: (g * (s * (1 - s)),)


@primitive
def relu(x):
    """max(x, 0), with derivative 0 at 0."""
    return array_module(x).maximum(x, 0), lambda g: (g * (x > 0),)


@primitive
def gelu(x):
    """x · Φ(x), where Φ is the normal distribution function (Hendrycks & Gimpel 2016, section 2); exact, not the tanh fit."""
    xp = array_module(x)
    cdf = 0.5 * (1 + special(x).erf(x * math.sqrt(0.5)))

    def pullback(g):
        density = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return (g * (cdf + x * density),)

    return x * cdf, pullback


@primitive
def clip(x, *, low=None, high=None):
    """x kept between the plain numbers `low` and `high` (None: no bound). The derivative is 1 within and on the bounds, 0 outside."""
    xp = array_module(x)
    out = xp.clip(x, low, high)
    inside = out == x
    return out, lambda g: (g * inside,)


@primitive
def dropout(x, *, rate, uniform):
    """Zero where `uniform` < `rate`, x / (1 - rate) elsewhere, so that the mean stays (Srivastava et al. 2014, section 10).

    `uniform` holds numbers from [0, 1), one for each element of x: who calls draws them, and so can draw them again.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be in [0, 1), got {rate}")
    if uniform.shape != x.shape:
        raise ValueError(f"dropout: uniform must have x's shape {x.shape}, got {uniform.shape}")
    mask, scale = uniform >= rate, 1 / (1 - float(rate))
    return x * mask * scale, lambda g: (g * mask * scale,)


# --- elementwise, more arguments ---------------------------------------------------------------------------------------


@primitive
def pow(x, y, *, needs=(True, True)):
    """x ** y, for a number or an array y. The derivative with respect to y, x^y · log x, is real only for x > 0; at x = 0 it is taken as 0."""
    out = x ** y
    xp = array_module(out)

    def pullback(g):
        gx = gy = None
        if needs[0]:
            gx = g * (y * x ** (y - (y != 0)))  # at y = 0 the power must not be -1: the derivative is 0, even where x is
        if needs[1]:
            base = xp.asarray(x, dtype=out.dtype)  # of a number, xp.log would be float64
            gy = g * (out * xp.log(xp.where(base == 0, 1, base)))
        return gx, gy

    return out, pullback


@primitive
def maximum(x, y):
    """The larger of two, element by element. Where they are equal each gets half of the gradient."""
    return array_module(x, y).maximum(x, y), lambda g: _split(g, x == y, x > y)


@primitive
def minimum(x, y):
    """The smaller of two, element by element. Where they are equal each gets half of the gradient."""
    return array_module(x, y).minimum(x, y), lambda g: _split(g, x == y, x < y)


def _split(g, tie, first):
    gx = array_module(g).where(tie, 0.5 * g, g * first)
    return gx, g - gx


@primitive
def where(condition, x, y):
    """x where the plain boolean array `condition` holds, y elsewhere."""
    xp = array_module(condition, x, y)
    return xp.where(condition, x, y), lambda g: (None, xp.where(condition, g, 0), xp.where(condition, 0, g))


# --- reductions --------------------------------------------------------------------------------------------------------


@primitive
def max(x, *, axis=None, keepdims=False):
    """The largest along an axis, several, or all. Elements that are equally large share the gradient equally."""
    top = x.max(axis=axis, keepdims=True)

    def pullback(g):
        ties = x == top
        share = g.reshape(top.shape) / ties.sum(axis=axis, keepdims=True, dtype=x.dtype)
        return (share * ties,)

    return top if keepdims else top.squeeze(axis), pullback


@primitive
def logsumexp(x, *, axis=None, keepdims=False):
    """log of the sum of e^x along an axis. The largest x is taken out first, so that nothing overflows; its pullback is a softmax."""
    xp = array_module(x)
    top = x.real.max(axis=axis, keepdims=True)
    e = xp.exp(x - top)
    total = e.sum(axis=axis, keepdims=True)
    out = top + xp.log(total)
    p = e / total
    return out if keepdims else out.squeeze(axis), lambda g: (g.reshape(top.shape) * p,)


# --- shapes and places -------------------------------------------------------------------------------------------------


@primitive
def broadcast_to(x, *, shape):
    return array_module(x).broadcast_to(x, shape), lambda g: (g,)  # the engine sums over what was spread


@primitive
def stack(*xs, axis=0):
    """The arrays side by side along a new axis."""
    xp = array_module(*xs)
    return xp.stack(xs, axis=axis), lambda g: tuple(xp.moveaxis(g, axis, 0))


@primitive
def pad(x, *, width):
    """Zeros around x: `width` is a number, a pair (before, after) for all axes, or one pair for each axis."""
    pairs = np.broadcast_to(width, (x.ndim, 2)).tolist()
    inner = tuple(slice(before, before + n) for (before, _), n in zip(pairs, x.shape))
    return array_module(x).pad(x, pairs), lambda g: (g[inner],)


@primitive
def index(x, *, key):
    """x[key], as NumPy has it: integers, slices, None, `...`, boolean and integer arrays. An element taken twice gets both gradients."""
    shape, xp = x.shape, array_module(x)

    def pullback(g):
        gx = xp.zeros(shape, g.dtype)
        if _repeats(key):
            xp.add.at(gx, key, g)
        else:
            gx[key] = g
        return (gx,)

    return x[key], pullback


def _repeats(key):
    """Can `key` name an element twice? Only lists and arrays of integers can."""
    keys = key if isinstance(key, tuple) else (key,)
    return any(isinstance(k, list) or getattr(k, "ndim", 0) and k.dtype != bool for k in keys)


@primitive
def take(x, *, indices, axis=None):
    """The elements at the integers `indices` along an axis, or of the flattened x. An element taken twice gets both gradients."""
    shape, xp = x.shape, array_module(x)
    indices = xp.asarray(indices)

    def pullback(g):
        gx = xp.zeros(shape if axis is not None else math.prod(shape), g.dtype)
        key = (slice(None),) * (axis % len(shape)) + (indices,) if axis is not None else indices
        xp.add.at(gx, key, g)
        return (gx.reshape(shape),)

    return xp.take(x, indices, axis=axis), pullback


# --- products ------------------------------------------------------------------------------------------------------------


def matmul(x, y):
    """x @ y with all of NumPy's rules: as `ops.matmul`, and a 1-D argument is a single row (x) or column (y)."""
    row, column = x.ndim == 1, y.ndim == 1
    x = ops.reshape(x, shape=(1, -1)) if row else x
    y = ops.reshape(y, shape=(-1, 1)) if column else y
    out = ops.matmul(x, y)
    if row or column:
        *stack, n, m = out.shape
        out = ops.reshape(out, shape=(*stack, *([] if row else [n]), *([] if column else [m])))
    return out
