"""How curved J is for each kind of layer, and the multipliers that follow from it.

    unet = UNet(config, ONES).initialise(seed=0)  # then a few steps, until no gradient is 0
    found = by_kind(unet, schedule, x0, t, eps)   # {"conv1": 2.1, …, "last": 13.4, "rest": 9.0, …}
    UNet(config, derived(found))                  # the same network, its layers equally curved

Gradient descent is stable in a direction of curvature λ only while β < 2/λ. The curvature of J for
a kind of layer is the largest eigenvalue of its block of the Hessian H. H itself is never computed.
Its product with a vector is a difference of two gradients, (∇J(θ + hv) − ∇J(θ − hv)) / 2h. Repeated
products turn any vector towards the eigenvector whose eigenvalue is largest in size. This is power
iteration (LeCun, Simard & Pearlmutter 1993, "Automatic learning rate maximization by on-line
estimation of the Hessian's eigenvectors").

**Multipliers from curvature.** With an effective weight w = c·v, the curvature for v is c²λ. So
c ∝ 1/√λ makes all kinds equally curved, and one β suits them all.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from autograd.backend import Array, array_module
from autograd.check import hessian_vector
from autograd.second_order import Slope

from .. import noise
from ..nn.multipliers import ONES, Multipliers
from ..nn.unet import UNet
from ..schedule import Schedule
from ..train import gradient
from ..types import Gradient

KINDS = [field.name for field in dataclasses.fields(Multipliers)]
REST, ALL = "rest", "all"  # the layers that have no multiplier; the whole of θ


def largest_curvature(
    slope: Slope,
    theta: Array,
    where: Array,
    steps: int = 20,
    h: float = 1e-3,
) -> tuple[float, Array]:
    """The eigenvalue largest in size of one block of the Hessian, by power iteration.

    Two eigenvalues of nearly the same size take many steps to tell apart. But then λ is near both.

    Args:
        slope: a function of θ that returns ∇J.
        theta: where to measure, a vector (n,).
        where: booleans (n,): the block, as the parameters that belong to it.
        steps: of power iteration.
        h: see `hessian_vector`.

    Returns:
        λ, the Rayleigh quotient of the last step, and a unit eigenvector (n,).
    """
    xp = array_module(theta)
    start = noise.normal(0, "curvature", 0, xp.arange(1), theta.shape, np.float64)[0]
    v = xp.where(where, start, 0).astype(theta.dtype)
    value = 0.0
    for _ in range(steps):
        v /= xp.linalg.norm(v)
        Hv = xp.where(where, hessian_vector(slope, theta, v, h), 0)
        value = float(v @ Hv)
        if not Hv.any():  # J is flat there
            return 0.0, v
        v = Hv
    return value, v / xp.linalg.norm(v)


def by_kind(
    unet: UNet,
    schedule: Schedule,
    x0: Array,
    t: Array,
    eps: Array,
    steps: int = 20,
    h: float = 1e-3,
    gradient: Gradient = gradient,
) -> dict[str, float]:
    """The curvature of J on these images, at the network's own θ, for each kind of layer.

    It puts θ back afterwards.

    Args:
        unet: the network to measure.
        schedule: the noise schedule.
        x0: images (N, C, H, W), as for `train.gradient`.
        t: timesteps (N,) in {1..T}.
        eps: standard normal noise of x0's shape.
        steps: of power iteration, for each kind.
        h: see `hessian_vector`; 1e-2 for a network of float32.
        gradient: what computes ∇_θ J.

    Returns:
        λ by kind: by the fields of Multipliers, "rest" (layers without a multiplier) and "all" (θ).
    """
    theta, grad = unet.theta, unet.grad
    here, xp = theta.copy(), array_module(theta)

    def slope(at: Array) -> Array:
        theta[...], grad[...] = at, 0
        gradient(unet, schedule, x0, t, eps)
        return grad.copy()

    blocks = kinds(unet) | {ALL: xp.full(here.shape, True)}
    try:
        return {
            kind: largest_curvature(slope, here, xp.asarray(where), steps, h)[0]
            for kind, where in blocks.items()
        }
    finally:
        theta[...] = here


def kinds(unet: UNet) -> dict[str, Array]:
    """Where in θ the parameters of each kind of layer lie.

    Returns:
        Booleans (n,) on the host by kind: by the fields of Multipliers, and "rest". Kinds that the
        network does not have are left out.
    """
    # A network like this one, whose multipliers say which kind they are: 2, 3, …, where 1 means
    # none.
    marks = Multipliers(*(i + 2.0 for i in range(len(KINDS))))
    marked = type(unet)(unet.config, marks)
    kind = np.full(unet.theta_size(), -1)  # padding is of no kind
    for name, where in unet.slices().items():
        layer: Any = marked
        for step in name.split(".")[:-1]:
            layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
        kind[where] = int(layer.c) - 1  # 0: no multiplier, 1…: those in KINDS
    names = [REST, *KINDS]
    return {name: kind == i for i, name in enumerate(names) if (kind == i).any()}


def derived(
    curvatures: Mapping[str, float],
    c: Multipliers = ONES,
    most: float = 8.0,
) -> Multipliers:
    """The Multipliers that would give every kind the curvature of the rest: c √(λ_rest/λ).

    Curvature belongs to a place in θ, and other multipliers lead to other places. So this is one
    round: train with these, measure again, derive again.

    Args:
        curvatures: what `by_kind` found in a network with the multipliers c. Kinds that are missing
            keep their c.
        c: the multipliers of that network.
        most: the largest multiplier to return. A kind that is nearly flat so far needs this limit,
            such as attention while its output is near 0.
    """

    def new(kind: str) -> float:
        ratio = abs(curvatures[kind] / curvatures[REST]) if kind in curvatures else 1.0
        return min(most, getattr(c, kind) * ratio**-0.5) if ratio else most

    return Multipliers(**{kind: new(kind) for kind in KINDS})
