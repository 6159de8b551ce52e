"""What the tests of solvers share: noise, a denoiser, and the end of a chain."""

import numpy as np
import pytest

from tinyddpm.more.solvers import dpm_solver, heun

SHAPE = (3, 2, 2, 4)  # of the drawn batches: H and W differ
both = pytest.mark.parametrize("solver", [dpm_solver, heun])


def bent(xt, t):
    """A denoiser without meaning: it depends on t, is not linear, and clipping changes it."""
    return 1.5 * np.sin(2 * xt + (0.1 * np.asarray(t).reshape(-1, 1, 1, 1)).astype(xt.dtype))


def last(sampler):
    *_, (_, xt, _) = sampler
    return xt


def drawn(seed=0, shape=SHAPE, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
