"""Data sets known by name: their files are found, downloaded, and always checked.

    fetch("fashion-mnist")                           # paths: found on this machine, or downloaded
    images, labels = read("fashion-mnist", "test")   # uint8 (10000, 28, 28) and (10000,)

Only `fetch` (the command `tinyddpm data`) uses the network; `read` looks on this machine. Both
check the sha256 of every file each time. So a recipe always trains on the same bytes, wherever the
files were found. Errors are DataError.
"""

import gzip
import hashlib
import os
import urllib.request
from collections.abc import Sequence
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..files import in_words, replacing
from .image_files import bad, blaming
from .sources import SOURCES

LARGEST_FILE = 2**28  # bytes: more than any file of these data sets


def cache(name: str) -> Path:
    """The folder in the user's cache where `fetch` keeps this data set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinyddpm" / name


def read(name: str, part: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The uint8 images, and the labels or None, of the "train" or "test" part of SOURCES[name].

    Raises:
        DataError: if the files are not on this machine; it says how to get them.
    """

    def content(file: str) -> bytes:
        path = _find(file, _folders(name))
        if path is None:
            fix = f"get it with `tinyddpm data {name}`{_other_ways(name)}"
            raise bad(name, f"not on this machine yet: {fix}")
        return _checked(path, SOURCES[name].files[file])

    with blaming(name):
        return SOURCES[name].parse(part, content)


def fetch(name: str, folder: str | Path | None = None) -> list[Path]:
    """The paths of the files of SOURCES[name], each checked.

    The files are found on this machine, or else downloaded into `cache(name)`.

    Args:
        name: one of SOURCES.
        folder: where you have the files, packed (.gz) or not: they are copied into `cache(name)`.

    Raises:
        DataError: if a file is missing, or is not the right one.
        OSError: if a file cannot be written.
    """
    if folder is None:
        return [_found_or_downloaded(name, file) for file in SOURCES[name].files]
    return [_copied(name, file, Path(folder)) for file in SOURCES[name].files]


def _found_or_downloaded(name: str, file: str) -> Path:
    source = SOURCES[name]
    path = _find(file, _folders(name))
    if path is not None:
        _checked(path, source.files[file])
        return path
    address = source.address_of(file)
    stored = _download(address, name)
    _content(address, stored, source.files[file])
    return _keep(stored, cache(name) / address.rsplit("/", 1)[1])


def _copied(name: str, file: str, folder: Path) -> Path:
    path = _find(file, [folder])
    if path is None:
        raise bad(folder, f"expected the file {file} or {file}.gz in this folder, found neither")
    stored = path.read_bytes()
    _content(path, stored, SOURCES[name].files[file])
    return _keep(stored, cache(name) / path.name)


def _keep(stored: bytes, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as beside:
        beside.write_bytes(stored)
    return target


def _folders(name: str) -> list[Path]:
    """Where the files of this data set may be."""
    return [*map(Path, SOURCES[name].places), cache(name)]


def _find(file: str, folders: Sequence[Path]) -> Path | None:
    candidates = [folder / f"{file}{packed}" for folder in folders for packed in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)


def _checked(path: Path, sha256: str | None) -> bytes:
    """The content of the file, unpacked, if it has this sum."""
    with blaming(path), path.open("rb") as file:
        return _content(path, file.read(LARGEST_FILE), sha256)


def _content(called: str | Path, stored: bytes, sha256: str | None) -> bytes:
    """The bytes with this sum: those stored or, if they are gzipped, those packed in them.

    Raises:
        DataError: if neither has the sum; it names the file.
    """
    if sha256 is None:
        return stored
    got = hashlib.sha256(stored).hexdigest()
    if got != sha256 and stored[:2] == b"\x1f\x8b":
        with blaming(called), gzip.open(BytesIO(stored)) as file:
            stored = file.read(LARGEST_FILE)
        got = hashlib.sha256(stored).hexdigest()
    if got != sha256:
        fix = "this is another file or a damaged one; remove it and try again"
        raise bad(called, f"expected sha256 {sha256}, got {got}: {fix}")
    return stored


def _download(address: str, name: str) -> bytes:
    """The bytes at the address. DataError, saying what else to do, if there is no way to it."""
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return _with_bar(answer, address.rsplit("/", 1)[1])
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        why = in_words(reason) if isinstance(reason, OSError) else reason
        problem = f"cannot be downloaded from {address} ({why}){_other_ways(name)}"
        raise bad(name, problem) from error


def _with_bar(answer: HTTPResponse, title: str) -> bytes:
    """All that the server sends, with a progress bar."""
    total = int(answer.headers.get("Content-Length") or 0) or None
    parts, got = [], 0  # a bar that is off does not count
    bar = tqdm(total=total, unit="B", unit_scale=True, desc=title, leave=False, disable=None)
    with bar:
        while got < LARGEST_FILE and (part := answer.read(2**16)):
            parts.append(part)
            got += len(part)
            bar.update(len(part))
    if total and got < min(total, LARGEST_FILE):
        raise OSError(f"the connection ended after {got:,} of {total:,} bytes: try again")
    return b"".join(parts)


def _other_ways(name: str) -> str:
    """The other ways to get the data, at the end of a sentence."""
    source = SOURCES[name]
    advice = f"; {source.advice}" if source.advice else ""
    folder = f"; or give the folder that holds {', '.join(source.files)}"
    return f"{advice}{folder}: tinyddpm data {name} --folder PATH"
