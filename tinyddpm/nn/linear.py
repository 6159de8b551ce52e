"""Linear: every output is a weighted sum of all inputs."""

import math

from autograd import Tensor

from ..equivalents import replaceable
from .module import Module, Parameter


class Linear(Module):
    """x (..., inputs) -> c · (x @ weight + bias) (..., outputs).

    c is the multiplier: the layer's effective weight is c·weight (see `multipliers.py`). With
    `zero` it starts with an effective weight of 0, instead of one of variance 1/inputs.
    """

    def __init__(self, inputs: int, outputs: int, c: float = 1.0, zero: bool = False) -> None:
        self.c = c
        self.weight = Parameter(inputs, outputs, spread=0.0 if zero else math.sqrt(3 / inputs) / c)
        self.bias = Parameter(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.c * self.weight, self.c * self.bias)


@replaceable
def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x @ weight + bias."""
    return x @ weight + bias
