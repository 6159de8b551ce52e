"""The user's cache of what was made of data: its place, and names for what lies there.

cached(f"{key_of(files, size)}.npy")      # a path in the cache, which may not be there yet
clear()                                   # removes all of it: how many files, how many bytes
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

VERSION = 1  # of what lies there; another one finds nothing
UNFINISHED = ".writing"  # how the names of unfinished files end


def folder() -> Path:
    """Where it lies: beside the known data sets."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinyddpm" / "stored"


def cached(name: str) -> Path:
    """The path of this name in the cache."""
    return folder() / name


def key_of(paths: Iterable[str | Path], *besides: object) -> str:
    """A name for files as they are now, and whatever else the result depends on."""
    digest = hashlib.sha256(repr((VERSION, besides)).encode())
    here, stat = os.getcwd(), os.stat
    for path in map(str, paths):
        found = stat(path)
        state = found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
        whole = path if path.startswith("/") else os.path.join(here, path)
        digest.update(f"{whole!a} {state}".encode())
    return digest.hexdigest()[:32]


def newest(paths: Iterable[str | Path]) -> float:
    """When the last of the files was written to, or changed in another way."""
    return max(max(found.st_mtime, found.st_ctime) for found in map(os.stat, paths))


def clear() -> tuple[int, int]:
    """Remove the cache. Returns the number of files and of bytes that it had."""
    files = [path for path in folder().glob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    for path in files:
        path.unlink(missing_ok=True)
    return len(files), size
