"""How far a run is: the convergence of the held-out J, when to stop, and what a run came to."""

import math
import os
import shutil
import sys
import textwrap
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from ..checkpoint import Checkpoint, CheckpointError

BETTER = 0.999  # a held-out J is really better if it is at most this fraction of the level

COMMAND = ": tinyddpm "  # how a command at the end of a line begins
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
        if self.patience and waited >= self.patience:
            return f"{CONVERGED}: the held-out J has not improved for {waited} evaluations"
        return ""

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
    """

    step: int
    stopped: str
    held_out: float
    mean: float
    progress: Progress
    converged: bool = False
    at_last_step: bool = False
    signal: str = ""

    def __str__(self) -> str:
        J = held_out_in_words(self.held_out, self.mean)
        return f"stopped at step {self.step}: {self.stopped}. {J}"


def held_out_in_words(J: float, mean: float) -> str:
    """A held-out J, and which fraction it is of predict-the-mean's."""
    return f"held-out J {J:.4f}" + (f", {J / mean:.3f} of predict-the-mean's" if mean else "")


def say(line: str, whole: bool = False) -> None:
    """Write a line to standard output, above the progress bar; a `whole` one is not broken."""
    _write(line if whole else wrapped(line), sys.stdout)


def tell(line: str) -> None:
    """Write a line to standard error, above the progress bar."""
    _write(wrapped(line), sys.stderr)


def _write(line: str, stream: TextIO | None) -> None:
    """Write it at once: whoever reads a log waits for it, and a process may be killed.

    Nobody may be reading any more: Ctrl-C ends `tee` too, and a terminal can be closed. That ends
    no run. What was for standard output goes to standard error then, if that still works.
    """
    if stream is None:  # closed from the start
        return
    try:
        tqdm.write(line, file=stream)
        stream.flush()
    except OSError:
        _redirect(stream, None)
        with suppress(OSError):
            stream.flush()  # of this line it may hold all, a part or nothing
        if stream is not sys.stderr and sys.stderr is not None:
            _redirect(stream, sys.stderr)
            _write(line, sys.stderr)


def _redirect(stream: TextIO, other: TextIO | None) -> None:
    """Let the file below `stream` be that of another stream, or none that anybody reads."""
    with suppress(OSError, ValueError):  # it is no file: in a notebook, in a test
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null if other is None else other.fileno(), stream.fileno())
        os.close(null)


def wrapped(text: str) -> str:
    """The line as lines that fit the terminal, broken at spaces. Without a terminal: as it is.

    A command at its end, after a colon, has a line of its own that is not broken: it can be copied.
    """
    columns = shutil.get_terminal_size((0, 0)).columns
    if not columns:
        return text
    if len(text) > columns and (at := text.rfind(COMMAND)) >= 0:
        return f"{wrapped(text[: at + 1])}\n {text[at + 1 :]}"
    return textwrap.fill(
        text,
        columns,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
