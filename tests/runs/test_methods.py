"""Other optimisers, decays, predictions and weights: resumed exactly, and what a run says."""

import dataclasses
import signal
import sys

import numpy as np
import pytest
from small_methods import made, words
from small_runs import LEAST, assert_same_run, at_step, later, records

from tinyddpm.more import predictions
from tinyddpm.more.classes import dropped
from tinyddpm.runs import checkpoint, config as configuration
from tinyddpm.runs.config import Config
from tinyddpm.runs.folder import CHECKPOINT
from tinyddpm.runs.heldout import Draws
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run
from tinyddpm.runs.training.method import gradient_of, timesteps_of, update_of
from tinyddpm.runs.training.prepare import prepare
from tinyddpm.train import gradient, gradient_descent, train

# Each optimiser, decay, prediction and weight. Multipliers: stopped while they are measured, too.
METHODS = [
    {},
    {"optimiser": "momentum", "decay": "cosine"},
    {"optimiser": "adam"},
    {"multipliers": "measured", "warmup": 6},
    {"multipliers": "measured", "optimiser": "momentum"},
    {"optimiser": "adam", "multipliers": "hand", "decay": "linear"},
    {"predicts": "eps", "optimiser": "adam"},
    {"predicts": "v", "decay": "linear"},
    {"predicts": "v", "weight": "none", "optimiser": "momentum", "workers": 2},
    {"weight": "min_snr", "optimiser": "adam"},
    {"weight": "truncated_snr", "beta": 0.01},
    {"weight": "snr", "beta": 0.01, "multipliers": "none"},
    {"learn_sigma": True, "predicts": "eps", "optimiser": "adam"},
    {"learn_sigma": True, "loss_aware_t": True, "T": 3, "batch_size": 24, "workers": 2},
    {"loss_aware_t": True, "T": 3, "batch_size": 24},  # each t has ten losses before step 8
    {"loss_aware_t": True, "T": 3, "batch_size": 24, "predicts": "v", "workers": 2},
]


# ---- resumed exactly -----------------------------------------------------------------------------


# What the others keep in a checkpoint, one of these keeps too.
@pytest.mark.parametrize("method", later(METHODS, 2, *range(6, 12), 14, 15), ids=words)
def test_a_killed_and_resumed_run_is_the_unbroken_one(method, images, tmp_path, monkeypatch):
    """Ended by a signal in the warm-up and after it, and once without a word after a checkpoint."""
    config = made(images, **method)
    run(config, tmp_path / "whole")
    if config.loss_aware_t:
        saved = checkpoint.load(tmp_path / "whole" / CHECKPOINT)
        assert saved.memory["timesteps.counts"].min() == 10
    for last in (2, 6):
        at_step(monkeypatch, last, lambda: signal.raise_signal(signal.SIGTERM))
        assert run(config, tmp_path / "x", resume="if there").step == last

    at_step(monkeypatch, 10, sys.exit)
    with pytest.raises(SystemExit):
        run(config, tmp_path / "x", resume=True)
    assert checkpoint.load(tmp_path / "x" / CHECKPOINT).step == 8
    run(config, tmp_path / "x", resume=True)
    assert_same_run(tmp_path / "x", tmp_path / "whole")
    assert all(np.isfinite(r["J"]) for r in records(tmp_path / "x") if "J" in r)


def first_J(config, **plugs):
    """J of the first steps, from `train` itself."""
    setup = prepare(config)
    batch = {"seed": config.seed, "batch_size": config.batch_size}
    steps = train(
        setup.model.unet, setup.images, setup.schedule, config.step_size, **batch, **plugs
    )
    return [next(steps).J for _ in range(9)]


@pytest.mark.parametrize("method", later(METHODS, 2, 15), ids=words)
def test_a_run_takes_the_steps_of_its_method_and_no_others(method, images, tmp_path):
    config = made(images, **method, objective="mse")
    run(dataclasses.replace(config, workers=1, steps=9), tmp_path / "x")
    found = [r["J"] for r in records(tmp_path / "x") if "J" in r]
    plugs = {"gradient": gradient_of(config), "update": update_of(config)}
    if timesteps := timesteps_of(config):
        plugs["gradient"] = timesteps.by(plugs["gradient"])
    np.testing.assert_allclose(found, first_J(config, **plugs), rtol=1e-3)
    plain = first_J(dataclasses.replace(config, decay="constant", decay_steps=None))
    assert np.allclose(found, plain, rtol=1e-3) == (method == {})


# ---- what is made of the options ---


def test_which_classes_are_dropped_is_the_seeds():
    config = Config(classes=True, class_dropout=0.5, seed=3, unet=LEAST)
    labels = config.split_data(config.load_data()[0])[0].labels
    drawn = np.arange(64)
    got = prepare(config).cond(5, drawn)
    for seed in (0, 3):
        same = np.array_equal(got, dropped(labels, 10, 0.5, seed)(5, drawn))
        assert same == (seed == 3)


def test_the_method_is_what_the_options_say(images):
    of = gradient_of(made(images, predicts="v", weight="min_snr"))
    assert of.func is predictions.gradient
    assert of.keywords == {"predicts": "v", "weight": "min_snr"}
    learned = made(images, learn_sigma=True, predicts="eps").for_images((1, 8, 8), (), 17)
    assert gradient_of(learned).keywords["grey_levels"] == 17
    measured = {"multipliers": "measured", "warmup": 6}
    plain, averaged = (
        update_of(made(images, **measured, optimiser=name)) for name in ("sgd", "momentum")
    )
    assert (plain.steps, plain.momentum, averaged.momentum) == (6, 0, 0.9)
    weighted = timesteps_of(made(images, loss_aware_t=True, weight="min_snr")).weights
    assert weighted[1] == 5


# ---- what is trained -----------------------------------------------------------------------------


def test_the_lectures_algorithm_is_the_core_itself():
    assert gradient_of(Config()) is gradient and update_of(Config()) is gradient_descent


@pytest.mark.parametrize("predicts", ["eps", "v"])
def test_the_held_out_J_and_samples_are_of_what_it_predicts(predicts, images, tmp_path):
    config = made(images, predicts=predicts, optimiser="adam", steps=40, every=40)
    summary = run(config, tmp_path / "x")
    opened = Run(tmp_path / "x")
    assert opened.predicts == predicts
    _, held_out = opened.config.split_data(opened.config.load_data()[0])
    to_x0 = predictions.denoiser(opened.unet.denoise, opened.schedule, predicts)
    expected = Draws(held_out.images, opened.schedule).evaluate(to_x0).mean()
    assert summary.held_out == pytest.approx(expected, rel=1e-4)
    *_, (t, x, _) = opened.sample(4, "ddim", steps=12)
    *_, (_, y, _) = opened.sample(4, "ddim", steps=12, clip=None)
    wrong = dataclasses.replace(opened.saved.config, predicts="x0", weight="none")
    opened.saved.config, opened.predicts = wrong, "x0"
    *_, (_, z, _) = opened.sample(4, "ddim", steps=12)
    assert t == 0 and np.isfinite(x).all() and abs(x).max() <= 1.001 and not np.allclose(x, z)
    assert not np.array_equal(x, y)


@pytest.mark.parametrize("weight", ["snr", "snr_plus_1", "truncated_snr", "min_snr"])
def test_the_J_of_a_step_is_weighted_and_the_held_out_J_is_not(weight, images, tmp_path):
    """A network that answers 0 and does not move has known errors."""
    still = {"beta": 1e-30, "warmup": 0, "steps": 4}
    for name, method in (("plain", {}), ("weighted", {"weight": weight})):
        run(made(images, **still, **method), tmp_path / name)
    plain, weighted = (records(tmp_path / name) for name in ("plain", "weighted"))
    J, J_weighted = ([r["J"] for r in found if "J" in r] for found in (plain, weighted))
    held, held_weighted = (found[-1]["held_out"] for found in (plain, weighted))
    assert held == held_weighted and not np.isclose(J, J_weighted).any()


def test_a_network_that_predicts_noise_does_not_diverge_by_predicting_noise(
    images, tmp_path, capsys
):
    run(made(images, predicts="eps", optimiser="adam", every=2), tmp_path / "x")
    held_out = [r["held_out"] for r in records(tmp_path / "x") if "held_out" in r]
    assert min(held_out) > 3 and "diverges" not in capsys.readouterr().err


# ---- what is said and kept -----------------------------------------------------------------------


def test_the_end_of_beta_stays_where_it_was_when_a_run_is_resumed(images, tmp_path):
    config = made(images, decay="linear")
    assert config.decay_steps == 11
    shorter = dataclasses.replace(config, steps=6)
    assert shorter.step_size(6) == config.step_size(6) > 0
    run(shorter, tmp_path / "x")
    run(config, tmp_path / "x", resume=True)
    with pytest.raises(ValueError, match="steps: expected at most 11, .*--from in place of"):
        dataclasses.replace(config, steps=20)


def test_the_folder_says_it_in_its_first_lines_and_its_configuration(images, tmp_path, capsys):
    run(made(images, optimiser="adam"), tmp_path / "x")
    said = capsys.readouterr().err
    assert "Adam instead of plain gradient descent. β is 0.004." in said
    assert configuration.read(tmp_path / "x" / "config.toml")["beta"] == 0.004
    run(made(images), tmp_path / "y")
    assert "lecture" not in capsys.readouterr().err
