"""The rules about numbers that are special: float32, NaN, infinity, Python's, those on a GPU."""

from typing import Any

import numpy as np

from ..backend import Array, array_module, index_of, to_device, to_numpy
from .report import Broken, kind
from .rules import Evaluated, close
from .strategies import is_real, laid_out
from .subject import Gradients

EPS32 = float(np.finfo(np.float32).eps)
FAR = 1e100  # as good as infinity, and its square is still a float64


# ---- float32, on a CPU and on a GPU --------------------------------------------------------------


def float32(e: Evaluated) -> None:
    """float32 in, float32 out, as near to float64 as the conditioning of the gradient allows."""
    single, g = _single(e)
    _near_float64(e, "float32", *e.again(g, single))


def device(e: Evaluated) -> None:
    """CuPy gives what NumPy gives, in float64, and in float32 as nearly as can be."""
    where = e.plan.device
    if where == "cpu":
        return
    options = {name: _moved(option, where) for name, option in e.case.options.items()}
    out, gradients = e.again(_moved(e.g, where), [_moved(a, where) for a in e.arrays], options)
    for i, far, near in _results(e, out, gradients, e.out, e.gradients):
        if array_module(far) is np:
            raise Broken("device", f"{_name(i)} is not on {where}")
        if not np.allclose(to_numpy(far), np.asarray(near), rtol=1e-10, atol=1e-12, equal_nan=True):
            raise Broken("device", f"{_name(i)} differs on {where}")
    single, g = _single(e)
    out, gradients = e.again(_moved(g, where), [_moved(a, where) for a in single], options)
    there = tuple(None if part is None else to_numpy(part) for part in gradients)
    _near_float64(e, "device", to_numpy(out), there, f" on {where}")


def _moved(a: Any, where: str) -> Any:
    """What is an array, or holds some, on the device; anything else as it is."""
    if type(a) in (tuple, list):
        return type(a)(_moved(each, where) for each in a)
    return to_device(np.array(a, order="C"), where) if isinstance(a, np.ndarray) else a


def _single(e: Evaluated) -> tuple[list[Any], Array]:
    """The arguments and g in float32, as they lie in memory."""
    *layouts, of_g = e.case.layouts
    single = [
        laid_out(a.astype(np.float32), how) if is_real(a) else a
        for a, how in zip(e.arrays, layouts)
    ]
    return single, laid_out(e.g.astype(np.float32), of_g)


def _near_float64(
    e: Evaluated, rule: str, out: Array, gradients: Gradients, where: str = ""
) -> None:
    """Results in float32 against float64's. The bound: what a change in the last digit does."""
    single, g32 = _single(e)
    double = [a.astype(np.float64) if is_real(a) else a for a in single]
    g = g32.astype(np.float64)
    for i, part in [(-1, out), *((i, gradients[i]) for i in e.real)]:
        if part is None or part.dtype != np.float32:
            what = f"{_name(i)}{where}: expected float32, got {kind(part)}"
            raise Broken(rule, what, single, g32)
    exact = e.again(g, double)
    rng = np.random.default_rng(e.case.seed)

    def shake(a: Array) -> Array:
        return np.asarray(a + EPS32 * a * rng.uniform(-1, 1, a.shape))

    shaken = e.again(shake(g), [shake(a) if is_real(a) else a for a in double])
    scales = {i: float(abs(g).max(initial=0)) for i in e.real}
    scales[-1] = 1 + float(abs(exact[0]).max(initial=0))
    pairs = zip(_results(e, out, gradients, *exact), _results(e, out, gradients, *shaken))
    for (i, low, high), (_, _, moved) in pairs:
        low, high, moved = (np.asarray(a, np.float64) for a in (low, high, moved))
        if low.size == 0 or not np.isfinite(high).all():
            continue
        condition = float(abs(moved - high).max())
        scale = scales[i] + float(abs(high).max())
        off = abs(low - high)
        if not off.max() <= 64 * condition + 64 * EPS32 * scale * max(1, low.size**0.5):
            index = index_of(int(off.argmax()), off)
            numbers = f"float32{where} gives {low[index]:.8g}, float64 {high[index]:.8g}"
            raise Broken(rule, f"{_name(i)} at index {index}: {numbers}", single, g32)


# ---- NaN and infinity ----------------------------------------------------------------------------


def nan(e: Evaluated) -> None:
    """A NaN in an argument, or in g, must show: in the output or in a gradient."""
    for i, k in _places(e):
        arrays = _with(e, i, k, np.nan)
        out, gradients = e.again(e.g, arrays)
        if _finite(e, out, gradients):
            what = (
                f"argument {i} is NaN at index {index_of(k, e.arrays[i])}: "
                "output and gradients are finite"
            )
            raise Broken("nan", what, arrays, e.g)
        _must_show(e, np.nan, "nan")


def infinity(e: Evaluated) -> None:
    """Infinity in an argument, or in g, must show, unless the result tends to a finite limit."""
    for i, k in _places(e):
        for sign in (1, -1):
            arrays = _with(e, i, k, sign * np.inf)
            out, gradients = e.again(e.g, arrays)
            if not _finite(e, out, gradients):
                continue
            far, slopes = e.again(e.g, _with(e, i, k, sign * FAR))
            for j, found, limit in _results(e, out, gradients, far, slopes):
                if np.isfinite(limit).all() and not close(found, limit, 1e-2, 1e-2):
                    which = f"argument {i} is {sign * np.inf} at index {index_of(k, e.arrays[i])}"
                    what = f"{_name(j)} is finite,\nbut not what it is for {sign * FAR}"
                    raise Broken("infinity", f"{which}: {what}", arrays, e.g)
        _must_show(e, np.inf, "infinity")


def _places(e: Evaluated) -> list[tuple[int, int]]:
    """For each argument, a place where its gradient is not 0, so that the number there matters."""
    rng, found = np.random.default_rng(e.case.seed), []
    for i in e.real:
        candidates = np.flatnonzero(abs(np.asarray(e.gradients[i])) > 1e-6)
        if candidates.size:
            found.append((i, int(rng.choice(candidates))))
    return found


def _with(e: Evaluated, i: int, k: int, number: float) -> list[Any]:
    """The arguments with another number at place k of argument i."""
    changed = np.array(e.arrays[i], order="C")  # of which reshape is a view
    changed.reshape(-1)[k] = number
    return [*e.arrays[:i], changed, *e.arrays[i + 1 :]]


def _must_show(e: Evaluated, number: float, rule: str) -> None:
    g = np.full(e.out.shape, number, e.out.dtype)
    if _finite(e, np.zeros(0), e.again(g)[1]):
        raise Broken(rule, f"g is {number}, and every gradient is finite", e.arrays, g)


def _finite(e: Evaluated, out: Array, gradients: Gradients) -> bool:
    parts = [out, *(gradients[i] for i in e.real)]
    return all(bool(np.isfinite(a).all()) for a in parts if a is not None)


# ---- Python's numbers ----------------------------------------------------------------------------


def numbers(e: Evaluated) -> None:
    """f(x, 2) is f(x, np.array(2.0)), and float32 beside a Python number stays float32.

    It is tried where an array without axes was drawn. An op may refuse Python numbers, but if
    forward takes one, backward must too.
    """
    points = [i for i in e.real if not e.arrays[i].ndim]
    if e.subject.strict or len(e.real) < 2 or not points:
        return
    i, options = points[e.case.seed % len(points)], e.case.options
    value = float(e.arrays[i])
    number = int(value) if value.is_integer() else value

    def beside(dtype: Any) -> list[Any]:
        rest = [a.astype(dtype) if is_real(a) else a for a in e.arrays]
        return [*rest[:i], number, *rest[i + 1 :]]

    try:
        e.subject.forward(beside(np.float64), options)
    except Exception:
        return  # it refuses
    _, expected = e.subject.gradients(
        e.arrays, options, e.g, [j != i for j in range(len(e.arrays))]
    )
    for dtype in (np.float64, np.float32):
        arrays, g = beside(dtype), e.g.astype(dtype)
        who = f"argument {i} is the Python number {number!r}, the others are {g.dtype}:\n"
        try:
            results = _results(e, *e.again(g, arrays), e.out, expected)
        except Exception as error:
            what = f"{who}{type(error).__name__}: {error}"
            raise Broken("numbers", what, arrays, g) from error
        for j, found, wanted in results:
            if j == i:
                continue
            if found is None or found.dtype != dtype:
                what = f"{who}{_name(j)}: expected {g.dtype}, got {kind(found)}"
                raise Broken("numbers", what, arrays, g)
            if dtype is np.float64 and not close(found, np.asarray(wanted)):
                what = f"{who}{_name(j)} is not what np.array({value!r}) gives"
                raise Broken("numbers", what, arrays, g)


# ---- an output and its gradients -----------------------------------------------------------------


def _results(
    e: Evaluated, out: Any, gradients: Any, other: Any, others: Any
) -> list[tuple[int, Any, Any]]:
    """Two outputs side by side, as number -1, and the gradients that both have."""
    return [(-1, out, other), *((i, gradients[i], others[i]) for i in e.real)]


def _name(i: int) -> str:
    return "the output" if i < 0 else f"gradient {i}"
