"""Momentum and Adam, against chains worked out by hand and the theory of the quadratic."""

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinyddpm import train as core
from tinyddpm.more.training.optimisers import Adam, Momentum
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import linear

SCHEDULE = linear(20)
CONFIG = UNetConfig(image=(1, 4, 4), base=4, levels=(1,), blocks=1, attention=(), groups=2)


class Numbers:
    """The least that `train` can train: a vector θ."""

    def __init__(self, theta):
        self.theta = np.array(theta, dtype=np.float64)
        self.grad = np.zeros_like(self.theta)


def path(update, slope, theta, beta, steps):
    """θ after each of some steps of `train`, if ∇J = slope(θ, k)."""
    net, k = Numbers(theta), itertools.count(1)

    def gradient(net, *batch, **options):
        net.grad += slope(net.theta, next(k))
        return np.float64(1), np.zeros(2)

    images = np.zeros((3, 1, 2, 2))
    plugs = {"gradient": gradient, "update": update}
    training = core.train(net, images, SCHEDULE, beta, seed=0, batch_size=2, **plugs)
    return np.array([net.theta.copy() for _ in itertools.islice(training, steps)])


def some_images():
    return np.random.default_rng(0).uniform(-1, 1, (5, 1, 4, 4)).astype(np.float32)


def test_momentum_on_a_constant_slope_is_the_geometric_sum():
    """m_k = (1 + μ + … + μᵏ⁻¹)·g, so after k steps θ has gone β g Σ_j (1 − μʲ)/(1 − μ)."""
    mu, beta, g = 0.8, 0.1, np.array([1.0, -3.0])
    found = path(Momentum(mu), lambda theta, k: g, [0, 0], beta, 30)
    j = np.arange(1, 31)
    expected = -beta * np.cumsum((1 - mu**j) / (1 - mu))[:, None] * g
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(mu=st.floats(0, 0.95), fraction=st.floats(0.02, 0.98))
def test_momentum_on_a_quadratic_is_the_two_term_recursion(mu, fraction):
    """With J = λθ²/2: θ_{k+1} = (1 + μ − βλ) θ_k − μ θ_{k−1} (Polyak 1964).

    For any β below the limit 2(1 + μ)/λ.
    """
    curvature = 3.0
    beta = fraction * 2 * (1 + mu) / curvature
    found = path(Momentum(mu), lambda theta, k: curvature * theta, [1.0], beta, 25)[:, 0]
    expected = [1.0, 1.0]
    for _ in range(25):
        expected.append((1 + mu - beta * curvature) * expected[-1] - mu * expected[-2])
    np.testing.assert_allclose(found, expected[2:], rtol=1e-9, atol=1e-9)


def test_no_momentum_is_the_lectures_update():
    unet, other = (UNet(CONFIG).initialise(0) for _ in range(2))
    images = some_images()
    for net, options in ((unet, {}), (other, {"update": Momentum(0.0)})):
        training = core.train(net, images, SCHEDULE, 0.1, seed=0, batch_size=3, **options)
        for _ in itertools.islice(training, 5):
            pass
    assert np.array_equal(unet.theta, other.theta) and np.abs(unet.theta).sum() > 0


@given(scale=st.floats(1e-3, 1e3))
def test_adam_on_a_constant_slope_goes_beta_a_step_whatever_its_size(scale):
    """Bias correction makes m̂ = g and v̂ = g² at every step, the first included.

    (Kingma & Ba 2015, section 3.)
    """
    beta, g = 0.01, scale * np.array([1.0, -2.0])
    found = path(Adam(), lambda theta, k: g, [0, 0], beta, 10)
    expected = -beta * np.arange(1, 11)[:, None] * np.sign(g)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_adam_by_hand():
    """Two steps of algorithm 1 with gradients 1 and −2, b₁ = ½ and b₂ = ¾, in fractions.

    m̂ = 1 then −1, v̂ = 1 then 19/7.
    """
    slope = lambda theta, k: np.array([[1.0, -2.0][k - 1]])
    found = path(Adam((0.5, 0.75), 1.0), slope, [0.0], 1.0, 2)[:, 0]
    first = -1 / (1 + 1)
    m_hat = (0.5 * 0.5 * 1 + 0.5 * -2) / (1 - 0.25)
    v_hat = (0.75 * 0.25 * 1 + 0.25 * 4) / (1 - 0.5625)
    assert (m_hat, v_hat) == (-1, pytest.approx(19 / 7))
    np.testing.assert_allclose(found, [first, first - m_hat / (v_hat**0.5 + 1)], rtol=1e-12)


def test_adam_leaves_the_padding_and_float32_alone():
    unet, adam = UNet(CONFIG).initialise(0), Adam()
    used = np.zeros(unet.theta_size(), bool)
    for where in unet.slices().values():
        used[where] = True
    training = core.train(unet, some_images(), SCHEDULE, 1e-3, seed=0, batch_size=3, update=adam)
    for _ in itertools.islice(training, 3):
        pass
    assert adam.m.dtype == adam.v.dtype == unet.theta.dtype == np.float32
    assert not used.all() and not unet.theta[~used].any()


BAD = [
    lambda: Momentum(1.0),
    lambda: Momentum(-0.1),
    lambda: Adam((0.9, 1.0)),
    lambda: Adam((-1, 0.9)),
    lambda: Adam(tiny=0),
]


@pytest.mark.parametrize("make", BAD)
def test_bad_constants_are_refused_by_name(make):
    with pytest.raises(ValueError, match="^(momentum|decay|tiny).*expected.*got"):
        make()
