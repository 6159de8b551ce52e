"""What is under test, seen the same way whether it is an op of ours or a pair of functions."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..backend import Array, to_numpy
from ..engine import backward, leaf
from ..tensor import Tensor
from .strategies import is_real

Arrays: TypeAlias = Sequence[Any]
Options: TypeAlias = dict[str, Any]
Gradients: TypeAlias = tuple[Array | None, ...]


class Subject(NamedTuple):
    """A function and its derivative."""

    name: str
    forward: Callable[[Arrays, Options], Array]
    # (arrays, options, g or a function of the output, needs) -> the output, and a gradient for each
    gradients: Callable[[Arrays, Options, Any, Sequence[bool]], tuple[Array, Gradients]]
    # (arrays, options) -> the output and its pullback, neither of them touched by the engine
    raw: Callable[[Arrays, Options], tuple[Array, Callable[[Array], Any]] | None] | None
    strict: bool  # must gradients have their argument's shape without help? Our engine helps
    call: str  # how the code to paste calls it


def subject_of(function: Callable[..., Any], vjp: Callable[..., Any] | None) -> Subject:
    """A function of Tensors, or, with `vjp`, a pair of functions of plain arrays."""
    name = getattr(function, "__name__", repr(function))
    name = "your function" if name == "<lambda>" else name
    return _of_a_pair(function, vjp, name) if vjp else _of_tensors(function, name)


def _of_tensors(op: Callable[..., Any], name: str) -> Subject:
    is_primitive = getattr(op, "__wrapped__", None) is not None

    def forward(arrays: Arrays, options: Options) -> Array:
        out: Array = op(*[Tensor(a) if _is_float(a) else a for a in arrays], **options).data
        return out

    def gradients(
        arrays: Arrays, options: Options, g: Any, needs: Sequence[bool]
    ) -> tuple[Array, Gradients]:
        leaves: dict[int, Tensor] = {}  # by array, so that the same one twice is the same leaf
        arguments = []
        for a, needed in zip(arrays, needs):
            if needed and _is_float(a):
                a = leaves.setdefault(id(a), leaf(a))
            elif _is_float(a) and not is_primitive:  # a primitive takes the plain array
                a = Tensor(a)
            arguments.append(a)
        out = op(*arguments, **options)
        if out.node is not None:
            backward(out, g)
        found = []
        for a in arguments:
            needed = isinstance(a, Tensor) and a.node is not None
            empty = needed and a.grad is None  # the output does not depend on it
            found.append(np.zeros_like(to_numpy(a.data)) if empty else a.grad if needed else None)
        return out.data, tuple(found)

    def raw(arrays: Arrays, options: Options) -> tuple[Array, Callable[[Array], Any]] | None:
        made = inspect.unwrap(op)(*arrays, **options)
        is_pair = isinstance(made, tuple) and len(made) == 2 and callable(made[1])
        return made if is_pair else None  # some other decorator's

    return Subject(name, forward, gradients, raw if is_primitive else None, False, name)


def _of_a_pair(f: Callable[..., Any], vjp: Callable[..., Any], name: str) -> Subject:
    def forward(arrays: Arrays, options: Options) -> Array:
        return np.asarray(f(*arrays, **options))

    def together(g: Array, arrays: Arrays, options: Options) -> Gradients:
        parts = vjp(g, *arrays, **options)
        parts = tuple(parts) if isinstance(parts, (tuple, list)) else (parts,)
        if len(parts) != len(arrays):
            raise ValueError(f"vjp: expected {len(arrays)} gradients, got {len(parts)}")
        return tuple(
            np.asarray(p) if is_real(a) and p is not None else None for p, a in zip(parts, arrays)
        )

    def gradients(
        arrays: Arrays, options: Options, g: Any, needs: Sequence[bool]
    ) -> tuple[Array, Gradients]:
        out = forward(arrays, options)
        parts = together(g, arrays, options)
        return out, tuple(p if needed else None for p, needed in zip(parts, needs))

    def raw(arrays: Arrays, options: Options) -> tuple[Array, Callable[[Array], Any]]:
        return forward(arrays, options), lambda g: together(g, arrays, options)

    call = getattr(vjp, "__name__", "vjp")
    return Subject(name, forward, gradients, raw, True, "vjp" if call == "<lambda>" else call)


def _is_float(a: Any) -> bool:
    """A float array of NumPy or CuPy."""
    return hasattr(a, "dtype") and not isinstance(a, np.generic) and a.dtype.kind in "fc"


def count_of_arrays(function: Callable[..., Any], options: Options) -> int | None:
    """How many array arguments a function takes; None for `*arrays`.

    Raises:
        TypeError: it needs an option that is not given.
    """
    name = getattr(function, "__name__", "the function")
    if isinstance(function, np.ufunc):  # NumPy 2.0 gives them no signature
        return function.nin
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise TypeError(f"{name}: its signature cannot be read; give shapes=…") from None
    missing = [
        p.name
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in options
    ]
    if missing:
        given = ", ".join(f'"{m}": […]' for m in missing)
        raise TypeError(
            f"{name}: expected options for {', '.join(missing)}, got none; give {{{given}}}"
        )
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(
        p.kind in positional and p.default is p.empty and p.name not in options for p in parameters
    )
