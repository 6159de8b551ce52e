"""20 kills at random over all ranks, each resumed with another number of ranks: the same bits.

And the whole table of ranks and workers, which `make test` has only a part of.
"""

import json
import random

import numpy as np
import pytest
import trains
from mpi import assert_same, launch, needs_mpi

from tinyddpm.runs.checkpoint import load
from tinyddpm.runs.folder import RunFolder

pytestmark = [needs_mpi, pytest.mark.prove]
STEPS, CASES = 400, "dropout"


@pytest.fixture(scope="module")
def unbroken(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    assert not launch(0, trains.__file__, folder, images, STEPS, 1, CASES).returncode
    return folder


@pytest.mark.parametrize("chain", range(2))
def test_twenty_kills_at_random(images, unbroken, tmp_path, chain):
    draw, ranks, reached, killed = random.Random(chain), 0, (0,), set()
    for _ in range(10):
        ranks = draw.choice([n for n in (2, 3, 4) if n != ranks])
        victim = draw.randrange(ranks)
        harm = {"rank": victim, "do": "SIGKILL", "after": draw.uniform(0.1, 1.2)}
        done = launch(ranks, trains.__file__, tmp_path, images, STEPS, 1, CASES, json.dumps([harm]))
        assert done.returncode, "done before it could be killed"
        killed.add(victim)
        found = [RunFolder(tmp_path / case).newest() for case in CASES.split(",")]
        assert not any(one.damaged for one in found if one)
        now = tuple(one.checkpoint.step if one else 0 for one in found)
        assert now >= reached and all(step % 4 == 0 for step in now)
        reached = now
    assert len(killed) > 2 and reached > (8,)
    done = launch(ranks - 1, trains.__file__, tmp_path, images, STEPS, 1, CASES)
    assert not done.returncode, done.stderr
    assert_same(tmp_path, unbroken, CASES.split(","))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bits_for_all_ranks_and_workers(ranks, workers, images, alone, tmp_path):
    """The configuration in a checkpoint says how many workers there are: that may differ."""
    done = launch(ranks, trains.__file__, tmp_path, images, 9, workers)
    assert not done.returncode, done.stderr
    for case in trains.CASES:
        for name in ("checkpoint", "best"):
            found, expected = (
                load(folder / case / f"{name}.safetensors") for folder in (tmp_path, alone)
            )
            assert (found.step, found.state) == (expected.step, expected.state)
            for ours, theirs in ((found.theta, expected.theta), (found.ema, expected.ema)):
                assert ours.keys() == theirs.keys()
                assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
