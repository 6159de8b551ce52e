"""One case against every rule."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import reject

from ..backend import Array
from . import precision, rules
from .report import Broken, explain
from .rules import Evaluated, Plan
from .strategies import Case, is_real, laid_out, upstream_of
from .subject import Subject

AFTER: dict[str, Callable[[Evaluated], None]] = {
    "value": rules.value,
    "shape": rules.shape,
    "slope": rules.slope,
    "linear": rules.linear,
    "alias": rules.alias,
    "needs": rules.needs,
    "twice": rules.twice,
    "numbers": precision.numbers,
    "float32": precision.float32,
    "nan": precision.nan,
    "infinity": precision.infinity,
    "device": precision.device,
}


def run(subject: Subject, case: Case, plan: Plan) -> None:
    """Try every rule on a case.

    Raises:
        GradientError: one is broken.
    """
    arrays, shown = case.laid_out(), None
    try:
        with quietly():
            out = _forward(subject, case, arrays)
            g = laid_out(upstream_of(case.seed, out.shape).astype(out.dtype), case.layouts[-1])
            shown = g.copy()  # a wrong pullback may write into g
            evaluated = _backward(subject, case, arrays, out, g, plan)
            for name, rule in AFTER.items():
                if name not in plan.skip:
                    with runs(name):
                        rule(evaluated)
    except Broken as broken:
        raise explain(subject, case, shown, broken) from broken.__cause__


@contextmanager
def quietly() -> Iterator[None]:
    """NaN, infinity and empty arrays are part of the check."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@contextmanager
def runs(rule: str) -> Iterator[None]:
    """Whatever is raised inside breaks this rule, or the one that the message speaks of."""
    try:
        yield
    except Broken:
        raise
    except Exception as error:
        if "read-only" in str(error):
            raise Broken("untouched", f"it writes into a read-only array: {error}") from error
        if rule == "runs" and "expected a gradient of" in str(error):
            rule = "shape"
        raise Broken(rule, f"{type(error).__name__}: {error}") from error


def _forward(subject: Subject, case: Case, arrays: tuple[Any, ...]) -> Array:
    try:
        return subject.forward(arrays, case.options)
    except Exception as error:
        if any(is_real(a) and a.size == 0 for a in arrays):
            reject()  # it may refuse empty arrays, as max does
        if "read-only" in str(error):
            raise Broken("untouched", f"forward writes into its input: {error}") from error
        raise Broken("runs", f"forward raises {type(error).__name__}: {error}") from error


def _backward(
    subject: Subject, case: Case, arrays: tuple[Any, ...], out: Array, g: Array, plan: Plan
) -> Evaluated:
    held = {f"argument {i}": a for i, a in enumerate(arrays) if isinstance(a, np.ndarray)}
    held["the upstream gradient g"] = g
    before = {what: a.tobytes() for what, a in held.items()}
    drawn = {f"argument {i}": a for i, a in enumerate(case.arrays) if isinstance(a, np.ndarray)}
    for what, a in drawn.items():  # forward ran already
        if a.tobytes() != before[what]:
            raise Broken("untouched", f"forward writes into {what}")
    with runs("runs"):
        result, gradients = subject.gradients(arrays, case.options, g, [True] * len(arrays))
    for what, a in held.items():
        if a.tobytes() != before[what]:
            raise Broken("untouched", f"backward writes into {what}")
    if result.tobytes() != out.tobytes():
        same = result.shape == out.shape and np.allclose(result, out, rtol=1e-9, equal_nan=True)
        if not same:
            raise Broken("untouched", "backward writes into the output, or forward is random")
    return Evaluated(subject, case, arrays, out, g, gradients, plan)
