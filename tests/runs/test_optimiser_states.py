"""What a checkpoint holds of an optimiser, and what becomes of a run that it does not suit."""

import dataclasses
import re

import numpy as np
import pytest
from small_methods import made, words
from small_runs import assert_same_run, at_step, damage

from tinyddpm.runs import checkpoint
from tinyddpm.runs.checkpoint import CheckpointError
from tinyddpm.runs.folder import BEST, CHECKPOINT
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import model as room, run, trainer


def parts(file):
    """The first two parts of the names in a checkpoint's memory."""
    return {".".join(name.split(".")[:2]) for name in checkpoint.load(file).memory}


def test_an_optimisers_vectors_have_the_parameters_names(images, tmp_path):
    for optimiser, found in (
        ("sgd", set()),
        ("momentum", {"optimiser.m"}),
        ("adam", {"optimiser.m", "optimiser.v", "optimiser.steps"}),
    ):
        run(made(images, optimiser=optimiser), tmp_path / optimiser)
        file = tmp_path / optimiser / CHECKPOINT
        assert parts(file) == parts(file.parent / BEST) == found
    saved = checkpoint.load(file)
    for name, array in saved.theta.items():
        for vector in ("m", "v"):
            assert saved.memory[f"optimiser.{vector}.{name}"].shape == array.shape
    assert saved.memory["optimiser.steps"] == [11]


@pytest.fixture
def adam(images, tmp_path):
    """A run with Adam of 4 of 11 steps: its configuration and its checkpoint."""
    config = made(images, optimiser="adam")
    run(dataclasses.replace(config, steps=4), tmp_path / "x")
    return config, tmp_path / "x" / CHECKPOINT


def forged(memory):
    """Memories that no run has, each with what is said of it."""
    name = next(iter(name for name in memory if name.startswith("optimiser.m.")))
    rest = {other: array for other, array in memory.items() if other != name}
    no_v = {n: a for n, a in memory.items() if not n.startswith("optimiser.v")}
    yield {}, "the state of the optimiser is missing, .* --from in place of --resume"
    yield rest, f"optimiser.m: {name.removeprefix('optimiser.m.')} is missing"
    yield memory | {name: memory[name][..., None]}, "optimiser.m: .* has shape .* expected"
    yield memory | {"optimiser.m.other": memory[name]}, "other is not of this network"
    yield memory | {"optimiser.m": memory[name]}, "optimiser.m: expected one of this name"
    yield no_v, "optimiser: state: expected m, v, steps, or nothing, got m, steps"
    yield memory | {"optimiser.z": np.ones(1)}, "optimiser: state: expected"
    yield memory | {"optimiser.steps": np.array([0.5])}, "expected a number of steps, got 0.5"
    yield memory | {"timesteps.losses": np.ones(1)}, "timesteps.* is not of this run"


@pytest.mark.parametrize("case", range(9))
def test_a_state_that_is_missing_or_of_something_else_is_refused(case, adam):
    config, file = adam
    saved = checkpoint.load(file)
    memory, problem = list(forged(saved.memory))[case]
    checkpoint.save(file, dataclasses.replace(saved, memory=memory))
    with pytest.raises(CheckpointError, match=f"{re.escape(str(file))}: .*{problem}"):
        run(config, file.parent, resume=True)
    # To sample from, nobody needs it.
    assert Run(file).step == 4


def test_a_vector_under_a_whole_name_is_refused(adam):
    config, file = adam
    saved = checkpoint.load(file)
    memory = {n: a for n, a in saved.memory.items() if not n.startswith("optimiser.m")}
    checkpoint.save(file, dataclasses.replace(saved, memory=memory | {"optimiser.m": np.ones(3)}))
    with pytest.raises(ValueError, match="^m: expected"):
        run(config, file.parent, resume=True)


def test_plain_gradient_descent_takes_no_state(adam):
    config, file = adam
    saved = checkpoint.load(file)
    plain = dataclasses.replace(config, optimiser="sgd")
    checkpoint.save(file, dataclasses.replace(saved, config=plain))
    with pytest.raises(CheckpointError, match=r"optimiser.m.* is not of this run"):
        run(plain, file.parent, resume=True)


def test_a_damaged_number_of_it_costs_the_steps_since_the_checkpoint_before(images, tmp_path):
    config = made(images, optimiser="adam")
    run(config, tmp_path / "whole")
    run(dataclasses.replace(config, steps=8), tmp_path / "x")
    damage(tmp_path / "x" / CHECKPOINT)
    with pytest.raises(CheckpointError, match="its checksum does not match"):
        checkpoint.load(tmp_path / "x" / CHECKPOINT)
    run(config, tmp_path / "x", resume=True)
    assert_same_run(tmp_path / "x", tmp_path / "whole")


def without_memory(*args, **options):
    raise MemoryError("no room")


METHODS_THAT_REMEMBER = [{"optimiser": "adam"}, {"multipliers": "measured"}, {"loss_aware_t": True}]


@pytest.mark.parametrize("method", METHODS_THAT_REMEMBER, ids=words)
def test_a_run_whose_first_step_cannot_be_taken_goes_on(method, images, tmp_path, monkeypatch):
    config = made(images, **method)
    with monkeypatch.context() as patch, pytest.raises(MemoryError, match="--resume goes on"):
        patch.setattr(trainer, "gradient_of", lambda config: without_memory)
        run(config, tmp_path / "x")
    assert checkpoint.load(tmp_path / "x" / CHECKPOINT).step == 0
    for folder, resume in (("x", True), ("whole", False)):
        run(config, tmp_path / folder, resume=resume)
    assert_same_run(tmp_path / "x", tmp_path / "whole")


def test_a_state_that_is_not_finite_is_not_kept(images, tmp_path, monkeypatch):
    config = made(images, optimiser="adam", every=100)
    model = []

    def spoil():
        model[0].update.v[5] = np.inf

    init = room.Model.__init__
    monkeypatch.setattr(
        room.Model, "__init__", lambda self, *a: (init(self, *a), model.append(self))[0]
    )
    at_step(monkeypatch, 5, spoil)
    said = "v of the optimiser is no longer finite. No checkpoint was written yet. Try a smaller β"
    with pytest.raises(FloatingPointError, match=said):
        run(config, tmp_path / "x")
    assert not (tmp_path / "x" / CHECKPOINT).exists()


def test_a_run_from_another_begins_with_an_optimiser_that_remembers_nothing(
    images, tmp_path, capsys
):
    run(made(images, optimiser="adam"), tmp_path / "x")
    config = made(images, optimiser="adam", steps=1, every=1, from_run=str(tmp_path / "x"))
    run(config, tmp_path / "y")
    assert "Its optimiser begins anew" in capsys.readouterr().err
    assert checkpoint.load(tmp_path / "y" / CHECKPOINT).memory["optimiser.steps"] == [1]
