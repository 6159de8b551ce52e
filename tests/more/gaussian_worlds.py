"""What the tests of Gaussian images share: means and covariances, and samplers for `moments`."""

import numpy as np
from hypothesis import strategies as st

from tinyddpm.more.gaussian import gaussian_denoiser, moments
from tinyddpm.more.solvers import ddim, dpm_solver, heun

SHAPE = (2, 1, 3)
PIXEL = np.zeros((1, 1, 1))
variances, means = st.floats(0, 4), st.floats(-2, 2)


def some_gaussian(seed, D=6, rank=None):
    """A mean of SHAPE and a covariance (D, D)."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((D, rank or D)) / 2
    return rng.standard_normal(SHAPE), root @ root.T


def run(sampler, denoiser, schedule, **options):
    """What `moments` takes: the sampler, without clipping."""
    options["clip"] = None
    if sampler in (dpm_solver, heun) or (sampler is ddim and not options.get("eta")):
        return lambda x_T, noise: sampler(denoiser, schedule, x_T, **options)
    return lambda x_T, noise: sampler(denoiser, schedule, x_T, noise, **options)


def last(measured):
    """The mean and the covariance at the end."""
    *_, (t, mean, covariance) = measured
    assert t == 0
    return mean, covariance


def pixel(sampler, schedule, w, T=0, mean=PIXEL, **options):
    """The mean and the variance that a sampler ends with, of one pixel of N(mean, w)."""
    denoiser = gaussian_denoiser(schedule, mean, w)
    measured = moments(run(sampler, denoiser, schedule, **options), PIXEL.shape, T)
    return (a.item() for a in last(measured))
