"""Do all ranks have the same?"""

from typing import Any


def check_same(comm: Any, **values: Any) -> None:
    """See that all ranks of `comm` have the same values.

    Raises:
        ValueError: on all ranks; it names the ranks that differ from rank 0.
    """
    of_ranks = comm.allgather(values)
    for name, value in of_ranks[0].items():
        others = [rank for rank, theirs in enumerate(of_ranks) if theirs[name] != value]
        if others:
            raise ValueError(
                f"{name}: expected the same on all ranks, but rank 0 has {value!r}, "
                f"and rank {', '.join(map(str, others))} has {of_ranks[others[0]][name]!r}"
            )
