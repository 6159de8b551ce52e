"""The rules about numbers that are special: float32, NaN, and those on a GPU."""

from typing import Any

import numpy as np

from ..backend import to_device, to_numpy
from .report import Broken, kind
from .rules import Evaluated
from .strategies import is_real

EPS32 = float(np.finfo(np.float32).eps)


def float32(e: Evaluated) -> None:
    """float32 in, float32 out, as near to float64 as the conditioning of the gradient allows."""
    single = [a.astype(np.float32) if is_real(a) else a for a in e.arrays]
    double = [a.astype(np.float64) if is_real(a) else a for a in single]
    g = e.g.astype(np.float32)
    out, gradients = e.again(g, single)
    for what, part in [("the output", out), *((f"gradient {i}", gradients[i]) for i in e.real)]:
        if part is None or part.dtype != np.float32:
            raise Broken("float32", f"{what}: expected float32, got {kind(part)}")
    exact_out, exact = e.again(g.astype(np.float64), double)
    rng = np.random.default_rng(e.case.seed)
    shake = [a + EPS32 * a * rng.uniform(-1, 1, a.shape) if is_real(a) else a for a in double]
    near = [np.asarray(a) if is_real(b) else a for a, b in zip(shake, double)]
    near_out, moved = e.again(g.astype(np.float64), near)
    sizes = float(abs(g).max(initial=0))
    compared: list[Any] = [
        ("the output", out, exact_out, near_out, float(abs(exact_out).max(initial=0)))
    ]
    for i in e.real:
        compared.append((f"gradient {i}", gradients[i], exact[i], moved[i], sizes))
    for what, low, high, shaken, extra in compared:
        low, high, shaken = (np.asarray(a, np.float64) for a in (low, high, shaken))
        if low.size == 0 or not np.isfinite(high).all():
            continue
        condition = float(abs(shaken - high).max())
        scale = extra + float(abs(high).max()) + (1 if what == "the output" else 0)
        off = abs(low - high)
        if not off.max() <= 64 * condition + 64 * EPS32 * scale * max(1, low.size**0.5):
            index = tuple(int(k) for k in np.unravel_index(int(off.argmax()), off.shape))
            numbers = f"float32 gives {low[index]:.8g}, float64 {high[index]:.8g}"
            raise Broken("float32", f"{what} at index {index}: {numbers}")


def nan(e: Evaluated) -> None:
    """A NaN in an argument, or in g, must show: in the output or in a gradient."""
    rng = np.random.default_rng(e.case.seed)
    for i in e.real:
        x = e.arrays[i]
        if not x.size or not abs(np.asarray(e.gradients[i])).max() > 0:
            continue
        candidates = np.flatnonzero(abs(np.asarray(e.gradients[i])) > 1e-6)
        if not candidates.size:
            continue
        bad = np.array(x, order="C")  # of which reshape is a view
        k = int(rng.choice(candidates))
        bad.reshape(-1)[k] = np.nan
        arrays = [*e.arrays[:i], bad, *e.arrays[i + 1 :]]
        out, gradients = e.again(e.g, arrays)
        if _finite(out, *(gradients[j] for j in e.real)):
            index = tuple(int(n) for n in np.unravel_index(k, x.shape))
            what = f"argument {i} is NaN at index {index}: output and gradients are finite"
            raise Broken("nan", what)
        g = np.full(e.out.shape, np.nan, e.out.dtype)
        if _finite(*(e.again(g)[1][j] for j in e.real)):
            raise Broken("nan", "g is NaN, and every gradient is finite")


def _finite(*arrays: Any) -> bool:
    return all(bool(np.isfinite(a).all()) for a in arrays if a is not None)


def device(e: Evaluated) -> None:
    """CuPy gives what NumPy gives."""
    if e.plan.device == "cpu" or e.subject.strict:
        return
    there = [
        to_device(np.ascontiguousarray(a), e.plan.device) if is_real(a) else a for a in e.arrays
    ]
    out, gradients = e.again(to_device(np.ascontiguousarray(e.g), e.plan.device), there)
    for what, far, near in [
        ("the output", out, e.out),
        *((f"gradient {i}", gradients[i], e.gradients[i]) for i in e.real),
    ]:
        if not np.allclose(to_numpy(far), np.asarray(near), rtol=1e-10, atol=1e-12, equal_nan=True):
            raise Broken("device", f"{what} differs on {e.plan.device}")
