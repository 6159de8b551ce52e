"""How curved J is for each kind of layer, and multipliers that follow from it.

    unet = UNet(config, ONES).initialise(seed=0)          # … and a few steps of training, so that no gradient is 0 any more
    found = by_kind(unet, schedule, x0, t, eps)           # {"conv1": 2.1, …, "last": 13.4, "rest": 9.0, "all": 22.3}
    UNet(config, derived(found))                          # the same network, with layers of equal curvature

Gradient descent is stable in a direction of curvature λ only while β < 2/λ. The curvature of J for a kind of layer is the
largest eigenvalue of its block of the Hessian H. H itself is never made: its product with a vector is the difference of two
gradients, (∇J(θ + hv) − ∇J(θ − hv)) / 2h, and repeated products turn any vector towards the eigenvector of the eigenvalue that is largest
in size: power iteration (LeCun, Simard & Pearlmutter 1993, "Automatic learning rate maximization by on-line estimation of the
Hessian's eigenvectors").

**Multipliers from curvature.** With an effective weight w = c·v the curvature for v is c²λ. So c ∝ 1/√λ makes all kinds equally curved,
and one β does for all.
"""
import dataclasses

import numpy as np

from autograd.backend import array_module

from .. import noise
from ..nn.multipliers import ONES, Multipliers
from ..train import gradient

KINDS = [field.name for field in dataclasses.fields(Multipliers)]
REST, ALL = "rest", "all"  # the layers that have no multiplier; the whole of θ


def hessian_vector(slope, theta, v, h=1e-3):
    """H v at θ: slope(θ) is ∇J, theta and v are vectors (n,). The error is of order h²‖v‖³, and of rounding over h‖v‖: float64 is better."""
    return (slope(theta + h * v) - slope(theta - h * v)) / (2 * h)


def largest_curvature(slope, theta, where, steps=20, h=1e-3):
    """(λ, unit eigenvector): the eigenvalue largest in size of the block of the Hessian that `where`, booleans like θ, selects.

    steps  of power iteration; λ is the Rayleigh quotient of the last. Two eigenvalues of nearly the same size take many to tell apart, but then λ is near both.
    """
    xp = array_module(theta)
    v = xp.where(where, noise.normal(0, "curvature", 0, xp.arange(1), theta.shape, np.float64)[0], 0).astype(theta.dtype)
    value = 0.0
    for _ in range(steps):
        v /= xp.linalg.norm(v)
        turned = xp.where(where, hessian_vector(slope, theta, v, h), 0)
        value = float(v @ turned)
        if not turned.any():  # J is flat there
            return 0.0, v
        v = turned
    return value, v / xp.linalg.norm(v)


def by_kind(unet, schedule, x0, t, eps, steps=20, h=1e-3, gradient=gradient):
    """The curvature of J, on these images, in the network's own θ: {a field of Multipliers, "rest" or "all": λ}. The network is left as it was.

    x0, t, eps, gradient  as `train.gradient` has them
    h                     see `hessian_vector`: with a network of float32, 1e-2
    """
    theta, grad = unet.theta, unet.grad
    here, xp = theta.copy(), array_module(theta)

    def slope(at):
        theta[...], grad[...] = at, 0
        gradient(unet, schedule, x0, t, eps)
        return grad.copy()

    try:
        return {kind: largest_curvature(slope, here, xp.asarray(where), steps, h)[0] for kind, where in (kinds(unet) | {ALL: xp.full(here.shape, True)}).items()}
    finally:
        theta[...] = here


def kinds(unet):
    """Where in θ the parameters of each kind are: {a field of Multipliers, or "rest": booleans (n,) on the host}, kinds that the network has none of left out."""
    marks = Multipliers(*(i + 2.0 for i in range(len(KINDS))))  # a network like it, whose multipliers say which kind they are
    marked = type(unet)(unet.config, marks)
    kind = np.full(unet.theta_size(), -1)
    for name, where in unet.slices().items():
        layer = marked
        for step in name.split(".")[:-1]:
            layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
        kind[where] = int(layer.c) - 1  # 0: no multiplier, 1…: those in KINDS
    return {name: kind == i for i, name in enumerate([REST, *KINDS]) if (kind == i).any()}


def derived(curvatures, c=ONES, most=8.0):
    """The Multipliers that would give every kind the curvature of the rest: c √(λ_rest/λ), and at most `most`.

    curvatures  what `by_kind` found in a network with the multipliers c
    The limit is needed where a kind is nearly flat so far, such as attention while its output is still near 0. Kinds that were not measured keep their c.

    Curvature belongs to a place, and other multipliers lead to other places. So this is one round: train with these, measure again, derive again.
    """
    def new(kind):
        ratio = abs(curvatures[kind] / curvatures[REST]) if kind in curvatures else 1.0
        return min(most, getattr(c, kind) * ratio**-0.5) if ratio else most

    return Multipliers(**{kind: new(kind) for kind in KINDS})
