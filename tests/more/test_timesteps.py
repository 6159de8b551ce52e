"""Timesteps by importance: no bias, the same bits with workers, and what is remembered."""

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinyddpm import noise
from tinyddpm.fast.parallel import Shards
from tinyddpm.more.predictions import gradient, weights
from tinyddpm.more.training.state import Remembers
from tinyddpm.more.training.timesteps import HISTORY, LossAware
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import linear
from tinyddpm.train import train

T = 6
SCHEDULE = linear(T)
CONFIG = UNetConfig(image=(1, 4, 4), base=4, levels=(1,), blocks=1, attention=(), groups=2)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (5, 1, 4, 4)).astype(np.float32)


def knowing(size, T=T):
    """A LossAware whose losses at each t are around `size` (T,)."""
    aware = LossAware(T)
    for t, loss in enumerate(size, 1):
        aware.see(np.full(HISTORY, t), loss * np.random.default_rng(t).uniform(0.5, 1.5, HISTORY))
    return aware


def perturbed():
    """A U-Net whose output is not 0."""
    unet = UNet(CONFIG).initialise(0)
    unet.theta += np.random.default_rng(1).normal(0, 0.1, unet.theta.shape).astype(np.float32)
    return unet


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_every_t_counts_as_much_as_before(size):
    """Σ_t p_t · 1/(T·p_t) · f(t) = Σ_t f(t)/T for every f: each t by itself."""
    aware = knowing(size, len(size))
    p = aware.probabilities()
    assert p.sum() == pytest.approx(1) and (p > 0).all()
    middle = np.cumsum(p) - p / 2
    t, weight = aware.draw(middle)
    np.testing.assert_array_equal(t, 1 + np.arange(len(size)))
    np.testing.assert_allclose(p * weight, 1 / len(size), rtol=1e-12)


def test_probabilities_are_those_of_the_paper():
    """p_t ∝ √E[L_t²] (Nichol & Dhariwal 2021, equation 18), with 0.1 % uniform."""
    aware = knowing([1, 4, 0.5, 0, 9, 2])
    root = np.array([np.sqrt(np.mean(np.square(row, dtype=np.float64))) for row in aware.losses])
    np.testing.assert_allclose(aware.probabilities(), 0.999 * root / root.sum() + 0.001 / T)


def test_only_the_last_losses_count():
    aware = LossAware(2)
    for loss in range(25):
        aware.see(np.array([1]), np.array([float(loss)]))
    np.testing.assert_array_equal(aware.losses[0], np.arange(15, 25))
    assert aware.counts[0] == HISTORY and aware.counts[1] == 0
    np.testing.assert_array_equal(aware.probabilities(), [0.5, 0.5])


def test_the_mean_gradient_is_that_of_uniform_t():
    """Over many draws for one image and one ε, within what chance allows; J likewise.

    A batch of N copies has the gradient of their mean, and each t has a known gradient.
    """
    unet, N = perturbed(), 3000
    x0, eps = (np.repeat(a, N, axis=0) for a in (IMAGES[:1], IMAGES[1:2]))
    at_each = []
    for t in range(1, T + 1):
        unet.grad[...] = 0
        J, _ = gradient(unet, SCHEDULE, x0[:1], np.array([t]), eps[:1])
        at_each.append(np.append(unet.grad, J))
    at_each = np.array(at_each)

    aware = knowing([1, 4, 0.5, 0.1, 9, 2])
    unet.grad[...] = 0
    t = np.full(N, 1)
    dropout = noise.Stream(0, "dropout", 7, np.arange(N))
    J, _ = aware.by(gradient)(unet, SCHEDULE, x0, t, eps, dropout=dropout)
    p = knowing([1, 4, 0.5, 0.1, 9, 2]).probabilities()
    counts = np.bincount(t, minlength=T + 1)[1:]
    assert abs(counts / N - p).max() < 5 * np.sqrt(p.max() / N) and counts.max() > 2 * N / T
    found, expected = np.append(unet.grad, J), at_each.mean(axis=0)
    spread = np.sqrt((p[:, None] * (at_each / (T * p[:, None]) - expected) ** 2).sum(axis=0) / N)
    rounding = 1e-5 * abs(at_each).max()
    assert (abs(found - expected) < 5 * spread + rounding).all()
    # Without the weights it would be far off.
    biased = (p[:, None] * at_each).sum(axis=0)
    assert (abs(biased - expected) > 5 * spread + rounding).mean() > 0.3


def steps(number, aware, unet, schedule=SCHEDULE, function=gradient, start=0, **options):
    training = train(
        unet,
        IMAGES,
        schedule,
        0.01,
        seed=3,
        batch_size=8,
        start=start,
        gradient=aware.by(function),
        **options,
    )
    return list(itertools.islice(training, number))


def test_until_each_t_is_known_the_run_is_the_uniform_one():
    few, many = UNet(CONFIG).initialise(0), UNet(CONFIG).initialise(0)
    found = steps(40, LossAware(T), few)
    plain = list(itertools.islice(train(many, IMAGES, SCHEDULE, 0.01, seed=3, batch_size=8), 40))
    same = [np.array_equal(a.t, b.t) for a, b in zip(found, plain)]
    first = same.index(False)
    assert 8 <= first < 30 and all(same[:first]) and sum(same) <= first + 1
    seen = np.concatenate([step.t for step in found[:first]])
    assert np.bincount(seen, minlength=T + 1)[1:].min() >= HISTORY
    assert all((step.t >= 1).all() and (step.t <= T).all() for step in found)


def test_it_sees_the_loss_that_is_minimised():
    """The weighted one, per value, at the t that were used."""
    aware = LossAware(T, weights(SCHEDULE, "min_snr"))
    [step] = steps(1, aware, perturbed(), function=partial(gradient, weight="min_snr"))
    table = weights(SCHEDULE, "min_snr")
    expected = {t: [] for t in range(1, T + 1)}
    for t, error in zip(step.t.tolist(), step.errors.tolist()):
        expected[t].append(table[t] * error / 16)
    for t, losses in expected.items():
        np.testing.assert_allclose(aware.losses[t - 1, : len(losses)], losses, rtol=1e-6)
        assert aware.counts[t - 1] == len(losses)
    assert step.J == pytest.approx(np.sum(list(itertools.chain(*expected.values()))) / 8, rel=1e-5)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_compute_the_same_gradient(workers):
    alone, together = perturbed(), perturbed()
    size = [1, 4, 0.5, 0.1, 9, 2]
    expected = steps(3, knowing(size), alone)
    with Shards(together, SCHEDULE, workers, 2, gradient=gradient) as shards:
        found = steps(3, knowing(size), together, function=shards.gradient)
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a.t, b.t)
        assert a.J == pytest.approx(b.J, rel=1e-5)
    np.testing.assert_allclose(together.theta, alone.theta, rtol=1e-4, atol=1e-6)


def test_one_that_takes_over_the_state_draws_the_same():
    first, unet = LossAware(T), perturbed()
    assert isinstance(first, Remembers) and first.state() == {}
    steps(12, first, unet)
    second, other = LossAware(T), perturbed()
    other.theta[...] = unet.theta
    second.load({name: array.copy() for name, array in first.state().items()})
    for a, b in zip(steps(9, first, unet, start=12), steps(9, second, other, start=12)):
        assert np.array_equal(a.t, b.t) and a.J == b.J
    assert np.array_equal(unet.theta, other.theta)


GOOD = {"losses": np.ones((T, HISTORY)), "counts": np.full((T, 1), 3.0)}


@pytest.mark.parametrize(
    "changed",
    [
        {"losses": np.ones((T + 1, HISTORY))},
        {"losses": np.full((T, HISTORY), np.nan)},
        {"losses": np.full((T, HISTORY), -1.0)},
        {"counts": np.full((T, 1), 11.0)},
        {"counts": np.full((T, 1), 0.5)},
        {"counts": np.ones(T)},
        {"other": np.ones(1)},
    ],
)
def test_a_state_of_something_else_is_refused(changed):
    LossAware(T).load(GOOD)
    with pytest.raises(ValueError, match="expected"):
        LossAware(T).load(GOOD | changed)


def test_a_step_that_is_not_taken_is_not_remembered():
    def broken(*args, **options):
        return np.float32(np.nan), np.full(8, np.nan, np.float32)

    aware = LossAware(T)
    with pytest.raises(FloatingPointError):
        steps(1, aware, perturbed(), function=broken)
    assert aware.state() == {}


def test_it_needs_the_address_of_the_step():
    with pytest.raises(TypeError, match="dropout: expected a noise.Stream"):
        LossAware(T).by(gradient)(perturbed(), SCHEDULE, IMAGES, np.ones(5, int), IMAGES)
