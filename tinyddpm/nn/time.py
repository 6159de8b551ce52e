"""How the network learns t: as sines and cosines, then through two linear layers."""

import math
from typing import Any

from autograd import Tensor, ops
from autograd.backend import Array, array_module

from .linear import Linear
from .module import Module


def sinusoidal(t: Array, channels: int, dtype: Any, shift: int = 0) -> Array:
    """t (N,) -> (N, channels): sin and cos of t at channels/2 frequencies from 1 down to 1/10000.

    Neighbouring t differ in the fast waves, distant ones in the slow waves (Vaswani et al. 2017,
    section 3.5). Computed in float64 and cast once. With shift = 1 the lowest frequency is 1/10000
    itself, as in the code of Ho et al. 2020; with 0 it stays a little above.
    """
    xp = array_module(t)
    frequencies = xp.exp(-math.log(10_000) * xp.arange(channels // 2) / (channels // 2 - shift))
    angles = t[:, None] * frequencies
    return xp.concatenate([xp.sin(angles), xp.cos(angles)], axis=1).astype(dtype)


class TimeEmbedding(Module):
    """t (N,) integers -> (N, 4·channels), which every residual block then uses in its own way."""

    def __init__(self, channels: int, c: float) -> None:
        self.channels = channels
        self.linear1 = Linear(channels, 4 * channels, c)
        self.linear2 = Linear(4 * channels, 4 * channels, c)

    def forward(self, t: Array) -> Tensor:
        return ops.silu(self.linear2(ops.silu(self.linear1(self.waves(t)))))

    def waves(self, t: Array) -> Array:
        """What the linear layers see of t: (N, channels)."""
        return sinusoidal(t, self.channels, self.linear1.weight.dtype)
