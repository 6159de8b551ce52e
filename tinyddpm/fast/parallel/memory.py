"""Arrays that several processes see: what one of them writes, the others read, without a copy.

    memory = Memory()    # in one process
    theta, t = memory.arrays([("float32", (1000,)), ("int64", (64,))])

    memory = Memory(fd)  # in another, which inherited memory.fd
    theta, t = memory.arrays([("float32", (1000,)), ("int64", (64,))])

The memory is a file that never has a name. The system frees it when the last process that has it
open is gone, in whatever way that happens, and no file can be left behind. Its room is reserved
before it is used. Without that, the first write that finds no room would end the process with
SIGBUS.
"""

import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ...types import Array

ALIGN = 64  # bytes: a cache line

Spec: TypeAlias = tuple[str, Sequence[int]]  # dtype and shape of an array


class Memory:
    """A nameless file, and this process's view of it.

    Args:
        fd: the descriptor that another process shares; None for a new file.
        size: bytes of a new file.

    Attributes:
        fd: its descriptor, for processes that are to share it.
    """

    def __init__(self, fd: int | None = None, size: int = mmap.PAGESIZE) -> None:
        self.fd = _nameless_file(size) if fd is None else fd
        self.size = 0  # bytes of it that this process has mapped

    def arrays(self, specs: Sequence[Spec]) -> list[Array]:
        """Arrays of these (dtype, shape), one after the other from the memory's start.

        All who ask for the same get the same numbers. The memory grows as needed, and its first
        user must be the first to ask. Raises OSError if there is no room.
        """
        starts, end = [], 0
        for dtype, shape in specs:
            starts.append(end)
            size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
            end += -(-size // ALIGN) * ALIGN
        if end > self.size:
            if os.fstat(self.fd).st_size < end:
                _reserve(self.fd, end)
            self.size = os.fstat(self.fd).st_size
            # The map before it is freed once no array uses it.
            self.map = mmap.mmap(self.fd, self.size)
        return [
            np.ndarray(shape, dtype, self.map, start)
            for start, (dtype, shape) in zip(starts, specs)
        ]

    def close(self) -> None:
        """Give the descriptor back. Arrays stay valid for as long as they are used."""
        os.close(self.fd)


def _nameless_file(size: int) -> int:
    """A descriptor of main memory, where the system offers that and has room, else of a file.

    The file is in the temporary folder. Linux's `memfd_create` does not count against /dev/shm,
    which in a container often has 64 MB only.
    """
    fd = None
    try:
        fd = os.memfd_create("tinyddpm")
        _reserve(fd, size)
        return fd
    except (AttributeError, OSError):  # not Linux, or no room
        if fd is not None:
            os.close(fd)
    with tempfile.TemporaryFile(prefix="tinyddpm") as file:
        _reserve(file.fileno(), size)
        return os.dup(file.fileno())


def _reserve(fd: int, size: int) -> None:
    """Make the file `size` bytes long, with room for all of them. Raises OSError if none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)  # macOS cannot reserve
