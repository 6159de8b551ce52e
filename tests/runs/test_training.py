"""A run: exact resumption, the reasons to stop, the average, the held-out draws."""

import dataclasses
import json

import numpy as np
import pytest

from tinyddpm import data, schedule
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import checkpoint, ema
from tinyddpm.runs.config import Config
from tinyddpm.runs.folder import BEST, CHECKPOINT, METRICS
from tinyddpm.runs.heldout import BANDS, Draws, mean_image
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import Progress, run

SMALL = Config(
    T=20,
    batch_size=8,
    beta=0.5,
    warmup=3,
    every=4,
    steps=12,
    unet=UNetConfig(base=4, groups=2, blocks=1, dropout=0.1),
)


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.npy"
    np.save(path, data.digits().images[:60, 0])
    return dataclasses.replace(SMALL, data=str(path))


def without_clocks(path):
    return [
        {name: v for name, v in json.loads(line).items() if name != "seconds"}
        for line in path.read_text().splitlines()
    ]


def test_resumed_is_bit_identical_to_unbroken(few_digits, tmp_path):
    run(few_digits, tmp_path / "whole")
    run(dataclasses.replace(few_digits, steps=5), tmp_path / "broken")
    run(dataclasses.replace(few_digits, steps=8), tmp_path / "broken", resume=True)
    with (tmp_path / "broken" / METRICS).open(
        "a"
    ) as file:  # as if the machine had stopped after a few more steps
        file.write('{"k": 9, "J": 0.5}\n{"k": 10, "J')
    run(few_digits, tmp_path / "broken", resume=True)
    whole, broken = (checkpoint.load(tmp_path / name / CHECKPOINT) for name in ("whole", "broken"))
    for part in ("theta", "ema"):
        a, b = getattr(whole, part), getattr(broken, part)
        assert all(a[name].tobytes() == b[name].tobytes() for name in a)
    steps = [
        [line for line in without_clocks(tmp_path / name / METRICS) if "J" in line]
        for name in ("whole", "broken")
    ]
    assert steps[0] == steps[1] and [line["k"] for line in steps[0]] == list(range(1, 13))


def test_a_run_that_is_done_can_be_resumed_without_doing_anything(few_digits, tmp_path):
    run(few_digits, tmp_path / "x")
    before, lines = (
        checkpoint.load(tmp_path / "x" / CHECKPOINT),
        (tmp_path / "x" / METRICS).read_bytes(),
    )
    assert run(few_digits, tmp_path / "x", resume=True).step == 12
    after = checkpoint.load(tmp_path / "x" / CHECKPOINT)
    assert all((before.theta[name] == after.theta[name]).all() for name in before.theta)
    assert (tmp_path / "x" / METRICS).read_bytes() == lines


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


def test_samples_come_from_the_best_average(few_digits, tmp_path):
    summary = run(few_digits, tmp_path / "x")
    best = checkpoint.load(tmp_path / "x" / BEST)
    assert best.step == summary.progress.best_step
    loaded = Run(tmp_path / "x")
    assert loaded.step == best.step and all(
        (loaded.unet.state()[n] == best.ema[n]).all() for n in best.ema
    )


def test_image_i_does_not_depend_on_how_many_are_drawn(few_digits, tmp_path):
    run(few_digits, tmp_path / "x")
    loaded = Run(tmp_path / "x")
    for sampler in ({"sampler": "ddpm"}, {"sampler": "ddim", "steps": 5, "eta": 0.5}):
        *_, (t, many, _) = loaded.sample(6, **sampler)
        *_, (t, few, _) = loaded.sample(2, **sampler)
        assert t == 0 and many.shape == (6, 1, 8, 8) and many.dtype == np.float32
        np.testing.assert_allclose(many[:2], few, atol=2e-5)
        *_, (t, other, _) = loaded.sample(2, seed=1, **sampler)
        assert np.abs(other - few).max() > 1e-2


def test_it_stops_when_the_held_out_J_stops_improving(few_digits, tmp_path):
    config = dataclasses.replace(
        few_digits, beta=1e-12, ema_decay=0.0, every=1, patience=3, steps=50
    )  # it learns nothing
    summary = run(config, tmp_path / "x")
    assert summary.step == 4 and summary.stopped.startswith("converged")


def test_it_stops_when_the_minutes_are_over(few_digits, tmp_path):
    summary = run(dataclasses.replace(few_digits, minutes=1e-9, steps=None), tmp_path / "x")
    assert summary.step == 1 and "minutes are over" in summary.stopped
    assert checkpoint.load(tmp_path / "x" / CHECKPOINT).step == 1


def test_progress_waits_for_a_real_improvement():
    progress = Progress()
    assert progress.see(1.0, 1) and progress.waited == 0
    assert (
        progress.see(0.9995, 2) and progress.waited == 1
    )  # lower, so the best; but no real improvement
    assert (
        not progress.see(1.5, 3)
        and progress.waited == 2
        and (progress.best, progress.best_step) == (0.9995, 2)
    )
    assert progress.see(0.5, 4) and progress.waited == 0


def test_a_slow_improvement_is_still_one():
    """Less than 0.1 % an evaluation, but 10 % in all: that is not convergence."""
    progress = Progress()
    for step in range(200):
        progress.see(0.9995**step, step)
        assert progress.waited < 3


def test_the_average_has_its_closed_form():
    thetas = np.random.default_rng(0).normal(size=(40, 3))
    theta0, decay = np.ones(3), 0.8
    running = theta0.copy()
    for k, theta in enumerate(thetas, 1):
        ema.update(running, theta, decay, k)
    d = np.array([min(decay, (1 + k) / (10 + k)) for k in range(1, 41)])
    later = np.append(np.cumprod(d[::-1])[::-1], 1.0)  # product of all decays from k on
    expected = later[0] * theta0 + sum(
        later[k] * (1 - d[k - 1]) * thetas[k - 1] for k in range(1, 41)
    )
    np.testing.assert_allclose(running, expected, rtol=1e-12)
    ema.update(running, thetas[0], 0.0, 41)
    assert (running == thetas[0]).all()


def test_held_out_draws_cover_the_bands_evenly_and_never_change():
    images = data.digits().images[::6]
    draws = Draws(images, schedule.linear(1000))
    assert len(draws.t) == 3000 and draws.t.min() >= 1 and draws.t.max() <= 1000
    assert (np.bincount((draws.t - 1) // 100) == 300).all()
    assert (draws.t == Draws(images, schedule.linear(1000)).t).all()
    assert draws.t[:5].tolist() == [48, 167, 229, 345, 487]


@pytest.mark.parametrize("T", [1, 7, 10, 999])
def test_held_out_draws_stay_within_T(T):
    draws = Draws(data.digits().images[:50], schedule.linear(T))
    assert draws.t.min() >= 1 and draws.t.max() <= T


def test_evaluate_is_the_mean_over_bands_of_squared_error():
    images = data.digits().images[:20]
    draws = Draws(images, schedule.linear(50))
    zero = draws.evaluate(lambda xt, t: np.zeros_like(xt), chunk=7)
    assert zero.shape == (BANDS,)
    np.testing.assert_allclose(zero, np.square(images, dtype=np.float64).mean(), rtol=1e-6)
    assert draws.evaluate(mean_image(images)).mean() == pytest.approx(
        images.var(axis=0, dtype=np.float64).mean(), rel=1e-5
    )


def test_one_image_alone_trains(tmp_path):
    np.save(tmp_path / "one.npy", data.digits().images[:1, 0])
    config = dataclasses.replace(
        SMALL, data=str(tmp_path / "one.npy"), batch_size=1, steps=30, every=30
    )
    run(config, tmp_path / "x")
    J = [line["J"] for line in without_clocks(tmp_path / "x" / METRICS) if "J" in line]
    assert np.mean(J[-5:]) < 0.5 * np.mean(J[:5])
