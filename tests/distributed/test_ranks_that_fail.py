"""A rank that fails, stops or is killed: all end, rank 0 says why, and the run can go on."""

import json
import re
import time

import pytest
import trains
from mpi import assert_same, launch, needs_mpi

from tinyddpm.distributed import team
from tinyddpm.runs.checkpoint import load

pytestmark = needs_mpi
prove = pytest.mark.prove
CASE = "plain"
TIMEOUT = 8  # seconds: the machine may be busy
WHO = r"rank 1 \(process \d+ on \S+\)"
SILENT = rf"has not answered for {TIMEOUT:g} s: perhaps it is stopped"
HAVE = "expected the same on all ranks, but rank 0 has '.*', and rank 1 has '.*'"


def train(folder, images, ranks, *harm, timeout=120):
    """A run of 9 steps. Returns what came of it, and the step that is kept."""
    arguments = folder, images, 9, 1, CASE, json.dumps(harm)
    environment = {team.TIMEOUT: str(timeout)}
    done = launch(ranks, trains.__file__, *arguments, environment=environment)
    saved = folder / CASE / "checkpoint.safetensors"
    assert not list(folder.glob("*/*.writing"))
    return done, load(saved).step if saved.exists() else None


def assert_goes_on(folder, images, alone):
    """Without MPI. With any number of ranks it would be the same: see test_training_on_ranks.py."""
    trains.run_alone(CASE, folder, images, 9)
    assert load(folder / CASE / "checkpoint.safetensors").step == 9
    assert_same(folder, alone, [CASE])


def at_step_6(what, rank=1):
    return {"rank": rank, "step": 6, "do": what}


# What is done to a rank, what rank 0 says (else a rank that is left), and which step is kept.
HARM = [
    (
        at_step_6("memory"),
        rf"RuntimeError: {WHO}: no room for this\. The state after step 5 is kept: --re",
        5,
    ),
    (at_step_6("SIGKILL"), "", 4),
    (
        at_step_6("theta"),
        rf"theta: {HAVE}, after step 8\. The checkpoint of step 4 is kept",
        4,
    ),
    (
        at_step_6("full disk", rank=0),
        r"safetensors: File too large\. The run stopped at step 8; the checkpoint of step 4 is",
        4,
    ),
    ({"rank": 1, "do": "other data"}, f"data: {HAVE}", None),
]
FURTHER = [
    (
        at_step_6("bug"),
        rf"{WHO}: Traceback[^$]*LookupError: what nobody expected[^$]*step 5 is kept",
        5,
    ),
    (at_step_6("bug", rank=0), "LookupError: what nobody expected", 4),
    (at_step_6("memory", rank=0), r"no room for this\. The state after step 5 is kept", 5),
    (at_step_6("SIGKILL", rank=0), "", 4),
    # the 8th chunk of held-out images: in the second evaluation
    (
        {"rank": 1, "step": 2, "in": "denoise", "do": "memory"},
        rf"{WHO}: no room for this\. The checkpoint of step 4 is kept",
        4,
    ),
    ({"rank": 1, "do": "other version"}, f"version: {HAVE}", None),
]


@pytest.mark.parametrize(
    ("harm", "said", "kept"), [*HARM, *(pytest.param(*row, marks=prove) for row in FURTHER)]
)
def test_all_end_and_nothing_is_lost_but_what_was_not_saved(
    harm, said, kept, images, alone, tmp_path
):
    done, step = train(tmp_path, images, 2, harm)
    assert done.returncode and re.search(said, done.stderr), done.stderr
    assert step == kept
    if kept:
        assert_goes_on(tmp_path, images, alone)


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=prove)])
def test_a_rank_that_no_longer_answers_is_noticed(rank, images, alone, tmp_path):
    done, step = train(tmp_path, images, 2, at_step_6("SIGSTOP", rank), timeout=TIMEOUT)
    if rank:
        said, kept = rf"tinyddpm: {WHO} {SILENT}.*The state after step 5 is kept", 5
    else:  # the others wait longer, so that rank 0 can save
        said, kept = r"tinyddpm: rank 0 \(process \d+ on \S+\) has not answered for 12 s", 4
    assert done.returncode and re.search(said, done.stderr), done.stderr
    assert step == kept
    assert_goes_on(tmp_path, images, alone)


AT_THE_END = """
import os, signal
from tinyddpm.distributed.world import world

with world() as team:
    team.allgather(1)
    if team.rank:
        os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_rank_that_stops_at_the_very_end_is_noticed():
    done = launch(2, "-c", AT_THE_END, environment={team.TIMEOUT: "15"}, timeout=90)
    assert done.returncode and re.search(rf"{WHO} has not answered for 15 s", done.stderr)


@prove
def test_a_rank_that_fails_ends_those_that_are_busy(images, tmp_path):
    """Rank 0 computes a step that takes a minute, and does not hear of it."""
    began = time.monotonic()
    done, _ = train(tmp_path, images, 2, at_step_6("busy", 0), at_step_6("memory"))
    assert done.returncode and re.search(rf"tinyddpm: {WHO}: no room for this", done.stderr)
    assert time.monotonic() - began < 40


@pytest.mark.parametrize(
    "name, to", [("SIGTERM", "rank 1"), pytest.param("SIGINT", "all", marks=prove)]
)
def test_a_signal_to_any_rank_ends_all_after_the_same_step(name, to, images, alone, tmp_path):
    ranks = [1] if to == "rank 1" else [0, 1, 2]
    done, step = train(tmp_path, images, 3, *(at_step_6(name, rank) for rank in ranks))
    assert not done.returncode, done.stderr
    assert step == 6
    assert_goes_on(tmp_path, images, alone)
