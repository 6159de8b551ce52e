"""Are there other ranks? And what ranks say to each other besides gradients."""

import os
from typing import Any

# What the launchers of MPICH, Open MPI, Intel MPI and Slurm set for each process that they start.
LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")


class World:
    """All ranks of this run.

    Args:
        comm: an MPI communicator, as mpi4py has it.

    Attributes:
        rank: which one this process is, from 0.
        size: how many there are.
    """

    def __init__(self, comm: Any) -> None:
        self.comm = comm
        self.rank, self.size = comm.rank, comm.size

    def first(self, answers: str) -> str:
        """The answer of the lowest rank that has one that is not empty: all ranks get the same."""
        return next(filter(None, self.comm.allgather(answers)), "")

    def check_same(self, **values: Any) -> None:
        """See that all ranks have the same values.

        Raises:
            ValueError: on all ranks, and names the ranks that differ from rank 0.
        """
        of_ranks = self.comm.allgather(values)
        for name, value in of_ranks[0].items():
            others = [rank for rank, theirs in enumerate(of_ranks) if theirs[name] != value]
            if others:
                numbers = ", ".join(map(str, others))
                raise ValueError(
                    f"{name}: expected the same on all ranks, but rank 0 has {value!r}, "
                    f"and rank {numbers} has {of_ranks[others[0]][name]!r}"
                )


def world() -> World | None:
    """All ranks, if a launcher of MPI started this process with others; else None.

    Raises:
        RuntimeError: a launcher started it, and mpi4py is not there.
    """
    if not any(name in os.environ for name in LAUNCHED):
        return None
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise RuntimeError(
            f"mpi4py: expected it to be there under mpiexec or srun, got {error}; "
            "pip install 'tinyddpm[mpi]', or from a clone '.[mpi]'"
        ) from None
    return World(MPI.COMM_WORLD) if MPI.COMM_WORLD.size > 1 else None
