"""Arrays that several processes see: an array that one of them writes is, without a copy, an array that the others read.

    memory = Memory()                                         # in one process
    theta, t = memory.arrays([("float32", (1000,)), ("int64", (64,))])

    memory = Memory(fd)                                       # in another, which inherited memory.fd
    theta, t = memory.arrays([("float32", (1000,)), ("int64", (64,))])

The memory is a file that never has a name: the system frees it when the last process that has it open is gone, in whatever
way that happens, and no file can be left behind. Its room is reserved before it is used. Without that, the first write that finds
no room would end the process with SIGBUS.
"""
import mmap
import os
import tempfile

import numpy as np

ALIGN = 64  # bytes: a cache line


class Memory:
    """A nameless file, and this process's view of it. `fd` is its descriptor, for processes that are to share it."""

    def __init__(self, fd=None, size=mmap.PAGESIZE):
        self.fd = _nameless_file(size) if fd is None else fd
        self.size = 0  # bytes of it that this process has mapped

    def arrays(self, specs):
        """Arrays of these (dtype, shape), one after the other from the memory's start: the same numbers for all who ask alike.

        The memory grows as needed, and its first user must be the first to ask. Raises OSError if there is no room.
        """
        starts, end = [], 0
        for dtype, shape in specs:
            starts.append(end)
            end += -(-np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64)) // ALIGN) * ALIGN
        if end > self.size:
            if os.fstat(self.fd).st_size < end:
                _reserve(self.fd, end)
            self.size = os.fstat(self.fd).st_size
            self.map = mmap.mmap(self.fd, self.size)  # the map before it is freed once no array uses it
        return [np.ndarray(shape, dtype, self.map, start) for start, (dtype, shape) in zip(starts, specs)]

    def close(self):
        """Give the descriptor back. Arrays stay valid for as long as they are used."""
        os.close(self.fd)


def _nameless_file(size):
    """A descriptor: of main memory where the system offers that and has room, else of a file in the temporary folder.

    Linux's `memfd_create` does not count against /dev/shm, which in a container often has 64 MB only.
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


def _reserve(fd, size):
    """Make the file `size` bytes long, with room for every one of them. Raises OSError if there is none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)  # macOS cannot reserve
