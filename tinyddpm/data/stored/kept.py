"""Decoded pictures in the user's cache: what took long to decode is opened at once from then on.

    found, facts = pictures(files, size=(64, 64), channels=3, megapixels=180)

They are known by the files' paths, sizes and times, by what was asked for, and by the version of
Pillow. Large ones never lie in memory: they are written to the cache as they come, and mapped.
Where that cannot be, they are decoded into memory, and a note says so.
"""

import os
import shutil
import time
import uuid
from collections.abc import Sequence
from typing import IO

import numpy as np
import PIL

from ..image_files import DataError, Packed
from . import facts as facts_module, mapped
from .array_files import read_file
from .cached import UNFINISHED, cached, folder, key_of, newest
from .decoder import File
from .decoding import InMemory, Pictures, read_pictures
from .facts import Facts

WORTH = 2.0  # seconds: what takes less to decode is not kept
SPARE = 2**28  # bytes that stay free on the disk


def pictures(
    files: Sequence[File], size: tuple[int, int] | None, channels: int | None, megapixels: float
) -> tuple[Pictures, Facts]:
    """What `read_pictures` gives, decoded now or before, and what is known of it."""
    places = [file.place for file in files if isinstance(file, Packed)]
    paths = [file for file in files if not isinstance(file, Packed)]
    paths += {file.archive for file in files if isinstance(file, Packed)}  # there is one
    try:
        key = key_of(paths, places, size, channels, megapixels, PIL.__version__)
    except OSError:  # the reading will say what is wrong
        return read_pictures(files, size, channels, megapixels), Facts()
    if found := _find(key):
        return found
    began, room = time.monotonic(), InCache(key, str(files[0]))
    made = read_pictures(files, size, channels, megapixels, room)
    long = time.monotonic() - began > WORTH
    if abs(time.time() - newest(paths)) <= facts_module.SETTLED:
        room.problem = ""  # they may change again: next time
    elif room.kept or long and not room.problem and room.keep(made.array):
        known = Facts(cached(f"{key}.json"))
        known.known = {}  # whatever was there belonged to a file that is gone
        known.get("stored", lambda: made.stored)
        known.get("notes", lambda: list(made.notes))
        return made, known
    if room.problem and long:
        made = made._replace(notes=(*made.notes, room.problem))
    return made, Facts()


def _find(key: str) -> tuple[Pictures, Facts] | None:
    """What is kept by this key; None if nothing is, or it is damaged."""
    path, known = cached(f"{key}.npy"), Facts(cached(f"{key}.json"))
    if not {"stored", "notes"} <= known.known.keys():
        return None
    try:
        found = read_file(path)
    except DataError:
        return None
    if found is None or found[0].dtype != np.uint8 or found[0].ndim != 4:
        return None
    return Pictures(found[0], str(known.known["stored"]), tuple(known.known["notes"])), known


class InCache(InMemory):
    """Room for pictures in a file of the cache; in memory if they are few, or there is no room.

    Args:
        key: of the file.
        called: one of the pictures, to name in an error.

    Attributes:
        kept: whether they are in the cache.
        problem: why they are not, though they are many; else "".
    """

    def __init__(self, key: str, called: str) -> None:
        super().__init__(called)
        self.path, self.kept, self.problem = cached(f"{key}.npy"), False, ""
        self.unfinished = cached(f"{key}.{uuid.uuid4().hex}{UNFINISHED}")  # another may write too
        self.file: IO[bytes] | None = None

    def start(self, shape: tuple[int, ...]) -> None:
        """Make room for pictures (n, H, W, C)."""
        self.shape = shape
        if int(np.prod(shape)) < mapped.MAPPED_FROM or not self._open(shape):
            super().start(shape)

    def put(self, i: int, picture: np.ndarray) -> None:
        """Picture i; the pictures come in their order."""
        if self.file is None:
            super().put(i, picture)
            return
        try:
            left = picture.reshape(-1).data
            while left:
                left = left[self.file.write(left) :]
        except OSError as error:
            self._to_memory(error, i)
            super().put(i, picture)

    def done(self) -> np.ndarray:
        """All of them."""
        if self.file is None:
            return super().done()
        try:
            os.fsync(self.file.fileno())
            self.file.close()
            os.replace(self.unfinished, self.path)
        except OSError as error:
            self._to_memory(error, self.shape[0])
            return super().done()
        self.file, self.kept = None, True
        found = read_file(self.path)
        assert found is not None  # we have just written it
        return found[0]

    def close(self) -> None:
        """Leave nothing unfinished behind."""
        if self.file is not None:
            self.file.close()
            self.unfinished.unlink(missing_ok=True)

    def keep(self, array: np.ndarray) -> bool:
        """Write pictures that lie in memory. False: there is no room, and `problem` says so."""
        if not self._open(array.shape):
            return False
        for i, picture in enumerate(array):
            self.put(i, picture)
        self.done()
        return self.kept

    def _open(self, shape: tuple[int, ...]) -> bool:
        """Begin a file, if there is room for it."""
        try:
            folder().mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(folder()).free < int(np.prod(shape)) + SPARE:
                raise OSError(0, "not enough room on the disk")
            self.file = self.unfinished.open("w+b", buffering=0)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self.file, header)
            self.begins = self.file.tell()
        except OSError as error:
            self._say(error)
            self.close()
            self.file = None
        return self.file is not None

    def _to_memory(self, error: OSError, n: int) -> None:
        """Go on in memory, with the n pictures written so far."""
        self._say(error)
        super().start(self.shape)
        assert self.file is not None
        self.file.seek(self.begins)
        buffer = self.array[:n].reshape(-1).data
        while buffer and (got := self.file.readinto(buffer)):  # type: ignore[attr-defined]
            buffer = buffer[got:]
        self.close()
        self.file = None

    def _say(self, error: OSError) -> None:
        why = error.strerror or error
        self.problem = (
            f"the decoded pictures cannot be kept in {folder()} ({why}): "
            "the next start decodes them again"
        )
