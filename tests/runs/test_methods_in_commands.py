"""A run with another prediction or optimiser, in the commands: train, plot, export, explore."""

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from few_digits import FEW
from small_runs import WHOLE, later

from tinyddpm import cli, data
from tinyddpm.diffusion import q_sample
from tinyddpm.explore.explorer import Explorer
from tinyddpm.more import predictions
from tinyddpm.pictures import plots, report
from tinyddpm.runs import config as configuration
from tinyddpm.runs.config import from_dict
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run

SMALL = {"T": 12, "batch_size": 8, "warmup": 2, "every": 4, "steps": 8, "workers": 1}
NETWORK = "--T 12 --base 4 --groups 2 --blocks 1 --batch-size 4 --every 2 --warmup 2 --workers 1"
METHODS = (
    # ε and a learned variance by themselves: the last of these has both
    pytest.param({"predicts": "eps"}, marks=pytest.mark.prove),
    {"predicts": "v", "optimiser": "adam"},
    {"weight": "min_snr"},
    pytest.param({"learn_sigma": True}, marks=pytest.mark.prove),
    {"learn_sigma": True, "predicts": "eps", "optimiser": "adam"},
)


@pytest.fixture(scope="module", params=METHODS, ids=lambda m: " ".join(map(str, m.values())))
def folder(request, tmp_path_factory):
    """A run with a prediction or a weight of its own."""
    place = tmp_path_factory.mktemp("x")
    np.save(place / "digits.npy", data.digits().images[:60, 0])
    config = from_dict({"data": str(place / "digits.npy")} | SMALL | request.param)
    run(dataclasses.replace(config, unet=WHOLE), place / "run")
    return place / "run"


def guess(opened):
    """x_t, t, and x̂_0 of them by the network's own answer and the formula of the prediction."""
    rng = np.random.default_rng(0)
    x0, eps = (rng.normal(size=(4, 1, 8, 8)).astype(np.float32) for _ in range(2))
    t = np.array([1, 5, 9, 12])
    xt = q_sample(opened.schedule, x0, t, eps)
    convert = predictions.TO_X0[opened.config.predicts]
    return xt, t, convert(opened.schedule, opened.unet.denoise(xt, t), xt, t)


def test_it_goes_to_diffusers_as_what_it_predicts_and_comes_back(folder, tmp_path):
    assert cli.main(["export", str(folder), str(tmp_path / "out")]) == 0
    options = json.loads((tmp_path / "out" / "scheduler_config.json").read_text())
    before = Run(folder)
    names = {"x0": "sample", "eps": "epsilon", "v": "v_prediction"}
    assert options["variance_type"] == ("learned_range" if before.learned else "fixed_small")
    assert options["prediction_type"] == names[before.config.predicts]
    assert cli.main(["import", str(tmp_path / "out"), "--out", str(tmp_path / "back")]) == 0
    after = Run(tmp_path / "back")
    assert after.predicts == before.predicts == before.config.predicts
    assert after.learned == before.learned == before.config.learn_sigma
    xt, t, expected = guess(before)
    with after.denoiser() as denoise:
        np.testing.assert_allclose(denoise(xt, t), expected, rtol=1e-3, atol=1e-3)


def test_explore_shows_its_x0(folder):
    explorer, opened = Explorer(folder), Run(folder)
    xt, t, expected = guess(opened)
    np.testing.assert_allclose(explorer.guesses(xt, t)["network"], expected, rtol=1e-4, atol=1e-4)
    lectures = not opened.learned
    lectures &= (opened.config.predicts, opened.config.weight) == ("x0", "none")
    assert explorer.can_walk == lectures


def test_its_pictures_are_of_x0_and_do_not_mix_two_scales(folder, monkeypatch):
    shown = {}
    monkeypatch.setattr(plots, "loss", lambda path, *args, **named: shown.update(named, args=args))
    walks, walk = [], report.unet_walk
    monkeypatch.setattr(report, "unet_walk", lambda *a: walks.append((a, walk(*a)[0])))
    paths = list(report.draw(folder))
    assert len(paths) == report.PICTURES and all(p.exists() for p in paths if p.name != "loss.png")
    steps, _, held_steps, _ = shown["args"]
    assert len(steps) == 0 and list(held_steps) == [4, 8] and "weighted" in shown["note"]
    assert shown["floor_J"] is None and shown["ideal_J"] > 0
    [((_, _, schedule, x0, t, eps, predicts, weight), J)] = walks
    xt, opened = q_sample(schedule, x0, t, eps), Run(folder)
    answer = opened.unet.denoise(xt, t)
    x0_hat = predictions.TO_X0[opened.config.predicts](schedule, answer, xt, t)
    w = predictions.weights(schedule, opened.config.weight)[t[0]]
    assert (predicts, weight) == (opened.config.predicts, opened.config.weight)
    assert pytest.approx(w * np.square(x0_hat - x0).mean(), rel=1e-4) == J


def test_info_shows_measured_multipliers_by_kind_of_layer(tmp_path, capsys):
    config = from_dict(SMALL | {"multipliers": "measured", "data": FEW})
    for multipliers, shown in (("measured", True), ("hand", False)):
        changed = dataclasses.replace(config, unet=WHOLE, multipliers=multipliers, beta=0.004)
        run(changed, tmp_path / multipliers)
        capsys.readouterr()
        assert cli.main(["info", str(tmp_path / multipliers)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("c² as measured") for line in lines) == shown
        rows = [line.split() for line in lines if line.startswith("  last ")]
        assert [float(c2) > 0 for row in rows for c2 in row[1:]] == [True] * 3 * shown


def test_a_plot_without_training_J_is_drawn(tmp_path):
    fixed = {"mean_J": 0.3, "floor_J": None, "ideal_J": 0.2}
    plots.loss(tmp_path / "x.png", [], [], [4, 8], [0.5, 0.4], **fixed)
    assert (tmp_path / "x.png").stat().st_size > 5000


# ---- train ---------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("few.npy", data.digits().images[:40, 0])


def train(line):
    return cli.main(["train", "--no-pictures", *shlex.split(line)])


STARTS = "--recipe digits --data few.npy", "--from runs/x"
LINES = (
    ("--optimiser adam", 0.004, "none"),
    ("--optimiser momentum", 0.14, "hand"),
    ("--optimiser adam --beta 0.01", 0.01, "none"),
    ("--beta 0.01", 0.01, "hand"),
    ("--multipliers none", 0.1, "none"),
)
CASES = [(start, *line) for start in STARTS for line in LINES]


@pytest.mark.parametrize("case", later(CASES, *range(6, 10)), ids=lambda case: " ".join(case[:2]))
def test_beta_suits_the_optimiser_whatever_the_run_starts_from(case, here):
    start, line, beta, multipliers = case
    assert train(f"--data few.npy {NETWORK} --steps 1 --out runs/x") == 0
    network = NETWORK.replace("--T 12 ", "") if "--from" in start else NETWORK
    assert train(f"{start} {network} --steps 1 --out y {line}") == 0
    found = configuration.read("y/config.toml")
    assert (found["beta"], found["multipliers"]) == (beta, multipliers)
    assert train("--out y --resume --steps 2") == 0


def test_a_resumed_run_stays_what_it_is(here, capsys):
    assert train(f"--data few.npy {NETWORK} --steps 1 --out x") == 0
    capsys.readouterr()
    assert train("--out x --resume --optimiser adam --steps 2") == 2
    assert "optimiser: the run to resume has 'sgd', not 'adam'" in capsys.readouterr().err


def test_what_comes_after_a_beta_that_has_fallen_is_a_new_run(here, capsys):
    line = f"--data few.npy {NETWORK} --decay cosine --steps 4 --out runs/x"
    assert train(line) == 0
    said = capsys.readouterr().out
    assert "--resume" not in said.partition("Next:")[2]
    [command] = [c for c in said.splitlines() if c.strip().startswith("tinyddpm train --from")]
    assert train("--out runs/x --resume --steps 8") == 2
    assert "steps: expected at most 4, where β has fallen to 0, got 8" in capsys.readouterr().err
    assert train(command.partition("train ")[2]) == 0 and Path("runs/x-2").is_dir()
    assert train("--from runs/x --steps 6 --out y") == 0
    assert configuration.read("y/config.toml")["decay_steps"] == 6
    assert train(f"{line} --decay-steps 6 --out z") == 0
    assert "--resume --steps 6\n" in capsys.readouterr().out
    # What a job script repeats goes on with the run, or has nothing to do.
    capsys.readouterr()
    assert train(f"{line} --resume-if-there") == 0
    assert "β has fallen to 0; --from starts a new run" in capsys.readouterr().err
