"""The training algorithm of a denoising diffusion model, line for line.

    repeat until convergence:
        draw a mini-batch of clean images x_0
        for each, draw a timestep t uniformly from {1..T} and noise ε from N(0, I)
        x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε                 q_sample
        x̂_0 = U-Net(x_t, t)                          unet
        J = ‖x̂_0 − x_0‖², or its mean                objective
        θ ← θ − β ∇_θ J                              gradient_descent

This is algorithm 1 of Ho et al. 2020 with a network that predicts x_0. The step size β has nothing
to do with the noise variances β_t of `schedule.py`, which share its letter in the literature.

`train` is a generator. Its caller decides what to show, what to save and when to stop:

    unet = UNet(UNetConfig(image=(1, 8, 8))).initialise(seed=0)
    for step in train(unet, images, linear(1000), beta=1.0, seed=0):
        print(step.k, step.J)
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from autograd.backend import array_module, expect, kind_of

from . import noise
from .diffusion import q_sample
from .nn.module import Module
from .nn.unet import UNet
from .objective import objective
from .schedule import Schedule
from .types import Array, Cond, Draw, Gradient, Images, StepSize, Update


class Step(NamedTuple):
    """What step k = 1, 2, … did: its J, and ‖x̂_0 − x_0‖² and t of each image, both (M,)."""

    k: int
    J: float
    errors: Array
    t: Array


def gradient(
    unet: UNet,
    schedule: Schedule,
    x0: Array,
    t: Array,
    eps: Array,
    form: str = "mse",
    batch_size: int | None = None,
    dropout: Draw | None = None,
    cond: Array | None = None,
) -> tuple[Array, Array]:
    """Add ∇_θ J of these images to `unet.grad`. Returns J and the squared error of each (N,).

    x0 and eps are (N, C, H, W), t is (N,) in {1..T}. N is the batch's size M, or less if these
    images are a part of it. `objective` explains form and batch_size, `UNet.forward` the rest.
    """
    xt = q_sample(schedule, x0, t, eps)
    x0_hat = unet(xt, t, dropout, cond)
    J, errors = objective(x0_hat, x0, form, batch_size)
    J.backward()  # adds to unet.grad: every parameter's gradient is a view of it (nn/module.py)
    return J.data, errors.data


def gradient_descent(unet: Module, beta: float, k: int) -> None:
    """θ ← θ − β ∇_θ J, in place. The number of the step, k, makes no difference here."""
    unet.theta -= beta * unet.grad


def train(
    unet: UNet,
    images: Images,
    schedule: Schedule,
    beta: float | StepSize,
    *,
    seed: int,
    batch_size: int = 64,
    form: str = "mse",
    start: int = 0,
    gradient: Gradient = gradient,
    update: Update = gradient_descent,
    cond: Cond | None = None,
    samples: slice = slice(None),
) -> Iterator[Step]:
    """Train forever: yields a Step after each update of `unet.theta`, which happens in place.

    Args:
        images: (n, C, H, W) in [−1, 1]. Mini-batches are drawn from them with replacement.
        beta: the step size β, a number or a function of k.
        seed: every draw is a function of seed, k and the image's place m in the mini-batch.
        start: steps done before. With θ as step k left it, start=k continues the same run.
        gradient: computes ∇_θ J. Another one may share the batch out among processes.
        update: uses ∇_θ J. Optimisers stand in `more/training/optimisers.py`.
        cond: the conditioning of each image, such as its class.
        samples: the places m to draw here, if `gradient` adds what others draw (`distributed/`).

    Raises:
        FloatingPointError: before the update, if J is no longer finite.
    """
    expect(unet.grad is not None, "grad", "a vector: `initialise` the U-Net, or `bind` it", None)
    fits = images.ndim == 4 and images.dtype == unet.theta.dtype
    expect(fits, "images", f"an array (n, C, H, W) of {unet.theta.dtype}", kind_of(images))
    m = array_module(images).arange(batch_size)[samples]
    for k in itertools.count(start + 1):
        i = noise.integers(seed, "data", k, m, len(images))
        x0 = images[i]
        t = 1 + noise.integers(seed, "t", k, m, schedule.T)
        eps = noise.normal(seed, "eps", k, m, x0.shape[1:], x0.dtype)

        unet.grad[...] = 0
        dropout, given = noise.Stream(seed, "dropout", k, m), cond and cond(k, i)
        total, errors = gradient(unet, schedule, x0, t, eps, form, dropout=dropout, cond=given)
        J, step_size = float(total), beta(k) if callable(beta) else beta  # float() waits for a GPU
        if not math.isfinite(J):
            raise FloatingPointError(f"J is {J} at step {k}: β = {step_size} is probably too large")
        update(unet, step_size, k)
        yield Step(k, J, errors, t)
