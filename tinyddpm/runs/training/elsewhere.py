"""A run folder on ranks other than 0, which write nothing and read nothing of it.

Their machine need not even have the folder: they get the run's state from rank 0.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..checkpoint import Checkpoint
from ..config import Config
from ..folder import Found, RunFolder
from ..record import Record


class Elsewhere(RunFolder):
    """Has the methods of a `RunFolder` that training uses, and does nothing in any of them."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[RunFolder]:
        """Rank 0 has the lock."""
        yield self

    def checkpoints(self) -> list[Path]:
        """None here."""
        return []

    def holds_run(self) -> bool:
        """Rank 0 sees to it that there is one."""
        return True

    def newest(self) -> Found | None:
        """None here."""
        return None

    def save(self, saved: Checkpoint, best: bool) -> None:
        """Rank 0 saves it."""
        self.held = saved.step

    def write_config(self, config: Config) -> None:
        """Rank 0 writes it."""

    def write_found(self, found: str) -> None:
        """Rank 0 writes it."""

    @contextlib.contextmanager
    def metrics(self, start: int) -> Iterator[Record]:
        """Rank 0 records."""
        yield Unrecorded(None)


class Unrecorded(Record):
    """A `Record` that records nothing."""

    def __call__(self, values: dict[str, Any]) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""
