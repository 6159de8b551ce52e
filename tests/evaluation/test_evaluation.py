"""`tinyddpm eval`: what it prints, writes and finds out."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from tinyddpm import cli, data, noise
from tinyddpm.evaluation.evaluate import COLUMNS, evaluate
from tinyddpm.nn import UNetConfig
from tinyddpm.runs.config import Config
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run

SMALL = Config(
    T=12,
    batch_size=8,
    beta=0.5,
    warmup=2,
    every=2,
    steps=4,
    unet=UNetConfig(base=4, groups=2, blocks=1),
)
TRAINING, HELD_OUT = data.split(dataclasses.replace(data.digits(), labels=None), "stratified")
DIGITS = TRAINING.images


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    return folder, run(SMALL, folder)


def test_eval_prints_writes_and_draws(trained, capsys):
    folder, _ = trained
    assert cli.main(["eval", str(folder), "--n", "60", "--steps", "3"]) == 0
    said = capsys.readouterr().out
    assert (folder / "eval.md").read_text() in said
    assert "compares 60 images with 60 held-out images" in said and "3 steps of ddim" in said
    with Image.open(folder / "neighbours.png") as picture:
        assert min(picture.size) > 200


@pytest.fixture(scope="module")
def found(trained):
    """What is in eval.json."""
    folder, _ = trained
    evaluate(folder, n=60, steps=3).write()
    return json.loads((folder / "eval.json").read_text())


def test_the_rows(found):
    rows = {row["images"]: row for row in found["rows"]}
    first = ["this model", "real: training images", "real: other held-out images"]
    assert list(rows)[:3] == first and len(rows) == 8
    for row in rows.values():
        assert row.keys() == {"images", *COLUMNS}
    model, real = rows["this model"], rows["real: training images"]
    assert model["Fréchet"] > 5 * real["Fréchet"] and model["1-NN"] > 0.9
    assert model["coverage"] < 0.2 < real["coverage"]
    copies, gaussian = rows["100 memorised images"], rows["one Gaussian"]
    assert max(copies["memorisation"], real["memorisation"]) < 1e-4
    assert gaussian["Fréchet"] > real["Fréchet"] and gaussian["memorisation"] > 0.8


def test_the_bands(found, trained):
    _, summary = trained
    bands = found["bands"]
    singles = [(t, t) for t in (1, 2, 3, 4)] + [(5, 6)] + [(t, t) for t in (7, 8, 9, 10)]
    assert [(b["first t"], b["last t"]) for b in bands] == [*singles, (11, 12)]
    # For the digits these are the held-out draws of the run.
    means = [b["predict-the-mean"] for b in bands]
    assert np.mean(means) == pytest.approx(summary.mean, rel=1e-6)


def test_samples_that_are_the_training_images_are_found_out(trained, monkeypatch):
    def copies(self, n, *_):
        return iter([(0, DIGITS[:n], DIGITS[:n])])

    monkeypatch.setattr(Run, "sample", copies)
    result = evaluate(trained[0], n=60, with_baselines=False)
    assert dict(zip(COLUMNS, result.rows[0][1]))["memorisation"] < 1e-4
    samples, neighbours = result.neighbours
    assert np.array_equal(neighbours[::5], samples)  # the nearest of the five is the image itself


# ---- each number under its own name --------------------------------------------------------------


def evaluated(trained, monkeypatch, **replaced):
    """eval.json, with some of Run's methods replaced."""
    for name, method in replaced.items():
        monkeypatch.setattr(Run, name, method)
    result = evaluate(trained[0], n=60, with_baselines=False)
    return result, {name: dict(zip(COLUMNS, row)) for name, row in result.rows}


def test_one_real_image_over_and_over_is_precise_and_recalls_nothing(trained, monkeypatch):
    """Every copy lies among the real images; around a copy there is none but that image."""
    order = np.argsort(noise.uniform(0, "evaluation: test", 0, np.arange(300), dtype=np.float64))
    one = data.load_test("digits").images[order[:1]]

    def copies(self, n, *_):
        return iter([(0, np.repeat(one, n, axis=0), None)])

    row = evaluated(trained, monkeypatch, sample=copies)[1]["this model"]
    assert row["precision"] == 1 and row["recall"] < 0.1
    assert row["density"] > 0.5 and row["coverage"] < 0.2  # in its own ball, and in few others


def test_other_real_images_are_other_ones(trained, monkeypatch):
    """Beside themselves they would have the Fréchet distance 0 and the 1-NN accuracy 0."""
    rows = evaluated(trained, monkeypatch)[1]
    other, training = rows["real: other held-out images"], rows["real: training images"]
    assert other["Fréchet"] > 0.1 and other["1-NN"] > 0.3 and training["Fréchet"] > 0.1
    assert training["memorisation"] == 0 and 0.8 < other["memorisation"] < 1.25


def test_j_of_the_ideal_denoiser_is_that_of_the_training_set(trained, monkeypatch):
    """With next to no noise its answer is the training image nearest to x_t, seen or not.

    At t = 1 of 12 the noise has a standard deviation of .09. An ideal denoiser that knew the test
    images would return them, with a J near 0.
    """
    train, test = DIGITS.reshape(len(DIGITS), -1), HELD_OUT.images[:300]
    test = test.reshape(300, -1)
    squared = (test**2).sum(1)[:, None] + (train**2).sum(1) - 2 * test @ train.T
    nearest = np.mean(squared.min(axis=1)) / test.shape[1]
    result, _ = evaluated(trained, monkeypatch)
    first, last, _, ideal, _ = result.bands[0]
    assert (first, last) == (1, 1) and 0.7 * nearest < ideal < 1.3 * nearest
    variance = np.mean((test - train.mean(axis=0, dtype=np.float64)) ** 2)
    assert variance > 1.001 * np.mean((test - test.mean(axis=0)) ** 2)
    for _, _, mean, _, _ in result.bands:  # of predict-the-mean, which is that of the training set
        assert mean == pytest.approx(variance, rel=1e-5)


def test_the_model_has_its_own_column(trained, monkeypatch):
    """For a model that always answers with black, J is the mean square of x_0 + 1, at every t."""
    black = contextlib.nullcontext(lambda xt, t: np.full_like(xt, -1))
    result, _ = evaluated(trained, monkeypatch, denoiser=lambda *_: black)
    expected = np.mean((HELD_OUT.images[:300].astype(np.float64) + 1) ** 2)
    for *_, mean, ideal, model in result.bands:
        assert model == pytest.approx(expected, rel=1e-6) and ideal < 1.000001 * mean < model
    *_, means, ideals, _ = zip(*result.bands)
    last = [cell.strip() for cell in result.text().splitlines()[-1].split("|")[1:-1]]
    mean = np.mean(means)
    assert last[0] == "all" and float(last[1]) == pytest.approx(mean, abs=1e-4)
    assert float(last[2]) == pytest.approx(np.mean(ideals) / mean, abs=1e-3)
    assert float(last[3]) == pytest.approx(expected / mean, abs=1e-3)


BAD_OPTIONS = {
    "--n 5": "n: expected at least 6 images",
    "--steps 99": "steps: expected 1 to T = 12, got 99",
}


@pytest.mark.parametrize("options, problem", BAD_OPTIONS.items())
def test_bad_options(trained, capsys, options, problem):
    assert cli.main(["eval", str(trained[0]), *options.split()]) == 2
    assert problem in capsys.readouterr().err


def test_a_model_without_a_folder_needs_another_one(trained, capsys):
    assert cli.main(["eval", str(trained[0] / "best.safetensors")]) == 2
    assert "expected a run folder" in capsys.readouterr().err
