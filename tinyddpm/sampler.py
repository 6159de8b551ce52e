"""Sampling: from noise to images, step by step.

A sampler is a generator. After each step it yields (t, x_t, and the x̂_0 that led to it), the last
with t = 0, each array a fresh one:

    for t, xt, x0_hat in ancestral(denoiser, schedule, x_T, noise):
        pass                        # xt is now the image

`denoiser(xt, t)` returns x̂_0: a trained U-Net (`unet.denoise`), or anything else, such as the
exact denoiser of a known distribution. xt is (N, C, H, W), t (N,) integers. `noise(t)` returns
standard normal noise of xt's shape for step t. Samplers for fewer steps: `more/solvers.py`.
"""

from collections.abc import Iterator

import numpy as np

from autograd.backend import alike, array_module, expect

from .diffusion import posterior_mean, posterior_variance
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
    """Draw x_{t−1} from q(x_{t−1} | x_t, x̂_0), the posterior of `diffusion.py`, for t = T..1.

    This is algorithm 2 of Ho et al. 2020: equation 7 with x̂_0 in place of x_0.

    The chain starts at x_T, standard normal noise (N, C, H, W). x̂_0 is held within [−clip, clip],
    where the images are; None leaves it free. `variance` is a table (T+1,) of the noise variance of
    each step: β̃ of equation 7 if None; `schedule.beta` is the other usual one.
    """
    variance = posterior_variance(schedule) if variance is None else variance
    size = schedule.T + 1
    expect(len(variance) == size, "variance", f"a table of T + 1 = {size} numbers", len(variance))
    expect(clip is None or clip > 0, "clip", "a positive bound or None", clip)
    xt = x_T
    for step in range(schedule.T, 0, -1):
        t = array_module(xt).full(len(xt), step)
        x0_hat = denoiser(xt, t)
        if clip is not None:
            x0_hat = x0_hat.clip(-clip, clip)
        xt = posterior_mean(schedule, x0_hat, xt, t)
        if step > 1:  # the last step adds no noise: its result is the image
            z = alike(f"noise({step})", noise(step), xt)
            xt = xt + at(np.sqrt(variance), t, xt) * z
        yield step - 1, xt, x0_hat
