"""A world in which everything is known: images from N(mean, covariance). The exact denoiser, and exactly what a sampler makes of it.

    denoiser = gaussian_denoiser(schedule, mean, covariance)       # E[x_0 | x_t]: takes the U-Net's place
    for t, m, cov in moments(lambda x_T, noise: ancestral(denoiser, schedule, x_T, noise, clip=None), mean.shape, schedule.T):
        ...                                                        # the mean and covariance of x_t, after each step

A sampler given the best denoiser there is does not draw from N(mean, covariance), but from something near it: what is missing is the
sampler's own error, of its strides and of its variance, with no network to blame. For Gaussian images that error is a number, not
an estimate. Example, one pixel of N(0, 0.5²), `linear(1000)`: ancestral sampling ends with a standard deviation of 0.496
(variance β̃) or 0.501 (variance β), DDIM in 1000, 50 and 10 steps with 0.499, 0.471 and 0.370.

Why no samples are needed: the denoiser is affine in x_t, so each step of a sampler is affine in x_t and its noise, so an image is
b + A x_T + Σ_t B_t z_t. `moments` reads b, A and all B_t off the sampler itself, run once on a batch of unit vectors; then
the mean is b and the covariance A Aᵀ + Σ_t B_t B_tᵀ. There is no second formula of the sampler here that could share its mistakes.

Notation: D = C·H·W; a covariance is (D, D), over pixels in the order of reshape, or a number s² for s²·I. μ is the mean, Σ the
covariance, w its eigenvalues. x_t is N(√ᾱ_t μ, ᾱ_t Σ + (1−ᾱ_t) I).
"""
import math

import numpy as np

from autograd.backend import array_module

from ..schedule import at

PROBE = -2.0  # neither 1 nor positive: |x| and x³ are linear as far as unit vectors can tell


def gaussian_denoiser(schedule, mean, covariance):
    """E[x_0 | x_t] = μ + √ᾱ_t Σ (ᾱ_t Σ + (1−ᾱ_t) I)⁻¹ (x_t − √ᾱ_t μ): a denoiser(xt, t) for every sampler (Gaussian conditioning;
    Bishop 2006, section 2.3.3).

    mean (C, H, W), covariance a number ≥ 0 or (D, D). The denoiser takes xt (N, C, H, W), t (N,) in {1..T}; it computes in
    float64 and returns xt's dtype.
    """
    w, axes = _principal(covariance, mean.size)

    def denoiser(xt, t):
        if xt.shape[1:] != mean.shape:
            raise ValueError(f"xt: expected images of shape {mean.shape}, got {xt.shape[1:]}")
        xp = array_module(xt)
        x = xt.reshape(len(xt), -1).astype(np.float64)
        alpha_bar = at(schedule.alpha_bar, t, x)  # (N, 1)
        mu, variances = xp.asarray(mean, dtype=np.float64).reshape(-1), xp.asarray(w)
        gain = xp.sqrt(alpha_bar) * variances / (alpha_bar * variances + 1 - alpha_bar)  # (N, D) or (N, 1)
        x0_hat = mu + _stretched(x - xp.sqrt(alpha_bar) * mu, gain, axes)
        return x0_hat.reshape(xt.shape).astype(xt.dtype)

    return denoiser


def least_J(schedule, covariance):
    """The smallest possible E[(x̂_0 − x_0)²] of a pixel at each t, that of `gaussian_denoiser`: a table (T+1,); entry 0 is 0.

    It is the mean of w (1−ᾱ_t) / (ᾱ_t w + 1 − ᾱ_t). The mean over t = 1..T is the floor of J ("mse") for such images: a
    network's J less this is what it has not learnt yet. For a finite set of images the floor is `ideal.py`'s.
    """
    w, _ = _principal(covariance)
    alpha_bar = schedule.alpha_bar[1:, None]
    return np.concatenate([[0.0], (w * (1 - alpha_bar) / (alpha_bar * w + 1 - alpha_bar)).mean(axis=1)])


def probability_flow(schedule, mean, covariance, xt, now, then):
    """Where x_now (N, C, H, W) flows to at t = then, exactly: what DDIM (η = 0), 2M and Heun with small enough strides would make of it.

    √ᾱ_then μ + (Σ_then Σ_now⁻¹)^½ (x_now − √ᾱ_now μ), with Σ_t the covariance of x_t: it solves dy/dσ = (y − x̂_0)/σ of
    `solvers.py`, along each principal axis. now, then: 0..T in either direction. Raises ValueError from t = 0 with a singular Σ.
    """
    if not (0 <= now <= schedule.T and 0 <= then <= schedule.T) or xt.shape[1:] != mean.shape:
        raise ValueError(f"now, then, xt: expected steps from 0 to T = {schedule.T} and images of shape {mean.shape}, got {now}, {then} and {xt.shape[1:]}")
    w, axes = _principal(covariance, mean.size)
    before, after = (float(schedule.alpha_bar[t]) for t in (now, then))
    spread = before * w + 1 - before
    if not np.all(spread > 0):
        raise ValueError(f"covariance: expected eigenvalues above 0 to flow from t = {now}, got {w.min()}")
    xp = array_module(xt)
    mu = xp.asarray(mean, dtype=np.float64).reshape(-1)
    gain = xp.asarray(np.sqrt((after * w + 1 - after) / spread))
    x = after**0.5 * mu + _stretched(xt.reshape(len(xt), -1) - before**0.5 * mu, gain, axes)
    return x.reshape(xt.shape).astype(xt.dtype)


def moments(run, shape, T):
    """The exact mean (C, H, W) and covariance (D, D) of x_t after each step of a sampler that is affine: yields (t, mean, covariance).

    run    run(x_T, noise) starts the sampler; it gets x_T and noise(t), to be thought of as standard normal
    shape  (C, H, W) of one image
    T      noise(t) may be asked for t = 1..T; 0 if the sampler draws none, which saves the larger part of the work

    Runs one batch of 2 + D (T + 1) float64 images: 0, which is moved to the mean; each unit vector, in x_T and in each noise; and
    a last one, −2 everywhere, which must end where −2 times all their effects do. If it does not, the sampler is not affine, and
    ValueError is raised: a clipped x̂_0 is the usual reason.
    """
    D = math.prod(shape)
    N = 2 + D * (T + 1)

    def units(t):  # unit vectors for z_t; t = 0 stands for x_T
        if not 0 <= t <= T:
            raise ValueError(f"T: expected at least the largest t that the sampler draws noise for, {t}, got {T}")
        batch = np.zeros((N, D))
        batch[1 + D * t:1 + D * (t + 1)] = np.eye(D)
        batch[-1] = PROBE
        return batch.reshape(N, *shape)

    for t, xt, _ in run(units(0), units):
        mean, *effects, together = xt.reshape(N, D)
        effects = np.array(effects) - mean
        allowed = 1e-8 * (abs(effects).sum(axis=0) + abs(mean))
        if np.any(abs(mean + PROBE * effects.sum(axis=0) - together) > allowed + 1e-12):
            raise ValueError("run: expected a sampler that is affine in x_T and its noise, got one that is not; is x̂_0 clipped? clip=None")
        yield t, mean.reshape(shape), effects.T @ effects


def _principal(covariance, D=None):
    """Eigenvalues (D,) and eigenvectors (D, D) of a covariance; of a number s², itself as (1,) and None."""
    covariance = np.asarray(covariance, dtype=np.float64)
    if covariance.ndim == 0:
        w, axes = covariance.reshape(1), None
    elif covariance.shape == (D or len(covariance),) * 2 and np.allclose(covariance, covariance.T):
        w, axes = np.linalg.eigh(covariance)
        w[abs(w) < 1e-12 * abs(w).max()] = 0  # of a singular covariance, rounded to a little more or less
    else:
        raise ValueError(f"covariance: expected a number or a symmetric matrix ({D or 'D'}, {D or 'D'}), got shape {covariance.shape}")
    if not np.all(w >= 0):
        raise ValueError(f"covariance: expected no negative eigenvalue, got {w.min()}")
    return w, axes


def _stretched(x, gain, axes):
    """x (N, D) multiplied by `gain` along the principal axes."""
    if axes is None:
        return x * gain
    axes = array_module(x).asarray(axes)
    return (x @ axes * gain) @ axes.T
