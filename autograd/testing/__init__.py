"""A kit that finds wrong derivatives: one line makes a test.

    from autograd.testing import gradient_test, images

    test_mish = gradient_test(mish)
    test_pool = gradient_test(pool, shapes=images(h=(2, 8)), options={"size": [2, 3]})
    test_dot = gradient_test(dot, shapes="(n,k),(k,m)->(n,m)")

Hypothesis draws shapes, numbers, options, memory layouts and the upstream gradient, tries every
rule of `report.RULES`, and shrinks what breaks one. The error names the rule, the argument, the
index and both numbers, and ends with code to paste. docs/derivatives.md tells more.

The op need not be ours: `check_vjp(f, vjp)` takes any pair of functions of NumPy arrays. This needs
Hypothesis: pip install hypothesis.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

try:
    from hypothesis import Phase, given, settings, strategies as st
except ImportError as error:
    raise ImportError(
        "autograd.testing needs Hypothesis; install it with pip install hypothesis"
    ) from error

from ..backend import expect, to_device
from ..check import GradientError
from .layers import check_layer
from .report import RULES
from .rules import Plan
from .run import run
from .strategies import (
    PLAIN,
    Case,
    arrays_near,
    broadcastable,
    cases,
    images,
    one_axis,
    some_axes,
    upstream,
)
from .subject import count_of_arrays, subject_of

__all__ = [
    "RULES",
    "GradientError",
    "arguments",
    "arrays_near",
    "broadcastable",
    "check_function",
    "check_layer",
    "check_vjp",
    "gradient_test",
    "images",
    "one_axis",
    "some_axes",
    "upstream",
]


def gradient_test(
    op: Callable[..., Any],
    *,
    shapes: Any = None,
    domains: Any = PLAIN,
    kinks: Sequence[float] = (),
    options: dict[str, Any] | None = None,
    draw: st.SearchStrategy[Any] | None = None,
    reference: Callable[..., Any] | None = None,
    analytic: bool | None = None,
    vjp: Callable[..., Any] | None = None,
    skip: Sequence[str] = (),
    examples: int | None = None,
    profile: settings | None = None,
    device: str = "cpu",
) -> Callable[[], None]:
    """A test of an op's derivative, for pytest to collect or for you to call.

    Args:
        op: a function of Tensors, made by `@primitive` or out of others. With `vjp`, a function of
            NumPy arrays.
        shapes: by default, shapes that broadcast together. Else a strategy such as `images()`, a
            list of shapes, one for each argument, or a signature "(n,k),(k,m)->(n,m)".
        domains: (low, high) for all arguments, or a list of such pairs; `bool` for a mask.
        kinks: numbers without a derivative, such as 0 for |x|. They are tried too: a pullback must
            give a slope between those of the two sides there.
        options: keyword arguments. A list holds choices; a strategy is drawn from; a function of
            the shapes, such as `one_axis`, returns a strategy.
        draw: in place of all of these, a strategy of (arrays, options).
        reference: a function of NumPy arrays that the output must equal. If it is an op itself,
            such as the definition of a fast one, the gradients must be equal too.
        analytic: True uses the complex step, to 1e-12. False uses differences only. By default the
            complex step is used where it turns out to work.
        vjp: `vjp(g, *arrays, **options)` returns the gradients, when `op` is not one of ours.
        skip: names of rules to leave out, of `RULES`.
        examples: how many to try; by default Hypothesis' profile says.
        profile: Hypothesis' settings to begin with; by default those of the loaded profile.
        device: also compare with the results on this device, such as "cuda", in float64 and in
            float32.

    Returns:
        A function without arguments. It raises GradientError if a rule is broken.

    Raises:
        TypeError: the op needs options that are not given.
        ValueError: `skip` names no rule, or a device is given for a pair of NumPy functions.
    """
    unknown = set(skip) - set(RULES)
    if unknown:
        raise ValueError(f"skip: expected names of {sorted(RULES)}, got {sorted(unknown)}")
    expect(vjp is None or device == "cpu", "device", "cpu, since vjp takes NumPy arrays", device)
    subject, options = subject_of(op, vjp), dict(options or {})
    drawn = cases(_shapes(op, shapes, options, draw), domains, kinks, options, draw)
    plan = Plan(reference, analytic, tuple(skip), device)
    phases = [phase for phase in (profile or settings()).phases if phase is not Phase.explain]
    how: dict[str, Any] = {"deadline": None, "report_multiple_bugs": False, "phases": phases}
    if examples is not None:
        how["max_examples"] = examples

    def test(case: Case) -> None:
        to_device(np.zeros(0), device)  # or an error that says what is missing
        run(subject, case, plan)

    test.__name__ = test.__qualname__ = f"test_{subject.name.replace(' ', '_')}"
    test.__doc__ = f"The derivative of {subject.name} keeps every rule of the kit."
    made: Callable[[], None] = settings(profile, **how)(given(case=drawn)(test))
    return made


def arguments(
    op: Callable[..., Any],
    *,
    shapes: Any = None,
    domains: Any = PLAIN,
    kinks: Sequence[float] = (),
    options: dict[str, Any] | None = None,
    draw: st.SearchStrategy[Any] | None = None,
) -> st.SearchStrategy[tuple[tuple[Any, ...], dict[str, Any]]]:
    """What `gradient_test` would try: a strategy of (arrays, options), for tests of your own."""
    options = dict(options or {})
    drawn = cases(_shapes(op, shapes, options, draw), domains, kinks, options, draw)
    return drawn.map(lambda case: (case.arrays, case.options))


def check_function(function: Callable[..., Any], **how: Any) -> None:
    """Check backward through a whole function of Tensors, now. It takes what `gradient_test` takes.

    Raises:
        GradientError: a rule is broken.
    """
    gradient_test(function, **how)()


def check_vjp(f: Callable[..., Any], vjp: Callable[..., Any], **how: Any) -> None:
    """Check a derivative that knows nothing of our engine, now.

    Args:
        f: a function of NumPy arrays.
        vjp: `vjp(g, *arrays)` returns the gradient of each array: one array, or a tuple of them.
        **how: what `gradient_test` takes.

    Raises:
        GradientError: a rule is broken.
    """
    gradient_test(f, vjp=vjp, **how)()


def _shapes(
    op: Callable[..., Any], shapes: Any, options: dict[str, Any], draw: Any
) -> st.SearchStrategy[Any]:
    if draw is not None:
        return st.nothing()
    if isinstance(shapes, str):
        return broadcastable(signature=shapes)
    if isinstance(shapes, list):
        return st.just(tuple(tuple(shape) for shape in shapes))
    if shapes is not None:
        strategy: st.SearchStrategy[Any] = shapes
        return strategy
    count = count_of_arrays(op, options)
    if count == 0:
        raise TypeError(f"{op!r}: expected positional arguments, got none")
    if count is None:
        return st.integers(1, 3).flatmap(broadcastable)
    return broadcastable(count)
