"""How far a run is: the convergence of the held-out J, when to stop, and what a run came to."""

import math
from dataclasses import dataclass, fields
from pathlib import Path

from ..checkpoint import Checkpoint, CheckpointError

BETTER = 0.999  # a held-out J is really better if it is at most this fraction of the level

CONVERGED = "converged"  # how the reason begins if the held-out J no longer improves


@dataclass
class Progress:
    """How far the convergence is.

    Attributes:
        best: the lowest held-out J so far.
        best_step: its step.
        level: the held-out J when it was last really better than the level before.
        waited: how many evaluations there were since then.
    """

    best: float = math.inf
    best_step: int = 0
    level: float = math.inf
    waited: int = 0

    def see(self, held_out: float, step: int) -> bool:
        """Take note of a new held-out J. True if it is the best so far."""
        if held_out <= BETTER * self.level:
            self.level, self.waited = held_out, 0
        else:
            self.waited += 1
        if held_out < self.best:
            self.best, self.best_step = held_out, step
            return True
        return False

    @classmethod
    def of(cls, saved: Checkpoint, path: str | Path = "") -> "Progress":
        """The progress in a Checkpoint, which comes from the file `path`."""
        values = saved.state["progress"]
        known = {f.name for f in fields(cls)}
        if not values.keys() <= known or any(type(v) not in (int, float) for v in values.values()):
            raise CheckpointError(f"{path}: expected a progress of numbers, got {values}")
        return cls(**values)


@dataclass(frozen=True)
class Limits:
    """When a run stops by itself.

    Attributes:
        steps: after this many steps in all; None: never.
        minutes: after this many minutes; None: never.
        patience: after this many evaluations without a really better held-out J; 0: never.
    """

    steps: int | None
    minutes: float | None
    patience: int

    def reached(self, step: int, seconds: float, waited: int) -> str:
        """The reason to stop, in words; empty: go on."""
        if self.steps is not None and step >= self.steps:
            return f"all {self.steps} steps are done"
        if self.minutes is not None and seconds >= 60 * self.minutes:
            return f"the {self.minutes:g} minutes are over"
        if self.converged(waited):
            return f"{CONVERGED}: the held-out J has not improved for {waited} evaluations"
        return ""

    def converged(self, waited: int) -> bool:
        """Whether so many evaluations without a better held-out J are enough."""
        return 0 < self.patience <= waited

    def left(self, step: int, seconds: float, done: int) -> float | None:
        """How many seconds are left at most, at the speed of the steps `done`; None: no limit."""
        left = []
        if self.steps is not None:
            left.append(max(0, self.steps - step) * seconds / done)
        if self.minutes is not None:
            left.append(max(0.0, 60 * self.minutes - seconds))
        return min(left, default=None)


@dataclass
class Summary:
    """What a run came to.

    Attributes:
        step: its last step.
        stopped: why it stopped there, in words.
        held_out: its held-out J.
        mean: the held-out J of predict-the-mean, for comparison.
        progress: how far the convergence is.
        converged: whether it stopped because the held-out J no longer improved.
        at_last_step: whether it did all the steps that it was to do.
        signal: the name of the signal that stopped it; SIGINT is Ctrl-C. Empty: none did.
        decay_steps: the step at which β has fallen to 0, so that no later one changes anything.
    """

    step: int
    stopped: str
    held_out: float
    mean: float
    progress: Progress
    converged: bool = False
    at_last_step: bool = False
    signal: str = ""
    decay_steps: int | None = None

    def __str__(self) -> str:
        J = held_out_in_words(self.held_out, self.mean)
        return f"stopped at step {self.step}: {self.stopped}. {J}"


def held_out_in_words(J: float, mean: float) -> str:
    """A held-out J, and which fraction it is of predict-the-mean's."""
    return f"held-out J {J:.4f}" + (f", {J / mean:.3f} of predict-the-mean's" if mean else "")
