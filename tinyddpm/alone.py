"""The ranks of a run, and the one rank of a run without MPI.

A run talks to its other processes through a `Comm`. There are two kinds: `Alone`, whose methods
cost nothing, and `distributed.team.Team`. So a run needs no branch for MPI.
"""

from typing import Any, Protocol

from .types import Array


class Comm(Protocol):
    """All ranks of a run, as one of them sees them. All must call the same methods, in order.

    Attributes:
        rank: which of them this process is, from 0. Rank 0 writes and speaks for all.
        size: how many there are.
    """

    rank: int
    size: int

    def allgather(self, value: Any) -> list[Any]:
        """The value of each rank, on all ranks."""

    def bcast(self, value: Any) -> Any:
        """The value of rank 0, on all ranks."""

    def Bcast(self, array: Array, root: int = 0) -> None:
        """Give `array` the numbers that it has on rank `root`."""

    def check_same(self, **values: Any) -> None:
        """See that all ranks have the same values. Raises ValueError on all, with the names."""

    def samples(self, batch_size: int, shards: int) -> slice:
        """The places in a mini-batch whose images this rank draws and computes."""

    def device(self, name: str) -> str:
        """The device of this rank, which is `name`, but for "cuda" its own GPU."""


class Alone:
    """The only rank."""

    rank, size = 0, 1

    def allgather(self, value: Any) -> list[Any]:
        """The value in a list."""
        return [value]

    def bcast(self, value: Any) -> Any:
        """The value."""
        return value

    def Bcast(self, array: Array, root: int = 0) -> None:
        """Nothing to do."""

    def check_same(self, **values: Any) -> None:
        """Nothing to compare."""

    def samples(self, batch_size: int, shards: int) -> slice:
        """All of them."""
        return slice(None)

    def device(self, name: str) -> str:
        """The name."""
        return name
