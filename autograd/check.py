"""Is a pullback right? Compare it with numbers that know nothing of it.

    >>> check_pullback(mul, x, y)                                     # one op, each of its arguments
    >>> check_pullback(softmax, x, options={"axis": 0}, analytic=True)  # to 1e-12
    >>> check_gradient(lambda x, w: (silu(x @ w) ** 2).sum(), x, w)    # a whole scalar function

They return nothing, or raise GradientError with the op, the argument, the index and both numbers.

**Why a random direction suffices.** For a direction v, <gradient, v> must equal the slope along v. If the gradient is
wrong by e, the two differ by <e, v>, and for a normal v that is a normal number of standard deviation |e|: to come out
small by chance it would have to fall near 0 in every one of the draws. One direction costs two evaluations, whatever
the size; all elements would cost two each. Only after a failure are elements tried one by one, to name the worst.

**Why the complex step does not cancel.** (f(x + hv) - f(x - hv)) / 2h subtracts two nearly equal numbers: a small h loses
digits to rounding, a large one to curvature. For an analytic f, f(x + ihv) = f(x) + ih f'(x)v + O(h²): the slope stands
alone in the imaginary part, nothing is subtracted, and h can be 1e-30 (Squire & Trapp 1998, "Using complex variables
to estimate derivatives of real functions"). It serves no op that has abs, max or comparisons in it.

**Steps and tolerances.** All in float64, eps = 2.2e-16, values of size about 1. Central differences err by about
h² + eps/h, least at h = eps^(1/3) = 6e-6, where it is 4e-11; extrapolated from h and h/2 (Richardson) by
h⁴ + eps/h, least at h = eps^(1/5) = 7e-4, where it is 3e-13. We allow 100 times that, and besides `tolerance` times the sum of
the absolute values of what is added up: 1e-6, which leaves room for functions of strong curvature and is far below
what a real mistake does. Keep inputs further than h from kinks.
"""
from typing import NamedTuple

import numpy as np

from .backend import array_module
from .engine import backward, leaf
from .tensor import Tensor

EPS = float(np.finfo(np.float64).eps)


class GradientError(AssertionError):
    """A gradient and its numerical check disagree, or a pullback broke one of the engine's rules."""


class Method(NamedTuple):
    """A way to measure slopes: `slope(f, x, v)` is d f(x + hv)/dh, its error about `truncation` + `rounding` · |f|."""

    name: str
    slope: object
    truncation: float
    rounding: float


def _central(f, x, v, h=EPS ** (1 / 3)):
    return (f(x + h * v) - f(x - h * v)) / (2 * h)


def _extrapolated(f, x, v, h=EPS ** (1 / 5)):
    return (4 * _central(f, x, v, h / 2) - _central(f, x, v, h)) / 3


def _complex_step(f, x, v, h=1e-30):
    return f(x + 1j * h * v).imag / h


CENTRAL = Method("central differences", _central, 100 * EPS ** (2 / 3), 100 * EPS ** (2 / 3))
EXTRAPOLATED = Method("extrapolated central differences", _extrapolated, 100 * EPS ** (4 / 5), 100 * EPS ** (4 / 5))
COMPLEX_STEP = Method("the complex step", _complex_step, 1e-58, 100 * EPS)


def check_pullback(op, *arrays, options=None, seed=0, analytic=False, directions=4, tolerance=None):
    """Check the gradient of `op(*arrays, **options)` with respect to each float64 array among its arguments.

    Other arguments (numbers, arrays of integers or bools) are passed on as they are. The upstream gradient and the
    directions are drawn from `seed`. `analytic=True` uses the complex step; `tolerance` is then 1e-12, else 1e-6.
    Checked besides: backward changes no bit of g, of the inputs or of the output, and each gradient has its
    argument's shape and dtype.
    """
    name, options, rng = _name(op), options or {}, np.random.default_rng(seed)
    method = COMPLEX_STEP if analytic else CENTRAL
    tolerance = tolerance or (1e-12 if analytic else 1e-6)
    checked = [i for i, a in enumerate(arrays) if _is_real_array(a, name, i)]

    leaves = [leaf(a) if i in checked else a for i, a in enumerate(arrays)]
    out = op(*leaves, **options)
    g = _draw(rng, out.data)
    held = {"its upstream gradient g": g, "its output": out.data, **{f"its argument {i}": arrays[i] for i in checked}}
    before = {what: a.tobytes() for what, a in held.items()}
    backward(out, g)
    for what, a in held.items():
        if a.tobytes() != before[what]:
            raise GradientError(f"{name}: backward wrote into {what}")

    for i in checked:
        x, gradient = arrays[i], leaves[i].grad
        if gradient is None or gradient.shape != x.shape or gradient.dtype != x.dtype:
            came = "none" if gradient is None else f"{gradient.dtype} of shape {gradient.shape}"
            raise GradientError(f"{name}: gradient of argument {i}: expected {x.dtype} of shape {x.shape}, got {came}")

        def forward(x, i=i):
            tensors = [Tensor(x if j == i else a) if j in checked else a for j, a in enumerate(arrays)]
            return op(*tensors, **options).data

        size = float(abs(g).sum()), float(abs(g * out.data).sum())
        _compare(f"{name}: gradient of argument {i}", forward, x, g, gradient, size, method, tolerance, directions, rng)


def check_gradient(function, *arrays, seed=0, tolerance=1e-6, directions=8, largest=1000):
    """Check `backward` through a whole `function(*Tensors) -> Tensor` of one number, with respect to each float64 array.

    Arrays of up to `largest` elements are checked element by element, larger ones along random directions.
    """
    name, rng = _name(function), np.random.default_rng(seed)
    for i, a in enumerate(arrays):
        if not _is_real_array(a, name, i):
            raise TypeError(f"{name}: argument {i}: expected a float64 array, got {type(a).__name__}")
    leaves = [leaf(a) for a in arrays]
    out = function(*leaves)
    backward(out)
    for i, x in enumerate(arrays):
        def forward(x, i=i):
            return function(*[Tensor(x if j == i else a) for j, a in enumerate(arrays)]).data

        gradient = leaves[i].grad if leaves[i].grad is not None else array_module(x).zeros_like(x)
        size = 1.0, float(abs(out.data).sum())
        along = directions if x.size > largest else None
        _compare(f"{name}: gradient of argument {i}", forward, x, 1.0, gradient, size, EXTRAPOLATED, tolerance, along, rng)


def numerical_gradient(function, array):
    """The gradient of `function(array) -> a number` by extrapolated central differences: four evaluations an element."""
    _is_real_array(array, _name(function), 0)
    values = [_extrapolated(lambda x: float(function(x)), array, _unit(array, k)) for k in range(array.size)]
    return array_module(array).asarray(values, dtype=np.float64).reshape(array.shape)


def _compare(what, forward, x, g, gradient, size, method, tolerance, directions, rng):
    """Raise GradientError unless <gradient, v> is the slope of <g, forward> along random v or, if `directions` is None, each element."""
    def miss(v):
        """(by how much the two differ in units of what is allowed, claimed, measured)"""
        claimed, slope = gradient * v, g * method.slope(forward, x, v)
        allowed = tolerance * float(abs(claimed).sum() + abs(slope).sum()) + method.truncation * size[0] + method.rounding * size[1]
        claimed, measured = float(claimed.sum()), float(slope.sum())
        error = abs(claimed - measured)
        excess = 0.0 if error == 0 else error / allowed if error < np.inf else np.inf  # a NaN is as wrong as can be
        return excess, claimed, measured

    if x.size == 0 or directions and all(miss(_draw(rng, x))[0] <= 1 for _ in range(directions)):
        return
    places = _suspects(x, miss, rng) if directions else range(x.size)
    (excess, claimed, measured), place = max(((miss(_unit(x, k)), k) for k in places), key=lambda found: found[0][0])
    if directions or excess > 1:
        index = tuple(int(i) for i in np.unravel_index(place, x.shape))
        raise GradientError(f"{what} at index {index}: backward gives {claimed:.12g}, {method.name} {measured:.12g}")


def _suspects(x, miss, rng, few=256):
    """At most `few` places where something is wrong, found by halving: along a random direction in each half, which misses by more?"""
    places = np.arange(x.size)
    while places.size > few:
        v = _draw(rng, x)
        places = max(np.array_split(places, 2), key=lambda half: miss(_only(v, half))[0])
    return places


def _only(v, places):
    """The direction v with zeros everywhere but at `places`."""
    out = array_module(v).zeros(v.shape)
    out.reshape(-1)[places] = v.reshape(-1)[places]
    return out


def _unit(x, k):
    """The direction of the element at place k."""
    return _only(array_module(x).ones(x.shape), k)


def _draw(rng, x):
    """Normal numbers in the shape of x, on its device."""
    return array_module(x).asarray(rng.standard_normal(x.shape))


def _name(function):
    return getattr(function, "__name__", repr(function))


def _is_real_array(a, name, i):
    """Is this an argument to check? A float32 one is refused: differences would keep two or three of its digits."""
    if not hasattr(a, "dtype") or isinstance(a, np.generic) or a.dtype.kind not in "fc":
        return False
    if a.dtype != np.float64:
        raise TypeError(f"{name}: argument {i}: expected float64, got {a.dtype}; a numerical check needs its digits")
    return True
