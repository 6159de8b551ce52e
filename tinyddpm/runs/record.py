"""The record of a run, metrics.jsonl: one JSON object a line.

{"k": 100, "J": 0.31, "seconds": 4.2}          # each step
{"k": 100, "held_out": 0.30, "bands": […]}     # each evaluation

record({"k": 1, "J": 0.5})
steps, evaluations = read_metrics("runs/x/metrics.jsonl")
"""

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from ..files import replacing, sync


class Record:
    """Writes one JSON object a line to an unbuffered file.

    If the disk is full, it writes nothing of the line and raises OSError.
    """

    def __init__(self, file: Any) -> None:
        self.file = file

    def __call__(self, values: dict[str, Any]) -> None:
        """Append one line."""
        line = json.dumps(values).encode() + b"\n"
        end = self.file.seek(0, os.SEEK_END)
        try:
            if self.file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.file.truncate(end)
            raise OSError(error.errno, error.strerror, str(self.file.name)) from None

    def sync(self) -> None:
        """Bring it to the disk."""
        sync(self.file.fileno())


def read_metrics(path: str | Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The records of the steps and those of the evaluations.

    A line that was never finished, as after a power cut, is no record.

    Raises:
        ValueError: a line is not JSON. It names the file and the line.
    """
    text, records = Path(path).read_text(encoding="utf-8"), []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            break
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}: expected JSON in line {number}, got {line!r:.60}") from error
    return [r for r in records if "J" in r], [r for r in records if "held_out" in r]


def cut_after(path: Path, step: int) -> None:
    """Drop the lines of later steps and whatever is no line of ours. An absent file is made."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    wanted = [line for line in lines if line.endswith(b"\n") and _step_of(line) <= step]
    if wanted != lines or not path.exists():
        with replacing(path) as beside:
            beside.write_bytes(b"".join(wanted))


def _step_of(line: bytes) -> float:
    """The step of a line; infinite if it has none, such as half a line after a power cut."""
    try:
        return json.loads(line)["k"] + 0
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
