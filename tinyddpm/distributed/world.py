"""Are there other ranks?"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .team import Team

# What the launchers of MPICH, Open MPI, Intel MPI and Slurm set for each process that they start.
LAUNCHED = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")


def world() -> "Team | None":
    """All ranks; None if this process is alone.

    Raises:
        RuntimeError: a launcher of MPI started this process, and mpi4py is not there.
    """
    if launched_as() is None:
        return None
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise RuntimeError(
            f"mpi4py: expected it to be there under mpiexec or srun, got {error}; "
            "pip install mpi4py"
        ) from None
    from .team import Team

    return Team(MPI.COMM_WORLD) if MPI.COMM_WORLD.size > 1 else None


def launched_as() -> int | None:
    """The rank that a launcher gave this process, before MPI is there; None without a launcher."""
    found = [os.environ[name] for name in LAUNCHED if name in os.environ]
    return int(found[0]) if found and found[0].isdigit() else None
