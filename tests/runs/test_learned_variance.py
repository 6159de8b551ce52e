"""A run with --learn-sigma, from its options to its samples.

`test_methods.py` kills and resumes it, `test_methods_in_commands.py` exports and explores it.
"""

import dataclasses

import numpy as np
import pytest
from small_runs import LEAST

from tinyddpm import cli, data, noise
from tinyddpm.explore.chain import Chain, Settings
from tinyddpm.explore.explorer import Explorer
from tinyddpm.more.classes import guided
from tinyddpm.more.variance import (
    VarianceClassUNet,
    VarianceDenoiser,
    VarianceUNet,
    ancestral_learned,
)
from tinyddpm.runs import checkpoint, config as configuration
from tinyddpm.runs.config import Config, from_dict
from tinyddpm.runs.folder import CHECKPOINT
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import options_of, run

SMALL = {"T": 12, "batch_size": 6, "warmup": 3, "every": 4, "steps": 8, "workers": 1}


def made(place, **options):
    """The configuration of a small run that learns its variance."""
    values = {"data": str(place / "digits.npy"), "learn_sigma": True, "optimiser": "adam"}
    return dataclasses.replace(from_dict(values | SMALL | options), unet=LEAST)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    np.save(place / "digits.npy", data.digits().images[:60, 0])
    run(made(place), place / "x")
    classes = {"classes": True, "data": "digits", "class_dropout": 0.2, "steps": 4}
    run(made(place, **classes), place / "classes")
    return place


@pytest.fixture
def shaken(place):
    """The run, with weights at random, so that v is not about 0."""
    opened = Run(place / "x")
    opened.unet.theta += 0.1 * np.random.default_rng(0).standard_normal(
        opened.unet.theta.shape
    ).astype(np.float32)
    return opened


def last(chain):
    *_, (t, x, _) = chain
    assert t == 0
    return x


def draw(opened, n, seed):
    shape = opened.config.unet.image
    return lambda t: noise.normal(seed, "sampling", t, np.arange(n), shape)


# ---- samples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [None, 12, 4, 1])
def test_ddpm_draws_with_the_learned_variance_in_all_steps_or_fewer(shaken, steps):
    z = draw(shaken, 3, 5)
    denoiser = VarianceDenoiser(shaken.unet.denoise, shaken.schedule)
    expected = last(ancestral_learned(denoiser, shaken.schedule, z(0), z, steps))
    found = last(shaken.sample(3, "ddpm", steps=steps, seed=5))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert found.dtype == np.float32


def test_its_chain_is_another_than_with_a_fixed_variance(shaken):
    learned = last(shaken.sample(3, "ddpm"))
    shaken.learned = False
    assert abs(last(shaken.sample(3, "ddpm")) - learned).max() > 1e-3
    with pytest.raises(ValueError, match="ddpm takes all T = 12 steps, unless the run learned"):
        shaken.sample(3, "ddpm", steps=4)


@pytest.mark.parametrize("sampler", ["ddim", "dpm", "heun"])
def test_the_other_samplers_ignore_v(shaken, sampler):
    before = last(shaken.sample(3, sampler, steps=4))
    state = shaken.unet.state()
    state["last.conv.weight"][..., 1:] += 0.3
    state["last.conv.bias"][1:] -= 2
    np.testing.assert_array_equal(last(shaken.sample(3, sampler, steps=4)), before)
    assert np.isfinite(last(shaken.sample(3, "ddpm", steps=4))).all()


def test_with_classes_guidance_is_for_x0(place):
    opened, labels = Run(place / "classes"), np.array([7, 7])
    assert isinstance(opened.unet, VarianceClassUNet)
    rng = np.random.default_rng(0)
    opened.unet.theta += 0.1 * rng.standard_normal(opened.unet.theta.shape).astype(np.float32)

    def guide(denoise):
        return guided(denoise, labels, 10, 2.0)

    z, denoise = draw(opened, 2, 0), opened.unet.denoise
    denoiser = VarianceDenoiser(denoise, opened.schedule, "x0", guide)
    expected = last(ancestral_learned(denoiser, opened.schedule, z(0), z, 5))
    found = last(opened.sample(2, "ddpm", steps=5, label="7", guidance=2.0))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_the_explorer_draws_what_the_run_does(place, sampler):
    explorer, settings = Explorer(place / "x"), Settings(sampler=sampler, steps=12)
    *_, (_, found, _) = Chain(explorer, seed=0, n=2).rest(settings)
    expected = last(Run(place / "x").sample(2, sampler, steps=12))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


# ---- options and files ---------------------------------------------------------------------------


def test_the_data_say_how_many_grey_levels_there_are(place):
    saved = checkpoint.load(place / "x" / CHECKPOINT)
    assert saved.config.learn_sigma and saved.config.grey_levels == 256
    assert checkpoint.load(place / "classes" / CHECKPOINT).config.grey_levels == 17
    assert "grey_levels" not in configuration.to_dict(Config().for_images((1, 8, 8), (), 17))
    assert "grey_levels" not in options_of(place / "x")
    assert saved.theta["last.conv.bias"].shape == (2,)
    assert saved.theta["last.conv.bias"][1] != 0  # v has been trained


def test_one_step_has_no_variance_to_learn(place):
    with pytest.raises(ValueError, match="T: expected at least 2 with learn_sigma, got 1"):
        made(place, T=1)


def test_the_option_belongs_to_the_run(place):
    with pytest.raises(ValueError, match="learn_sigma: the run to resume has True, not False"):
        run(made(place, learn_sigma=False), place / "x", resume=True)


def test_a_run_can_begin_to_learn_its_variance_or_stop(place, tmp_path):
    plain = made(place, learn_sigma=False, ema_decay=0.0)
    run(plain, tmp_path / "plain")
    before = Run(tmp_path / "plain")
    still = {"beta": 1e-12, "steps": 1, "every": 1, "ema_decay": 0.0}
    run(made(place, from_run=str(tmp_path / "plain"), **still), tmp_path / "with")
    learned = Run(tmp_path / "with")
    assert isinstance(learned.unet, VarianceUNet)
    x = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)
    t = np.array([3, 9])
    expected = before.unet.denoise(x, t)
    np.testing.assert_allclose(learned.unet.denoise(x, t), expected, rtol=1e-4, atol=1e-5)
    both = learned.unet.denoise(np.concatenate([x, x], axis=1), t)
    assert abs(both[:, 1]).max() < 1e-6

    for learn in (True, False):
        options = {"learn_sigma": learn, "from_run": str(tmp_path / "with")}
        run(made(place, **options, **still), tmp_path / f"next {learn}")
        found = Run(tmp_path / f"next {learn}").unet.denoise(x, t)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_command_line_trains_samples_evaluates_and_says_so(place, tmp_path, capsys):
    out = str(tmp_path / "run")
    small = "--T 12 --base 4 --groups 2 --blocks 1 --batch-size 4 --every 2 --steps 2 --workers 1"
    options = ["--data", str(place / "digits.npy"), "--learn-sigma", "--predicts", "eps"]
    assert cli.main(["train", *options, *small.split(), "--out", out]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "the variance is learned as well" in said
    assert "Only `--sampler ddpm` draws its noise with the learned variance." in said
    picture = str(tmp_path / "x.png")
    drawn = ["--sampler", "ddpm", "--steps", "3", "--n", "2", "--out", picture]
    assert cli.main(["sample", out, *drawn]) == 0
    assert "2 images, 3 steps of ddpm" in capsys.readouterr().out
    assert cli.main(["info", out]) == 0
    assert "learn_sigma = true" in capsys.readouterr().out
    assert cli.main(["train", "--help"]) == 0
    assert "--learn-sigma" in capsys.readouterr().out
