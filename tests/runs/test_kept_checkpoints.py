"""Which checkpoints are kept, and what happens to a run when some are damaged or lost."""

import dataclasses
import os

import pytest
from small_runs import assert_same_run, damage, records

from tinyddpm.runs import checkpoint, ema
from tinyddpm.runs.folder import BEST, CHECKPOINT, LOCK, RunFolder
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import Progress, run

STEP_4, STEP_8 = "checkpoint-000004.safetensors", "checkpoint-000008.safetensors"


@pytest.mark.parametrize(
    "keep, steps", [(1, []), (2, [20]), (3, [20, 16]), (9, [20, 16, 12, 8, 4])]
)
def test_the_last_few_checkpoints_are_kept_and_the_best(config, unbroken, tmp_path, keep, steps):
    run(dataclasses.replace(config, keep=keep), tmp_path / "x")
    paths = RunFolder(tmp_path / "x").checkpoints()
    earlier = [f"checkpoint-{step:06d}.safetensors" for step in steps]
    assert [p.name for p in paths] == [CHECKPOINT, *earlier, BEST]
    assert [checkpoint.load(p).step for p in paths[:-1]] == [22, *steps]
    best = checkpoint.load(tmp_path / "x" / BEST)
    held_out = {r["k"]: r["held_out"] for r in records(unbroken) if "held_out" in r}
    assert held_out[best.step] == min(held_out.values()) == best.state["progress"]["best"]


def test_keep_may_change_when_a_run_is_resumed(config, unbroken, tmp_path):
    run(dataclasses.replace(config, steps=16, keep=4), tmp_path / "x")
    run(dataclasses.replace(config, keep=2), tmp_path / "x", resume=True)
    a, b = (checkpoint.load(folder / CHECKPOINT).theta for folder in (tmp_path / "x", unbroken))
    assert all((a[name] == b[name]).all() for name in a)
    assert len(RunFolder(tmp_path / "x").checkpoints()) == 3


@pytest.mark.parametrize(
    "damaged, step",
    [([CHECKPOINT], 8), ([CHECKPOINT, STEP_8], 4), ([CHECKPOINT, STEP_8, STEP_4], None)],
)
def test_resuming_falls_back_to_the_newest_whole_checkpoint_and_says_so(
    config, unbroken, tmp_path, capsys, monkeypatch, damaged, step
):
    folder = tmp_path / "x"
    run(dataclasses.replace(config, steps=12), folder)
    step = step or checkpoint.load(folder / BEST).step
    for name in damaged:
        damage(folder / name)
    started, update = [], ema.update

    def noted(average, theta, decay, k):
        started.append(k)
        update(average, theta, decay, k)

    monkeypatch.setattr(ema, "update", noted)
    run(config, folder, resume=True)
    assert started == list(range(step + 1, 23))
    assert_same_run(folder, unbroken)
    said = capsys.readouterr().err
    for name in damaged:
        assert f"{folder / name}: not a whole checkpoint: its checksum" in said
        assert f"called {name}.damaged" in said and (folder / f"{name}.damaged").exists()
    assert f", step {step}" in said


def test_no_whole_checkpoint_is_an_error_and_nothing_is_overwritten(config, tmp_path):
    folder = tmp_path / "x"
    run(config, folder)
    for path in RunFolder(folder).checkpoints():
        damage(path)
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != LOCK}
    with pytest.raises(checkpoint.CheckpointError, match="holds no checkpoint that is whole"):
        run(config, folder, resume=True)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name != LOCK} == before


@pytest.mark.parametrize("harm", [damage, os.unlink])
def test_a_lost_best_is_taken_from_a_kept_checkpoint(config, tmp_path, harm):
    folder, config = tmp_path / "x", dataclasses.replace(config, steps=12, keep=9)
    run(config, folder)
    whole = (folder / BEST).read_bytes()
    for _ in range(2):  # a copy: what harms the one leaves the other
        harm(folder / BEST)
        run(config, folder, resume=True)
        assert (folder / BEST).read_bytes() == whole


def test_if_the_best_is_lost_for_good_the_user_is_told_and_the_next_takes_its_place(
    config, tmp_path, monkeypatch, capsys
):
    config, see = dataclasses.replace(config, keep=1, every=1, ema_decay=0.0), Progress.see
    Js = iter([0.5, 0.4, 0.3, 0.8, 0.7, 0.9])
    monkeypatch.setattr(Progress, "see", lambda self, J, step: see(self, next(Js), step))
    run(dataclasses.replace(config, steps=4), tmp_path / "x")
    damage(tmp_path / "x" / BEST)
    run(dataclasses.replace(config, steps=6), tmp_path / "x", resume=True)
    assert checkpoint.load(tmp_path / "x" / BEST).step == 5
    assert f"{BEST} is not whole" in capsys.readouterr().err


def test_sampling_from_a_damaged_best_names_what_to_use_instead(config, tmp_path):
    run(config, tmp_path / "x")
    damage(tmp_path / "x" / BEST)
    problem = f"{BEST}: not a whole .*; .*{CHECKPOINT} can be given instead"
    with pytest.raises(checkpoint.CheckpointError, match=problem):
        Run(tmp_path / "x")
    assert Run(tmp_path / "x" / CHECKPOINT).step == 22
    (tmp_path / "x" / BEST).unlink()
    assert Run(tmp_path / "x").step == 22
