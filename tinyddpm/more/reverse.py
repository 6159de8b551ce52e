"""Other forms of the reverse step: mean from ε or v, other variances, bounded x̂_0, fewer steps.

    # the large variance, and one between small and large
    ancestral(denoiser, schedule, x_T, noise, variance=schedule.beta)
    ancestral(denoiser, schedule, x_T, noise, variance=interpolated_variance(schedule, 0.3))

    # dynamic thresholding
    ancestral(thresholded(denoiser, 99.5), schedule, x_T, noise)

    # strided ancestral sampling
    visited = timestep_grid(schedule.T, 50)
    ancestral(at_timesteps(denoiser, visited), respaced(schedule, visited), x_T, noise)

All of it plugs into `sampler.ancestral` as it is, and most of it into the other samplers too.

`diffusion.posterior_mean` is the mean from x_0. The two other forms of the mean give the same from
the ε or the v of that x_0, to rounding. They do not need x̂_0, but then nothing can be clipped. So
the samplers here always take the way through x̂_0.

The variance of a step has two usual values. β̃_t ("small", `diffusion.posterior_variance`) is right
if all images are one and the same. β_t ("large", `schedule.beta`) is right if the images are N(0,
I) (Ho et al. 2020, section 3.2). Real images are neither.

x̂_0 can be bounded in two ways. The samplers' `clip` cuts off what is outside [−1, 1]. That is
right for an honest denoiser. But with a large guidance weight, whole areas end at ±1. Dynamic
thresholding shrinks them instead.
"""

from collections.abc import Collection

import numpy as np

from autograd.backend import Array, alike, array_module

from ..diffusion import posterior_variance
from ..schedule import Schedule, at
from ..types import Denoiser
from .schedules import from_alpha_bar


def posterior_mean_from_eps(schedule: Schedule, eps: Array, xt: Array, t: Array) -> Array:
    """The mean of x_{t−1} given x_t and its ε: (x_t − β_t/√(1−ᾱ_t) ε) / √α_t.

    (Ho et al. 2020, equation 11.)

    Args:
        schedule: the noise schedule.
        eps: the noise in xt (N, C, H, W).
        xt: noisy images (N, C, H, W).
        t: timesteps (N,) in {1..T}.

    Raises:
        ValueError: with zero terminal SNR, where ε at T says nothing about x_0.
    """
    alike("eps", eps, xt)
    if schedule.alpha_bar[-1] == 0:
        raise ValueError(
            "eps: the noise gives no mean with zero terminal SNR, "
            f"where ᾱ_T = 0 at T = {schedule.T}; use x_0 or v"
        )
    factor = np.zeros(schedule.T + 1)
    factor[1:] = schedule.beta[1:] / np.sqrt(1 - schedule.alpha_bar[1:])
    return (xt - at(factor, t, xt) * eps) / at(np.sqrt(schedule.alpha), t, xt)


def posterior_mean_from_v(schedule: Schedule, v: Array, xt: Array, t: Array) -> Array:
    """The mean of x_{t−1} given x_t and its v: √α_t x_t − β_t √(ᾱ_{t−1}/(1−ᾱ_t)) v.

    This is equation 7 of Ho et al. 2020 with x_0 = √ᾱ_t x_t − √(1−ᾱ_t) v (Salimans & Ho 2022,
    section 4). The coefficient of x_t, c_1 √ᾱ_t + c_2, is √α_t. Nothing is divided by √ᾱ_t.

    Args:
        schedule: the noise schedule.
        v: the velocity at xt (N, C, H, W).
        xt: noisy images (N, C, H, W).
        t: timesteps (N,) in {1..T}.
    """
    alike("v", v, xt)
    factor = np.zeros(schedule.T + 1)
    factor[1:] = schedule.beta[1:] * np.sqrt(schedule.alpha_bar[:-1] / (1 - schedule.alpha_bar[1:]))
    return at(np.sqrt(schedule.alpha), t, xt) * xt - at(factor, t, xt) * v


def interpolated_variance(schedule: Schedule, large: float | Array) -> Array:
    """A variance between β̃ and β, interpolated in the logarithm: β^large · β̃^(1−large).

    (Nichol & Dhariwal 2021, section 3.1; there a network learns `large`.)

    Args:
        schedule: the noise schedule.
        large: the weight of log β, a number or a table (T+1,): 0 gives β̃ and 1 gives β.

    Returns:
        A table (T+1,) for `ancestral`. At t = 1 it is 0, as β̃_1 is, unless large is 1. The sampler
        adds no noise at that step.
    """
    if not np.all((np.asarray(large) >= 0) & (np.asarray(large) <= 1)):
        raise ValueError(f"large: expected fractions from 0 to 1, got {large}")
    variance = schedule.beta**large * posterior_variance(schedule) ** (1 - np.asarray(large))
    variance[0] = 0
    return variance


def thresholded(denoiser: Denoiser, percentile: float) -> Denoiser:
    """`denoiser` with dynamic thresholding (Saharia et al. 2022, "Imagen", section 2.3).

    For each x̂_0, let s be a percentile of its absolute values, or 1 if that is larger. x̂_0 is
    clipped to [−s, s], then divided by s. So all of it lies within [−1, 1], and an x̂_0 that was
    there already stays as it is. Only about 100 − percentile per cent of the pixels are cut off.

    Args:
        denoiser: denoiser(xt, t) -> x̂_0.
        percentile: from 0 to 100, linearly interpolated; 100 scales without clipping.
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile: expected 0 to 100, got {percentile}")

    def bounded(xt: Array, t: Array) -> Array:
        x0_hat = denoiser(xt, t)
        xp = array_module(x0_hat)
        sizes = abs(x0_hat).reshape(len(x0_hat), -1)
        size = xp.percentile(sizes, percentile, axis=1).astype(x0_hat.dtype)
        s = xp.maximum(size, 1).reshape(-1, *[1] * (x0_hat.ndim - 1))
        return xp.clip(x0_hat, -s, s) / s

    return bounded


def respaced(schedule: Schedule, timesteps: Collection[int]) -> Schedule:
    """The schedule of a chain that visits only some timesteps (Nichol & Dhariwal 2021, section 4).

    Its ᾱ are those of the visited timesteps. Its β̃ and β are those of the longer strides.

    Args:
        schedule: the whole noise schedule.
        timesteps: the steps to visit, of {1..T}, in any order. Step i of the new schedule is the
            i-th smallest of them.
    """
    return from_alpha_bar(schedule.alpha_bar[_visited(timesteps, schedule.T)[1:]])


def at_timesteps(denoiser: Denoiser, timesteps: Collection[int]) -> Denoiser:
    """`denoiser` for a respaced schedule.

    For step i of the short schedule it asks for the i-th smallest of `timesteps`, as in training.
    """
    visited = _visited(timesteps)

    def denoise(xt: Array, i: Array) -> Array:
        return denoiser(xt, array_module(xt).asarray(visited)[i])

    return denoise


def _visited(timesteps: Collection[int], T: int | None = None) -> Array:
    """0 and the timesteps in rising order: entry i is the t of step i."""
    visited = np.array([0, *sorted(timesteps)])
    rising = visited.dtype.kind == "i" and np.all(np.diff(visited) > 0)
    if len(visited) < 2 or not rising or (T is not None and visited[-1] > T):
        last = "T" if T is None else f"T = {T}"
        raise ValueError(
            f"timesteps: expected different whole numbers from 1 to {last}, got {list(timesteps)}"
        )
    return visited
