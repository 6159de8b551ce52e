"""Sampling: from noise to images, step by step.

A sampler is a generator. It yields (t, x_t, x̂_0) after each step, the last with t = 0, each array
a fresh one:

    for t, xt, x0_hat in ancestral(denoiser, schedule, x_T, noise):
        pass                        # xt is now the image

`denoiser(xt, t)` returns x̂_0: a trained U-Net (`unet.denoise`), or anything else, such as the exact
denoiser of a known distribution. xt is (N, C, H, W), t (N,) integers. `noise(t)` returns standard
normal noise of xt's shape for step t.
"""

from collections.abc import Iterator

import numpy as np

from autograd.backend import alike, array_module

from .diffusion import posterior_mean, posterior_variance, predicted_noise
from .schedule import Schedule, at
from .types import Array, Denoiser, Noise


def ancestral(
    denoiser: Denoiser,
    schedule: Schedule,
    x_T: Array,
    noise: Noise,
    clip: float | None = 1.0,
    variance: Array | None = None,
) -> Iterator[tuple[int, Array, Array]]:
    """Draw x_{t−1} from q(x_{t−1} | x_t, x̂_0) for t = T..1.

    This is algorithm 2 of Ho et al. 2020: equation 7 with x̂_0 in place of x_0.

    Args:
        denoiser: the denoiser.
        schedule: how much noise there is at each t.
        x_T: standard normal noise (N, C, H, W), where the chain starts.
        noise: the noise of each step.
        clip: x̂_0 is held within [−clip, clip], where the images are. None leaves it free.
        variance: a table (T+1,) of the noise variance of each step. None is β̃ of equation 7;
            `schedule.beta` is the other usual one.
    """
    variance = posterior_variance(schedule) if variance is None else variance
    if len(variance) != schedule.T + 1:
        raise ValueError(
            f"variance: expected a table of T + 1 = {schedule.T + 1} numbers, got {len(variance)}"
        )
    xt = x_T
    for step in range(schedule.T, 0, -1):
        t = _same_t(step, xt)
        x0_hat = _clipped(denoiser(xt, t), clip)
        xt = posterior_mean(schedule, x0_hat, xt, t)
        if step > 1:  # the last step adds no noise: its result is the image
            z = alike(f"noise({step})", noise(step), xt)
            xt = xt + at(np.sqrt(variance), t, xt) * z
        yield step - 1, xt, x0_hat


def ddim(
    denoiser: Denoiser,
    schedule: Schedule,
    x_T: Array,
    noise: Noise | None = None,
    steps: int = 50,
    eta: float = 0.0,
    clip: float | None = 1.0,
) -> Iterator[tuple[int, Array, Array]]:
    """The same model in fewer steps, with less noise.

    Song et al. 2021, "Denoising diffusion implicit models", equation 12.

    The arguments are those of `ancestral`, and besides:

    Args:
        noise: may be None if eta is 0.
        steps: how many of the T steps to visit, evenly spaced, T among them.
        eta: 0: no noise, the image is a function of x_T. 1: the noise of `ancestral`, and its
            result if steps == T.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta: expected 0 to 1, got {eta}")
    if eta and noise is None:
        raise ValueError(f"noise: eta = {eta} needs a function noise(t), got None")
    alpha_bar = schedule.alpha_bar
    grid = timestep_grid(schedule.T, steps)
    xt = x_T
    for now, then in zip(grid, [*grid[1:], 0]):
        t = _same_t(now, xt)
        x0_hat = _clipped(denoiser(xt, t), clip)
        eps_hat = predicted_noise(schedule, x0_hat, xt, t)  # of the x̂_0 used, after clipping
        sigma2 = eta**2 * (1 - alpha_bar[then]) / (1 - alpha_bar[now])
        sigma2 = sigma2 * (1 - alpha_bar[now] / alpha_bar[then])
        signal, direction = np.sqrt(alpha_bar[then]), np.sqrt(1 - alpha_bar[then] - sigma2)
        xt = float(signal) * x0_hat + float(direction) * eps_hat
        if noise is not None and sigma2 > 0:
            xt = xt + float(np.sqrt(sigma2)) * alike(f"noise({now})", noise(now), xt)
        yield then, xt, x0_hat


def timestep_grid(T: int, steps: int) -> list[int]:
    """`steps` timesteps from T down, evenly spaced: T·i/steps, rounded, for i = steps..1."""
    if not isinstance(steps, int) or not 1 <= steps <= T:
        raise ValueError(f"steps: expected 1 to T = {T}, got {steps!r}")
    return [(2 * T * i + steps) // (2 * steps) for i in range(steps, 0, -1)]


def _same_t(step: int, xt: Array) -> Array:
    """The timestep of a batch whose images are all equally far: (N,) integers."""
    return array_module(xt).full(len(xt), step)


def _clipped(x0_hat: Array, clip: float | None) -> Array:
    if clip is None:
        return x0_hat
    if not clip > 0:
        raise ValueError(f"clip: expected a positive bound or None, got {clip}")
    return x0_hat.clip(-clip, clip)
