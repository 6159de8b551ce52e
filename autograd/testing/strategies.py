"""What the kit tries: shapes, numbers, memory layouts, options.

    arrays_near((2, 3), domain=(0.1, 5.0))    # numbers from a domain, simple ones first
    broadcastable(2)                          # shapes of two arrays that broadcast together
    images(h=(2, 8), c=(1, 4))                # shapes H W N C, or N C H W
    upstream((2, 3))                          # a gradient of the output

All shrink: Hypothesis ends at the fewest axes, and at numbers such as 1.0 and 0.5.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..backend import Array

Shape: TypeAlias = tuple[int, ...]
Domain: TypeAlias = Any  # (low, high), or bool for an array of booleans
Draw: TypeAlias = Callable[[Any], Any]

SEEDS = st.integers(0, 2**32 - 1)
BOUNDARY = 2e-3  # how far inside its domain a number stays: differences need room
FEW = 16  # up to so many elements are drawn one by one, so that each can shrink
PLAIN = (-2.0, 2.0)


# ---- numbers -------------------------------------------------------------------------------------


def arrays_near(
    shape: Shape, domain: Domain = PLAIN, kinks: Sequence[float] = ()
) -> st.SearchStrategy[Array]:
    """float64 arrays of numbers from a domain, some of them exactly on its kinks.

    Args:
        shape: of the arrays.
        domain: (low, high); the bounds themselves are left out. `bool` gives booleans.
        kinks: numbers at which the function has no derivative.
    """

    return _arrays(shape, domain, tuple(kinks))


@st.composite  # out here: Hypothesis reads the source of each one that is made, which takes 2 ms
def _arrays(draw: Draw, shape: Shape, domain: Domain, kinks: Sequence[float]) -> Array:
    if domain is bool:
        return np.asarray(draw(hnp.arrays(bool, shape)))
    low, high = domain[0] + BOUNDARY, domain[1] - BOUNDARY
    size = int(np.prod(shape))
    if size <= FEW:
        simple = _simple(low, high)
        often = [k for k in (*kinks, 0.0) if low < k < high] * (len(simple) // 8)
        one = st.sampled_from([*simple, *often])
        listed = draw(st.lists(one, min_size=size, max_size=size))
        return np.array(listed, dtype=np.float64).reshape(shape)
    rng = np.random.default_rng(draw(SEEDS))
    x = np.asarray(rng.uniform(low, high, shape))
    if kinks:
        x = np.where(rng.random(shape) < 0.2, rng.choice(kinks, shape), x)
    if draw(st.booleans()):  # ties, which ordinary random numbers never have
        x = np.clip(np.round(x, 1), low, high)
    return np.asarray(x)


def upstream(shape: Shape) -> st.SearchStrategy[Array]:
    """Gradients of an output of this shape. The simplest is all ones."""
    return SEEDS.map(lambda seed: upstream_of(seed, shape))


def upstream_of(seed: int, shape: Shape) -> Array:
    """The gradient of an output that belongs to a seed: ones for 0, else simple numbers."""
    if seed == 0:
        return np.ones(shape)
    choices = np.array([1.0, 2.0, -1.0, 0.5, -1.5, 3.0, -0.5])
    return np.asarray(np.random.default_rng(seed).choice(choices, shape))


@cache
def _simple(low: float, high: float) -> list[float]:
    """Some 40 round numbers of the domain: those first that are easiest to calculate with."""
    step = 10.0 ** np.floor(np.log10((high - low) / 10))
    count = np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    numbers = [float(np.round(step * n, 12)) + 0.0 for n in count[:: max(1, len(count) // 40)]]
    numbers += [n for n in (0.0, 1.0) if low < n < high and n not in numbers]
    return sorted(numbers, key=lambda n: (n == 0, n % 1 != 0, abs(n), n < 0))


# ---- shapes --------------------------------------------------------------------------------------


def broadcastable(
    count: int = 2, max_dims: int = 3, max_side: int = 3, signature: str | None = None
) -> st.SearchStrategy[tuple[Shape, ...]]:
    """Shapes of `count` arrays that broadcast together; now and then an axis is empty.

    A signature such as "(n,k),(k,m)->(n,m)" fixes the last axes, as in NumPy's gufuncs. Then no
    axis is empty, and `count` is read from it.
    """
    if signature is not None:
        together = hnp.mutually_broadcastable_shapes(
            signature=signature, max_dims=max_dims - 1, max_side=max_side
        )
        return together.map(lambda drawn: drawn.input_shapes)

    def shapes(min_side: int) -> Any:
        return hnp.mutually_broadcastable_shapes(
            num_shapes=count, max_dims=max_dims, min_side=min_side, max_side=max_side
        ).map(lambda drawn: drawn.input_shapes)

    return st.sampled_from([1] * 9 + [0]).flatmap(shapes)


def images(
    h: tuple[int, int] = (1, 6),
    w: tuple[int, int] = (1, 6),
    n: tuple[int, int] = (1, 2),
    c: tuple[int, int] = (1, 4),
    order: str = "HWNC",
) -> st.SearchStrategy[Shape]:
    """Shapes of image arrays. Each side is a pair (least, most); `order` names the axes."""
    sides = {"H": h, "W": w, "N": n, "C": c}
    if sorted(order) != sorted(sides):
        raise ValueError(f"order: expected the letters H, W, N and C, got {order!r}")
    return st.tuples(*(st.integers(*sides[axis]) for axis in order))


# ---- options -------------------------------------------------------------------------------------


def one_axis(*shapes: Shape) -> st.SearchStrategy[int]:
    """An axis of the first argument, from either end. For `options={"axis": one_axis}`."""
    return st.integers(-len(shapes[0]), len(shapes[0]) - 1)


def some_axes(*shapes: Shape) -> st.SearchStrategy[Any]:
    """None, an axis of the first argument, or a tuple of several."""
    ndim = len(shapes[0])
    if ndim == 0:
        return st.none()
    several = st.lists(st.integers(0, ndim - 1), min_size=2, max_size=ndim, unique=True)
    tuples = [several.map(tuple)] if ndim > 1 else []
    return st.one_of(st.none(), st.integers(-ndim, ndim - 1), *tuples)


def drawn_options(draw: Draw, options: dict[str, Any], shapes: Sequence[Shape]) -> dict[str, Any]:
    """One value for each option: of a list, a strategy, or a function of the shapes."""
    values = {}
    for name, choice in options.items():
        if callable(choice) and not isinstance(choice, st.SearchStrategy):
            choice = choice(*shapes)
        if isinstance(choice, list):
            choice = st.sampled_from(choice)
        values[name] = draw(choice) if isinstance(choice, st.SearchStrategy) else choice
    return values


# ---- layouts -------------------------------------------------------------------------------------

# How an array can lie in memory, as code to paste.
LAYOUTS = {
    "C": "{}",
    "F": "np.asfortranarray({})",
    "strided": "np.repeat({}, 2, axis=-1)[..., ::2]",
    "reversed": "np.flip(np.flip({}).copy())",
    "read-only": "np.broadcast_to({}, {shape})",
}


def laid_out(x: Array, layout: str) -> Array:
    """The same numbers, otherwise arranged in memory."""
    if layout == "F":
        return np.array(x, order="F")
    if layout == "strided" and x.ndim:
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if layout == "reversed":
        return np.asarray(np.flip(np.flip(x).copy()))
    if layout == "read-only":
        return np.broadcast_to(x.copy(), x.shape)
    return x.copy()  # a wrong op may write into it


# ---- one case ------------------------------------------------------------------------------------


class Case(NamedTuple):
    """What one example is made of."""

    arrays: tuple[Any, ...]  # the positional arguments, as drawn
    options: dict[str, Any]
    layouts: tuple[str, ...]  # one for each argument, and one for g
    seed: int  # of g: see `upstream_of`
    needs: tuple[bool, ...]  # which arguments need a gradient, when not all do

    def __repr__(self) -> str:
        return "the input above"

    def laid_out(self) -> tuple[Any, ...]:
        """The arguments, as they lie in memory."""
        pairs = zip(self.arrays, self.layouts)
        return tuple(laid_out(a, how) if is_real(a) else a for a, how in pairs)


def is_real(a: Any) -> bool:
    """Is this an array to differentiate by?"""
    return isinstance(a, np.ndarray) and a.dtype.kind in "fc"


def cases(
    shapes: st.SearchStrategy[Any],
    domains: Any,
    kinks: Sequence[float],
    options: dict[str, Any],
    drawn: st.SearchStrategy[Any] | None = None,
) -> st.SearchStrategy[Case]:
    """Cases of these shapes, or of the (arrays, options) that `drawn` gives."""

    @st.composite
    def strategy(draw: Draw) -> Case:
        if drawn is not None:
            arrays, chosen = draw(drawn)
        else:
            found = draw(shapes)
            # A tuple of numbers is the shape of one array, as is the empty one.
            each = (found,) if not found or isinstance(found[0], int) else found
            many = domains if isinstance(domains, list) else [domains] * len(each)
            if len(many) != len(each):
                raise ValueError(f"domains: expected {len(each)} of them, got {len(many)}")
            arrays = tuple(draw(arrays_near(s, d, kinks)) for s, d in zip(each, many))
            chosen = drawn_options(draw, options, each)
        # A list of choices as the digits of one number: that is drawn and shrunk much sooner.
        orders = _digits(draw, len(LAYOUTS), len(arrays) + 1)
        layouts = tuple(list(LAYOUTS)[digit] for digit in orders)
        needs = tuple(digit == 1 for digit in _digits(draw, 2, len(arrays)))
        return Case(tuple(arrays), chosen, layouts, draw(SEEDS), needs)

    return strategy()


def _digits(draw: Draw, base: int, count: int) -> list[int]:
    number = draw(st.integers(0, base**count - 1))
    return [number // base**k % base for k in range(count)]
