"""Timesteps drawn where the loss is large: importance sampling of t, without bias.

    aware = LossAware(schedule.T)
    for step in train(unet, images, schedule, beta, seed=0, gradient=aware.by(gradient)):
        ...

Here `gradient` is that of `more.predictions`, or the one of `Shards(…, gradient=…)` with it: it
takes a weight for each image. (Nichol & Dhariwal 2021, "Improved denoising diffusion probabilistic
models", section 3.3.)

J is a mean over t = 1 … T. `train` estimates it with t drawn uniformly. If t is drawn with
probability p_t, and the loss L_t of each image is multiplied by 1/(T·p_t), the mean stays the same,
and so does that of ∇J. The estimate varies least for p_t ∝ √E[L_t²]. E is taken over the last ten
losses that were seen at t. Until each t has ten of them, t stays as `train` drew it. A few of the
draws are always uniform, so that no t is forgotten.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autograd.backend import Array, array_module, expect, to_numpy

from ... import noise
from ...nn.unet import UNet
from ...schedule import Schedule
from ...types import Draw, Gradient
from .state import check_names

HISTORY = 10  # losses at each t
UNIFORM = 0.001  # of the draws


class LossAware:
    """Draws t by what the losses were, and weights them, so that J stays what it is on average.

    Args:
        T: the number of noise steps.
        weights: by what the squared error of x̂_0 is multiplied at each t, (T+1,) as
            `predictions.weights` gives it; None: by 1.

    Attributes:
        losses: the last losses at each t, (T, HISTORY), the newest last.
        counts: how many of them there are, (T, 1). They stand at the beginning of the row.
    """

    def __init__(self, T: int, weights: Array | None = None) -> None:
        self.T, self.weights = T, np.ones(T + 1) if weights is None else weights
        self.losses, self.counts = np.zeros((T, HISTORY), np.float32), np.zeros((T, 1), np.float32)

    def probabilities(self) -> Array:
        """p_t for t = 1 … T, (T,) in float64. Their sum is 1."""
        if (self.counts < HISTORY).any():
            return np.full(self.T, 1 / self.T)
        size = np.sqrt(np.square(self.losses, dtype=np.float64).mean(axis=1))
        if not size.any():
            return np.full(self.T, 1 / self.T)
        p: Array = (1 - UNIFORM) * size / size.sum() + UNIFORM / self.T
        return p

    def draw(self, u: Array) -> tuple[Array, Array]:
        """t (N,) for uniform numbers u (N,) in [0, 1), and the weights 1/(T·p_t) of these t."""
        p = self.probabilities()
        place = np.minimum(np.searchsorted(np.cumsum(p), u, side="right"), self.T - 1)
        return 1 + place, 1 / (self.T * p[place])

    def see(self, t: Array, losses: Array) -> None:
        """Take note of the losses (N,) at t (N,)."""
        for place, loss in zip((t - 1).tolist(), losses.tolist()):
            row, count = self.losses[place], int(self.counts[place, 0])
            if count == HISTORY:
                row[:-1] = row[1:]
            row[min(count, HISTORY - 1)] = loss
            self.counts[place] = min(count + 1, HISTORY)

    def by(self, gradient: Any) -> Gradient:
        """The gradient for `train`: that of `gradient`, with t drawn here.

        The array t that `train` passes is changed in place, so its Step has the t that were used.
        """

        def aware(
            unet: UNet,
            schedule: Schedule,
            x0: Array,
            t: Array,
            eps: Array,
            *args: Any,
            dropout: Draw | None = None,
            **options: Any,
        ) -> tuple[Array, Array]:
            if not isinstance(dropout, noise.Stream):
                raise TypeError(f"dropout: expected a noise.Stream, got {type(dropout).__name__}")
            if (self.counts == HISTORY).all():
                seed, k, m = dropout.address
                u = noise.uniform(seed, "loss-aware t", k, to_numpy(m), dtype=np.float64)
                drawn, weights = self.draw(u)
                t[...] = array_module(t).asarray(drawn)
                options["importance"] = array_module(x0).asarray(weights.astype(x0.dtype))
            J, errors = gradient(unet, schedule, x0, t, eps, *args, dropout=dropout, **options)
            if np.isfinite(to_numpy(J)):  # else this step is not taken
                used = to_numpy(t)
                self.see(used, self.weights[used] * to_numpy(errors) / x0[0].size)
            return J, errors

        return aware

    def state(self) -> dict[str, Array]:
        """The losses and their counts, after the first step."""
        return {"losses": self.losses, "counts": self.counts} if self.counts.any() else {}

    def load(self, state: Mapping[str, Array]) -> None:
        """Go on with another one's losses."""
        check_names(state, "losses", "counts")
        if not state:
            return
        for name, own in (("losses", self.losses), ("counts", self.counts)):
            array, bound = state[name], HISTORY if name == "counts" else np.inf
            fits = array.shape == own.shape and bool(((array >= 0) & (array <= bound)).all())
            expect(fits, name, f"numbers {own.shape} from 0 to {bound}", array.shape)
        counts = state["counts"].astype(np.float32)
        expect((counts == np.floor(counts)).all(), "counts", "whole numbers", "others")
        self.losses, self.counts = state["losses"].astype(np.float32), counts
