"""Which GPU each rank takes: its own, whatever its launcher lets it see."""

import pytest

from tinyddpm.distributed.cards import Place, own_card, share_out

FOUR = tuple(("H100", f"bus {i}") for i in range(4))
SHARED = "device: expected a GPU of its own for each rank, but ranks 0 and 1 have the same one"


def places(*of_ranks):
    """The Place of each rank, from (device, the GPUs that it sees, machine)."""
    return [
        Place(device, tuple(FOUR[i] for i in seen), machine) for device, seen, machine in of_ranks
    ]


ALL = (0, 1, 2, 3)
SHARING = {
    "one machine": ([("cuda", ALL, 0)] * 3, [0, 1, 2]),
    "two machines, ranks in turn": ([("cuda", ALL, 0), ("cuda", ALL, 1)] * 2, [0, 0, 1, 1]),
    "each rank sees its own": ([("cuda", (i,), 0) for i in ALL], [0, 0, 0, 0]),
    "each pair sees two": ([("cuda", (i, i + 1), 0) for i in (0, 0, 2, 2)], [0, 1, 0, 1]),
    "a named one on each machine": ([("cuda:1", ALL, 0), ("cuda:1", ALL, 1)], [1, 1]),
    "each its own name": ([("cuda:2", ALL, 0), ("cuda:0", ALL, 0)], [2, 0]),
}


@pytest.mark.parametrize("name", SHARING)
def test_each_rank_has_a_gpu_of_its_own(name):
    given, expected = SHARING[name]
    assert share_out(places(*given)) == expected


@pytest.mark.parametrize(
    "given, message",
    [
        (
            [("cuda", (0, 1), 0)] * 3,
            "at most one rank for each GPU, got 3 ranks on a machine with 2",
        ),
        ([("cuda:1", ALL, 0)] * 2, f"{SHARED}, cuda:1; --device cuda gives each rank its own"),
        ([("cuda", (0, 1), 0), ("cuda", (0, 2), 0)], SHARED),
        ([("cuda:1", ALL, 0), ("cuda:1", (0, 1), 0)], SHARED),
    ],
)
def test_no_two_ranks_share_one(given, message):
    with pytest.raises(ValueError, match=message):
        share_out(places(*given))


class Other:
    """A team of two, whose other rank says what the test gives it."""

    rank, size = 0, 2

    def __init__(self, **said):
        self.said = said

    def allgather(self, mine):
        return [mine, self.said]


def test_a_rank_on_a_cpu_beside_one_on_a_gpu_is_refused():
    message = "device: expected the same on all ranks, but rank 0 has 'cpu', and rank 1 has 'a GPU'"
    with pytest.raises(ValueError, match=message):
        own_card(Other(device="a GPU"), "cpu")


def test_a_cpu_stays_a_cpu():
    assert own_card(Other(device="cpu"), "cpu") == "cpu"
