"""Module: something with parameters. And θ: all of them, as one vector.

A network is a tree of Modules: a Module's attributes may be Parameters, Modules, or lists of Modules. All parameters of
the tree are views into one flat vector `theta`, and their gradients into one flat `grad`, so that the update of gradient
descent is literally `theta -= beta * grad`, and an average, a norm or a checkpoint is one line too.

    net = UNet(config)              # shapes only
    net.bind(theta, grad)           # every parameter is now a view of theta
    net.theta -= 0.1 * net.grad     # … and every layer sees the change
"""
import math

import numpy as np

from autograd import Tensor, leaf

from .. import noise

ALIGN = 16  # numbers: each parameter starts at a multiple of 64 bytes in float32


class Parameter(Tensor):
    """A learned array. It starts as uniform random numbers in ±spread, around `centre`."""

    __slots__ = ("initial_shape", "spread", "centre")

    def __init__(self, *shape, spread=0.0, centre=0.0):
        super().__init__(np.empty(0))  # `bind` gives it its numbers
        self.initial_shape, self.spread, self.centre = shape, spread, centre


class Module:
    """A layer or a network. Calling it runs its `forward`."""

    theta = grad = None

    def __call__(self, *args, **options):
        return self.forward(*args, **options)

    def parameters(self, prefix=""):
        """All Parameters by name, such as "down.0.conv1.weight", in the order in which the layers were made."""
        found = {}
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                found[prefix + name] = value
            for i, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, Module):
                    found |= child.parameters(f"{prefix}{name}.{i}." if isinstance(value, list) else f"{prefix}{name}.")
        return found

    def slices(self):
        """Where in θ each parameter lies: name -> slice. Between them is padding, which stays zero."""
        slices, start = {}, 0
        for name, p in self.parameters().items():
            size = math.prod(p.initial_shape)
            slices[name] = slice(start, start + size)
            start += -(-size // ALIGN) * ALIGN
        return slices

    def bind(self, theta, grad=None):
        """Make every parameter a view of the flat vector `theta`, and its gradient one of `grad`. Returns the Module.

        This is the only place where such views are made. To move a network to another device or dtype, to share it
        between processes or to run it with averaged parameters, bind it to another vector. Without `grad` the
        parameters are constants.
        """
        parameters, slices = self.parameters(), self.slices()
        size = self.theta_size()
        for name, vector in (("theta", theta), ("grad", grad)):
            if vector is not None and (vector.shape != (size,) or vector.dtype != theta.dtype or theta.dtype.kind not in "fc"):
                raise ValueError(f"{name}: expected a vector of {size} floats, theta and grad of one dtype, got {vector.dtype} of shape {vector.shape}")
        for name, p in parameters.items():
            p.data = theta[slices[name]].reshape(p.initial_shape)
            p.node = None if grad is None else leaf(p.data, grad[slices[name]].reshape(p.initial_shape)).node
        self.theta, self.grad = theta, grad
        return self

    def theta_size(self):
        """Length of θ, padding included."""
        ends = [s.stop for s in self.slices().values()]
        return -(-max(ends, default=0) // ALIGN) * ALIGN

    def initialise(self, seed, dtype=np.float32):
        """Bind to a new θ of random numbers, addressed by parameter name: the order of layers does not matter."""
        self.bind(np.zeros(self.theta_size(), dtype), np.zeros(self.theta_size(), dtype))
        for name, p in self.parameters().items():
            u = noise.uniform(seed, f"initialisation of {name}", 0, np.arange(1), p.initial_shape, dtype)[0]
            p.data[...] = p.centre + p.spread * (2 * u - 1)
        return self

    def state(self):
        """The parameters by name, as arrays (views of θ): what a checkpoint keeps."""
        return {name: p.data for name, p in self.parameters().items()}
