"""What the tests of predictions share: batches, schedules, and networks whose answer is known."""

import numpy as np
from hypothesis import strategies as st
from oracles import batch

from autograd import leaf
from tinyddpm.more.predictions import TO_X0
from tinyddpm.more.schedules import zero_terminal_snr
from tinyddpm.schedule import linear

LINEAR, ZERO = linear(50), zero_terminal_snr(linear(50))
predicted = st.sampled_from(sorted(TO_X0))


class Answers:
    """A network whose output is its only parameter.

    What `gradient` adds to F's gradient is ∂J/∂F.
    """

    def __init__(self, F):
        self.F = leaf(F)

    def __call__(self, xt, t, dropout=None, cond=None):
        return self.F


def drawn(schedule, seed, n=None):
    """x0, eps, a wrong answer F of the network, and t, which holds 1 and T.

    x0, eps and F are (N, C, H, W) with H ≠ W.
    """
    rng = np.random.default_rng(seed)
    n = n or int(rng.integers(2, 6))
    x0, eps, F = rng.standard_normal((3, n, 2, 1, 3))
    t = rng.integers(1, schedule.T + 1, n)
    t[:2] = 1, schedule.T
    return x0, eps, F, t


def training_batch(unet, n, dtype=np.float64):
    xt, _ = batch(unet, n, dtype)
    t = np.random.default_rng(1).integers(1, 51, n)
    t[:2] = 1, 50
    return xt, t, xt[::-1].copy()


def column(values):
    return np.asarray(values).reshape(-1, 1, 1, 1)


def condition(schedule):
    return max(1 / np.sqrt(schedule.alpha_bar[-1]), 1 / (1 - schedule.alpha_bar[1]))
