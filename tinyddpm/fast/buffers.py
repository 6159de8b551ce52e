"""Memory that is used again, instead of being asked for and given back at every operation.

Fresh memory is expensive: the operating system hands it out in pages of 4 KB and clears each at its
first touch, which costs more than many an operation on it. There are three remedies:

    scratch(name, shape, dtype)   # an array for intermediate results
    cached(make, *arguments)      # views of such arrays, made once
    keep_freed_memory()           # lets the C library keep what NumPy frees

A scratch array is valid until the same thread asks for the same name again. It must never be
returned, saved for backward or held across a call of something that may use its name. Views are
made once because making one takes as long as a small product. `keep_freed_memory` is for the arrays
that do outlive a call.
"""

import ctypes
import math
import platform
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..types import Array

LARGEST = 2**23  # bytes: larger arrays are allocated each time, or one large batch would hold them
MOST_VIEWS = 2000  # shapes remembered in one thread

T = TypeVar("T")


class _Own(threading.local):
    """What one thread has.

    Attributes:
        memory: bytes by name.
        views: arrays over them by name, shape and dtype.
        cached: what else was made of them, by function and arguments.
    """

    def __init__(self) -> None:
        self.memory: dict[str, Array] = {}
        self.views: dict[tuple[str, tuple[int, ...], Any], Array] = {}
        self.cached: dict[Hashable, Any] = {}


_own = _Own()


def scratch(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An uninitialised array over this thread's memory of that name, which it overwrites."""
    view = _own.views.get((name, shape, dtype))
    return _new_view(name, shape, dtype) if view is None else view


def _new_view(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > LARGEST:
        return np.empty(shape, dtype)
    if len(_own.views) >= MOST_VIEWS:
        _own.views = {}
    memory = _own.memory.get(name)
    if memory is None or len(memory) < size:
        memory = _new_memory(name, size)
    view = _own.views[name, shape, dtype] = memory[:size].view(dtype).reshape(shape)
    return view


def _new_memory(name: str, size: int) -> Array:
    """Larger memory of that name. What was made of the smaller one is forgotten, and frees it."""
    _own.views = {key: view for key, view in _own.views.items() if key[0] != name}
    _own.cached = {}
    memory = _own.memory[name] = _aligned(size)
    return memory


def _aligned(size: int) -> Array:
    """`size` bytes that start at a multiple of 64, a cache line."""
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


def cached(make: Callable[..., T], *arguments: Hashable) -> T:
    """make(*arguments), remembered: built of scratch arrays once, and again if their memory moves.

    Not for arrays too large to be scratch memory: they would stay forever.
    """
    found: T | None = _own.cached.get((make, arguments))
    if found is None:
        found = make(*arguments)
        if len(_own.cached) >= MOST_VIEWS:
            _own.cached = {}
        _own.cached[make, arguments] = found
    return found


def drop_scratch() -> None:
    """Give back the calling thread's scratch memory."""
    _own.memory, _own.views, _own.cached = {}, {}, {}


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for the next array, in this whole process.

    By default glibc takes arrays above 128 KB to 32 MB from the operating system and gives them
    back when freed. Peak memory is the same; what changes is that memory stays with the process
    between steps. See mallopt(3).

    Returns:
        Whether it could be asked.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold = -1, -3
    # Older versions refuse more than 32 MB.
    large = mallopt(mmap_threshold, 2**30) or mallopt(mmap_threshold, 2**25)
    return bool(large and mallopt(trim_threshold, 2**31 - 1))


_ones: dict[Hashable, Array] = {}


def ones(n: int, dtype: npt.DTypeLike) -> Array:
    """(n,) ones, read-only and shared: `ones @ x` is the fastest sum over rows."""
    found = _ones.get((n, dtype))
    if found is None:
        found = np.ones(n, dtype)
        found.flags.writeable = False
        _ones[n, dtype] = found
    return found
