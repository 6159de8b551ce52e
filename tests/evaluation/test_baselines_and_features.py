"""The baselines, and the features of a classifier."""

import dataclasses
import re

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import multivariate_normal

from tinyddpm import data
from tinyddpm.evaluation import baselines, features, metrics

DIGITS = data.split(data.digits())[0].images

# ---- baselines ----------------------------------------------------------------------------------


NAMES = [
    "noise added",
    "blurred",
    "one Gaussian",
    "a mixture of 14 Gaussians on 32 principal components",
    "100 memorised images",
]


def test_each_baseline_is_what_its_name_says():
    found = dict(baselines.baselines(DIGITS, n=300, seed=0))
    names = list(found)
    assert [name.split(" (")[0] for name in names] == NAMES
    for images in found.values():
        assert images.shape == (300, 1, 8, 8) and images.dtype == np.float32
        assert np.abs(images).max() <= 1
    known = {image.tobytes() for image in DIGITS}
    copied = {image.tobytes() for image in found[names[4]]}
    # 300 draws from 100 images leave out 5 of them, on average.
    assert copied <= known and 80 < len(copied) <= 100
    blurred = {gaussian_filter(image[0], 0.5).tobytes() for image in DIGITS}
    assert all(image[0].tobytes() in blurred for image in found[names[1]])
    noisy, flat = found[names[0]].reshape(300, -1), DIGITS.reshape(len(DIGITS), -1)
    distance, _ = metrics.nearest(noisy, flat)
    # Less than its full size: what leaves [−1, 1] is clipped.
    assert 0.5 < np.mean(distance**2) / (0.2**2 * 64) < 1


def test_the_gaussian_has_the_data_s_moments():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(500, 5)) @ rng.normal(size=(5, 5)) + 3
    drawn = baselines.gaussian(flat, 200_000, seed=1)
    np.testing.assert_allclose(drawn.mean(axis=0), flat.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(
        np.cov(drawn, rowvar=False), np.cov(flat, rowvar=False), rtol=0.03, atol=0.15
    )


def test_the_mixture_recovers_a_mixture():
    rng = np.random.default_rng(0)
    means = np.array([[-2.0, 0], [3, 1]])
    covariances = np.array([[[1, 0.6], [0.6, 1]], [[0.3, 0], [0, 2]]])
    sizes = 3000, 1000
    groups = [rng.multivariate_normal(*group) for group in zip(means, covariances, sizes)]
    x = np.concatenate(groups)
    weights, found, roots = baselines.fit_mixture(x, 2, seed=0)
    order = np.argsort(found[:, 0])
    np.testing.assert_allclose(weights[order], [0.75, 0.25], atol=0.02)
    np.testing.assert_allclose(found[order], means, atol=0.12)
    covariances_found = roots @ roots.transpose(0, 2, 1)
    np.testing.assert_allclose(covariances_found[order], covariances, atol=0.16)


def test_expectation_maximisation_never_makes_the_data_less_likely(monkeypatch):
    """Dempster et al. 1977, theorem 1; without the ridge, which is a prior of its own."""
    monkeypatch.setattr(baselines, "RIDGE", 0.0)
    x = np.random.default_rng(0).uniform(-1, 1, size=(300, 2))

    def log_likelihood(steps):
        mixture = zip(*baselines.fit_mixture(x, 3, seed=0, steps=steps))
        density = sum(w * multivariate_normal.pdf(x, m, r @ r.T) for w, m, r in mixture)
        return np.log(density).sum()

    values = [log_likelihood(steps) for steps in (1, 2, 3, 5, 9, 17)]
    assert values == sorted(values) and values[-1] > values[0] + 1


@pytest.mark.parametrize("m, D", [(30, 64), (90, 64)])
def test_the_directions_of_large_images_are_those_of_small_ones(m, D, monkeypatch):
    flat = np.random.default_rng(0).standard_normal((m, D)) * np.linspace(1, 3, D)
    mean, axes, deviations = baselines.principal(flat, 5)
    monkeypatch.setattr("tinyddpm.evaluation.baselines.LARGE", D - 1)
    large_mean, large_axes, large_deviations = baselines.principal(flat, 5)
    np.testing.assert_allclose(large_mean, mean)
    np.testing.assert_allclose(large_deviations, deviations)
    np.testing.assert_allclose(abs((large_axes * axes).sum(axis=1)), 1)  # each up to its sign
    name, drawn = baselines.mixture(flat.astype(np.float32), 5, seed=0)
    assert drawn.shape == (5, D) and f"on {min(m, D // 2)} principal" in name
    monkeypatch.setattr("tinyddpm.evaluation.baselines.MOST_LARGE", 20)
    assert len(baselines.principal(flat)[2]) == min(m, -(-m // -(-m // 20)))


# ---- features -----------------------------------------------------------------------------------


def test_the_shipped_classifier_knows_digits():
    net = features.read(features.SHIPPED / "features-digits.safetensors", (1, 8, 8))
    assert features.accuracy(net, data.load_test("digits")) >= 0.98
    function, called = features.load("digits", data.digits())
    of_digits = "the features of a classifier of digits, which puts "
    assert re.fullmatch(of_digits + "(9[89]|100)% of held-out images into their class", called)
    points = function(DIGITS[:30])
    assert points.shape == (30, 84) and points.dtype == np.float32
    np.testing.assert_allclose(points, net.features(DIGITS[:30]).data, rtol=1e-5)
    scores = points @ net.last.weight.data + net.last.bias.data
    np.testing.assert_allclose(net(DIGITS[:30]).data, scores, rtol=1e-4, atol=1e-4)


def test_the_shipped_classifiers_are_of_their_data_s_shape_and_small():
    shapes = {"digits": (1, 8, 8), "fashion-mnist": (1, 28, 28)}
    shipped = {path.name for path in features.SHIPPED.glob("features-*")}
    assert shipped == {f"features-{name}.safetensors" for name in shapes}
    for name, shape in shapes.items():
        path = features.SHIPPED / f"features-{name}.safetensors"
        net = features.read(path, shape)
        assert net(np.zeros((2, *shape), np.float32)).shape == (2, 10)
        assert path.stat().st_size < 400_000
        assert np.array_equal(net.theta, net.theta.astype(np.float16))


def test_a_classifier_is_trained_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(features, "STEPS", 60)
    train, seen = features.train, []

    def noted(dataset, steps):
        seen.append(len(dataset.images))
        return train(dataset, steps)

    monkeypatch.setattr(features, "train", noted)
    digits = dataclasses.replace(data.digits(), name="mine.npz")
    function, _ = features.load("mine.npz", digits)
    [file] = tmp_path.rglob("features.safetensors")
    # After 60 steps; chance is 0.1.
    assert features.accuracy(features.read(file, (1, 8, 8)), data.load_test("digits")) > 0.6
    assert seen == [1497]  # none that are held out
    before = function(DIGITS[:9])
    monkeypatch.setattr(features, "train", None)  # from now on there is no training
    assert np.array_equal(features.load("mine.npz", digits)[0](DIGITS[:9]), before)


def test_without_labels_or_if_asked_the_space_is_that_of_principal_components():
    unlabelled = dataclasses.replace(data.digits(), labels=None, name="mine")
    function, called = features.load("mine", unlabelled)
    assert called == "the first 64 principal components of mine"
    labelled, called = features.load("digits", data.digits(), components=True)
    assert called == "the first 64 principal components of digits"
    assert np.array_equal(labelled(DIGITS[:20]), function(DIGITS[:20]))
    # With all 64 components it is a rotation: distances stay.
    some, others = DIGITS[:20], DIGITS[20:40]
    before, _ = metrics.nearest(some.reshape(20, -1), others.reshape(20, -1))
    after, _ = metrics.nearest(function(some), function(others))
    np.testing.assert_allclose(after, before, rtol=1e-5)


@pytest.mark.parametrize("content", [b"", b"no tensors", None])
def test_a_damaged_file_of_features_is_one_line(tmp_path, content):
    path = tmp_path / "features-digits.safetensors"
    path.write_bytes(
        (features.SHIPPED / path.name).read_bytes()[:-40] if content is None else content
    )
    with pytest.raises(
        data.DataError, match="features-digits.safetensors: expected a classifier as"
    ):
        features.read(path, (1, 8, 8))
