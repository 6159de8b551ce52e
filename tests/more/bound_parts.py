"""What the tests of the variational bound share: quadrature, model variances, and a denoiser."""

import numpy as np

from tinyddpm import noise
from tinyddpm.diffusion import posterior_variance

LOG2 = np.log(2)


def hermite(n):
    """Points and weights (n,) of an integral over N(0, 1), by Gauss and Hermite.

    Exact for polynomials up to degree 2n − 1.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(n)
    return points, weights / np.sqrt(2 * np.pi)


def tables(schedule):
    """The model variances to try: β̃ by default, β, and one between."""
    small = posterior_variance(schedule)
    return {"small": None, "large": schedule.beta, "between": np.sqrt(small * schedule.beta)}


def bent(xt, t):
    """A denoiser without meaning, not linear in x_t."""
    return np.tanh(1.3 * xt + 0.2 * t.reshape(-1, 1, 1, 1) - 0.3)


def drawing(x0, seed=0):
    index, shape = np.arange(len(x0)), x0.shape[1:]
    return lambda t: noise.normal(seed, "bound", t, index, shape, x0.dtype)
