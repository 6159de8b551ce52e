"""The sum of the shards' gradients across ranks, in the order of `fast.parallel.tree`.

MPI's own sums promise no order, and floating-point sums depend on it. So the gradients travel along
the same tree: ((0 + 1) + (2 + 3)) + … Where both of a pair lie with one rank, it adds them. Else
the rank with the right one sends it to the rank with the left one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..types import Array


def tree_sum(comm: Any, partials: Array, owners: Sequence[int]) -> None:
    """Put the sum of the gradients of all shards into the first row of `partials`, on all ranks.

    Args:
        comm: an MPI communicator, as mpi4py has it.
        partials: the gradients of this rank's shards (S, n). All rows are overwritten.
        owners: the rank of each shard, from 0 on, never falling. Each rank has one at least.
    """
    rank, total = comm.rank, len(owners)
    first = owners.index(rank)
    step = 1
    while step < total:
        for i in range(0, total - step, 2 * step):
            left, right = owners[i], owners[i + step]
            if left == right == rank:
                partials[i - first] += partials[i + step - first]
            elif rank == left:
                received = np.empty_like(partials[0])
                comm.Recv(received, source=right, tag=i)
                partials[i - first] += received
            elif rank == right:
                comm.Send(partials[i + step - first], dest=left, tag=i)
        step *= 2
    comm.Bcast(partials[0], root=0)  # the others have sent what stood there
