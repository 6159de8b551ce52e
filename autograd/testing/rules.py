"""The rules that a pullback must keep, each a function that raises Broken.

`report.RULES` says what each demands. `precision.py` holds those about float32, NaN, infinity,
Python's numbers and GPUs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, index_of
from ..check import _unit
from ..tensor import Tensor
from .report import Broken, kind, wrong_slope
from .slopes import Slopes
from .strategies import Case, is_real, upstream_of
from .subject import Gradients, Options, Subject, subject_of

LARGEST = 256  # arrays of up to so many elements are searched one by one for the worst


class Plan(NamedTuple):
    """What to check, apart from the case."""

    reference: Callable[..., Any] | None
    analytic: bool | None
    skip: tuple[str, ...]
    device: str


class Evaluated(NamedTuple):
    """A case, run once forward and backward."""

    subject: Subject
    case: Case
    arrays: tuple[Any, ...]
    out: Array
    g: Array
    gradients: Gradients
    plan: Plan

    @property
    def real(self) -> list[int]:
        """Which arguments have a gradient."""
        return [i for i, a in enumerate(self.arrays) if is_real(a)]

    def again(
        self, g: Array, arrays: Sequence[Any] | None = None, options: Options | None = None
    ) -> tuple[Array, Gradients]:
        """The output and the gradients for another g, or other arrays and options."""
        arrays = self.arrays if arrays is None else arrays
        options = self.case.options if options is None else options
        return self.subject.gradients(arrays, options, g, [True] * len(arrays))


# ---- the rules -----------------------------------------------------------------------------------


def value(e: Evaluated) -> None:
    """The output is the reference's; and so are the gradients, if that is an op too."""
    if e.plan.reference is None:
        return
    made = e.plan.reference(*e.arrays, **e.case.options)
    if not isinstance(made, Tensor):
        _same("", e.out, np.asarray(made), 0.0)
        return
    definition = subject_of(e.plan.reference, None)
    all_of_them = [True] * len(e.arrays)
    out, gradients = definition.gradients(e.arrays, e.case.options, e.g, all_of_them)
    _same("", e.out, out, 0.0)
    for i in e.real:
        expected = np.asarray(gradients[i])
        _same(f"gradient {i} ", e.gradients[i], expected, float(abs(expected).max(initial=0)))


def _same(what: str, found: Any, expected: Array, scale: float) -> None:
    """Equal to 1e-12 of each number, or of the scale."""
    if getattr(found, "shape", None) != expected.shape:
        raise Broken("value", f"{what}expected shape {expected.shape}, got {kind(found)}")
    off = abs(found - expected) - 1e-12 * (1 + abs(expected) + scale)
    if off.size and not (off <= 0).all():
        index = index_of(int(np.nanargmax(np.where(np.isnan(off), np.inf, off))), off)
        expect, got = expected[index], found[index]
        raise Broken("value", f"{what}at index {index}: expected {expect:.12g}, got {got:.12g}")


def shape(e: Evaluated) -> None:
    """A gradient has its argument's shape and dtype."""
    for i in e.real:
        x, gradient = e.arrays[i], e.gradients[i]
        if gradient is None or gradient.shape != x.shape or gradient.dtype != x.dtype:
            what = f"argument {i}: expected a gradient {kind(x)}, got {kind(gradient)}"
            if gradient is not None and gradient.ndim >= x.ndim and gradient.shape == e.out.shape:
                what += "\nHint: sum it over the axes that broadcasting spread."
            raise Broken("shape", what)


def slope(e: Evaluated) -> None:
    """The gradient is the slope, along random directions; only then element by element."""
    rng = np.random.default_rng(e.case.seed)
    for i in e.real:
        slopes = _slopes(e, i)
        if slopes.x.size == 0:
            continue
        directions = [rng.standard_normal(slopes.x.shape) for _ in range(2)]
        directions.append(np.ones(slopes.x.shape))  # what all ties share
        if all(slopes.along(v).excess <= 1 for v in directions):
            continue
        if slopes.x.size <= LARGEST:
            directions += [_unit(slopes.x, k) for k in range(slopes.x.size)]
        raise Broken("slope", wrong_slope(slopes, i, directions))


def _slopes(e: Evaluated, i: int) -> Slopes:
    def forward(x: Array) -> Array:
        moved = [*e.arrays[:i], x, *e.arrays[i + 1 :]]
        return e.subject.forward(moved, e.case.options)

    gradient = e.gradients[i]
    assert gradient is not None  # `shape` saw to it
    return Slopes(forward, e.arrays[i], e.g, e.out, gradient, e.plan.analytic)


def linear(e: Evaluated) -> None:
    """Pullback(2g − 3g') = 2 pullback(g) − 3 pullback(g')."""
    other = upstream_of(e.case.seed + 1, e.out.shape).astype(e.out.dtype)
    _, second = e.again(other)
    _, both = e.again(np.asarray(2 * e.g - 3 * other))
    for i in e.real:
        a, b, c = (np.asarray(part[i]) for part in (e.gradients, second, both))
        allowed = 1e-9 * (1 + abs(a).max(initial=0) + abs(b).max(initial=0))
        off = abs(2 * a - 3 * b - c)
        if not (off <= allowed).all() and np.isfinite(a).all():
            index = index_of(int(off.argmax()), off)
            expected = (2 * a - 3 * b)[index]
            what = f"argument {i} at index {index}: pullback(2g - 3g') gives {c[index]:.12g},"
            raise Broken("linear", f"{what}\n2 pullback(g) - 3 pullback(g') is {expected:.12g}")


def alias(e: Evaluated) -> None:
    """No gradient is memory that somebody else holds or that a later call overwrites."""
    call, options = e.subject.raw, e.case.options
    raw = call(e.arrays, options) if call else None
    if call is None or raw is None:
        return
    out, pullback = np.asarray(raw[0]), raw[1]
    parts = tuple(pullback(e.g))
    lent = {f"argument {j}": a for j, a in enumerate(e.arrays) if isinstance(a, np.ndarray)}
    for i, part in enumerate(parts):
        if not isinstance(part, np.ndarray):
            continue
        for what, a in {**lent, "the output": out}.items():
            if np.shares_memory(part, a) and not np.shares_memory(part, e.g):
                raise Broken("alias", f"gradient {i} is memory of {what}; return a copy")
    kept = [None if p is None else np.copy(p) for p in parts]
    before = out.copy()
    waiting, again = call(e.arrays, options), call([_moved(a) for a in e.arrays], options)
    assert waiting is not None and again is not None  # as the first call
    again[1](np.asarray(-2 * e.g))
    if not np.array_equal(before, out, equal_nan=True):
        raise Broken("alias", "a second call overwrites the output of the first")
    for i, (part, copy) in enumerate(zip(parts, kept)):
        if copy is not None and not np.array_equal(part, copy, equal_nan=True):
            raise Broken("alias", f"a second call overwrites gradient {i} of the first")
    for i, (part, copy) in enumerate(zip(waiting[1](e.g), kept)):
        if copy is not None and not close(np.asarray(part), copy):
            what = f"gradient {i} is another if a second call comes between forward and backward"
            raise Broken("alias", what)


def _moved(a: Any) -> Any:
    return np.asarray(a * 1.01) if is_real(a) else a


def needs(e: Evaluated) -> None:
    """Asking for some gradients only gives the same ones."""
    asked = [n and i in e.real for i, n in enumerate(e.case.needs)]
    if e.subject.strict or not any(asked) or sum(asked) == len(e.real):
        return
    _, some = e.subject.gradients(e.arrays, e.case.options, e.g, asked)
    for i in e.real:
        if asked[i] and not close(some[i], e.gradients[i]):
            others = " and ".join(str(j) for j in e.real if not asked[j])
            what = f"gradient {i} changes when argument {others} needs none"
            raise Broken("needs", what, e.arrays, e.g, asked)


def close(a: Any, b: Any, rtol: float = 1e-9, atol: float = 1e-12) -> bool:
    """Do two arrays have the same shape, and the same numbers up to rounding?"""
    return a.shape == b.shape and np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)


def twice(e: Evaluated) -> None:
    """F(x, x) has both gradients of f at (x, x), summed."""
    if e.subject.strict or len(e.real) < 2:
        return
    i, j = e.real[:2]
    if e.arrays[i].shape != e.arrays[j].shape:
        return
    x = e.arrays[i]
    apart, same = list(e.arrays), list(e.arrays)
    apart[j], same[j] = x.copy(), x
    _, separate = e.again(e.g, apart)
    _, together = e.again(e.g, same)
    if not close(np.asarray(separate[i]) + np.asarray(separate[j]), together[i]):
        what = f"arguments {i} and {j} are one Tensor: its gradient is not the sum of both"
        raise Broken("twice", what, same, e.g)
