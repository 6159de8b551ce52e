"""The sum of the shards' gradients, in an order that does not depend on who computed them."""

from collections.abc import Iterator

from ...types import Array

BLOCK = 1 << 15  # numbers of each partial gradient that are added at a time: the cache holds them


def pairs(total: int) -> Iterator[tuple[int, int]]:
    """(0, 1), (2, 3), …, (0, 2), …: add the second of each pair to the first, in this order."""
    step = 1
    while step < total:
        yield from ((i, i + step) for i in range(0, total - step, 2 * step))
        step *= 2


def tree_sum(partials: Array) -> None:
    """Add all rows of `partials` (S, n) into the first one, as ((0 + 1) + (2 + 3)) + …

    The order is the same whoever computed them. The other rows are overwritten too.
    """
    for start in range(0, partials.shape[1], BLOCK):
        rows = partials[:, start : start + BLOCK]
        for i, j in pairs(len(rows)):
            rows[i] += rows[j]
