"""All multipliers at once: c·θ by a few long products, not by an op for each of 200 parameters.

With small images a step is mostly overhead, and two ops in three only multiply a parameter by its
constant (see `nn/multipliers.py`). So a twin of the network computes instead, whose parameters are
the effective weights w = c·θ:

    w = unet.theta.copy()
    for where, c in factors(unet):
        w[where] *= c
    net = twin(unet).bind(w, grad)  # and then ∇_θ J = c · ∇_w J, by the chain rule
"""

from itertools import groupby
from typing import Any, TypeVar

from ..nn.unet import UNet

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


def factors(unet: UNet) -> list[tuple[slice, float]]:
    """The c of all numbers in θ: neighbouring parameters with the same c as one slice.

    Padding that no slice has stays as it is. (A vector of all c would double what must be in
    memory.)
    """

    def c_of(item: tuple[str, slice]) -> float:
        return float(layer_of(unet, item[0]).c)

    groups = [(c, [where for _, where in some]) for c, some in groupby(unet.slices().items(), c_of)]
    return [(slice(places[0].start, places[-1].stop), c) for c, places in groups]


def layer_of(unet: UNet, name: str) -> Any:
    """The layer that the parameter of this name belongs to."""
    layer: Any = unet
    for step in name.split(".")[:-1]:
        layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
    return layer
