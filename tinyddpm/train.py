"""The training algorithm of a denoising diffusion model, line for line.

    repeat until convergence:
        draw a mini-batch of clean images x_0
        for each, draw a timestep t uniformly from {1..T} and noise ε from N(0, I)
        x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε                 q_sample
        x̂_0 = U-Net(x_t, t)                          unet
        J = ‖x̂_0 − x_0‖²                             objective
        θ ← θ − β ∇_θ J                              gradient_descent

(Ho et al. 2020, algorithm 1, with the network predicting x_0.) The step size β has nothing to do with the noise variances
β_t of `schedule.py`, which share its letter in the literature. `train` is a generator: whoever runs it decides what to show,
what to save and when to stop:

    unet = UNet(UNetConfig(image=(1, 8, 8))).initialise(seed=0)
    for step in train(unet, images, linear(1000), beta=1.0, seed=0):
        print(step.k, step.J)
"""
import itertools
import math
from typing import NamedTuple

import numpy as np

from autograd.backend import array_module

from . import noise
from .diffusion import q_sample
from .objective import objective


class Step(NamedTuple):
    """What one step did: its number k = 1, 2, …, its J, and ‖x̂_0 − x_0‖² and t of each sample, both (M,)."""
    k: int
    J: float
    errors: np.ndarray
    t: np.ndarray


def gradient(unet, schedule, x0, t, eps, form="mse", batch_size=None, dropout=None, cond=None):
    """Add ∇_θ J of these images to `unet.grad`. Returns J and the squared error of each sample (N,), as arrays.

    x0, eps  (N, C, H, W);  t  (N,) in {1..T}; N is the batch's size M, or less if these are a part of the batch. For form and batch_size see `objective`, for dropout and cond `UNet.forward`.
    """
    xt = q_sample(schedule, x0, t, eps)
    x0_hat = unet(xt, t, dropout, cond)
    J, errors = objective(x0_hat, x0, form, batch_size)
    J.backward()  # adds to unet.grad, of which the gradient of every parameter is a view (nn/module.py)
    return J.data, errors.data


def gradient_descent(unet, beta, k):
    """θ ← θ − β ∇_θ J, in place."""
    unet.theta -= beta * unet.grad


def train(unet, images, schedule, beta, *, seed, batch_size=64, form="mse", start=0, gradient=gradient, update=gradient_descent, cond=None):
    """Train forever; yields a Step after each update of `unet.theta`, in place.

    images    array (n, C, H, W), in [−1, 1], from which mini-batches are drawn with replacement
    beta      the step size β: a number, or a function of k
    start     steps done before: every draw is a function of seed, k and the sample's number m, so with the θ of after
              step k, start=k continues the same run
    gradient  what computes ∇_θ J: another one may share the batch out among processes
    cond      what else the network is told of each image, such as its class: a function of k and of the images' numbers (M,)
    For batch_size (M) and form see `objective`. Raises FloatingPointError, before the update, if J is no longer finite.
    """
    _check(unet, images)
    m = array_module(images).arange(batch_size)
    for k in itertools.count(start + 1):
        i = noise.integers(seed, "data", k, m, len(images))
        x0 = images[i]
        t = 1 + noise.integers(seed, "t", k, m, schedule.T)
        eps = noise.normal(seed, "eps", k, m, x0.shape[1:], x0.dtype)

        unet.grad[...] = 0
        J, errors = gradient(unet, schedule, x0, t, eps, form, dropout=noise.Stream(seed, "dropout", k, m), cond=cond and cond(k, i))
        if not math.isfinite(J := float(J)):  # with a GPU: here the step's work is waited for
            raise FloatingPointError(f"J is {J} at step {k}: β = {_step_size(beta, k)} is probably too large")
        update(unet, _step_size(beta, k), k)
        yield Step(k, J, errors, t)


def _check(unet, images):
    if unet.grad is None:
        raise ValueError("unet: expected one with numbers and room for a gradient: `initialise` it, or `bind` it to theta and grad")
    if images.ndim != 4 or images.dtype != unet.theta.dtype:
        raise ValueError(f"images: expected an array (n, C, H, W) of {unet.theta.dtype}, got {images.dtype} of shape {images.shape}")


def _step_size(beta, k):
    return beta(k) if callable(beta) else beta
