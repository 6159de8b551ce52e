"""The part of a Tensor that has no derivative: comparisons, numbers, text, NumPy's functions.

x == 0                 a plain array of bool, element by element, for `more_ops.where`
f"{loss:.3f}"          one number, as text
float(x)               leaves the graph, and so does array[0] = x: NumPy calls float(x) for it
np.shape(x)            what only looks at x;  np.sum(x) would lose the gradient, and is refused
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import Array


class Plain:
    """The part of `Tensor` that leaves the graph. See there for `data` and `node`."""

    __slots__ = ()
    data: Array
    node: Any
    __hash__ = object.__hash__  # of the Tensor itself, although == compares elements

    # fmt: off
    def __lt__(self, other: Any) -> Array: return self.data < _data(other)
    def __le__(self, other: Any) -> Array: return self.data <= _data(other)
    def __gt__(self, other: Any) -> Array: return self.data > _data(other)
    def __ge__(self, other: Any) -> Array: return self.data >= _data(other)
    def __eq__(self, y: Any) -> Array: return self.data == _data(y)  # type: ignore[override]
    def __ne__(self, y: Any) -> Array: return self.data != _data(y)  # type: ignore[override]
    def __contains__(self, value: Any) -> bool: return bool((self.data == _data(value)).any())

    def __len__(self) -> int: return len(self.data)
    def __bool__(self) -> bool: return bool(self._one("bool"))
    def __int__(self) -> int: return int(self._one("int"))
    def __float__(self) -> float: return float(self._one("float"))
    # fmt: on

    def item(self) -> Any:
        """The only number in here, as a Python number. TypeError if there are more."""
        return self._one("item")

    def _one(self, name: str) -> Any:
        if self.data.size != 1:
            shape = self.data.shape
            raise TypeError(f"{name}: expected a Tensor of one number, got one of shape {shape}")
        return self.data.item()

    def __repr__(self) -> str:
        origin = "" if self.node is None else f", from {self.node.op}"
        return f"Tensor({repr(self.data).replace(chr(10), chr(10) + ' ' * 7)}{origin})"

    def __format__(self, spec: str) -> str:
        return format(self._one("format"), spec) if spec else str(self)

    if not TYPE_CHECKING:  # or mypy would take `array * x` for an array

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            """For `np.asarray(x)`: the array of a constant. With a gradient, take `x.data`."""
            if self.node is not None:
                raise TypeError(
                    "np.asarray: expected an array, got a Tensor with a gradient, which would be "
                    "lost; take its array, x.data, if that is meant"
                )
            return np.array(self.data, dtype, copy=copy)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        """Answer `np.function(x)` if it has no derivative anyway; else name what to use."""
        if function in WITHOUT_A_DERIVATIVE:
            return function(*map(_data, args), **{k: _data(v) for k, v in options.items()})
        name = function.__name__
        raise TypeError(f"np.{name}: expected arrays, got a Tensor; {_instead(name)}")


WITHOUT_A_DERIVATIVE: set[Callable[..., Any]] = {
    *(np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.full_like),
    *(np.argmax, np.argmin, np.argsort, np.nonzero, np.array_equal, np.allclose, np.isclose),
    *(np.array_repr, np.array_str, np.array2string, np.result_type, np.may_share_memory),
}
OTHER_NAMES = {"concatenate": "concat", "amax": "max", "absolute": "abs"}


def _data(x: Any) -> Any:
    return x.data if isinstance(x, Plain) else x


def _instead(name: str) -> str:
    """What does the work of a function of NumPy on Tensors."""
    name = OTHER_NAMES.get(name, name)
    # They import this file, and are there by now: `tensor.py` imports them at its end.
    files = [f"{__package__}.{file}" for file in ("ops", "more_ops")]
    found = [file for file in files if callable(getattr(sys.modules[file], name, None))]
    use = f"use {found[0]}.{name}, or " if found else ""
    return f"{use}take its array, x.data, where no gradient is needed"
