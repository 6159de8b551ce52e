"""The reverse step in its other forms: its mean from ε or v, its variance, x̂_0 held within bounds, and fewer steps.

    ancestral(denoiser, schedule, x_T, noise, variance=schedule.beta)                           # the large variance
    ancestral(denoiser, schedule, x_T, noise, variance=interpolated_variance(schedule, 0.3))    # between small and large
    ancestral(thresholded(denoiser, 99.5), schedule, x_T, noise)                                # dynamic thresholding
    visited = timestep_grid(schedule.T, 50)                                                     # strided ancestral sampling
    ancestral(at_timesteps(denoiser, visited), respaced(schedule, visited), x_T, noise)

All of it goes into `sampler.ancestral` as it is; most goes into the other samplers too. The mean from x_0 is
`diffusion.posterior_mean`. What a step does with x̂_0 = x_0 it does, to rounding, with the ε or v of that x_0, so the two other forms
of the mean need x̂_0 for nothing, but then nothing can be clipped: samplers here go by way of x̂_0.

The variance of a step has two usual values: β̃_t ("small", `diffusion.posterior_variance`), right if all images were one, and β_t
("large", `schedule.beta`), right if the images were N(0, I) (Ho et al. 2020, section 3.2). Images are neither.

x̂_0 can be bounded in two ways. `clip` of the samplers cuts off what is outside [−1, 1]. That is right for an honest denoiser, but
with a large guidance weight whole areas end at ±1; dynamic thresholding shrinks them instead.
"""
import numpy as np

from autograd.backend import alike, array_module

from ..diffusion import posterior_variance
from ..schedule import at
from .schedules import from_alpha_bar


def posterior_mean_from_eps(schedule, eps, xt, t):
    """The mean of x_{t−1} given x_t and its ε: (x_t − β_t/√(1−ᾱ_t) ε) / √α_t  (Ho et al. 2020, equation 11).

    eps, xt (N, C, H, W), t (N,) in {1..T}. Raises ValueError with zero terminal SNR, where ε at T tells nothing of x_0.
    """
    alike("eps", eps, xt)
    if schedule.alpha_bar[-1] == 0:
        raise ValueError(f"eps: the noise gives no mean with zero terminal SNR, where ᾱ_T = 0 at T = {schedule.T}; use x_0 or v")
    share = np.zeros(schedule.T + 1)
    share[1:] = schedule.beta[1:] / np.sqrt(1 - schedule.alpha_bar[1:])
    return (xt - at(share, t, xt) * eps) / at(np.sqrt(schedule.alpha), t, xt)


def posterior_mean_from_v(schedule, v, xt, t):
    """The mean of x_{t−1} given x_t and its v: √α_t x_t − β_t √(ᾱ_{t−1}/(1−ᾱ_t)) v. Nothing is divided by √ᾱ_t.

    v, xt (N, C, H, W), t (N,) in {1..T}. Equation 7 of Ho et al. 2020 with x_0 = √ᾱ_t x_t − √(1−ᾱ_t) v (Salimans & Ho 2022,
    section 4): the coefficient of x_t, c_1 √ᾱ_t + c_2, is √α_t.
    """
    alike("v", v, xt)
    share = np.zeros(schedule.T + 1)
    share[1:] = schedule.beta[1:] * np.sqrt(schedule.alpha_bar[:-1] / (1 - schedule.alpha_bar[1:]))
    return at(np.sqrt(schedule.alpha), t, xt) * xt - at(share, t, xt) * v


def interpolated_variance(schedule, large):
    """β^large · β̃^(1−large), between them in the logarithm: a table (T+1,), for `ancestral` (Nichol & Dhariwal 2021, section 3.1).

    large  the share of β: a number or a table (T+1,) from 0, which gives β̃, to 1, which gives β. There, a network learns it
    β̃_1 = 0, and so is this at t = 1 unless large is 1; the sampler adds no noise at that step.
    """
    if not np.all((np.asarray(large) >= 0) & (np.asarray(large) <= 1)):
        raise ValueError(f"large: expected shares from 0 to 1, got {large}")
    variance = schedule.beta**large * posterior_variance(schedule) ** (1 - np.asarray(large))
    variance[0] = 0
    return variance


def thresholded(denoiser, percentile):
    """`denoiser` with dynamic thresholding (Saharia et al. 2022, "Imagen", section 2.3).

    Of each x̂_0 let s be the given percentile of its absolute values, or 1 if that is larger. It is clipped to [−s, s], then
    divided by s. So all of it lies within [−1, 1], an x̂_0 that lay there stays as it is, and only about 100 − percentile per cent
    of the pixels are cut off. Percentiles are linearly interpolated; 100 scales without clipping.
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile: expected 0 to 100, got {percentile}")

    def bounded(xt, t):
        x0_hat = denoiser(xt, t)
        xp = array_module(x0_hat)
        size = xp.percentile(abs(x0_hat).reshape(len(x0_hat), -1), percentile, axis=1).astype(x0_hat.dtype)
        s = xp.maximum(size, 1).reshape(-1, *[1] * (x0_hat.ndim - 1))
        return xp.clip(x0_hat, -s, s) / s

    return bounded


def respaced(schedule, timesteps):
    """The schedule of a chain that visits only these timesteps, of {1..T}, in any order: its ᾱ are theirs (Nichol & Dhariwal 2021,
    section 4). Step i of it is the i-th smallest of them. Its β̃ and β are those of the longer strides.
    """
    return from_alpha_bar(schedule.alpha_bar[_visited(timesteps, schedule.T)[1:]])


def at_timesteps(denoiser, timesteps):
    """`denoiser` for a respaced schedule: asked for step i it is asked for the i-th smallest of `timesteps`, as it was trained."""
    visited = _visited(timesteps)

    def denoise(xt, i):
        return denoiser(xt, array_module(xt).asarray(visited)[i])

    return denoise


def _visited(timesteps, T=None):
    """0 and the timesteps in rising order: entry i is the t of step i."""
    visited = np.array([0, *sorted(timesteps)])
    if len(visited) < 2 or visited.dtype.kind != "i" or np.any(np.diff(visited) <= 0) or (T is not None and visited[-1] > T):
        raise ValueError(f"timesteps: expected different whole numbers from 1 to {'T' if T is None else f'T = {T}'}, got {list(timesteps)}")
    return visited
