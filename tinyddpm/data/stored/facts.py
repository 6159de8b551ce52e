"""What is computed once for a large file, and kept in the user's cache.

    facts = facts_of("huge.npy")
    facts.get("fingerprint", compute)     # computed now, or found in the cache

A file is known by its path, its size, and when it was written to and changed. Nothing is kept of
small files, or of a file written to in the last seconds, which might change again unnoticed.
"""

import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...files import replacing
from .cached import cached, key_of

FACTS_FROM = 2**26  # bytes
SETTLED = 2.0  # seconds: some systems note the time no finer


class Facts:
    """Numbers and texts by name.

    Args:
        path: the JSON file that keeps them; None: they are kept in memory alone.

    Attributes:
        part: of which part of the data they are; "": of all.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path, self.part = path, ""
        self.known: dict[str, Any] = _read(path) if path else {}

    def of_part(self, part: str) -> "Facts":
        """Those of a part, or with "" of all, kept in the same file."""
        facts = copy.copy(self)
        facts.part = f"{part}: " if part else ""
        return facts

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """What is known by this name, or else `compute()`, which is then known."""
        name = self.part + name
        if name not in self.known:
            self.known[name] = compute()
            self._keep()
        return self.known[name]

    def _keep(self) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as beside:
                beside.write_text(json.dumps(self.known), encoding="utf-8")
        except OSError:  # no room, or read-only: then they are computed again
            self.path = None


def facts_of(path: Path) -> Facts:
    """The facts of a file."""
    found = os.stat(path)
    large = found.st_size >= FACTS_FROM
    settled = abs(time.time() - max(found.st_mtime, found.st_ctime)) > SETTLED
    return Facts(cached(f"{key_of([path])}.json") if large and settled else None)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
