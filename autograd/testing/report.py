"""What a person reads when a rule is broken: the rule, the numbers, and the input as code."""

import re
from typing import Any

import numpy as np

from ..backend import Array, kind_of
from ..check import GradientError
from .slopes import Slopes
from .strategies import LAYOUTS, Case, is_real
from .subject import Subject

NOT_FINITE = re.compile(r"\b(?=(nan|inf)\b)")  # where a `np.` is missing

# Every rule, and what it demands.
RULES = {
    "runs": "forward and backward run on valid input",
    "value": "the output is the reference's, and so are the gradients if that has any",
    "slope": "the gradient is the slope of the output",
    "shape": "a gradient has its argument's shape and dtype",
    "linear": "a pullback is linear in g",
    "untouched": "forward and backward write into nothing they were given",
    "alias": "a later call changes no gradient, and none is memory of inputs or output",
    "needs": "a gradient does not depend on which other gradients are asked for",
    "twice": "the same Tensor passed twice gets the sum of both gradients",
    "numbers": "a Python number is as good as an array of that number",
    "float32": "float32 in, float32 out, near the float64 result",
    "nan": "NaN in, NaN out: no finite result hides it",
    "infinity": "infinity shows, unless the result has a finite limit",
    "device": "a GPU gives what the CPU gives",
}


class Broken(Exception):
    """A rule does not hold. `run` makes a GradientError of it, with the input.

    That is the case's, unless the rule changed it: then `arrays` and `g` are what it tried, and
    `needs` says for which arguments it asked for gradients.
    """

    def __init__(
        self, rule: str, what: str, arrays: Any = None, g: Any = None, needs: Any = None
    ) -> None:
        super().__init__(what)
        self.rule, self.what, self.needs = rule, what, needs
        self.arrays, self.g = arrays, g


def explain(subject: Subject, case: Case, g: Array | None, broken: Broken) -> GradientError:
    """The error that a person sees."""
    if broken.arrays is not None:
        case, g = case._replace(arrays=tuple(broken.arrays)), broken.g
    lines = [
        f'{subject.name} breaks the rule "{broken.rule}": {RULES[broken.rule]}.',
        *("    " + line for line in broken.what.splitlines()),
        "",
        "To see it again:",
        *("    " + line for line in code(subject, case, g, broken.needs)),
    ]
    return GradientError("\n" + "\n".join(lines))


def code(subject: Subject, case: Case, g: Array | None, needs: Any = None) -> list[str]:
    """Lines to paste into Python."""
    needed = needs or [True] * len(case.arrays)
    leaves = [is_real(a) and n and not subject.strict for a, n in zip(case.arrays, needed)]
    names = [f"x{i}" for i in range(len(case.arrays))] if len(case.arrays) > 1 else ["x"]
    lines = ["import numpy as np"] + (["from autograd import leaf"] if any(leaves) else [])
    known: dict[int, str] = {}  # so that the same array twice is the same name
    for name, a, how, is_leaf in zip(names, case.arrays, case.layouts, leaves):
        made = _literal(a, how if is_real(a) else "C")
        made = f"leaf({made})" if is_leaf else made
        lines.append(f"{name} = {known.get(id(a), made)}")
        known |= {id(a): name} if is_real(a) else {}
    options = "".join(f", {name}={_literal(value, 'C')}" for name, value in case.options.items())
    gradient = None if g is None else _literal(g, case.layouts[-1])
    if subject.strict:
        if gradient is None:
            return [*lines, f"{subject.name}({', '.join(names)}{options})"]
        return [*lines, f"{subject.call}({', '.join([gradient, *names])}{options})"]
    reals = [name for name, is_leaf in zip(names, leaves) if is_leaf]
    lines.append(f"out = {subject.call}({', '.join(names)}{options})")
    if gradient is not None:
        lines += [f"out.backward({gradient})", ", ".join(f"{name}.grad" for name in reals)]
    return lines


def _literal(a: Any, layout: str) -> str:
    if isinstance(a, tuple):
        listed = ", ".join(_literal(each, "C") for each in a)
        return f"({listed},)" if len(a) == 1 else f"({listed})"
    if not isinstance(a, np.ndarray):
        return repr(a)
    dtype = "" if a.dtype == np.float64 else f", dtype={a.dtype.name!r}"
    listed = f"np.array({NOT_FINITE.sub('np.', repr(a.tolist()))}{dtype})"
    if a.size == 0:
        listed = f"np.zeros({a.shape}{dtype})"
    if layout == "strided" and not a.ndim:
        return listed
    return LAYOUTS[layout].format(listed, shape=a.shape)


def wrong_slope(slopes: Slopes, argument: int, directions: list[Array]) -> str:
    """Where the gradient is wrong, by how much, and what that looks like."""
    found = [(slopes.along(v), v) for v in directions]
    single = [(s, v) for s, v in found if (v != 0).sum() == v.max() == 1 and s.excess > 1]
    worst, v = max(single or found, key=lambda pair: pair[0].excess)
    if single:
        where = f"at index {tuple(int(i) for i in np.argwhere(v)[0])}"
    elif (v == 1).all():
        where = "when all its elements move together"
    else:
        where = "along a direction that mixes its elements"
    verb = "gives" if worst.method.endswith("step") else "give"
    measured = f"{worst.method} {verb} {worst.low:.9g}"
    if worst.low != worst.high:
        measured = f"{worst.method} are {worst.low:.9g} and {worst.high:.9g}"
    text = f"argument {argument} {where}: backward gives {worst.claimed:.9g},\n{measured}"
    guess = hint(slopes.gradient, slopes.numerical())
    return f"{text}\n{guess}" if guess else text


def hint(claimed: Array, measured: Array) -> str | None:
    """A guess in words at what is wrong, from the pattern of the two gradients."""
    x = measured
    if not np.isfinite(claimed).all():
        return "Hint: the gradient is not finite here."
    big = abs(measured) > 1e-6
    if not big.any():
        return "Hint: the output does not depend on it here, and the gradient should be 0."
    if not claimed.any():
        return "Hint: backward gives 0 everywhere. Did a term or an argument get lost?"
    ratio = claimed[big] / measured[big]
    if np.allclose(ratio, ratio[0], rtol=1e-5) and np.allclose(claimed[~big], 0, atol=1e-5):
        return _factor(float(ratio[0]), x)
    if x.ndim > 1 or x.size > 1:
        for axis in range(x.ndim):
            if x.shape[axis] > 1 and np.allclose(np.flip(claimed, axis), measured, atol=1e-5):
                return f"Hint: the gradient is right but reversed along axis {axis}."
        if x.ndim == 2 and x.shape[0] == x.shape[1] and np.allclose(claimed.T, measured, atol=1e-5):
            return "Hint: the gradient is right but transposed."
    return None


def _factor(ratio: float, x: Array) -> str | None:
    if abs(ratio + 1) < 1e-5:
        return "Hint: every element has the wrong sign."
    for how, factor in (("large", ratio), ("small", 1 / ratio if ratio else 0.0)):
        n = round(factor)
        if n > 1 and abs(factor - n) < 1e-4 * n:
            which = " and ".join(what for what, count in _counts(x).items() if count == n)
            which = f", which is {which}" if which else ""
            return f"Hint: every element is too {how} by the factor {n}{which}."
    if abs(ratio - 1) > 1e-5 and x.size > 1:
        return f"Hint: every element is wrong by the same factor, {ratio:.6g}."
    return None


def _counts(x: Array) -> dict[str, int]:
    """Numbers that derivatives get wrong by."""
    sides = {f"the length of axis {axis}": n for axis, n in enumerate(x.shape)}
    return sides | ({"the size of the argument": x.size} if x.ndim > 1 else {})


def kind(a: Any) -> str:
    """In words: the dtype and shape of an array."""
    return "none" if a is None else kind_of(a)
