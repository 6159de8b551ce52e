"""The folder of a run. One process at a time writes to it, and a crash at any moment costs nothing.

    folder = RunFolder("runs/x", keep=3)
    with folder.locked():                       # makes the folder; one process at a time
        found = folder.newest()                 # the newest whole checkpoint, past damaged ones
        with folder.metrics(start) as record:
            record({"k": 1, "J": 0.5})
            folder.save(checkpoint, best=True)

What lies in it:

    checkpoint.safetensors         the newest checkpoint
    checkpoint-<step>.safetensors  the ones before it
    best.safetensors               the one with the lowest held-out J
    metrics.jsonl                  a record of every step (record.py)
    data.txt                       what was found where the data come from

A step is written in this order: its records, the best, the checkpoint. So a checkpoint of step k
vouches for the records and the best up to k. A resumed run repeats whatever came after it. Every
draw is a function of seed and step, so the repeated steps come out the same.
"""

import contextlib
import errno
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..files import NO_LOCKS, WRITING, replacing, shortcomings
from . import checkpoint, config as configuration
from .checkpoint import Checkpoint, CheckpointError
from .record import Record, cut_after, read_metrics as read_metrics  # for readers of a folder

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
CONFIG, METRICS, LOCK, FOUND = "config.toml", "metrics.jsonl", ".lock", "data.txt"


class InUse(RuntimeError):
    """Another process is at work in the folder. The message says which, and since when."""


@dataclass
class Found:
    """A whole checkpoint.

    Attributes:
        path: where it lay.
        checkpoint: what it holds.
        damaged: path -> error of each file that should have been newer.
    """

    path: Path
    checkpoint: Checkpoint
    damaged: dict[Path, CheckpointError] = field(default_factory=dict)


class RunFolder:
    """The folder at `path`, which need not be there yet.

    Args:
        path: the folder.
        keep: how many checkpoints to keep: the newest ones, and the best besides.

    Attributes:
        held: the step that checkpoint.safetensors is known to hold, or None.
        whole: the step of the newest whole checkpoint, or None.
        shortcomings: what the file system cannot do, in words, once the folder is locked.
    """

    def __init__(self, path: str | Path, keep: int = 1) -> None:
        self.path, self.keep = Path(path), keep
        self.held: int | None = None
        self.whole: int | None = None
        self.shortcomings: list[str] = []

    @contextlib.contextmanager
    def locked(self) -> Iterator["RunFolder"]:
        """Make the folder and hold its lock. The system releases it however this process ends.

        Raises:
            InUse: another process holds it.
        """
        made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / LOCK
        lock = FileLock(file, fallback_to_soft=False)  # that one outlives a process that is killed
        self.shortcomings = shortcomings(self.path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InUse(
                f"{self.path}: {_holder(file)} is training here; "
                "wait for it, or choose another folder (--out)"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            self.shortcomings.append(
                f"{self.path}: this file system has no locks: "
                "see to it that no other process trains in this folder"
            )
        try:
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write_text(
                f"process {os.getpid()} on {socket.gethostname()}, started {started}",
                encoding="utf-8",
            )
            for unfinished in self.path.glob("*" + WRITING):  # left by a process that was killed
                unfinished.unlink(missing_ok=True)
            yield self
        except BaseException:
            with contextlib.suppress(OSError):  # the folder may have vanished, or be read-only
                if os.listdir(self.path) == [LOCK]:  # nothing came of it
                    file.unlink()
                    if made:
                        self.path.rmdir()
            raise
        finally:
            lock.release()

    def holds_run(self) -> bool:
        """Whether there is a run to go on with, perhaps one that has no checkpoint yet."""
        return (self.path / CONFIG).exists() or bool(self.checkpoints())

    def options(self) -> dict[str, Any]:
        """The options of its run: those in config.toml, or in a checkpoint if that is gone.

        Raises:
            ValueError: they cannot be read.
        """
        if (self.path / CONFIG).exists():
            return configuration.read(self.path / CONFIG)
        found = self.newest()
        return configuration.to_dict(found.checkpoint.config) if found else {}

    # ---- checkpoints -----------------------------------------------------------------------------

    def checkpoints(self) -> list[Path]:
        """The paths of all of them: the newest first, the best last."""
        named = self.path.glob("checkpoint-*.safetensors")
        earlier = [(step, path) for path in named if (step := _step_in(path)) is not None]
        in_order = [path for _, path in sorted(earlier, reverse=True)]
        paths = [self.path / CHECKPOINT, *in_order, self.path / BEST]
        return [path for path in paths if path.exists()]

    def newest(self) -> Found | None:
        """The newest checkpoint that is whole; None if there is none at all.

        Raises:
            CheckpointError: there are some, but all are damaged.
        """
        damaged: dict[Path, CheckpointError] = {}
        for path in self.checkpoints():
            try:
                return Found(path, checkpoint.load(path), damaged)
            except CheckpointError as error:
                damaged[path] = error
        if damaged:
            first = next(iter(damaged.values()))
            raise CheckpointError(f"{first}; {self.path} holds no checkpoint that is whole")
        return None

    def best(self) -> tuple[Path, Checkpoint]:
        """The best checkpoint and its path; the newest if the run was never evaluated.

        config.toml says where the images are: they may have been moved since.
        """
        if not (self.path / BEST).exists():
            found = self.newest()
            if not found:
                missing = "expected a run folder, there is no checkpoint in it"
                if (self.path / CONFIG).exists():
                    missing = "no checkpoint yet: the first comes at step --every, or at Ctrl-C"
                raise CheckpointError(f"{self.path}: {missing}")
            return found.path, self._with_data(found.checkpoint)
        try:
            return self.path / BEST, self._with_data(checkpoint.load(self.path / BEST))
        except CheckpointError as error:
            others = [path for path in self.checkpoints() if path.name != BEST]
            instead = f"; {others[0]} can be given instead" if others else ""
            raise CheckpointError(f"{error}{instead}") from None

    def _with_data(self, saved: Checkpoint) -> Checkpoint:
        """The Checkpoint, with the images' place from config.toml if that can be read."""
        with contextlib.suppress(ValueError):
            written = configuration.read(self.path / CONFIG)
            values = configuration.to_dict(saved.config)
            for name in configuration.WHERE_THE_DATA_ARE:
                values.pop(name, None)
                if name in written:
                    values[name] = written[name]
            return replace(saved, config=configuration.from_dict(values))
        return saved

    def go_on_from(self, found: Found) -> list[str]:
        """Make `found` the run's newest checkpoint, and set the damaged files aside.

        Returns:
            What to tell the user, line by line.
        """
        step, lines = found.checkpoint.step, []
        for path, error in found.damaged.items():
            os.replace(path, path.with_name(path.name + ".damaged"))
            lines.append(
                f"{error}; it is now called {path.name}.damaged, "
                f"and the run goes on from {found.path.name}, step {step}"
            )
        self.whole = step
        self.held = step if found.path.name == CHECKPOINT else None
        return lines

    def has_best(self, step: int) -> bool:
        """Whether best.safetensors is whole and not older than `step`.

        If it is not, a copy of a kept checkpoint of exactly this step takes its place.
        """
        for path in (self.path / BEST, *self.checkpoints()):
            with contextlib.suppress(CheckpointError):
                found = checkpoint.load(path).step
                if path.name == BEST and found >= step:
                    return True
                if found == step:
                    _copy(path, self.path / BEST)
                    return True
        return False

    def save(self, saved: Checkpoint, best: bool) -> None:
        """Keep this Checkpoint as the newest one, and if it is the best so far, as that too."""
        if not self.path.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the run folder has vanished", str(self.path))
        if best:
            checkpoint.save(self.path / BEST, saved)
        if self.keep > 1 and self.held is not None and self.held != saved.step:
            earlier = self.path / f"checkpoint-{self.held:06d}.safetensors"
            _second_name(self.path / CHECKPOINT, earlier)
        checkpoint.save(self.path / CHECKPOINT, saved)
        self.held = self.whole = saved.step
        before = [path for path in self.checkpoints() if path.name not in (CHECKPOINT, BEST)]
        for path in before[self.keep - 1 :]:
            path.unlink(missing_ok=True)

    # ---- the other files -------------------------------------------------------------------------

    def write_config(self, config: configuration.Config) -> None:
        """Write config.toml."""
        with replacing(self.path / CONFIG) as beside:
            configuration.write(config, beside)

    def write_found(self, found: str) -> None:
        """Write data.txt: to read the data again may take minutes."""
        with replacing(self.path / FOUND) as beside:
            beside.write_text(found + "\n", encoding="utf-8")

    @contextlib.contextmanager
    def metrics(self, start: int) -> Iterator[Record]:
        """A Record that writes to metrics.jsonl, after what it holds of the steps up to `start`.

        What it holds of later steps is cut: a resumed run repeats them.
        """
        path = self.path / METRICS
        cut_after(path, start)
        with path.open("ab", buffering=0) as file:
            yield Record(file)


def _step_in(path: Path) -> int | None:
    """The step in a checkpoint's name, or None."""
    found = re.fullmatch(r"checkpoint-(\d{1,18})\.safetensors", path.name)
    return int(found[1]) if found else None


def _second_name(path: Path, name: Path) -> None:
    """Give the file `path`, which is about to be replaced, another name, or copy it."""
    name.unlink(missing_ok=True)
    try:
        os.link(path, name)
    except OSError:  # not every file system can do this
        _copy(path, name)


def _copy(path: Path, name: Path) -> None:
    with replacing(name) as beside:
        shutil.copyfile(path, beside)


def _holder(file: Path) -> str:
    """Who holds the lock, as that process noted it."""
    try:
        return file.read_text(encoding="utf-8")[:200].strip() or "another process"
    except (OSError, UnicodeDecodeError):  # on Windows a locked file cannot be read
        return "another process"
