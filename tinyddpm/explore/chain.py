"""A reverse chain that can be steered: its settings may change from step to step.

    chain = Chain(explorer, seed=0)
    while chain.t:
        chain.step(Settings(sampler="ddim", steps=50))

The chain goes on from its x_t, whatever the new settings are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .. import noise
from ..more.editing import truncated
from ..more.schedules import spaced_grid, timestep_grid
from ..more.solvers import ddim, dpm_solver, heun
from ..more.variance import VarianceDenoiser, ancestral_learned
from ..runs.chains import default_chain
from ..runs.opening import Run
from ..sampler import ancestral
from ..schedule import Schedule
from ..types import Array, Denoiser

Step = tuple[int, Array, Array]  # (t, x_t, x̂_0)

SAMPLERS: dict[str, Callable[..., Iterator[Step]]] = {
    "dpm_noise": dpm_solver,  # the noise and the timesteps of `tinyddpm sample`
    "ddpm": ancestral,
    "ddim": ddim,
    "dpm_solver": dpm_solver,
    "heun": heun,
}
DEFAULT = default_chain(10**6)  # what looks best for its time (docs/samplers.md)
BEST, STEPS = "dpm_noise", DEFAULT["steps"]


@dataclass(frozen=True)
class Settings:
    """How the chain goes on.

    Attributes:
        sampler: one of SAMPLERS.
        steps: how many a whole chain from T to 0 takes.
        label: the number of a class; the number of classes for the null class; None for each
            class in turn.
        guidance: see `more.classes.guided`.
    """

    sampler: str = "ddim"
    steps: int = 50
    label: int | None = None
    guidance: float = 1.0


class Model(Protocol):
    """What a chain needs of an Explorer.

    Attributes:
        run: the trained run.
        schedule: how much noise there is at each t.
        shape: (C, H, W) of an image.
        names: of the classes, or ().
    """

    run: Run
    schedule: Schedule
    shape: tuple[int, int, int]
    names: tuple[str, ...]

    def network(self, cond: Array | None = None, guidance: float = 1.0) -> Denoiser:
        """The run's denoiser, conditioned on these classes (n,)."""


class Chain:
    """The reverse chain of n images, one step at a time, with settings that may change on the way.

    A change takes effect at the next step. The chain then goes on from its x_t as if the schedule
    ended there (`truncated`): t/T of the new number of steps are left. Without a change it is the
    chain of `Run.sample` with the same seed (except that it spaces the steps of every run alike).

    Attributes:
        t: where it is.
        xt: x_t (n, C, H, W).
        x0_hat: x̂_0 (n, C, H, W) of the last step, None before the first one.
        taken: how many steps were taken.
    """

    def __init__(
        self, model: Model, seed: int, n: int = 8, start: tuple[int, Array] | None = None
    ) -> None:
        """Begin a chain.

        Args:
            model: an Explorer.
            seed: of all its noise.
            n: how many images.
            start: t and x_t (n, C, H, W) to begin from. None is noise at T.
        """
        self.model, self.seed, self.n = model, seed, n
        self.t, self.xt = start or (model.schedule.T, self._noise(0))
        self.x0_hat: Array | None = None
        self.taken = 0
        self._settings: Settings | None = None  # those that `_steps` was made with
        self._steps: Iterator[Step] = iter(())

    def step(self, settings: Settings, times: int = 1) -> None:
        """Take so many steps, or as many as are left.

        Raises:
            ValueError: for settings that the sampler refuses. The chain stays where it was.
        """
        if self.t == 0:
            return
        if settings != self._settings:
            self._steps, self._settings = self._begin(settings), settings
        try:
            for _ in range(min(times, self.t)):
                self.t, self.xt, self.x0_hat = next(self._steps)
                self.taken += 1
                if self.t == 0:
                    return
        except Exception:
            self._settings = None  # a generator that raised has ended: the next step needs another
            raise

    def rest(self, settings: Settings) -> Iterator[Step]:
        """Yields (t, x_t, x̂_0) of all steps that are left."""
        while self.t:
            self.step(settings)
            assert self.x0_hat is not None  # a step has been taken
            yield self.t, self.xt, self.x0_hat

    def left(self, settings: Settings) -> int:
        """How many steps are left to take from here."""
        T = self.model.schedule.T
        if settings.sampler == "ddpm" or self.t == 0:
            return self.t
        if settings.sampler == "dpm_noise":
            return len(self._steps_left(settings.steps))
        timestep_grid(T, settings.steps)  # raises what is wrong with it
        return max(1, round(settings.steps * self.t / T))

    def whole(self, settings: Settings) -> int:
        """How many steps a chain from T to 0 takes."""
        return self.model.schedule.T if settings.sampler == "ddpm" else settings.steps

    def _begin(self, settings: Settings) -> Iterator[Step]:
        """The sampler's chain from x_t on."""
        if settings.sampler not in SAMPLERS:
            expected = ", ".join(SAMPLERS)
            raise ValueError(f"sampler: expected one of {expected}, got {settings.sampler!r}")
        schedule = truncated(self.model.schedule, self.t)
        denoiser = self.model.network(self._cond(settings.label), settings.guidance)
        sampler, clip = SAMPLERS[settings.sampler], self.model.run.clip
        if isinstance(denoiser, VarianceDenoiser) and settings.sampler == "ddpm":
            return ancestral_learned(denoiser, schedule, self.xt, self._noise, clip=clip)
        if settings.sampler == "ddpm":
            variance: Any = self.model.run.variance
            variance = None if variance is None else variance[: self.t + 1]
            return sampler(denoiser, schedule, self.xt, self._noise, clip=clip, variance=variance)
        if settings.sampler == "dpm_noise":
            left = self._steps_left(settings.steps)
            how = {"steps": left, "noise": self._noise, "eta": DEFAULT["eta"]}
            return sampler(denoiser, schedule, self.xt, clip=clip, **how)
        return sampler(denoiser, schedule, self.xt, steps=self.left(settings), clip=clip)

    def _steps_left(self, steps: int) -> list[int]:
        """From t on: those of the whole chain's timesteps that are still to be visited."""
        whole = spaced_grid(self.model.schedule, steps, DEFAULT["grid"])
        return [self.t, *(t for t in whole if t < self.t)]

    def _cond(self, label: int | None) -> Array | None:
        """The class of each image (n,), or None in a run without classes."""
        classes = len(self.model.names)
        if not classes:
            return None
        return np.arange(self.n) % classes if label is None else np.full(self.n, label)

    def _noise(self, step: int) -> Array:
        return noise.normal(self.seed, "sampling", step, np.arange(self.n), self.model.shape)
