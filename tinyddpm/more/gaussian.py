"""A world in which everything is known: images from N(mean, covariance).

The exact denoiser is known, and so is exactly what a sampler makes of it.

    denoiser = gaussian_denoiser(schedule, mean, covariance)  # E[x_0 | x_t]: replaces the U-Net

    def run(x_T, noise):
        return ancestral(denoiser, schedule, x_T, noise, clip=None)

    for t, m, cov in moments(run, mean.shape, schedule.T):
        ...  # the mean and the covariance of x_t after each step

Even with the best possible denoiser, a sampler does not draw from N(mean, covariance), only from
something near it. The difference is the sampler's own error, due to its strides and its variance,
with no network to blame. For Gaussian images that error is a number, not an estimate. Take one
pixel of N(0, 0.5²) and `linear(1000)`. Ancestral sampling ends with a standard deviation of 0.496
(variance β̃) or 0.501 (variance β). DDIM in 1000, 50 and 10 steps ends with 0.498, 0.471 and 0.370.

No samples are needed, because the denoiser is affine in x_t. So each step of a sampler is affine in
x_t and its noise, and an image is b + A x_T + Σ_t B_t z_t. `moments` reads b, A and all B_t off the
sampler itself, which it runs once on a batch of unit vectors. Then the mean is b and the covariance
is A Aᵀ + Σ_t B_t B_tᵀ. There is no second formula of the sampler here that could share its
mistakes.

Notation: D = C·H·W. A covariance is (D, D), over pixels in the order of reshape, or a number s² for
s²·I. μ is the mean, Σ the covariance, w its eigenvalues. x_t is N(√ᾱ_t μ, ᾱ_t Σ + (1−ᾱ_t) I).
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from autograd.backend import Array, array_module

from ..schedule import Schedule, at
from ..types import Denoiser, Noise

# The value of the last probe image. It is neither 1 nor positive: unit vectors alone cannot tell
# |x| and x³ from linear maps.
PROBE = -2.0


def gaussian_denoiser(schedule: Schedule, mean: Array, covariance: float | Array) -> Denoiser:
    """E[x_0 | x_t] = μ + √ᾱ_t Σ (ᾱ_t Σ + (1−ᾱ_t) I)⁻¹ (x_t − √ᾱ_t μ): a denoiser for every sampler.

    (Gaussian conditioning; Bishop 2006, section 2.3.3.) It computes in float64.

    Args:
        schedule: the noise schedule.
        mean: μ (C, H, W).
        covariance: Σ (D, D), or a number ≥ 0.

    Returns:
        A denoiser(xt, t) of xt (N, C, H, W) and t (N,) in {1..T}; x̂_0 has xt's dtype.
    """
    w, axes = _principal(covariance, mean.size)

    def denoiser(xt: Array, t: Array) -> Array:
        if xt.shape[1:] != mean.shape:
            raise ValueError(f"xt: expected images of shape {mean.shape}, got {xt.shape[1:]}")
        xp = array_module(xt)
        x = xt.reshape(len(xt), -1).astype(np.float64)
        alpha_bar = at(schedule.alpha_bar, t, x)  # (N, 1)
        mu, variances = xp.asarray(mean, dtype=np.float64).reshape(-1), xp.asarray(w)
        # (N, D), or (N, 1) if the covariance is a number
        gain = xp.sqrt(alpha_bar) * variances / (alpha_bar * variances + 1 - alpha_bar)
        x0_hat = mu + _stretched(x - xp.sqrt(alpha_bar) * mu, gain, axes)
        return x0_hat.reshape(xt.shape).astype(xt.dtype)

    return denoiser


def least_J(schedule: Schedule, covariance: float | Array) -> Array:
    """The smallest possible E[(x̂_0 − x_0)²] of a pixel at each t, that of `gaussian_denoiser`.

    It is the mean of w (1−ᾱ_t) / (ᾱ_t w + 1 − ᾱ_t). Its mean over t = 1..T is the floor of J
    ("mse") for such images: a network's J minus this is what the network has still to learn. For a
    finite set of images, `ideal.py` has the floor.

    Returns:
        A table (T+1,); entry 0 is 0.
    """
    w, _ = _principal(covariance)
    alpha_bar = schedule.alpha_bar[1:, None]
    J = (w * (1 - alpha_bar) / (alpha_bar * w + 1 - alpha_bar)).mean(axis=1)
    return np.concatenate([[0.0], J])


def probability_flow(
    schedule: Schedule,
    mean: Array,
    covariance: float | Array,
    xt: Array,
    now: int,
    then: int,
) -> Array:
    """Where x_now flows to at t = then, exactly.

    DDIM (η = 0), 2M and Heun arrive there in the limit of small strides. The formula is
    √ᾱ_then μ + (Σ_then Σ_now⁻¹)^½ (x_now − √ᾱ_now μ), with Σ_t the covariance of x_t. It solves the
    equation dy/dσ = (y − x̂_0)/σ of `solvers.py` along each principal axis.

    Args:
        schedule: the noise schedule.
        mean: μ (C, H, W).
        covariance: Σ (D, D), or a number ≥ 0.
        xt: x_now (N, C, H, W).
        now: the step to start from, 0..T.
        then: the step to arrive at, 0..T, before or after `now`.

    Raises:
        ValueError: if now or then is no step, xt does not fit the mean, or Σ is singular and now is
            0.
    """
    steps = 0 <= now <= schedule.T and 0 <= then <= schedule.T
    if not steps or xt.shape[1:] != mean.shape:
        raise ValueError(
            f"now, then, xt: expected steps from 0 to T = {schedule.T} and images of shape "
            f"{mean.shape}, got {now}, {then} and {xt.shape[1:]}"
        )
    w, axes = _principal(covariance, mean.size)
    before, after = (float(schedule.alpha_bar[t]) for t in (now, then))
    spread = before * w + 1 - before
    if not np.all(spread > 0):
        raise ValueError(
            f"covariance: expected eigenvalues above 0 to flow from t = {now}, got {w.min()}"
        )
    xp = array_module(xt)
    mu = xp.asarray(mean, dtype=np.float64).reshape(-1)
    gain = xp.asarray(np.sqrt((after * w + 1 - after) / spread))
    centred = xt.reshape(len(xt), -1) - before**0.5 * mu
    x = after**0.5 * mu + _stretched(centred, gain, axes)
    return x.reshape(xt.shape).astype(xt.dtype)


def moments(
    run: Callable[[Array, Noise], Iterator[tuple[int, Array, Array]]],
    shape: tuple[int, ...],
    T: int,
) -> Iterator[tuple[int, Array, Array]]:
    """The exact mean and covariance of x_t after each step of an affine sampler.

    It runs one batch of 2 + D (T + 1) float64 images. The first is 0, and ends at the mean. Then
    comes each unit vector, in x_T and in each noise. The last image is −2 everywhere. It must end
    where −2 times all effects together end. If it does not, the sampler is not affine.

    Args:
        run: run(x_T, noise) starts the sampler. Read x_T and noise(t) as standard normal.
        shape: (C, H, W) of one image.
        T: the largest t for which the sampler may call noise(t), from 1 on. 0 if it draws no noise,
            which saves most of the work.

    Yields:
        (t, mean (C, H, W), covariance (D, D)) after each step.

    Raises:
        ValueError: if the sampler is not affine (a clipped x̂_0 is the usual reason), or T is too
            small.
    """
    D = math.prod(shape)
    N = 2 + D * (T + 1)

    def units(t: int) -> Array:  # unit vectors for z_t; t = 0 stands for x_T
        if not 0 <= t <= T:
            raise ValueError(
                f"T: expected at least the largest t that the sampler draws noise for, {t}, got {T}"
            )
        batch = np.zeros((N, D))
        batch[1 + D * t : 1 + D * (t + 1)] = np.eye(D)
        batch[-1] = PROBE
        return batch.reshape(N, *shape)

    for t, xt, _ in run(units(0), units):
        mean, *ends, together = xt.reshape(N, D)
        effects = np.array(ends) - mean
        allowed = 1e-8 * (abs(effects).sum(axis=0) + abs(mean))
        if np.any(abs(mean + PROBE * effects.sum(axis=0) - together) > allowed + 1e-12):
            raise ValueError(
                "run: expected a sampler that is affine in x_T and its noise, got one that is not; "
                "is x̂_0 clipped? clip=None"
            )
        yield t, mean.reshape(shape), effects.T @ effects


def _principal(covariance: float | Array, D: int | None = None) -> tuple[Array, Array | None]:
    """Eigenvalues (D,) and eigenvectors (D, D) of a covariance; of a number s², (1,) and None."""
    covariance = np.asarray(covariance, dtype=np.float64)
    axes = None
    if covariance.ndim == 0:
        w = covariance.reshape(1)
    elif covariance.shape == (D or len(covariance),) * 2 and np.allclose(covariance, covariance.T):
        w, axes = np.linalg.eigh(covariance)
        # A singular covariance has eigenvalues of 0, rounded to a little more or less.
        w[abs(w) < 1e-12 * abs(w).max()] = 0
    else:
        raise ValueError(
            f"covariance: expected a number or a symmetric matrix ({D or 'D'}, {D or 'D'}), "
            f"got shape {covariance.shape}"
        )
    if not np.all(w >= 0):
        raise ValueError(f"covariance: expected no negative eigenvalue, got {w.min()}")
    return w, axes


def _stretched(x: Array, gain: Array, axes: Array | None) -> Array:
    """The vectors x (N, D), multiplied by `gain` along the principal axes."""
    if axes is None:
        return x * gain
    axes = array_module(x).asarray(axes)
    return (x @ axes * gain) @ axes.T
