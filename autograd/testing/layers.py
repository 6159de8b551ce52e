"""Whole layers: the gradient of every parameter and every input."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backend import Array
from ..check import GradientError, _complex_step
from ..engine import leaf
from ..tensor import Tensor


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

    def product(*moved: Any) -> Any:
        """<g, output>."""
        tensors = [x if isinstance(x, Tensor) else Tensor(x) for x in moved]
        return (g * function(*tensors).data).sum()

    def compare(name: str, gradient: Any, f: Callable[[Array], Any], x: Array) -> None:
        for _ in range(directions):
            v = rng.standard_normal(gradient.shape)
            claimed, measured = float((gradient * v).sum()), float(_complex_step(f, x, v))
            allowed = 1e-11 * (abs(gradient * v).sum() + total)
            if not abs(claimed - measured) <= allowed:
                numbers = f"backward gives {claimed:.12g}, the complex step {measured:.12g}"
                raise GradientError(f"{name}: {numbers}")
            if (abs(measured) <= allowed) != (name in zero):
                expected = "zero" if name in zero else "a slope that is not zero"
                raise GradientError(f"{name}: expected {expected}, got {measured:.3g}")

    try:
        for i, x in enumerate(inputs):

            def of_input(moved: Array, i: int = i) -> Any:
                return product(*inputs[:i], moved, *inputs[i + 1 :])

            compare(f"input {i}", leaves[i].grad, of_input, x)

        for name, where in layer.slices().items():

            def of_parameter(moved: Array, where: slice = where) -> Any:
                all_of_theta = theta.astype(complex)
                all_of_theta[where] = moved
                layer.bind(all_of_theta)
                return product(*inputs)

            compare(name, grad[where], of_parameter, theta[where])
    finally:
        layer.bind(theta, grad)
