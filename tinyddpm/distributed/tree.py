"""The sum of the shards' gradients across ranks, in the order of `fast.parallel.tree`.

MPI's own sums promise no order, and floating-point sums depend on it. So the gradients travel along
the same tree: ((0 + 1) + (2 + 3)) + … Where both of a pair lie with one rank, it adds them. Else
the rank with the right one sends it to the rank with the left one. How it travels, links.py says.
"""

from collections.abc import Sequence
from typing import Any

from ..fast.parallel.tree import pairs
from .links import Link


def tree_sum(link: Link, rank: int, partials: Any, owners: Sequence[int]) -> None:
    """Put the sum of the gradients of all shards into the first of `partials`, on all ranks.

    Args:
        link: carries gradients to other ranks.
        rank: this one.
        partials: the gradients of this rank's shards (S, n), or a list. All are overwritten.
        owners: the rank of each shard, from 0 on, never falling. Each rank has one at least.
    """
    first = owners.index(rank)
    for i, j in pairs(len(owners)):
        left, right = owners[i], owners[j]
        if left == right == rank:
            row = partials[i - first]
            row += partials[j - first]
        elif rank == left:
            link.add(partials[i - first], right, tag=i)
        elif rank == right:
            link.send(partials[j - first], left, tag=i)
    link.spread(partials[0])  # the others have sent what stood there
