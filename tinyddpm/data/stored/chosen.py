"""Parts of a data set, by the numbers of their images, in little memory.

rest = AllBut(1000, held_out=np.array([3, 17]))
rest[[2, 3]]                          # array([2, 4])
"""

import hashlib
from typing import Any, Protocol

import numpy as np


def name_of(chosen: "Chosen") -> str:
    """A name for these numbers, which no others have."""
    kept = chosen.before if isinstance(chosen, AllBut) else chosen[:]
    digest = hashlib.sha256(f"{type(chosen).__name__} {len(chosen)}".encode())
    digest.update(np.ascontiguousarray(kept, np.int64).data)
    return digest.hexdigest()[:16]


class Chosen(Protocol):
    """Numbers of images: an array of them, or `AllBut`."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...


class AllBut:
    """The numbers 0..n−1 without some, in order. It keeps those that are left out alone.

    Args:
        n: how many numbers there are.
        held_out: those that are left out, in any order, none of them twice.
    """

    def __init__(self, n: int, held_out: np.ndarray) -> None:
        # How many of the numbers kept come before each that is left out: what is kept at place i
        # is i and as many more as were left out by then.
        self.before = np.sort(held_out) - np.arange(len(held_out))
        self.n = n - len(held_out)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, places: Any) -> np.ndarray:
        """The numbers at these places: integers from 0 on, or a slice."""
        if isinstance(places, slice):
            places = np.arange(*places.indices(self.n))
        return np.asarray(places + np.searchsorted(self.before, places, side="right"))
