"""Ranks: the same bits for any number of ranks and workers, and the same as without MPI."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import on_ranks
import pytest
from mpi import launch, needs_mpi

from tinyddpm.distributed import ranks as ranks_module, world as world_module
from tinyddpm.distributed.ranks import Ranks
from tinyddpm.distributed.same import check_same
from tinyddpm.distributed.world import world
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import linear


def run(ranks, *args):
    """Each line that a program of so many ranks prints, from JSON. 0 ranks: without mpiexec."""
    done = launch(ranks, on_ranks.__file__, *args)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def alone():
    (found,) = run(0, 1, "alone")
    assert list(found) == list(on_ranks.CASES)
    return found


@needs_mpi
@pytest.mark.parametrize(
    ("ranks", "workers"),
    [(2, 2), (3, 1), *(pytest.param(*row, marks=pytest.mark.prove) for row in [(2, 1), (6, 1)])],
)
def test_the_same_bits_for_any_number_of_ranks_and_workers(ranks, workers, alone):
    of_ranks = run(ranks, workers)
    assert len(of_ranks) == ranks
    for found in of_ranks:
        assert len(found) >= len(on_ranks.CASES) - 1  # see there which case is not for all
        assert found == {name: alone[name] for name in found}


@needs_mpi
def test_the_program_of_the_page_runs_on_two_ranks(tmp_path):
    page = (Path(__file__).parents[2] / "docs/distributed.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1)
    assert "step.k == 1500" in program
    shows = "if ranks.comm.rank == 0:\n    print(step)\n"
    short = program.replace("step.k == 1500", "step.k == 2") + shows
    (tmp_path / "program.py").write_text(short, encoding="utf-8")
    done = launch(2, tmp_path / "program.py")
    assert done.returncode == 0 and done.stdout.startswith("Step(k=2"), done.stderr


class FakeComm:
    """A communicator whose other ranks say what the test gives them."""

    def __init__(self, rank, size, others=()):
        self.rank, self.size, self.others = rank, size, list(others)

    def allgather(self, mine):
        return [mine, *self.others]


def test_more_ranks_than_shards_are_refused():
    unet = UNet(UNetConfig(**on_ranks.SMALL)).initialise(0)
    message = r"shards: expected at least one for each of 5 ranks, got 4 of 64 images"
    with pytest.raises(ValueError, match=message):
        Ranks(FakeComm(0, 5), unet, linear(10), batch_size=64, shards=4)


def test_each_rank_draws_only_its_own_samples():
    unet = UNet(UNetConfig(**on_ranks.SMALL)).initialise(0)
    own = [
        np.arange(17)[Ranks(FakeComm(rank, 4), unet, linear(10), 17, shards=6).samples]
        for rank in range(4)
    ]
    assert np.concatenate(own).tolist() == list(range(17))
    assert max(map(len, own)) <= 6


def test_a_rank_that_differs_is_named():
    alike = {"data": "abc", "version": "1"}
    check_same(FakeComm(0, 2, [alike]), **alike)
    others = [alike, alike | {"data": "xyz"}]
    message = r"data: expected the same on all ranks, but rank 0 has 'abc', and rank 2 has 'xyz'"
    with pytest.raises(ValueError, match=message):
        check_same(FakeComm(0, 3, others), **alike)


def test_a_rank_with_another_theta_does_not_begin(monkeypatch):
    monkeypatch.setattr(ranks_module, "_sharing", lambda comm: 1)
    unet = UNet(UNetConfig(**on_ranks.SMALL)).initialise(0)
    other = {"theta": "other", "batch_size": 12, "shards": 4}
    ranks = Ranks(FakeComm(0, 2, [other]), unet, linear(10), batch_size=12, workers=1)
    with pytest.raises(ValueError, match="theta: expected the same on all ranks"), ranks:
        pass


def test_a_whole_mini_batch_on_one_rank_is_refused():
    unet, schedule = UNet(UNetConfig(**on_ranks.SMALL)).initialise(0), linear(10)
    ranks = Ranks(FakeComm(1, 2), unet, schedule, batch_size=12, workers=1)
    x0 = np.zeros((12, *on_ranks.IMAGE), np.float32)
    with ranks.own, pytest.raises(ValueError, match="gradient: expected 6 images here, got 12"):
        ranks.gradient(unet, schedule, x0, np.ones(12, int), x0)


def test_without_a_launcher_there_is_no_world(monkeypatch):
    for name in world_module.LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    assert world() is None


def test_under_a_launcher_without_mpi4py_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(RuntimeError, match=r"mpi4py: expected .* pip install mpi4py"):
        world()
