"""Whole layers: the gradient of every parameter and every input."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import Array
from ..check import GradientError
from ..engine import leaf
from ..tensor import Tensor

TINY_STEP = 1e-30  # of the complex step: nothing is subtracted, so it may be this small


def check_layer(
    layer: Any,
    forward: Callable[..., Tensor] | None,
    inputs: Sequence[Array],
    rng: np.random.Generator | int = 0,
    zero: Sequence[str] = (),
    directions: int = 3,
    size: float = 0.05,
) -> None:
    """Compare backward through a layer with the complex step, for every parameter and input.

    θ is perturbed first: a layer that starts at zero would hide most gradients. A slope that is
    zero is an error too, since it shows nothing.

    Args:
        layer: has `initialise(seed, dtype)`, `parameters()`, `slices()`, `bind(theta, grad)`, and
            the vectors `theta` and `grad`, as a Module of tinyddpm has.
        forward: what to differentiate, a function of the inputs; None for the layer itself.
        inputs: float64 arrays.
        rng: draws the perturbation, g and the directions; a seed will do.
        zero: names of parameters that the output does not depend on. Their gradients must vanish.
        directions: how many random directions to try for each.
        size: the standard deviation of the perturbation.

    Raises:
        GradientError: a gradient is wrong, or a slope is zero and not named in `zero`.
    """
    rng = np.random.default_rng(rng)
    function = layer if forward is None else forward
    layer.initialise(0, np.float64)
    for parameter in layer.parameters().values():
        parameter.data[...] += size * rng.standard_normal(parameter.shape)
    theta, grad = layer.theta, layer.grad
    leaves = [leaf(x) for x in inputs]
    out = function(*leaves)
    g = rng.standard_normal(out.shape)
    out.backward(g)
    total = abs(g * out.data).sum()

    def slope_of(*moved: Any) -> float:
        """The slope of <g, output> along the imaginary parts of the inputs or of θ."""
        tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in moved]
        return float((g * function(*tensors).data).sum().imag) / TINY_STEP

    def compare(name: str, gradient: Any, slope: Callable[[Array], float]) -> None:
        for _ in range(directions):
            v = rng.standard_normal(gradient.shape)
            claimed, measured = float((gradient * v).sum()), slope(v)
            allowed = 1e-11 * (abs(gradient * v).sum() + total)
            if not abs(claimed - measured) <= allowed:
                numbers = f"backward gives {claimed:.12g}, the complex step {measured:.12g}"
                raise GradientError(f"{name}: {numbers}")
            if (abs(measured) <= allowed) != (name in zero):
                expected = "zero" if name in zero else "a slope that is not zero"
                raise GradientError(f"{name}: expected {expected}, got {measured:.3g}")

    try:
        for i, x in enumerate(inputs):

            def input_slope(v: Array, i: int = i, x: Array = x) -> float:
                return slope_of(*inputs[:i], x + 1j * TINY_STEP * v, *inputs[i + 1 :])

            compare(f"input {i}", leaves[i].grad, input_slope)

        for name, where in layer.slices().items():

            def parameter_slope(v: Array, where: slice = where) -> float:
                moved = theta.astype(complex)
                moved[where] += 1j * TINY_STEP * v
                layer.bind(moved)
                return slope_of(*inputs)

            compare(name, grad[where], parameter_slope)
    finally:
        layer.bind(theta, grad)
