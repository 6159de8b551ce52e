"""All multipliers at once: c·θ as one product of two vectors, in place of an op for each of 200 parameters.

    quick = Premultiplied(unet)
    quick.gradient(unet, schedule, x0, t, eps)    # as train.gradient, to the last digits
    quick.denoise(xt, t)                          # as unet.denoise

With small images a step is mostly overhead, and a quarter of the ops only multiply a parameter by its constant (see
`nn/multipliers.py`). So let a twin of the network, whose multipliers are all 1, have the effective weights w = c·θ as its
parameters. By the chain rule ∇_θ J = c·∇_w J.
"""
from functools import reduce

import numpy as np

from ..nn import UNet
from ..nn.multipliers import ONES
from ..train import gradient


class Premultiplied:
    """`train.gradient` and `UNet.denoise` for one network, by way of its twin. It reads unet.theta anew at each call."""

    def __init__(self, unet):
        self.unet, self.factors = unet, factors(unet)
        xp_like = unet.theta  # arrays on the same device
        self.twin = UNet(unet.config, ONES).bind(xp_like.copy(), xp_like.copy())

    def gradient(self, unet, schedule, x0, t, eps, form="mse", batch_size=None, dropout=None):
        """As `train.gradient`: adds to unet.grad and returns J and each sample's squared error."""
        twin = self._refreshed()
        twin.grad[...] = 0
        found = gradient(twin, schedule, x0, t, eps, form, batch_size, dropout)
        unet.grad += self.factors * twin.grad
        return found

    def denoise(self, xt, t):
        """As `UNet.denoise`."""
        return self._refreshed().denoise(xt, t)

    def _refreshed(self):
        np.multiply(self.factors, self.unet.theta, out=self.twin.theta)
        return self.twin


def factors(unet):
    """The multiplier of each number in θ, a vector like it; 1 where a parameter has none."""
    found = np.ones_like(unet.theta)
    for name, where in unet.slices().items():
        *path, _ = name.split(".")
        layer = reduce(lambda part, step: part[int(step)] if step.isdigit() else getattr(part, step), path, unet)
        found[where] = getattr(layer, "c", 1.0)
    return found
