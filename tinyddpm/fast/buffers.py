"""Memory that is used again, instead of being asked for and given back at every operation.

Fresh memory is dear: the operating system hands it out in pages of 4 KB and clears each at its first touch, which costs
more than many an operation on it. Two remedies stand here:

    scratch(name, shape, dtype)   an array for intermediate results, valid until the same thread asks for the same name again
    kept(make, *shape)            views of such arrays, made once: making one takes as long as a small product
    keep_freed_memory()           lets the C library keep what NumPy frees, for the arrays that do outlive a call

A scratch array must never be returned, saved for backward or held across a call of something that may use its name.
"""
import ctypes
import math
import platform
import threading

import numpy as np

LARGEST = 2**26  # bytes: arrays above 64 MB are made anew, so that one large batch does not hold memory for ever
MOST_VIEWS = 2000  # shapes remembered in one thread


class _Own(threading.local):
    """What one thread has: memory by name, views of it by name, shape and dtype, and what else was made of it."""

    def __init__(self):
        self.memory, self.views, self.kept = {}, {}, {}


_own = _Own()


def scratch(name, shape, dtype):
    """An uninitialised array over this thread's memory of that name: what was there under the name before is overwritten."""
    view = _own.views.get((name, shape, dtype))
    return _new_view(name, shape, dtype) if view is None else view


def _new_view(name, shape, dtype):
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > LARGEST:
        return np.empty(shape, dtype)
    if len(_own.views) >= MOST_VIEWS:
        _own.views = {}
    memory = _own.memory.get(name)
    if memory is None or len(memory) < size:
        _own.views = {key: view for key, view in _own.views.items() if key[0] != name}  # they hold the memory that was too small
        memory = _own.memory[name] = _aligned(size)
        _own.kept = {}  # some of it may hold the old memory
    view = _own.views[name, shape, dtype] = memory[:size].view(dtype).reshape(shape)
    return view


def _aligned(size):
    """`size` bytes that start at a multiple of 64, a cache line."""
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start:start + size]


def kept(make, *shape):
    """make(*shape), remembered: what is built of scratch arrays once, and again only if such memory moves.

    Not for arrays too large to be scratch memory: they would stay for ever.
    """
    found = _own.kept.get((make, shape))
    if found is None:
        found = make(*shape)
        if len(_own.kept) >= MOST_VIEWS:
            _own.kept = {}
        _own.kept[make, shape] = found
    return found


def drop_scratch():
    """Give back the calling thread's scratch memory."""
    _own.memory, _own.views, _own.kept = {}, {}, {}


def keep_freed_memory():
    """Ask glibc to keep freed memory for the next array, in this whole process. Returns whether it could be asked.

    By default glibc takes arrays above 128 KB to 32 MB from the operating system and gives them back when freed. Peak
    memory is the same; what changes is that memory stays with the process between steps. See mallopt(3).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold = -1, -3
    large = mallopt(mmap_threshold, 2**30) or mallopt(mmap_threshold, 2**25)  # older versions refuse more than 32 MB
    return bool(large and mallopt(trim_threshold, 2**31 - 1))


_ones = {}


def ones(n, dtype):
    """(n,) ones, read-only and shared: `ones @ x` is the fastest sum over rows."""
    found = _ones.get((n, dtype))
    if found is None:
        found = np.ones(n, dtype)
        found.flags.writeable = False
        _ones[n, dtype] = found
    return found
