"""All multipliers at once: c·θ as one product of two vectors, not an op for each of 200 parameters.

With small images a step is mostly overhead, and two ops in three only multiply a parameter by its
constant (see `nn/multipliers.py`). So a twin of the network computes instead, whose parameters are
the effective weights w = c·θ:

    c = factors(unet, unet.theta.dtype)
    net = twin(unet).bind(c * unet.theta, grad)  # and then ∇_θ J = c · ∇_w J, by the chain rule
"""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..nn.unet import UNet
from ..types import Array

Other = TypeVar("Other")
Net = TypeVar("Net", bound=UNet)


class One(float):
    """The number 1.0, which spares a product: One(1) * v is v itself."""

    def __mul__(self, other: Other) -> Other:
        return other


def twin(unet: Net) -> Net:
    """A U-Net of the same kind without multipliers: `unet` with θ is its twin with c·θ."""
    net = type(unet)(unet.config, unet.c)
    for name in net.slices():
        layer_of(net, name).c = One(1)
    return net


def factors(unet: UNet, dtype: npt.DTypeLike) -> Array:
    """The c of each number in θ, a vector like it; 1 in the padding."""
    found = np.ones(unet.theta_size(), dtype)
    for name, where in unet.slices().items():
        found[where] = layer_of(unet, name).c
    return found


def layer_of(unet: UNet, name: str) -> Any:
    """The layer that the parameter of this name belongs to."""
    layer: Any = unet
    for step in name.split(".")[:-1]:
        layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
    return layer
