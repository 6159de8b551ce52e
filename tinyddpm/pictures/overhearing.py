"""One training step through a U-Net, overheard at each of its top layers.

    with overheard(unet) as (outputs, gradients):
        J = walk_gradient(unet, schedule, x0, t, eps)
    outputs["down.0"], gradients["down.0"]      # (H, W, N, C) each: h and ∂J/∂h

`unet_walk.py` draws what is heard here, and so does the interactive page.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from autograd import Tensor, primitive
from autograd.backend import array_module

from ..nn.module import Module
from ..nn.unet import Stage, UNet
from ..schedule import Schedule
from ..train import gradient
from ..types import Array, Gradient

Kind = Literal[
    "convolution",
    "residual block",
    "residual block + attention",
    "attention",
    "half the resolution",
    "twice the resolution",
]
ALONE: dict[str, Kind] = {
    "middle1": "residual block",
    "middle2": "attention",
    "middle3": "residual block",
}


# ---- the layers ----------------------------------------------------------------------------------


def top_layers(unet: UNet) -> dict[str, Module]:
    """The layers that the U-Net's forward calls, by name, in the order of its calls."""
    layers: dict[str, Module] = {"first": unet.first}
    layers |= {f"down.{i}": layer for i, layer in enumerate(unet.down)}
    middle = {name: getattr(unet, name) for name in ALONE}
    layers |= {name: layer for name, layer in middle.items() if layer}
    layers |= {f"up.{i}": layer for i, layer in enumerate(unet.up)}
    return layers | {"last": unet.last}


def kinds_of(unet: UNet) -> dict[str, Kind]:
    """What each top layer is, by name.

    Its place tells, and not its class: a variant of the U-Net is built of classes of its own.
    """
    return {name: _kind(name, layer) for name, layer in top_layers(unet).items()}


def _kind(name: str, layer: Module) -> Kind:
    if isinstance(layer, Stage):
        return "residual block + attention" if layer.attention else "residual block"
    if name.startswith("down"):
        return "half the resolution"
    if name.startswith("up"):
        return "twice the resolution"
    return ALONE.get(name, "convolution")


def u_shape(
    kinds: Mapping[str, Kind],
) -> tuple[dict[str, tuple[int, int]], list[tuple[str, str]], int]:
    """Where the layers stand in the U.

    "last" and the layers of the middle have no place: they stand above the way up, and below.

    Args:
        kinds: of the layers by name, in the order of the calls.

    Returns:
        The place of each layer, (0, row) on the way down or (1, row) on the way up, with rows
        counted from the top; the skip connections, as pairs of names; and the number of rows.
    """
    partners = ["first", *(name for name in kinds if name.startswith("down"))]
    place, skips, row = {}, [], 0
    for name in [name for name in kinds if name.startswith("up")][::-1]:  # from the top
        # Opposite each block stands the layer whose output it gets. An Upsample gets none.
        if kinds[name] != "twice the resolution":
            partner = partners.pop(0)
            place[partner] = (0, row)
            skips.append((partner, name))
        place[name] = (1, row)
        row += 1
    return place, skips, row


# ---- the step ------------------------------------------------------------------------------------


def walk_gradient(
    unet: UNet,
    schedule: Schedule,
    x0: Array,
    t: Array,
    eps: Array,
    cond: Array | None = None,
    gradient: Gradient = gradient,
) -> float:
    """J of one step, form "mse". Its gradient goes to a vector of its own, not to `unet.grad`.

    Args:
        unet: the network. Its θ and its gradient are left as they are.
        schedule: how much noise there is at each t.
        x0: clean images (N, C, H, W).
        t: timesteps (N,), integers in {1..T}.
        eps: noise (N, C, H, W).
        cond: the conditioning of each image, see `UNet.forward`.
        gradient: of the training; another one where the network predicts something else than x_0.
    """
    theta, grad = unet.theta, unet.grad
    unet.bind(theta, array_module(theta).zeros_like(theta))
    try:
        return float(gradient(unet, schedule, x0, t, eps, cond=cond)[0])
    finally:
        unet.bind(theta, grad)


@contextmanager
def overheard(unet: UNet) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Within the block, each call of a top layer leaves its output here, and backward its gradient.

    Yields:
        Two dictionaries by the layer's name: its output (H, W, N, C), and the gradient with
        respect to this output.
    """
    outputs: dict[str, Array] = {}
    gradients: dict[str, Array] = {}
    layers: dict[str, Any] = top_layers(unet)  # each layer's forward takes what it takes
    before = {name: vars(layer).get("forward") for name, layer in layers.items()}

    def listen(name: str, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def heard(*args: Any) -> Tensor:
            h = overhear(forward(*args), tell=lambda g: gradients.update({name: g}))
            outputs[name] = h.data
            return h

        return heard

    for name, layer in layers.items():
        layer.forward = listen(name, layer.forward)  # of this object: the class stays as it is
    try:
        yield outputs, gradients
    finally:
        for name, layer in layers.items():
            del layer.forward
            if before[name] is not None:
                layer.forward = before[name]


@primitive
def overhear(
    x: Array, *, tell: Callable[[Array], None]
) -> tuple[Array, Callable[[Array], tuple[Array]]]:
    """x itself. On the way back, `tell` is called with the gradient that passes through."""

    def pullback(g: Array) -> tuple[Array]:
        tell(g)
        return (g,)

    return x, pullback


def norm(g: Array) -> float:
    """‖g‖, as a Python float."""
    return math.sqrt(float((g * g).sum()))
