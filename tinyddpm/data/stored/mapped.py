"""Arrays that stay in their file: what someone asks for is read then.

    array = mapped("x.npy", "u1", offset=128, shape=(n, 32, 32))    # an np.memmap: nothing is read
    Reader(array).read([3, 5])                                      # these rows

An np.memmap knows shape and dtype, and may be reshaped and transposed. Its rows are read from the
file, not looked at through the map. For pages that are looked at count as memory of this process
until the system wants them back; and to look at what a file has lost ends the process (SIGBUS).
Nor is the map faster, but for pages that it has seen: 64 rows of 28 x 28 from new pages take 0.6 ms
through the map, and 0.2 ms by 64 calls of preadv, which hardly anything but the calls takes.

A file that changes during a run would change what the run trains on. So each read looks whether it
was written to.
"""

import math
import mmap
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..image_files import bad

# Smaller files are read at once. They may then be overwritten while a run goes on.
MAPPED_FROM = 2**26  # bytes
PIECE = 2**22  # bytes that a pass over everything takes at a time
DENSE = 2  # rows that lie this near to each other are read with all that is between them


class File:
    """An open file, which should not change.

    Args:
        path: what to call it in an error.
        number: its descriptor, which is closed with this object.
    """

    def __init__(self, path: str | Path, number: int) -> None:
        self.path, self.number = path, number
        self.state = self._state()
        weakref.finalize(self, os.close, number)

    def _state(self) -> tuple[int, int]:
        found = os.fstat(self.number)
        return found.st_size, found.st_mtime_ns

    def check(self) -> None:
        """DataError if the file was written to. One that takes its name is another file."""
        if self._state() != self.state:
            raise bad(self.path, "has changed while it was in use: start again")

    def fill(self, buffer: memoryview, offset: int) -> None:
        """Read as many bytes as the buffer has room for."""
        while buffer.nbytes:
            got = os.preadv(self.number, [buffer], offset)
            if not got:
                raise bad(self.path, "has changed while it was in use: it is shorter than it was")
            buffer, offset = buffer[got:], offset + got


_FILES: "weakref.WeakKeyDictionary[mmap.mmap, File]" = weakref.WeakKeyDictionary()


def mapped(path: str | Path, dtype: np.dtype | str, offset: int, shape: Sequence[int]) -> np.memmap:
    """The array in C order that begins `offset` bytes after the file's start. It is read-only."""
    with open(path, "rb") as file:
        array = np.memmap(file, dtype, "r", offset, tuple(shape))
        _FILES[_map_of(array)] = File(path, os.dup(file.fileno()))
    return array


def _map_of(array: np.ndarray) -> Any:
    """The map that an np.memmap, or a view of one, looks through; None for other arrays."""
    return getattr(array, "_mmap", None)


class Reader:
    """Reads rows of an array, which may be mapped.

    Args:
        array: in memory, or from `mapped`, perhaps reshaped, transposed or without its last rows.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array, view = np.asarray(array), _map_of(array)
        self.file = None if view is None else _FILES[view]
        row = self.row = math.prod(array.shape[1:]) * array.itemsize
        # Elsewhere than on Linux and macOS there is no preadv, and the map has to do.
        self.direct = self.file and array.strides[0] == row and hasattr(os, "preadv")
        if self.direct:
            address = np.frombuffer(view, np.uint8).ctypes.data
            begins = int(getattr(array, "offset", 0)) // mmap.ALLOCATIONGRANULARITY
            begins *= mmap.ALLOCATIONGRANULARITY  # where in the file the map begins
            self.start = begins + self.array.ctypes.data - address

    def read(self, key: Any) -> np.ndarray:
        """The rows of a slice, or of numbers from 0 on. If they are mapped, a copy.

        Raises:
            DataError: the file has changed since it was mapped.
        """
        if self.file is None:
            return self.array[key]
        self.file.check()
        if not self.direct:
            return self.array[key].copy()
        if isinstance(key, slice):
            numbers = range(*key.indices(len(self.array)))
            if numbers.step == 1:
                buffer = np.empty(len(numbers) * self.row, np.uint8)
                self.file.fill(buffer.data, self.start + numbers.start * self.row)
                return self._rows(buffer)
            key = np.array(numbers, np.int64)
        if len(key) and (low := int(key.min())) + DENSE * len(key) > (high := int(key.max())):
            return self.read(slice(low, high + 1))[key - low]
        buffer = np.empty(len(key) * self.row, np.uint8)
        into = buffer.data
        for place, number in enumerate(key.tolist()):
            some = into[place * self.row : (place + 1) * self.row]
            self.file.fill(some, self.start + number * self.row)
        return self._rows(buffer)

    def _rows(self, buffer: np.ndarray) -> np.ndarray:
        """The bytes of rows as an array, whose axes lie as in the file."""
        like = self.array
        shape = (len(buffer) // self.row, *like.shape[1:])
        return np.ndarray(shape, like.dtype, buffer, 0, like.strides)


def pieces(array: np.ndarray, title: str = "") -> Iterator[np.ndarray]:
    """The array's rows, a few MB at a time.

    Args:
        array: in memory, or mapped.
        title: of a progress bar, if it takes long.
    """
    reader, rows = Reader(array), max(1, PIECE * len(array) // max(1, array.nbytes))
    for i in tqdm(
        range(0, len(array), rows), title, leave=False, disable=None if title else True, delay=2
    ):
        yield reader.read(slice(i, i + rows))
