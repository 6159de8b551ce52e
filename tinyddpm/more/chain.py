"""The forward process step by step, to compare `diffusion.q_sample` with.

Training has no use for it: `q_sample` comes to any t at once.
"""

from collections.abc import Iterator

import numpy as np

from autograd.backend import alike

from ..schedule import Schedule, at
from ..types import Array, Noise


def q_step(schedule: Schedule, x_before: Array, t: Array, eps: Array) -> Array:
    """x_t given x_{t−1}, one step of the chain: √(1−β_t) x_{t−1} + √β_t ε  (equation 2)."""
    alike("eps", eps, x_before)
    signal = at(np.sqrt(schedule.alpha), t, x_before)
    noise = at(np.sqrt(schedule.beta), t, x_before)
    return signal * x_before + noise * eps


def q_chain(schedule: Schedule, x0: Array, noise: Noise) -> Iterator[tuple[int, Array]]:
    """The same process the long way round: yields (t, x_t) for t = 1..T.

    `noise(t)` gives ε of x0's shape.
    """
    xt = x0
    for t in range(1, schedule.T + 1):
        xt = q_step(schedule, xt, np.full(len(x0), t), noise(t))
        yield t, xt
