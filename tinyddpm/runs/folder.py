"""The folder of a run: what lies in it, that one process at a time writes to it, and that a crash at any moment costs nothing.

    folder = RunFolder("runs/x", keep=3)
    with folder.locked():                       # makes the folder; refused while another process trains there
        found = folder.newest()                 # the newest whole checkpoint, past damaged ones
        with folder.metrics(start) as record:
            record({"k": 1, "J": 0.5})
            folder.save(checkpoint, best=True)

checkpoint.safetensors is the newest, checkpoint-<step>.safetensors the ones before it, best.safetensors the one with the lowest
held-out J, metrics.jsonl a record of every step. What a step leaves is written in this order: its records, the best, the
checkpoint. So a checkpoint of step k vouches for the records up to k and for the best up to k, whatever came after it is done
again when the run is resumed, and since every draw is a function of seed and step it comes out the same.
"""
import contextlib
import errno
import json
import os
import re
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from . import checkpoint, config as configuration
from ..files import WRITING, replacing

CHECKPOINT, BEST, CONFIG, METRICS, LOCK = "checkpoint.safetensors", "best.safetensors", "config.toml", "metrics.jsonl", ".lock"


class InUse(RuntimeError):
    """Another process is at work in the folder. The message says which, and since when."""


@dataclass
class Found:
    """A whole checkpoint, where it lay, and what is wrong with the files that should have been newer: path -> error."""
    path: Path
    checkpoint: checkpoint.Checkpoint
    damaged: dict = field(default_factory=dict)


class RunFolder:
    """keep: how many checkpoints to keep, the newest included and the best not counted.
    Attributes: held, the step that checkpoint.safetensors is known to hold, and whole, that of the newest whole checkpoint; or None."""

    def __init__(self, path, keep=1):
        self.path, self.keep = Path(path), keep
        self.held = self.whole = None

    @contextlib.contextmanager
    def locked(self):
        """Make the folder and hold its lock. The system lets go of it when this process ends, in whatever way. Raises InUse."""
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / LOCK
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InUse(f"{self.path}: {_who(file)} is training here; wait for it, or choose another folder (--out)") from None
        try:
            file.write_text(f"process {os.getpid()} on {socket.gethostname()}, started {time.strftime('%Y-%m-%d %H:%M:%S')}")
            for unfinished in self.path.glob("*" + WRITING):  # of a process that was killed
                unfinished.unlink(missing_ok=True)
            yield self
        finally:
            lock.release()

    # ---- checkpoints ---------------------------------------------------------------------------------

    def checkpoints(self):
        """The paths of all of them, newest first, the best last."""
        numbered = sorted(((_step_in(path), path) for path in self.path.glob("checkpoint-*.safetensors") if _step_in(path) is not None), reverse=True)
        return [path for path in (self.path / CHECKPOINT, *(path for _, path in numbered), self.path / BEST) if path.exists()]

    def newest(self):
        """The newest checkpoint that is whole, as Found; None if there is none at all. CheckpointError if all are damaged."""
        damaged = {}
        for path in self.checkpoints():
            try:
                return Found(path, checkpoint.load(path), damaged)
            except checkpoint.CheckpointError as error:
                damaged[path] = error
        if damaged:
            raise checkpoint.CheckpointError(f"{next(iter(damaged.values()))}; {self.path} holds no checkpoint that is whole")
        return None

    def go_on_from(self, found):
        """From now on `found` is the run's newest checkpoint: the damaged files are set aside. Returns what to tell, line by line."""
        told = []
        for path, error in found.damaged.items():
            os.replace(path, path.with_name(path.name + ".damaged"))
            told.append(f"{error}; it is now called {path.name}.damaged, and the run goes on from {found.path.name}, step {found.checkpoint.step}")
        self.whole = found.checkpoint.step
        self.held = found.checkpoint.step if found.path.name == CHECKPOINT else None
        return told

    def has_best(self, step):
        """Whether best.safetensors is whole and not older than `step`. If not, a copy of a kept checkpoint of that very step takes its place."""
        for path in (self.path / BEST, *self.checkpoints()):
            with contextlib.suppress(checkpoint.CheckpointError):
                found = checkpoint.load(path).step
                if path.name == BEST and found >= step:
                    return True
                if found == step:
                    _copy(path, self.path / BEST)
                    return True
        return False

    def save(self, saved, best):
        """Keep this Checkpoint as the newest, and as the best if it is that."""
        if not self.path.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the run folder has vanished", str(self.path))
        if best:
            checkpoint.save(self.path / BEST, saved)
        if self.keep > 1 and self.held is not None and self.held != saved.step:
            _second_name(self.path / CHECKPOINT, self.path / f"checkpoint-{self.held:06d}.safetensors")
        checkpoint.save(self.path / CHECKPOINT, saved)
        self.held = self.whole = saved.step
        before = [path for path in self.checkpoints() if path.name not in (CHECKPOINT, BEST)]
        for path in before[self.keep - 1:]:
            path.unlink(missing_ok=True)

    # ---- the record ----------------------------------------------------------------------------------

    def write_config(self, config):
        with replacing(self.path / CONFIG) as beside:
            configuration.write(config, beside)

    @contextlib.contextmanager
    def metrics(self, start):
        """A Record to call with one JSON object after another. Those of steps after `start`, which a resumed run does again, are cut first."""
        path = self.path / METRICS
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if line.endswith(b"\n") and _step_of(line) <= start]
        if kept != lines or not path.exists():
            with replacing(path) as beside:
                beside.write_bytes(b"".join(kept))
        with path.open("ab", buffering=0) as file:
            yield Record(file)


class Record:
    """Writes one JSON object a line: a whole line or, if the disk is full, none and an OSError."""

    def __init__(self, file):
        self.file = file

    def __call__(self, values):
        line = json.dumps(values).encode() + b"\n"
        end = self.file.seek(0, os.SEEK_END)
        try:
            if self.file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.file.truncate(end)
            raise OSError(error.errno, error.strerror, str(self.file.name)) from None

    def sync(self):
        """Bring it to the disk."""
        os.fsync(self.file.fileno())


def read_metrics(path):
    """The records of training steps, and those of evaluations, of a metrics file."""
    records = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [r for r in records if "J" in r], [r for r in records if "held_out" in r]


def _step_in(path):
    """The number in a checkpoint's name, or None."""
    found = re.fullmatch(r"checkpoint-(\d{1,18})\.safetensors", path.name)
    return int(found[1]) if found else None


def _step_of(line):
    try:
        return json.loads(line)["k"] + 0
    except (ValueError, KeyError, TypeError, RecursionError):  # not a line of ours, or half of one: the machine stopped while it was written
        return float("inf")


def _second_name(path, name):
    """Let the file `path`, which is about to be replaced, have this name too, where the file system can do so; else a copy."""
    name.unlink(missing_ok=True)
    try:
        os.link(path, name)
    except OSError:
        _copy(path, name)


def _copy(path, name):
    with replacing(name) as beside:
        shutil.copyfile(path, beside)


def _who(file):
    try:
        return file.read_text(encoding="utf-8")[:200].strip() or "another process"
    except (OSError, UnicodeDecodeError):  # on Windows a locked file cannot be read
        return "another process"
