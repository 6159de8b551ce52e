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

from autograd.backend import alike, array_module, expect

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

    The chain starts at x_T, standard normal noise (N, C, H, W). x̂_0 is held within [−clip, clip],
    where the images are; None leaves it free. `variance` is a table (T+1,) of the noise variance of
    each step: β̃ of equation 7 if None; `schedule.beta` is the other usual one.
    """
    variance = posterior_variance(schedule) if variance is None else variance
    size = schedule.T + 1
    expect(len(variance) == size, "variance", f"a table of T + 1 = {size} numbers", len(variance))
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

    It visits `steps` of the T steps, evenly spaced, T among them. With eta = 0 it adds no noise:
    the image is a function of x_T, and `noise` may be None. With eta = 1 it adds the noise of
    `ancestral`, and comes to its result if steps == T. Other arguments are as in `ancestral`.
    """
    expect(0 <= eta <= 1, "eta", "0 to 1", eta)
    expect(not eta or noise is not None, "noise", f"a function noise(t), for eta = {eta}", noise)
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
    valid = isinstance(steps, int) and 1 <= steps <= T
    expect(valid, "steps", f"1 to T = {T}", repr(steps))
    return [(2 * T * i + steps) // (2 * steps) for i in range(steps, 0, -1)]


def _same_t(step: int, xt: Array) -> Array:
    """The timestep of a batch whose images are all equally far: (N,) integers."""
    return array_module(xt).full(len(xt), step)


def _clipped(x0_hat: Array, clip: float | None) -> Array:
    if clip is None:
        return x0_hat
    expect(clip > 0, "clip", "a positive bound or None", clip)
    return x0_hat.clip(-clip, clip)
