"""Is a pullback right? Compare it with numbers that know nothing of it.

    >>> check_pullback(mul, x, y)  # one op, each of its arguments
    >>> check_pullback(softmax, x, options={"axis": 0}, analytic=True)  # to 1e-12
    >>> check_gradient(lambda x, w: (silu(x @ w) ** 2).sum(), x, w)  # a whole scalar function

They return nothing, or raise GradientError with the op, the argument, the index and both numbers.

**Why a random direction suffices.** For a direction v, <gradient, v> must equal the slope along v.
If the gradient is wrong by e, the two differ by <e, v>. For a normal v that is a normal number of
standard deviation |e|, so to look right it would have to fall near 0 in every one of the draws.
One direction costs two evaluations, whatever the size. Elements are tried one by one only after a
failure, to name the worst.

**Why the complex step does not cancel.** (f(x + hv) - f(x - hv)) / 2h subtracts two nearly equal
numbers: a small h loses digits to rounding, a large one to curvature. For an analytic f,
f(x + ihv) = f(x) + ih f'(x)v + O(h²). The slope stands alone in the imaginary part, nothing is
subtracted, and h can be 1e-30 (Squire & Trapp 1998, "Using complex variables to estimate
derivatives of real functions"). It does not work for ops with abs, max or comparisons in them.

**Steps and tolerances.** All in float64, eps = 2.2e-16, for values of size about 1. The error of
central differences is about h² + eps/h. It is smallest at h = eps^(1/3) = 6e-6, where it is 4e-11.
Extrapolated from h and h/2 (Richardson), the error is about h⁴ + eps/h, smallest at
h = eps^(1/5) = 7e-4, where it is 3e-13. We allow 100 times that, plus `tolerance` times the sum of
the absolute values of everything that is added up. A tolerance of 1e-6 leaves room for functions of
strong curvature, and real mistakes are far larger. Keep inputs further than h from kinks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .backend import Array, array_module, index_of, kind_of
from .engine import backward, leaf
from .second_order import hessian_vector as hessian_vector
from .tensor import Tensor

EPS = float(np.finfo(np.float64).eps)

# A function of one plain array: an op with its other arguments fixed.
Function: TypeAlias = Callable[[Array], Any]

# How far apart two slopes are (above 1 is too far), the one by backward, the measured one.
Miss: TypeAlias = tuple[float, float, float]


class GradientError(AssertionError):
    """A gradient and its numerical check disagree, or a pullback broke a rule of the engine."""


class Method(NamedTuple):
    """A way to measure slopes: `slope(f, x, v)` is d f(x + hv)/dh at h = 0.

    Its error is about `truncation` + `rounding` · |f|.
    """

    name: str
    slope: Callable[[Function, Array, Array], Any]
    truncation: float
    rounding: float


def _central(f: Function, x: Array, v: Array, h: float = EPS ** (1 / 3)) -> Any:
    return (f(x + h * v) - f(x - h * v)) / (2 * h)


def _extrapolated(f: Function, x: Array, v: Array, h: float = EPS ** (1 / 5)) -> Any:
    return (4 * _central(f, x, v, h / 2) - _central(f, x, v, h)) / 3


def _complex_step(f: Function, x: Array, v: Array, h: float = 1e-30) -> Any:
    return f(x + 1j * h * v).imag / h


CENTRAL = Method("central differences", _central, 100 * EPS ** (2 / 3), 100 * EPS ** (2 / 3))
EXTRAPOLATED = Method(
    "extrapolated central differences", _extrapolated, 100 * EPS ** (4 / 5), 100 * EPS ** (4 / 5)
)
COMPLEX_STEP = Method("the complex step", _complex_step, 1e-58, 100 * EPS)


def check_pullback(
    op: Callable[..., Tensor],
    *arrays: Any,
    options: dict[str, Any] | None = None,
    seed: int = 0,
    analytic: bool = False,
    directions: int = 4,
    tolerance: float | None = None,
) -> None:
    """Check the gradient of `op(*arrays, **options)` with respect to each float64 array.

    Also, backward must change no bit of g, of the inputs or of the output, and each gradient
    must have its argument's shape and dtype.

    Args:
        op: a function of Tensors and other arguments.
        *arrays: its positional arguments; numbers and arrays of integers or bools go unchecked.
        options: its keyword arguments.
        seed: of the upstream gradient and the directions.
        analytic: use the complex step.
        directions: how many random directions to try for each argument; 0 tries every element.
        tolerance: relative; by default 1e-12 with the complex step, else 1e-6.

    Raises:
        GradientError: something is wrong.
        TypeError: an argument is an array of floats, but not of float64.
    """
    name, options, rng = _name(op), options or {}, np.random.default_rng(seed)
    method = COMPLEX_STEP if analytic else CENTRAL
    tolerance = tolerance or (1e-12 if analytic else 1e-6)
    checked = [i for i, a in enumerate(arrays) if _is_real_array(a, name, i)]

    leaves = [leaf(a) if i in checked else a for i, a in enumerate(arrays)]
    out = op(*leaves, **options)
    g = _draw(rng, out.data)
    _backward_untouched(name, out, g, {f"its argument {i}": arrays[i] for i in checked})

    size = float(abs(g).sum()), float(abs(g * out.data).sum())
    for i in checked:
        what, x = f"{name}: gradient of argument {i}", arrays[i]
        gradient = _like_its_argument(x, leaves[i].grad, what)

        def forward(x: Array, i: int = i) -> Array:
            moved = [*arrays[:i], x, *arrays[i + 1 :]]
            tensors = [Tensor(a) if j in checked else a for j, a in enumerate(moved)]
            return op(*tensors, **options).data

        comparison = _Comparison(what, forward, x, g, gradient, size, method, tolerance)
        comparison.check(directions, rng)


def check_gradient(
    function: Callable[..., Tensor],
    *arrays: Array,
    seed: int = 0,
    tolerance: float = 1e-6,
    directions: int = 8,
    largest: int = 1000,
) -> None:
    """Check `backward` through a whole function, with respect to each of its arguments.

    Args:
        function: takes Tensors and returns a Tensor of one number.
        *arrays: its arguments, float64.
        seed: of the directions.
        tolerance: relative.
        directions: how many random directions to try for each large argument.
        largest: arrays of up to so many elements are checked element by element.

    Raises:
        GradientError: a gradient is wrong.
        TypeError: an argument is no float64 array.
    """
    name, rng = _name(function), np.random.default_rng(seed)
    for i, a in enumerate(arrays):
        if not _is_real_array(a, name, i):
            raise TypeError(f"{name}: argument {i}: expected a float64 array, got {_name(type(a))}")
    leaves = [leaf(a) for a in arrays]
    out = function(*leaves)
    backward(out)
    size = 1.0, float(abs(out.data).sum())
    for i, x in enumerate(arrays):

        def forward(x: Array, i: int = i) -> Array:
            return function(*map(Tensor, [*arrays[:i], x, *arrays[i + 1 :]])).data

        gradient = leaves[i].grad
        if gradient is None:
            gradient = array_module(x).zeros_like(x)
        what = f"{name}: gradient of argument {i}"
        comparison = _Comparison(what, forward, x, 1.0, gradient, size, EXTRAPOLATED, tolerance)
        comparison.check(directions if x.size > largest else None, rng)


def numerical_gradient(function: Function, array: Array) -> Array:
    """The gradient of `function(array) -> a number` by extrapolated central differences.

    This takes four evaluations for each element.

    Raises:
        TypeError: the array is one of floats, but not of float64.
    """
    _is_real_array(array, _name(function), 0)

    number: Function = lambda x: float(function(x))
    slopes = [_extrapolated(number, array, _unit(array, k)) for k in range(array.size)]
    gradient: Array = array_module(array).asarray(slopes, dtype=np.float64)
    return gradient.reshape(array.shape)


def _backward_untouched(name: str, out: Tensor, g: Array, inputs: dict[str, Array]) -> None:
    """Run backward, and raise GradientError if it writes where it must not."""
    held = {"its upstream gradient g": g, "its output": out.data, **inputs}
    before = {what: a.tobytes() for what, a in held.items()}
    backward(out, g)
    for what, a in held.items():
        if a.tobytes() != before[what]:
            raise GradientError(f"{name}: backward wrote into {what}")


def _like_its_argument(x: Array, gradient: Array | None, what: str) -> Array:
    """The gradient, or GradientError unless it has the shape and dtype of its argument x."""
    if gradient is None or kind_of(gradient) != kind_of(x):
        came = "none" if gradient is None else kind_of(gradient)
        raise GradientError(f"{what}: expected {kind_of(x)}, got {came}")
    return gradient


class _Comparison(NamedTuple):
    """For every direction v, <gradient, v> must be the slope of <g, forward> along v."""

    what: str  # the beginning of a message, "mul: gradient of argument 0"
    forward: Function  # the output as a function of one argument alone
    x: Array  # that argument
    g: Array | float  # the upstream gradient
    gradient: Array  # what backward says
    size: tuple[float, float]  # the sums of |g| and of |g · output|: they scale the errors
    method: Method
    tolerance: float

    def check(self, directions: int | None, rng: np.random.Generator) -> None:
        """Raise GradientError, naming the worst element, if backward and the slopes disagree.

        Without `directions` every element is tried.
        """
        x = self.x
        if x.size == 0:
            return
        if directions and all(self.miss(_draw(rng, x))[0] <= 1 for _ in range(directions)):
            return
        places = _suspects(x, self.miss, rng) if directions else range(x.size)
        misses = ((self.miss(_unit(x, k)), k) for k in places)
        (excess, claimed, measured), place = max(misses, key=lambda found: found[0][0])
        if directions or excess > 1:
            raise GradientError(
                f"{self.what} at index {index_of(place, x)}: backward gives {claimed:.12g}, "
                f"{self.method.name} {measured:.12g}"
            )

    def miss(self, v: Array) -> Miss:
        """How far apart the two slopes along v are."""
        claimed, slope = self.gradient * v, self.g * self.method.slope(self.forward, self.x, v)
        allowed = (
            self.tolerance * float(abs(claimed).sum() + abs(slope).sum())
            + self.method.truncation * self.size[0]
            + self.method.rounding * self.size[1]
        )
        total, measured = float(claimed.sum()), float(slope.sum())
        error = abs(total - measured)
        if not error < np.inf:  # a NaN is as wrong as can be
            return np.inf, total, measured
        return error / allowed if error else 0.0, total, measured


def _suspects(x: Array, miss: Callable[[Array], Miss], rng: np.random.Generator) -> Array:
    """At most 256 places where something is wrong, found by halving.

    Of two halves it keeps the one that a random direction finds further off.
    """
    places: Array = np.arange(x.size)
    while places.size > 256:
        v = _draw(rng, x)
        places = max(np.array_split(places, 2), key=lambda half: miss(_only(v, half))[0])
    return places


def _only(v: Array, places: Any) -> Array:
    """The direction v with zeros everywhere but at `places`."""
    out: Array = array_module(v).zeros(v.shape)
    out.reshape(-1)[places] = v.reshape(-1)[places]
    return out


def _unit(x: Array, k: int) -> Array:
    """The direction of the element at place k."""
    return _only(array_module(x).ones(x.shape), k)


def _draw(rng: np.random.Generator, x: Array) -> Array:
    """Normal numbers in the shape of x, on its device."""
    drawn: Array = array_module(x).asarray(rng.standard_normal(x.shape))
    return drawn


def _name(function: Any) -> str:
    return getattr(function, "__name__", repr(function))


def _is_real_array(a: Any, name: str, i: int) -> bool:
    """Is this an argument to check? float32 is refused: differences keep two or three digits."""
    if not hasattr(a, "dtype") or isinstance(a, np.generic) or a.dtype.kind not in "fc":
        return False
    if a.dtype != np.float64:
        why = "a numerical check needs its digits"
        raise TypeError(f"{name}: argument {i}: expected float64, got {a.dtype}; {why}")
    return True
