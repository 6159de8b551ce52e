"""The metrics beside closed forms, brute force, and the ends of their scales."""

import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import sqrtm

from tinyddpm.evaluation import metrics

PAIRS = {
    "precision": metrics.precision,
    "recall": metrics.recall,
    "density": metrics.density,
    "coverage": metrics.coverage,
}


def points(seed, n=40, d=3):
    return np.random.default_rng(seed).normal(size=(n, d))


def with_moments(n, mean, covariance, seed=0):
    """n points whose mean and covariance are exactly these."""
    x = points(seed, n, len(mean))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return mean + x @ np.linalg.cholesky(covariance).T


# ---- the Fréchet distance -----------------------------------------------------------------------


def test_frechet_between_gaussians_whose_axes_agree():
    """With diagonal covariances it is ‖μ_a − μ_b‖² + ‖σ_a − σ_b‖²."""
    a = with_moments(50, np.array([1.0, 2, 3]), np.diag([4.0, 9, 1]))
    b = with_moments(70, np.array([1.0, 0, 6]), np.diag([1.0, 1, 4]), seed=1)
    assert metrics.frechet(a, b) == pytest.approx((0 + 4 + 9) + (1 + 4 + 1), rel=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_frechet_is_its_formula(seed, d):
    a, b = points(seed, 30, d) * 2 + 1, points(seed + 1, 25, d) @ points(seed + 2, d, d)
    A, B = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(A + B - 2 * sqrtm(A @ B).real)
    assert metrics.frechet(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_frechet_of_fewer_points_than_dimensions():
    """Where the covariances are singular and a root of their product loses half of its digits."""
    a, b = points(0, 5, 20), points(1, 7, 20)
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-12)
    assert metrics.frechet(a, a + 2) == pytest.approx(4 * 20, rel=1e-12)
    assert metrics.frechet(a, b) == pytest.approx(metrics.frechet(b, a), rel=1e-12)


# ---- both ends, and brute force -----------------------------------------------------------------


def test_identical_sets():
    x = points(0)
    assert metrics.frechet(x, x) == pytest.approx(0, abs=1e-12)
    assert metrics.precision(x, x) == metrics.recall(x, x) == metrics.coverage(x, x) == 1
    assert metrics.density(x, x) >= 1
    # Each point's nearest other is its twin, of the other kind.
    assert metrics.one_nn_accuracy(x, x) == 0
    # Each has a twin of either kind: ties.
    twice = np.tile(x, (2, 1))
    assert metrics.one_nn_accuracy(twice, twice) == 0.5
    assert metrics.memorisation(x, points(1), x) == 0


def test_sets_that_lie_apart():
    x, y = points(0), points(1) + 100
    assert [metric(x, y) for metric in PAIRS.values()] == [0, 0, 0, 0]
    assert metrics.one_nn_accuracy(x, y) == 1
    assert metrics.frechet(x, y) > 9 * 100**2 * 0.3
    assert metrics.memorisation(y, x, x + 0.1) > 100


def test_one_distribution_is_one_half():
    x = points(0, 800, 2)
    assert abs(metrics.one_nn_accuracy(x[:400], x[400:]) - 0.5) < 0.06  # three standard deviations
    samples, test, train = (points(seed, 400) for seed in (1, 2, 3))
    assert metrics.memorisation(samples, test, train) == pytest.approx(1, abs=0.1)
    assert metrics.density(x[:400], x[400:]) == pytest.approx(1, abs=0.15)


def test_coverage_sees_what_precision_does_not():
    """One good sample over and over."""
    real = points(0)
    copies = np.repeat(real[:1], 40, axis=0)
    assert metrics.precision(real, copies) == 1 and metrics.coverage(real, copies) < 0.3


def radius(x, i, k):
    return sorted(np.linalg.norm(x[j] - x[i]) for j in range(len(x)) if j != i)[k - 1]


SEEDS, SIZES = st.integers(0, 10**6), st.integers(4, 9)


@given(SEEDS, SIZES, SIZES, st.integers(1, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_against_brute_force(seed, n, m, k, on_a_grid):
    real, fake = points(seed, n, 2), points(seed + 1, m, 2)
    if on_a_grid:  # many ties and repeated points
        real, fake = np.rint(real), np.rint(fake)

    def in_ball(x, centres, i):
        return np.linalg.norm(x - centres[i]) <= radius(centres, i, k)

    inside = np.array([[in_ball(x, real, i) for i in range(n)] for x in fake])
    assert metrics.precision(real, fake, k) == pytest.approx(inside.any(axis=1).mean())
    assert metrics.density(real, fake, k) == pytest.approx(inside.sum() / (k * m))
    assert metrics.coverage(real, fake, k) == pytest.approx(inside.any(axis=0).mean())
    recalled = [any(in_ball(x, fake, j) for j in range(m)) for x in real]
    assert metrics.recall(real, fake, k) == pytest.approx(np.mean(recalled))


@given(st.integers(0, 10**6), st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_one_nn_accuracy_against_brute_force(seed, n):
    a, b = points(seed, n, 2), points(seed + 1, n, 2)
    both, own = np.concatenate([a, b]), [0] * n + [1] * n
    right = 0
    for i in range(2 * n):
        distances = np.linalg.norm(both - both[i], axis=1)
        distances[i] = np.inf
        right += own[i] == own[distances.argmin()]
    assert metrics.one_nn_accuracy(a, b) == right / (2 * n)


def test_nearest_against_brute_force():
    a, b = points(0, 12), points(1, 30)
    distances, numbers = metrics.nearest(a, b, k=4)
    for x, d, i in zip(a, distances, numbers):
        expected = sorted(range(30), key=lambda j: np.linalg.norm(x - b[j]))[:4]
        assert i.tolist() == expected
        np.testing.assert_allclose(d, np.linalg.norm(b[expected] - x, axis=1), rtol=1e-12)
    assert metrics.nearest(a, b)[1].tolist() == numbers[:, 0].tolist()
    assert metrics.nearest(a, b, k=30)[0].shape == (12, 30)


# ---- properties ----------------------------------------------------------------------------------

SHAPES = st.tuples(st.integers(6, 12), st.just(2))
SETS = arrays(np.float64, SHAPES, elements=st.integers(-8, 8).map(float))


@given(SETS, SETS, st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_what_leaves_them_unchanged(a, b, seed):
    """Turning, moving and reordering both sets, and scaling them.

    The Fréchet distance scales with the square.
    """
    turn = np.linalg.qr(points(seed, 2, 2))[0]
    order = np.random.default_rng(seed).permutation(len(a))

    def moved(x):
        return x @ turn + 3

    distance = metrics.frechet(a, b)
    assert metrics.frechet(moved(a)[order], moved(b)) == pytest.approx(distance, rel=1e-9, abs=1e-9)
    assert metrics.frechet(4 * a, 4 * b) == pytest.approx(16 * distance, rel=1e-9, abs=1e-9)
    for metric in PAIRS.values():
        assert metric(4 * a[order], 4 * b) == metric(a, b)
        assert metric(-a, -b) == metric(a, b)


@given(SETS, SETS)
@settings(max_examples=40, deadline=None)
def test_bounds(a, b):
    for name, metric in PAIRS.items():
        assert 0 <= metric(a, b) <= (len(a) / 5 if name == "density" else 1)
    assert metrics.frechet(a, b) >= -1e-9
    n = min(len(a), len(b))
    assert 0 <= metrics.one_nn_accuracy(a[:n], b[:n]) <= 1


def test_pieces_are_the_whole(monkeypatch):
    a, b = points(0), points(1)

    def everything():
        indices = metrics.nearest(a, b, 3)[1].tolist()
        return [m(a, b) for m in PAIRS.values()], metrics.one_nn_accuracy(a, b), indices

    whole = everything()
    monkeypatch.setattr(metrics, "CHUNK", 100)
    assert everything() == whole


BAD_SETS = {
    "real: expected more than 3 points (n, 3), got shape (3, 3)": (
        lambda x: metrics.precision(x[:3], x)
    ),
    "samples: expected more than 5 points (n, 3), got shape (40, 2)": (
        lambda x: metrics.coverage(x, x[:, :2])
    ),
    "samples: expected as many as there are real points, 40, got 9": (
        lambda x: metrics.one_nn_accuracy(x, x[:9])
    ),
    "b: expected finite numbers": lambda x: metrics.frechet(x, x * np.inf),
    "b: expected more than 1 points": lambda x: metrics.frechet(x, x[0]),
}


@pytest.mark.parametrize("problem, call", BAD_SETS.items())
def test_bad_sets(problem, call):
    with pytest.raises(ValueError, match=re.escape(problem)), np.errstate(invalid="ignore"):
        call(points(0))
