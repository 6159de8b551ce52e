"""A run: it is resumed exactly, only as itself, and stops when it should."""

import dataclasses

import numpy as np
import pytest
from small_runs import LEAST, WHOLE, records

from tinyddpm import data
from tinyddpm.runs import checkpoint
from tinyddpm.runs.config import Config
from tinyddpm.runs.folder import BEST, CHECKPOINT, METRICS
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run
from tinyddpm.runs.training.progress import Limits

UNET = dataclasses.replace(LEAST, dropout=0.1)
SMALL = Config(T=20, batch_size=8, beta=0.5, warmup=3, every=4, steps=12, shards=2, unet=UNET)


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.npy"
    np.save(path, data.digits().images[:60, 0])
    return dataclasses.replace(SMALL, data=str(path))


def steps_in(folder):
    return [record for record in records(folder) if "J" in record]


def test_resumed_is_bit_identical_to_unbroken(few_digits, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(few_digits, whole)
    run(dataclasses.replace(few_digits, steps=5), broken)
    run(dataclasses.replace(few_digits, steps=8), broken, resume=True)
    with (broken / METRICS).open("a") as file:  # as if the machine had stopped some steps later
        file.write('{"k": 9, "J": 0.5}\n{"k": 10, "J')
    run(few_digits, broken, resume=True)
    a, b = (checkpoint.load(folder / CHECKPOINT) for folder in (whole, broken))
    for before, after in ((a.theta, b.theta), (a.ema, b.ema)):
        assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert steps_in(whole) == steps_in(broken)
    assert [record["k"] for record in steps_in(whole)] == list(range(1, 13))


def test_a_run_that_is_done_can_be_resumed_without_doing_anything(few_digits, tmp_path):
    folder = tmp_path / "x"
    run(few_digits, folder)
    before, lines = checkpoint.load(folder / CHECKPOINT), (folder / METRICS).read_bytes()
    assert run(few_digits, folder, resume=True).step == 12
    after = checkpoint.load(folder / CHECKPOINT)
    assert all((before.theta[name] == after.theta[name]).all() for name in before.theta)
    assert (folder / METRICS).read_bytes() == lines


def test_a_run_is_never_overwritten_and_only_resumed_as_itself(few_digits, tmp_path):
    run(few_digits, tmp_path / "x")
    with pytest.raises(ValueError, match="holds a run already"):
        run(few_digits, tmp_path / "x")
    with pytest.raises(ValueError, match="beta: the run to resume has 0.5, not 0.25"):
        run(dataclasses.replace(few_digits, beta=0.25), tmp_path / "x", resume=True)


def test_a_run_on_changed_data_is_not_resumed(few_digits, tmp_path):
    copy = tmp_path / "copy.npy"
    np.save(copy, np.load(few_digits.data))
    config = dataclasses.replace(few_digits, data=str(copy))
    run(config, tmp_path / "x")
    np.save(copy, -np.load(copy))
    with pytest.raises(ValueError, match="data: .* no longer holds the images"):
        run(dataclasses.replace(config, steps=20), tmp_path / "x", resume=True)


def test_samples_come_from_the_best_EMA(few_digits, tmp_path):
    summary = run(few_digits, tmp_path / "x")
    best = checkpoint.load(tmp_path / "x" / BEST)
    assert best.step == summary.progress.best_step
    opened = Run(tmp_path / "x")
    assert opened.step == best.step
    assert all((opened.unet.state()[name] == best.ema[name]).all() for name in best.ema)


def test_image_i_does_not_depend_on_how_many_are_drawn(few_digits, tmp_path):
    run(few_digits, tmp_path / "x")
    opened = Run(tmp_path / "x")
    for sampler in ({"sampler": "ddpm"}, {"sampler": "ddim", "steps": 5, "eta": 0.5}):
        *_, (t, many, _) = opened.sample(6, **sampler)
        *_, (t, few, _) = opened.sample(2, **sampler)
        assert t == 0 and many.shape == (6, 1, 8, 8) and many.dtype == np.float32
        np.testing.assert_allclose(many[:2], few, atol=2e-5)
        *_, (t, other, _) = opened.sample(2, seed=1, **sampler)
        assert np.abs(other - few).max() > 1e-2


def test_it_stops_when_the_held_out_J_stops_improving(few_digits, tmp_path):
    still = {"beta": 1e-12, "ema_decay": 0.0}  # it learns nothing
    config = dataclasses.replace(few_digits, **still, every=1, patience=3, steps=50)
    summary = run(config, tmp_path / "x")
    assert summary.step == 4 and summary.stopped.startswith("converged")


def test_minutes_are_minutes():
    limits = Limits(None, 1, 0)
    assert not limits.reached(5, 59, 0) and limits.reached(5, 60, 0) == "the 1 minutes are over"


def test_it_stops_when_the_minutes_are_over(few_digits, tmp_path):
    summary = run(dataclasses.replace(few_digits, minutes=1e-9, steps=None), tmp_path / "x")
    assert summary.step == 1 and "minutes are over" in summary.stopped
    assert checkpoint.load(tmp_path / "x" / CHECKPOINT).step == 1


@pytest.mark.parametrize("objective", ["sum", "batch_mean"])
def test_the_record_has_J_in_the_form_mse_for_every_objective(objective, few_digits, tmp_path):
    for form in ("mse", objective):
        changes = {"objective": form, "batch_size": 7, "beta": 1e-6, "steps": 2}
        run(dataclasses.replace(few_digits, **changes), tmp_path / form)
    a, b = ([record["J"] for record in steps_in(tmp_path / form)] for form in ("mse", objective))
    np.testing.assert_allclose(a[0], b[0], rtol=1e-6)


def test_one_image_alone_trains(tmp_path):
    path = tmp_path / "one.npy"
    np.save(path, data.digits().images[:1, 0])
    alone = {"data": str(path), "batch_size": 1, "steps": 30, "every": 30, "unet": WHOLE}
    run(dataclasses.replace(SMALL, **alone), tmp_path / "x")
    J = [record["J"] for record in steps_in(tmp_path / "x")]
    assert np.mean(J[-5:]) < 0.5 * np.mean(J[:5])
