"""The sum of the shards' gradients, in an order that does not depend on who computed them."""

from ...types import Array

BLOCK = 1 << 15  # numbers of each partial gradient that are added at a time: the cache holds them


def tree_sum(partials: Array) -> None:
    """Add all rows of `partials` (S, n) into the first one, as ((0 + 1) + (2 + 3)) + …

    The order is the same whoever computed them. The other rows are overwritten too.
    """
    for start in range(0, partials.shape[1], BLOCK):
        rows = partials[:, start : start + BLOCK]
        step = 1
        while step < len(rows):
            for i in range(0, len(rows) - step, 2 * step):
                rows[i] += rows[i + step]
            step *= 2
