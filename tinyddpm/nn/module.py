"""Module: something with parameters. And θ: all of them, as one vector.

A network is a tree of Modules: a Module's attributes may be Parameters, Modules, or lists of
Modules. All parameters of the tree are views into one flat vector `theta`, and their gradients into
one flat `grad`. So the update of gradient descent is literally `theta -= beta * grad`, and an EMA,
a norm or a checkpoint is one line too.

    net = UNet(config)              # shapes only
    net.bind(theta, grad)           # every parameter is now a view of theta
    net.theta -= 0.1 * net.grad     # … and every layer sees the change
"""

import math
from typing import Any, Self

import numpy as np

from autograd import Tensor, leaf
from autograd.backend import expect, kind_of

from .. import noise
from ..types import Array

ALIGN = 16  # numbers: each parameter starts at a multiple of 64 bytes in float32


class Parameter(Tensor):
    """A learned array. It starts as uniform random numbers in ±spread, around `centre`."""

    __slots__ = ("centre", "initial_shape", "spread")

    def __init__(self, *shape: int, spread: float = 0.0, centre: float = 0.0) -> None:
        super().__init__(np.empty(0))  # `bind` gives it its numbers
        self.initial_shape, self.spread, self.centre = shape, spread, centre


class Module:
    """A layer or a network. Calling it runs its `forward`."""

    theta: Any = None  # θ of a bound network, and room for its gradient: arrays
    grad: Any = None
    forward: Any  # each layer has its own arguments

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.forward(*args, **options)

    def parameters(self, prefix: str = "") -> dict[str, Parameter]:
        """All Parameters by name, such as "last.conv.weight", in the order of the layers."""
        found = {}
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                found[prefix + name] = value
            elif isinstance(value, Module):
                found |= value.parameters(f"{prefix}{name}.")
            elif isinstance(value, list):
                for i, child in enumerate(value):
                    if isinstance(child, Module):
                        found |= child.parameters(f"{prefix}{name}.{i}.")
        return found

    def slices(self) -> dict[str, slice]:
        """Where in θ each parameter lies, by name. Between them is padding, which stays zero."""
        slices, start = {}, 0
        for name, p in self.parameters().items():
            size = math.prod(p.initial_shape)
            slices[name] = slice(start, start + size)
            start += -(-size // ALIGN) * ALIGN
        return slices

    def bind(self, theta: Array, grad: Array | None = None) -> Self:
        """Make every parameter a view of the flat vector `theta`, its gradient one of `grad`.

        This is the only place where such views are made. To move a network to another device or
        dtype, to share it between processes or to run it with other parameters, such as their EMA,
        bind it to another vector. Without `grad` the parameters are constants. Returns the Module.
        """
        slices, size = self.slices(), self.theta_size()
        for name, vector in (("theta", theta), ("grad", theta if grad is None else grad)):
            alike = vector.dtype == theta.dtype and vector.dtype.kind in "fc"
            needed = f"a vector of {size} floats, theta and grad of one dtype"
            expect(alike and vector.shape == (size,), name, needed, kind_of(vector))
        for name, p in self.parameters().items():
            where, shape = slices[name], p.initial_shape
            p.data = theta[where].reshape(shape)
            p.node = None if grad is None else leaf(p.data, grad[where].reshape(shape)).node
        self.theta, self.grad = theta, grad
        return self

    def theta_size(self) -> int:
        """Length of θ, padding included."""
        ends = [s.stop for s in self.slices().values()]
        return -(-max(ends, default=0) // ALIGN) * ALIGN

    def initialise(self, seed: int, dtype: Any = np.float32) -> Self:
        """Bind to a new θ of random numbers, addressed by name: the layers' order is irrelevant."""
        size = self.theta_size()
        self.bind(np.zeros(size, dtype), np.zeros(size, dtype))
        for name, p in self.parameters().items():
            purpose = f"initialisation of {name}"
            u = noise.uniform(seed, purpose, 0, np.arange(1), p.initial_shape, dtype)[0]
            p.data[...] = p.centre + p.spread * (2 * u - 1)
        return self

    def state(self) -> dict[str, Array]:
        """The parameters by name, as arrays (views of θ): what a checkpoint holds."""
        return {name: p.data for name, p in self.parameters().items()}
