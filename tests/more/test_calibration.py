"""Measured multipliers: by hand, against plain gradient descent in other coordinates, resumed."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinyddpm import train as core
from tinyddpm.more import curvature
from tinyddpm.more.training.calibration import Measured, by_kind
from tinyddpm.more.training.optimisers import Momentum
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import ONES
from tinyddpm.schedule import linear

SCHEDULE = linear(20)
CONFIG = UNetConfig(image=(1, 4, 4), base=4, levels=(1,), blocks=1, attention=(4,), groups=2)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (20, 1, 4, 4)).astype(np.float32)


class Numbers:
    """A vector θ of arrays of these sizes, each in a room of 16."""

    def __init__(self, theta, *sizes):
        self.theta = np.zeros(16 * len(sizes))
        self.where = {str(i): slice(16 * i, 16 * i + n) for i, n in enumerate(sizes)}
        self.set(theta)
        self.grad = np.zeros_like(self.theta)

    def slices(self):
        return self.where

    def numbers(self, vector=None):
        vector = self.theta if vector is None else vector
        return np.concatenate([vector[where] for where in self.where.values()])

    def set(self, numbers, vector=None):
        vector = self.theta if vector is None else vector
        ends = np.cumsum([where.stop - where.start for where in self.where.values()])
        for where, part in zip(
            self.where.values(), np.split(np.asarray(numbers), ends), strict=False
        ):
            vector[where] = part


def feed(measured, net, gradients, beta=0.1, start=0):
    """θ after each step, if the gradients are these."""
    path = []
    for k, g in enumerate(gradients, start + 1):
        net.set(g, net.grad)
        measured(net, beta, k)
        path.append(net.numbers())
    return np.array(path)


def trained(unet, update, steps, start=0, beta=0.02):
    images = IMAGES.astype(unet.theta.dtype)
    how = {"seed": 0, "batch_size": 8, "start": start, "update": update}
    training = core.train(unet, images, SCHEDULE, beta, **how)
    return [step.J for step in itertools.islice(training, steps - start)]


def new(dtype=np.float32):
    return UNet(CONFIG, ONES).initialise(0, dtype)


some_gradients = st.integers(0, 99).map(
    lambda seed: np.random.default_rng(seed).normal(size=(8, 5)) * 10.0 ** np.arange(-2, 3)
)


def test_by_hand():
    """Two arrays, of two numbers and of one; damping ½.

    E of the squares is (9, 1) and 4, then (5, 5) and 2.
    """
    net, measured = Numbers([0, 0, 0], 2, 1), Measured(2, damping=0.5)
    found = feed(measured, net, [[3, 1, 2], [1, 3, 0], [10, -10, 1]], beta=1.0)
    first = -np.array([3 / 11.5**0.5, 1 / 3.5**0.5, 2 / 6**0.5])
    c2 = np.array([7.5, 7.5, 3]) ** -0.5
    second = first - c2 * [1, 3, 0]
    np.testing.assert_allclose(found, [first, second, second - c2 * [10, -10, 1]], rtol=1e-12)


@given(gradients=some_gradients, steps=st.integers(1, 8))
def test_the_multipliers_are_those_of_the_first_steps_alone(gradients, steps):
    net, measured = Numbers(np.zeros(5), 2, 3), Measured(steps)
    feed(measured, net, gradients[:steps])
    v = np.square(gradients[:steps]).mean(axis=0)
    damped = v + 0.1 * np.repeat([v[:2].mean(), v[2:].mean()], [2, 3])
    frozen = measured.c2.copy()
    np.testing.assert_allclose(net.numbers(frozen), damped**-0.5, rtol=1e-12)
    feed(measured, net, 1e3 * gradients[::-1])
    assert np.array_equal(measured.c2, frozen) and measured.done == steps


@given(gradients=some_gradients, power=st.integers(-10, 10))
def test_the_path_does_not_depend_on_the_scale_of_J(gradients, power):
    """To the last digit, where the scale is a power of 4."""
    paths = [
        feed(Measured(5), Numbers(np.ones(5), 2, 3), scale * gradients) for scale in (1, 4.0**power)
    ]
    assert np.array_equal(*paths)


@given(gradients=some_gradients)
def test_while_it_measures_no_number_moves_by_more_than_beta_times_the_root_of_k(gradients):
    gradients[:5] *= 1e-150  # like those of layers that have hardly woken
    path = feed(Measured(8), Numbers(np.zeros(5), 2, 3), gradients, beta=0.1)
    moves = np.abs(np.diff(path, axis=0, prepend=0))
    k = np.arange(1, 9)[:, None]
    assert np.isfinite(path).all() and (moves <= 0.1 * k**0.5 * (1 + 1e-12)).all()
    assert moves[5:].max() > 0.1  # it is no bound of β itself


def test_once_frozen_it_is_plain_gradient_descent_on_a_network_written_in_other_numbers():
    """θ = c·v: v goes by v ← v − β∇_v J, with ∇_v J = c·∇_θ J(c·v), in the code of the core."""
    unet, measured = new(np.float64), Measured(6)
    trained(unet, measured, 6)
    c = measured.c2**0.5
    moves = c > 0
    other = new(np.float64)
    v = other.theta  # what `train` updates
    v[moves] = unet.theta[moves] / c[moves]
    inside = new(np.float64)
    inside.theta[...] = unet.theta

    def gradient(net, *batch, **options):
        inside.theta[moves], inside.grad[...] = c[moves] * v[moves], 0
        found = core.gradient(inside, *batch, **options)
        net.grad += c * inside.grad
        return found

    how = {"seed": 0, "batch_size": 8, "start": 6}
    images = IMAGES.astype(np.float64)
    of_v = core.train(other, images, SCHEDULE, 0.02, gradient=gradient, **how)
    of_theta = core.train(unet, images, SCHEDULE, 0.02, update=measured, **how)
    before = unet.theta.copy()
    for a, b in itertools.islice(zip(of_theta, of_v), 20):
        assert a.J == pytest.approx(b.J, rel=1e-9)
    np.testing.assert_allclose(unet.theta[moves], c[moves] * v[moves], rtol=1e-6, atol=1e-9)
    assert np.abs(unet.theta - before).max() > 0.01


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("stopped", [1, 7, 12, 17])
def test_a_resumed_run_gives_the_same_bits(stopped, momentum):
    """In the warm-up of 12 steps, at its end, and after it."""
    unbroken, whole = new(), Measured(12, momentum=momentum)
    J = trained(unbroken, whole, 20)

    unet, measured = new(), Measured(12, momentum=momentum)
    trained(unet, measured, stopped)
    saved = {name: np.array(array) for name, array in measured.state().items()}
    trained(unet, measured, stopped + 1, start=stopped)  # what was saved must not move on with it
    resumed, again = new(), Measured(12, momentum=momentum)
    other = new()
    trained(other, Measured(12, momentum=momentum), stopped)
    resumed.theta[...] = other.theta
    again.load(saved)
    assert trained(resumed, again, 20, start=stopped) == J[stopped:]
    assert np.array_equal(resumed.theta, unbroken.theta)
    assert np.array_equal(again.c2, whole.c2)
    assert all(np.array_equal(a, whole.state()[name]) for name, a in again.state().items())


def test_what_was_loaded_is_not_written_into():
    net, measured = Numbers(np.zeros(2), 2), Measured(5)
    saved = {"squares": np.ones(16), "steps": np.array([2.0])}
    measured.load(saved)
    feed(measured, net, [[1, 2]])
    assert (saved["squares"] == 1).all() and measured.done == 3


def test_a_new_network_wakes_and_what_has_no_gradient_rests():
    """Almost all gradients of step 1 are 0. The bias of attention's keys never has one."""
    unet, measured = new(), Measured(40)
    start = unet.theta.copy()
    trained(unet, measured, 1)
    assert {name for name, where in unet.slices().items() if measured.c2[where].any()} == {
        "last.conv.weight",
        "last.conv.bias",
    }
    trained(unet, measured, 60, start=1)
    resting = {name for name, where in unet.slices().items() if not measured.c2[where].any()}
    keys = {name for name in unet.slices() if name.endswith("k.bias")}
    assert resting == keys and len(keys) > 0
    for name, where in unet.slices().items():
        assert (name in keys) == np.array_equal(unet.theta[where], start[where])


def test_the_padding_and_float32_are_left_alone():
    unet, measured = new(), Measured(3)
    trained(unet, measured, 5)
    used = np.zeros(unet.theta_size(), bool)
    for where in unet.slices().values():
        used[where] = True
    assert not used.all() and not unet.theta[~used].any()
    arrays = (measured.c2, *measured.state().values(), unet.theta)
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_momentum_of_what_is_calibrated():
    """m is a mean of gradients: (1 − μ) times the sum of `Momentum`."""
    net, other = Numbers(np.zeros(3), 3), Numbers(np.zeros(3), 3)
    gradients = np.random.default_rng(3).normal(size=(30, 3))
    measured, plain = Measured(1, momentum=0.75), Momentum(0.75)
    found = feed(measured, net, gradients, beta=0.1)
    expected = feed(plain, other, gradients, beta=0.1 * 0.25)
    np.testing.assert_allclose(found, net.numbers(measured.c2) * expected, rtol=1e-12)


def test_by_kind():
    unet = new()
    kinds = curvature.kinds(unet)
    c2 = np.zeros(unet.theta_size(), np.float32)
    c2[kinds["last"]] = 3
    some = np.flatnonzero(kinds["conv1"])[:11]
    c2[some] = np.arange(1, 12)
    found = by_kind(unet, c2)
    assert found["last"] == (3, 3, 3)
    assert found["conv1"] == pytest.approx((2, 6, 10))
    assert found["rest"] == (0, 0, 0) and set(found) == set(kinds)


def state(**changed):
    return {"squares": np.ones(16), "steps": np.ones(1)} | changed


BAD = [
    (lambda: Measured(0), "steps: expected a positive number, got 0"),
    (lambda: Measured(5, momentum=1), "momentum: expected 0 up to"),
    (
        lambda: Measured(5).load(state(m=np.ones(16))),
        "state: expected squares, steps, or nothing, got m",
    ),
    (
        lambda: Measured(5, momentum=0.9).load(state()),
        "state: expected m, squares, steps, or nothing, got sq",
    ),
    (lambda: Measured(5, damping=0), "damping: expected a positive number, got 0"),
    (lambda: Measured(5).load({"squares": np.ones(3)}), "state: expected squares, steps"),
    (lambda: Measured(5).load(state(m=np.ones(3))), "state: expected .* got m, squares, steps"),
    (lambda: Measured(5).load(state(squares=-np.ones(3))), "squares: expected .* numbers ≥ 0"),
    (lambda: Measured(5).load(state(squares=np.full(3, np.nan))), "squares: expected"),
    (lambda: Measured(5).load(state(squares=np.ones((2, 2)))), "squares: expected"),
    (lambda: Measured(5).load(state(steps=np.array([1.5]))), "steps: expected a positive whole"),
    (lambda: Measured(5).load(state(steps=np.array([math.inf]))), "steps: expected"),
    (lambda: Measured(5).load(state(steps=np.zeros(1))), "steps: expected"),
]


@pytest.mark.parametrize("call, words", BAD)
def test_bad_numbers_are_refused_by_name(call, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        call()


def test_the_state_of_another_network_is_refused():
    measured = Measured(5)
    measured.load(state())
    with pytest.raises(ValueError, match="^squares: expected a vector like θ, .*got"):
        trained(new(), measured, 1)
