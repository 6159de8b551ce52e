"""Momentum and Adam, against chains worked out by hand and the theory of the quadratic."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinyddpm import train as core
from tinyddpm.more.training.optimisers import BLOCK, Adam, Momentum
from tinyddpm.more.training.state import Remembers
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


# ---- what they remember --------------------------------------------------------------------------


def literal(update, net, beta):
    """The same step, as the class writes it: every line makes new arrays."""
    g = net.grad
    if isinstance(update, Momentum):
        update.m = update.momentum * (0.0 if update.m is None else update.m) + g
        net.theta -= beta * update.m
        return
    b1, b2 = update.decay
    update.steps += 1
    update.m = b1 * (0.0 if update.m is None else update.m) + (1 - b1) * g
    update.v = b2 * (0.0 if update.v is None else update.v) + (1 - b2) * g * g
    root = (update.v / (1 - b2**update.steps)) ** 0.5
    direction = update.m / (1 - b1**update.steps) / (root + update.tiny)
    net.theta -= beta * direction


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize("make", [Momentum, Adam])
def test_a_step_in_blocks_is_the_step_as_written(make, size):
    rng = np.random.default_rng(size)
    theta, updates = rng.normal(size=size), (make(), make())
    nets = Numbers(theta), Numbers(theta)
    for k in range(1, 5):
        for net in nets:
            net.grad[...] = np.random.default_rng(k).normal(size=size)
        updates[0](nets[0], 0.01, k)
        literal(updates[1], nets[1], 0.01)
        np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [Momentum, Adam])
def test_one_that_takes_over_the_state_takes_the_same_steps(make):
    nets, first, second = (Numbers(np.ones(40)), Numbers(np.ones(40))), make(), make()
    assert isinstance(first, Remembers) and first.state() == {}
    second.load(first.state())
    for k in range(1, 9):
        if k == 5:  # from a copy, as from a file: only what `state` gives may count
            nets[1].theta[...] = nets[0].theta
            second = make()
            second.load({name: array.copy() for name, array in first.state().items()})
        for net, update in zip(nets, (first, second)):
            net.grad[...] = np.random.default_rng(k).normal(size=40)
            update(net, 0.01, k)
        assert (nets[0].theta == nets[1].theta).all()
    assert all(name.isidentifier() and a.dtype.kind == "f" for name, a in first.state().items())


WRONG = [
    (Momentum, {"v": np.ones(3)}),
    (Momentum, {"m": np.ones(3), "v": np.ones(3)}),
    (Adam, {"m": np.ones(3)}),
    (Adam, {"m": np.ones(3), "v": np.ones(3), "steps": np.array([1.5])}),
    (Adam, {"m": np.ones(3), "v": np.ones(3), "steps": np.array([-1.0])}),
    (Adam, {"m": np.ones(3), "v": np.ones(3), "steps": np.array([np.nan])}),
    (Adam, {"m": np.ones(3), "v": np.ones(3), "steps": np.array([1.0, 1.0])}),
]


@pytest.mark.parametrize("make, state", WRONG)
def test_a_state_of_something_else_is_refused(make, state):
    with pytest.raises(ValueError, match="^state: expected"):
        make().load(state)


def test_a_step_takes_no_memory_but_one_block():
    net, update = Numbers(np.ones(10 * BLOCK)), Adam()
    update(net, 0.1, 1)
    tracemalloc.start()
    update(net, 0.1, 2)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1.1 * 8 * BLOCK


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
