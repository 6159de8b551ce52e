"""`tinyddpm eval`: what it prints, writes and finds out."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from tinyddpm import cli, data, noise
from tinyddpm.evaluation import metrics
from tinyddpm.evaluation.baselines import baselines
from tinyddpm.evaluation.evaluate import COLUMNS, evaluate, too_few
from tinyddpm.evaluation.features import load as feature_space
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
    unet=UNetConfig(base=4, levels=(1,), attention=(), groups=2, blocks=1),
)
TRAINING, HELD_OUT = data.split(dataclasses.replace(data.digits(), labels=None), "stratified")
DIGITS = TRAINING.images


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    return folder, run(SMALL, folder)


def test_eval_prints_writes_and_draws(trained, capsys):
    folder, _ = trained
    assert cli.main(["eval", str(folder), "--n", "100", "--steps", "3"]) == 0
    said = capsys.readouterr().out
    assert (folder / "eval.md").read_text() in said
    assert "compares 100 images with 100 held-out images" in said and "3 steps of dpm" in said
    with Image.open(folder / "neighbours.png") as picture:
        assert min(picture.size) > 200


def test_the_data_are_loaded_once(trained, monkeypatch):
    loaded, load = [], data.loading.load

    def noted(*asked):
        loaded.append(asked)
        return load(*asked)

    for module in (data, data.loading):
        monkeypatch.setattr(module, "load", noted)
    monkeypatch.setattr("tinyddpm.runs.config.fields.load", noted)
    evaluate(trained[0], n=100, steps=3, with_baselines=False)
    assert loaded == [SMALL.source()]


@pytest.fixture(scope="module")
def found(trained):
    """What is in eval.json."""
    folder, _ = trained
    evaluate(folder, n=100, steps=3).write()
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
    def copies(self, n, **_):
        return iter([(0, DIGITS[:n], DIGITS[:n])])

    monkeypatch.setattr(Run, "sample", copies)
    result = evaluate(trained[0], n=100, with_baselines=False)
    assert dict(zip(COLUMNS, result.rows[0][1]))["memorisation"] < 1e-4
    samples, neighbours = result.neighbours
    assert np.array_equal(neighbours[::5], samples)  # the nearest of the five is the image itself


# ---- each number under its own name --------------------------------------------------------------


def evaluated(trained, monkeypatch, **replaced):
    """eval.json, with some of Run's methods replaced."""
    for name, method in replaced.items():
        monkeypatch.setattr(Run, name, method)
    result = evaluate(trained[0], n=100, with_baselines=False)
    return result, {name: dict(zip(COLUMNS, row)) for name, row in result.rows}


def test_one_real_image_over_and_over_is_precise_and_recalls_nothing(trained, monkeypatch):
    """Every copy lies among the real images; around a copy there is none but that image."""
    order = np.argsort(noise.uniform(0, "evaluation: test", 0, np.arange(300), dtype=np.float64))
    one = data.load_test("digits").images[order[:1]]

    def copies(self, n, **_):
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


# ---- how the samples are drawn, and how many it takes --------------------------------------------

CHAINS = {
    "": "3 steps of dpm, η = 1, grid log-snr-6, seed 0",
    "--eta 0 --grid even": "3 steps of dpm, η = 0, seed 0",
    "--sampler ddim --clip no --seed 2": "3 steps of ddim, η = 0, x̂₀ not clipped, seed 2",
    "--sampler heun --grid karras": "3 steps of heun, grid karras, seed 0",
}


@pytest.mark.parametrize("options", CHAINS)
def test_eval_measures_what_sample_draws(trained, tmp_path, capsys, monkeypatch, options):
    """The first images of both are the same, by whatever options."""
    folder, kept = str(trained[0]), []

    def nearest(points, others, k=1):
        kept.append(points)
        return true_nearest(points, others, k)

    true_nearest = metrics.nearest
    monkeypatch.setattr(metrics, "nearest", nearest)
    chosen = ["--steps", "3", *options.split()]
    command = ["eval", folder, "--n", "20", "--no-baselines", "--out", str(tmp_path), *chosen]
    assert cli.main(command) == 0 and CHAINS[options] in capsys.readouterr().out
    out = tmp_path / "x.npz"
    assert cli.main(["sample", folder, "--n", "20", "--out", str(out), *chosen]) == 0
    assert CHAINS[options] in capsys.readouterr().out
    features, _ = feature_space("digits", data.digits())
    with np.load(out) as arrays:
        np.testing.assert_allclose(kept[-1], features(arrays["images"])[:12], atol=1e-3)


def test_too_few_images_leave_the_frechet_distance_out_and_say_how_many_are_needed(trained, capsys):
    folder, _ = trained
    assert cli.main(["eval", str(folder), "--n", "84", "--steps", "3"]) == 0
    said = capsys.readouterr().out
    assert "Too few images: 84 in each row, where 168 are needed." in said
    assert "which takes more images than 84 features" in said and "Ask for --n 168 or more." in said
    written = json.loads((folder / "eval.json").read_text())
    assert all(row["Fréchet"] is None and row["precision"] >= 0 for row in written["rows"])
    assert said.count(" – |") == len(written["rows"])


def test_what_is_said_of_too_few_images():
    assert too_few(168, 84, 300) == "" == too_few(100, 20, 100)
    assert "mostly chance" in too_few(100, 84, 100) and "Gaussian" not in too_few(100, 84, 100)
    assert "even a Gaussian" in too_few(99, 20, 99)
    assert "train on 1,008 or more" in too_few(34, 84, 34)
    assert "train on" not in too_few(34, 84, 34, known_test=True)


def test_a_gaussian_ranks_behind_real_images_from_as_many_as_are_asked_for():
    """In the features of the digits; with 20 images, precision and coverage cannot tell them."""
    dataset, rng = data.digits(), np.random.default_rng(0)
    train, test = (part.images for part in data.split(dataset))
    features, _ = feature_space("digits", dataset)
    normal = dict(baselines(train, 1000))["one Gaussian"]
    sets = [features(images) for images in (test, train, normal)]

    def behind(metric, n):
        """By how much less it says of the Gaussian than of real images: the mean of 8 draws."""
        draws = [[x[rng.permutation(len(x))[:n]] for x in sets] for _ in range(8)]
        return np.mean([metric(real, other) - metric(real, fit) for real, other, fit in draws])

    assert behind(metrics.frechet, 168) < -10
    for metric in (metrics.precision, metrics.coverage):
        assert behind(metric, 20) < 0.06 and behind(metric, 100) > 0.1


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
