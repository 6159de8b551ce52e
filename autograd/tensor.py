"""Tensor: an array that remembers where it came from.

A Tensor holds two things: `data`, a NumPy or CuPy array, and `node`, its place in the graph (None
when nothing it was computed from needs a gradient). Everything else here is notation, so that
formulas read as they do in NumPy: `x * y`, `2 - x`, `array * x`, `x @ w`, `x[1:]`, `x.sum(axis=0)`.
What has no derivative is in plain.py: comparisons, printing.

References run Tensor -> Node -> arrays and never back. There are no cycles, so a graph dies the
moment its last Tensor does, without the garbage collector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .backend import Array, as_array
from .plain import Plain

if TYPE_CHECKING:
    from .engine import Node
    from .ops import Axis


class Tensor(Plain):
    """An array `data` of any shape, and its `node` in the graph, or None. See `autograd.leaf`."""

    __slots__ = ("data", "node")
    __array_ufunc__ = None  # so that `array * tensor` asks Tensor.__rmul__, in NumPy and in CuPy

    def __init__(self, data: Any, node: Node | None = None) -> None:
        self.data: Array = as_array(data)
        self.node = node

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    dtype = property(lambda self: self.data.dtype)
    size = property(lambda self: self.data.size)

    @property
    def grad(self) -> Array | None:
        """The gradient that `backward` left in this leaf, of the leaf's shape; None before any."""
        return self.node.grad if self.node is not None else None

    def backward(self, g: Array | None = None) -> None:
        """Add the gradient of this Tensor to every leaf it depends on; see `autograd.backward`."""
        engine.backward(self, g)

    # Each operator is the op of its name, with NumPy's broadcasting; the reflected ones serve
    # `2 * x` and `array * x`. One line each, so that they read as the table that they are.
    # fmt: off
    def __add__(self, other: Any) -> Tensor: return ops.add(self, other)
    def __radd__(self, other: Any) -> Tensor: return ops.add(other, self)
    def __sub__(self, other: Any) -> Tensor: return ops.sub(self, other)
    def __rsub__(self, other: Any) -> Tensor: return ops.sub(other, self)
    def __mul__(self, other: Any) -> Tensor: return ops.mul(self, other)
    def __rmul__(self, other: Any) -> Tensor: return ops.mul(other, self)
    def __truediv__(self, other: Any) -> Tensor: return ops.div(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return ops.div(other, self)
    def __matmul__(self, other: Any) -> Tensor: return more_ops.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return more_ops.matmul(other, self)
    def __neg__(self) -> Tensor: return ops.neg(self)
    def __pow__(self, other: Any) -> Tensor: return more_ops.pow(self, other)
    def __rpow__(self, other: Any) -> Tensor: return more_ops.pow(other, self)
    def __abs__(self) -> Tensor: return more_ops.abs(self)
    def __getitem__(self, key: Any) -> Tensor: return more_ops.index(self, key=key)

    def reshape(self, *shape: Any) -> Tensor: return ops.reshape(self, shape=_flat(shape))
    def transpose(self, *axes: Any) -> Tensor: return ops.transpose(self, axes=_flat(axes) or None)
    # fmt: on

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return ops.mean(self, axis=axis, keepdims=keepdims)

    T = property(lambda self: ops.transpose(self))


def _flat(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """`x.reshape(2, 3)` and `x.reshape((2, 3))` mean the same, as in NumPy."""
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else args


# Last, because the ops return Tensors and so need the class above.
from . import engine, more_ops, ops  # noqa: E402 (see there)
