"""The ops that a U-Net and its loss are made of: each forward beside its pullback.

All take and return plain arrays here; `@primitive` lets them be called with Tensors. Elementwise
ones broadcast as NumPy does, and the engine undoes it. g is always the gradient with respect to the
output.
"""

from .backend import Array, Forward, array_module, underflow_is_zero
from .engine import primitive

Axis = int | tuple[int, ...] | None


@primitive
def add(x: Array, y: Array) -> Forward:
    return x + y, lambda g: (g, g)


@primitive
def sub(x: Array, y: Array) -> Forward:
    return x - y, lambda g: (g, -g)


@primitive
def mul(x: Array, y: Array) -> Forward:
    return x * y, lambda g: (g * y, g * x)


@primitive
def div(x: Array, y: Array) -> Forward:
    out = x / y
    return out, lambda g: (g / y, -g * out / y)


@primitive
def neg(x: Array) -> Forward:
    return -x, lambda g: (-g,)


@primitive
def square(x: Array) -> Forward:
    return x * x, lambda g: (2 * g * x,)


@primitive
def matmul(x: Array, y: Array, *, needs: tuple[bool, ...] = (True, True)) -> Forward:
    """x @ y: (..., n, k) @ (..., k, m) -> (..., n, m).

    For a single row or column see `more_ops.matmul`, which is what @ calls.
    """
    if x.ndim < 2 or y.ndim < 2:
        raise ValueError(f"matmul: expected at least two axes each, got {x.shape} and {y.shape}")

    def pullback(g: Array) -> tuple[Array | None, Array | None]:
        gx = _rows_times(g, y.swapaxes(-1, -2)) if needs[0] else None
        if not needs[1]:
            return gx, None
        if y.ndim == 2:  # one weight for all rows: one product, and not many that are then summed
            return gx, x.reshape(-1, x.shape[-1]).T @ g.reshape(-1, g.shape[-1])
        return gx, x.swapaxes(-1, -2) @ g

    return _rows_times(x, y), pullback


def _rows_times(x: Array, y: Array) -> Array:
    """x @ y, as a single product where y is one matrix: many small ones are slow on a GPU."""
    if x.ndim == 2 or y.ndim > 2:
        return x @ y
    return (x.reshape(-1, x.shape[-1]) @ y).reshape(*x.shape[:-1], y.shape[-1])


@primitive
def sum(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Forward:
    shape = x.shape  # so that the pullback holds a shape, and not x
    return x.sum(axis=axis, keepdims=keepdims), lambda g: (_spread(g, shape, axis, keepdims),)


@primitive
def mean(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Forward:
    out = x.mean(axis=axis, keepdims=keepdims)
    shape, count = x.shape, x.size // max(1, out.size)
    return out, lambda g: (_spread(g / count, shape, axis, keepdims),)


def _spread(g: Array, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Array:
    """The gradient of a sum over `axis`: each summand gets the sum's g (a read-only view)."""
    xp = array_module(g)
    if axis is not None and not keepdims:
        g = xp.expand_dims(g, axis)
    return xp.broadcast_to(g, shape)


@primitive
def reshape(x: Array, *, shape: tuple[int, ...]) -> Forward:
    before = x.shape
    return x.reshape(shape), lambda g: (g.reshape(before),)


@primitive
def transpose(x: Array, *, axes: tuple[int, ...] | None = None) -> Forward:
    """The axes in a new order; reversed if none is given."""
    order = tuple(range(x.ndim))[::-1] if axes is None else axes
    back = sorted(range(len(order)), key=lambda i: order[i] % len(order))
    return x.transpose(order), lambda g: (g.transpose(back),)


@primitive
def concat(*xs: Array, axis: int = -1) -> Forward:
    """The arrays one after the other along an axis: how a U-Net's skip connections arrive."""
    xp = array_module(*xs)
    ends = [0]
    for x in xs:
        ends.append(ends[-1] + x.shape[axis])

    def pullback(g: Array) -> tuple[Array, ...]:
        g = xp.moveaxis(g, axis, -1)
        return tuple(xp.moveaxis(g[..., a:b], -1, axis) for a, b in zip(ends, ends[1:]))

    return xp.concatenate(xs, axis=axis), pullback


@primitive
@underflow_is_zero
def silu(x: Array) -> Forward:
    """x · sigmoid(x) (Elfwing et al. 2018, "Sigmoid-weighted linear units", eq. 4)."""
    s = sigmoid_of(x)
    # s' = s (1 − s), so (x s)' = s + x s (1 − s)
    return x * s, lambda g: (g * (s * (1 + x * (1 - s))),)


def sigmoid_of(x: Array) -> Array:
    """1 / (1 + e^-x) for plain arrays. x is held above −80, since float32 ends at about e^88."""
    xp = array_module(x)
    if x.dtype.kind == "c":  # the complex step of check.py: x is small there
        return 1 / (1 + xp.exp(-x))
    return 1 / (1 + xp.exp(-xp.maximum(x, -80.0)))


@primitive
@underflow_is_zero
def softmax(x: Array, *, axis: int = -1) -> Forward:
    """e^x divided by its sum along an axis. The largest x is subtracted: nothing overflows."""
    xp = array_module(x)
    e = xp.exp(x - x.real.max(axis=axis, keepdims=True))
    p = e / e.sum(axis=axis, keepdims=True)
    return p, lambda g: (p * (g - (g * p).sum(axis=axis, keepdims=True)),)
