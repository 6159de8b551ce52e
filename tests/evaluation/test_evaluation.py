"""Baselines, features, and `tinyddpm eval`."""
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import multivariate_normal

from tinyddpm.evaluation import baselines, features, metrics
from tinyddpm import cli, data
from tinyddpm.runs.config import Config
from tinyddpm.evaluation.evaluate import COLUMNS, evaluate
from tinyddpm.runs.training import run
from tinyddpm.nn import UNetConfig

SMALL = Config(T=12, batch_size=8, beta=0.5, warmup=2, every=2, steps=4, unet=UNetConfig(base=4, groups=2, blocks=1))
DIGITS = data.split(data.digits())[0].images


# ---- baselines ----------------------------------------------------------------------------------


def test_each_baseline_is_what_its_name_says():
    found = dict(baselines.baselines(DIGITS, n=300, seed=0))
    names = list(found)
    assert [name.split(" (")[0] for name in names] == ["noise added", "blurred", "one Gaussian",
                                                       "a mixture of 14 Gaussians on 32 principal components", "100 memorised images"]
    for images in found.values():
        assert images.shape == (300, 1, 8, 8) and images.dtype == np.float32 and np.abs(images).max() <= 1
    known = {image.tobytes() for image in DIGITS}
    copied = {image.tobytes() for image in found[names[4]]}
    assert copied <= known and 80 < len(copied) <= 100  # 300 draws from 100 leave out 5 of them on average
    blurred = {gaussian_filter(image[0], 0.5).tobytes() for image in DIGITS}
    assert all(image[0].tobytes() in blurred for image in found[names[1]])
    distance, _ = metrics.nearest(found[names[0]].reshape(300, -1), DIGITS.reshape(len(DIGITS), -1))
    assert 0.5 < np.mean(distance**2) / (0.2**2 * 64) < 1  # less than its full size, as what leaves [−1, 1] is clipped


def test_the_gaussian_has_the_data_s_moments():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(500, 5)) @ rng.normal(size=(5, 5)) + 3
    drawn = baselines.gaussian(flat, 200_000, seed=1)
    np.testing.assert_allclose(drawn.mean(axis=0), flat.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), np.cov(flat, rowvar=False), rtol=0.03, atol=0.15)


def test_the_mixture_finds_a_mixture_again():
    rng = np.random.default_rng(0)
    means, covariances = np.array([[-2.0, 0], [3, 1]]), np.array([[[1, 0.6], [0.6, 1]], [[0.3, 0], [0, 2]]])
    x = np.concatenate([rng.multivariate_normal(m, c, n) for m, c, n in zip(means, covariances, (3000, 1000))])
    weights, found, roots = baselines.fit_mixture(x, 2, seed=0)
    order = np.argsort(found[:, 0])
    np.testing.assert_allclose(weights[order], [0.75, 0.25], atol=0.02)
    np.testing.assert_allclose(found[order], means, atol=0.12)
    np.testing.assert_allclose((roots @ roots.transpose(0, 2, 1))[order], covariances, atol=0.16)


def test_expectation_maximisation_never_makes_the_data_less_likely(monkeypatch):
    """Dempster et al. 1977, theorem 1; without the ridge, which is a prior of its own."""
    monkeypatch.setattr(baselines, "RIDGE", 0.0)
    x = np.random.default_rng(0).uniform(-1, 1, size=(300, 2))

    def log_likelihood(steps):
        weights, means, roots = baselines.fit_mixture(x, 3, seed=0, steps=steps)
        return np.log(sum(w * multivariate_normal.pdf(x, m, r @ r.T) for w, m, r in zip(weights, means, roots))).sum()

    values = [log_likelihood(steps) for steps in (1, 2, 3, 5, 9, 17)]
    assert values == sorted(values) and values[-1] > values[0] + 1


# ---- features -----------------------------------------------------------------------------------


def test_the_shipped_classifier_knows_digits():
    net = features.read(features.SHIPPED / "features-digits.safetensors")
    assert features.accuracy(net, data.load_test("digits")) >= 0.98
    function, called = features.load("digits", data.digits())
    assert called == "the features of a classifier of digits"
    points = function(DIGITS[:30])
    assert points.shape == (30, 84) and points.dtype == np.float32
    np.testing.assert_allclose(points, net.features(DIGITS[:30]).data, rtol=1e-5)
    np.testing.assert_allclose(net(DIGITS[:30]).data, points @ net.last.weight.data + net.last.bias.data, rtol=1e-4, atol=1e-4)


def test_the_shipped_classifiers_are_of_their_data_s_shape_and_small():
    shapes = {"digits": (1, 8, 8), "fashion-mnist": (1, 28, 28)}
    assert {path.name for path in features.SHIPPED.glob("features-*")} == {f"features-{name}.safetensors" for name in shapes}
    for name, shape in shapes.items():
        path = features.SHIPPED / f"features-{name}.safetensors"
        net = features.read(path)
        assert net(np.zeros((2, *shape), np.float32)).shape == (2, 10) and path.stat().st_size < 400_000
        assert np.array_equal(net.theta, net.theta.astype(np.float16))


def test_a_classifier_is_trained_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(features, "STEPS", 60)
    digits = dataclasses.replace(data.digits(), name="mine.npz")
    function, _ = features.load("mine.npz", digits)
    [file] = tmp_path.rglob("features.safetensors")
    assert features.accuracy(features.read(file), data.load_test("digits")) > 0.6  # 60 steps of ten classes: chance is 0.1
    before = function(DIGITS[:9])
    monkeypatch.setattr(features, "train", None)  # from now on there is no training
    assert np.array_equal(features.load("mine.npz", digits)[0](DIGITS[:9]), before)


def test_without_labels_the_space_is_that_of_principal_components():
    unlabelled = dataclasses.replace(data.digits(), labels=None, name="mine")
    function, called = features.load("mine", unlabelled)
    assert called == "the 64 first principal components of mine"
    a, b = (x.reshape(20, -1) for x in (DIGITS[:20], DIGITS[20:40]))  # with all 64 components it is a turn: distances stay
    np.testing.assert_allclose(metrics.nearest(function(DIGITS[:20]), function(DIGITS[20:40]))[0], metrics.nearest(a, b)[0], rtol=1e-5)


@pytest.mark.parametrize("content", [b"", b"no tensors", None])
def test_a_damaged_file_of_features_is_one_line(tmp_path, content):
    path = tmp_path / "features-digits.safetensors"
    path.write_bytes((features.SHIPPED / path.name).read_bytes()[:-40] if content is None else content)
    with pytest.raises(data.DataError, match="features-digits.safetensors: expected a classifier as"):
        features.read(path)


# ---- the evaluation -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    return folder, run(SMALL, folder)


def test_eval_prints_writes_and_draws(trained, capsys):
    folder, summary = trained
    assert cli.main(["eval", str(folder), "--n", "60", "--steps", "3"]) == 0
    said = capsys.readouterr().out
    assert (folder / "eval.md").read_text() in said and "60 images against 60 held-out images" in said and "3 steps of ddim" in said
    with Image.open(folder / "neighbours.png") as picture:
        assert min(picture.size) > 200
    found = json.loads((folder / "eval.json").read_text())
    rows = {row["images"]: row for row in found["rows"]}
    assert list(rows)[:3] == ["this model", "real: training images", "real: other held-out images"] and len(rows) == 8
    for row in rows.values():
        assert row.keys() == {"images", *COLUMNS}
    model, real, copies = rows["this model"], rows["real: training images"], rows["100 memorised images"]
    assert model["Fréchet"] > 5 * real["Fréchet"] and model["coverage"] < 0.2 < real["coverage"] and model["1-NN"] > 0.9
    assert max(copies["memorisation"], real["memorisation"]) < 1e-4
    assert rows["one Gaussian"]["Fréchet"] > real["Fréchet"] and rows["one Gaussian"]["memorisation"] > 0.8
    bands = found["bands"]
    assert [(b["first t"], b["last t"]) for b in bands] == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (7, 7), (8, 8), (9, 9), (10, 10), (11, 12)]
    assert np.mean([b["mean"] for b in bands]) == pytest.approx(summary.mean, rel=1e-6)  # of the digits, the held-out draws of the run


def test_samples_that_are_the_training_images_are_found_out(trained, monkeypatch):
    from tinyddpm.runs.opening import Run
    monkeypatch.setattr(Run, "sample", lambda self, n, *_: iter([(0, DIGITS[:n], DIGITS[:n])]))
    result = evaluate(trained[0], n=60, with_baselines=False)
    assert dict(zip(COLUMNS, result.rows[0][1]))["memorisation"] < 1e-4
    samples, neighbours = result.neighbours
    assert np.array_equal(neighbours[::5], samples)  # the nearest of the five is the image itself


@pytest.mark.parametrize("arguments, problem", [("--n 5", "n: expected at least 6 images"), ("--steps 99", "steps: expected 1 to T = 12, got 99")])
def test_bad_input(trained, capsys, arguments, problem):
    assert cli.main(["eval", str(trained[0]), *arguments.split()]) == 2
    assert problem in capsys.readouterr().err
    assert cli.main(["eval", str(trained[0] / "best.safetensors")]) == 2
    assert "expected a run folder" in capsys.readouterr().err
