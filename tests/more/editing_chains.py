"""What the tests of editing share: a schedule, arrays, a denoiser, and comparing two chains."""

import numpy as np

from tinyddpm import noise as addressed
from tinyddpm.schedule import linear

SHAPE = (3, 2, 2, 4)  # of the batches: H and W differ
S = linear(12)


def bent(xt, t):
    """A denoiser without meaning: it depends on t, is not linear, and clipping changes it."""
    return np.sin(2 * xt + (0.1 * t.reshape(-1, 1, 1, 1)).astype(xt.dtype))


def rng_of(seed=0):
    return np.random.default_rng(seed)


def some(seed=0, shape=SHAPE, dtype=np.float64):
    return np.clip(0.5 * rng_of(seed).standard_normal(shape), -1, 1).astype(dtype)


def draws(i, shape=SHAPE, dtype=np.float64):
    return addressed.normal(5, "editing", i, range(shape[0]), shape[1:], dtype)


def equal(chain, other):
    """Two chains are the same to the bit, and there is something in them."""
    chain, other = list(chain), list(other)
    assert len(chain) == len(other) > 0
    for (t, x, x0_hat), (t2, x2, x0_hat2) in zip(chain, other):
        assert t == t2
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(x0_hat, x0_hat2)


def noting(denoiser, seen):
    def noted(xt, t):
        seen.append((t.tolist(), xt))
        return denoiser(xt, t)

    return noted
