"""Which GPU a rank takes: one of its machine, and no other rank has it.

device = own_card(team, "cuda")       # "cuda:1" for the second rank of a machine

The ranks of a machine take its GPUs in their order. A launcher may show each rank GPUs of its own,
as Slurm does if it is told to: then each takes the first that it sees.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from autograd.gpus import gpus

from .same import check_same


class Place(NamedTuple):
    """Where a rank is, and what it sees there.

    Attributes:
        device: what it was told to take: cpu, cuda or cuda:1.
        cards: of each GPU that it sees, what kind it is and a name that no other one has.
        machine: the same number for all ranks of a machine.
    """

    device: str
    cards: tuple[tuple[str, str], ...]
    machine: int


def own_card(team: Any, device: str) -> str:
    """The device of this rank: `device` itself, but for "cuda" its own GPU. All ranks call it.

    Args:
        team: the ranks, a `Team`.
        device: cpu, cuda or cuda:1.

    Raises:
        ValueError: on all ranks: there are too few GPUs, or the ranks' are not of one kind.
    """
    check_same(team, device="cpu" if device == "cpu" else "a GPU")
    if device == "cpu":
        return device
    cards = tuple(gpus(device))
    team.allgather(None)  # whoever finds no GPU says so here, and the others do not wait below
    taken = share_out(team.allgather(Place(device, cards, _machine(team))))
    index = taken[team.rank]
    check_same(team, device=cards[index][0])  # another kind may give other last digits
    return f"cuda:{index}" if index else device


def share_out(places: Sequence[Place]) -> list[int]:
    """The number of each rank's GPU, among those that it sees.

    Raises:
        ValueError: two ranks would have the same. They would only wait for each other.
    """
    taken: list[int] = []
    owners: dict[tuple[int, str], int] = {}
    for rank, place in enumerate(places):
        device, cards, machine = place
        index = int(device.partition(":")[2] or places[:rank].count(place))
        if index >= len(cards):
            n = sum(other.machine == machine for other in places)
            raise ValueError(
                f"device: expected at most one rank for each GPU, got {n} ranks on a machine with "
                f"{len(cards)}; mpiexec -ppn {len(cards)} starts as many on each machine"
            )
        owner = owners.setdefault((machine, cards[index][1]), rank)
        if owner != rank:
            raise ValueError(
                f"device: expected a GPU of its own for each rank, but ranks {owner} and {rank} "
                f"have the same one, cuda:{index}; --device cuda gives each rank its own"
            )
        taken.append(index)
    return taken


def _machine(team: Any) -> int:
    """The lowest of the ranks that share memory with this one."""
    from mpi4py import MPI

    here = team.comm.Split_type(MPI.COMM_TYPE_SHARED, key=team.rank)
    first: int = here.bcast(team.rank)
    here.Free()
    return first
