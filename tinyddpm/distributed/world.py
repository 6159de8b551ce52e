"""Are there other ranks, and do all have the same?"""

import os
from typing import Any

# What the launchers of MPICH, Open MPI, Intel MPI and Slurm set for each process that they start.
LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")


def world() -> Any:
    """The communicator of all ranks, as mpi4py has it; None if this process is alone.

    Raises:
        RuntimeError: a launcher of MPI started this process, and mpi4py is not there.
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
    return MPI.COMM_WORLD if MPI.COMM_WORLD.size > 1 else None


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
