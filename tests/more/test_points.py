"""Point sets lie where they should, and the machinery of images learns and draws them."""

import itertools

import numpy as np
import pytest
from oracles import perturb

from autograd.check import check_gradient
from tinyddpm import noise, schedule
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.points import SETS, PointNet, checkerboard, moons, roll
from tinyddpm.more.solvers import ddim
from tinyddpm.objective import objective
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.train import train


@pytest.mark.parametrize("make", SETS.values(), ids=SETS)
def test_every_set_is_a_function_of_its_seed(make):
    x = make(500, seed=3)
    assert x.shape == (500, 2, 1, 1) and x.dtype == np.float32 and np.abs(x).max() < 1.15
    assert (make(200, seed=3) == x[:200]).all() and not (make(500, seed=4) == x).any()
    assert np.abs(x).max() > 0.85 and (np.abs(x.mean(axis=0)) < 0.15).all()


def test_the_checkerboard_is_uniform_on_its_dark_squares():
    x, y = checkerboard(8000, seed=0)[:, :, 0, 0].T
    column, row = np.floor(2 * (x + 1)).astype(int), np.floor(2 * (y + 1)).astype(int)
    assert ((column + row) % 2 == 0).all()
    counts = np.bincount(4 * row + column, minlength=16)
    dark = counts[counts > 0]
    # χ² with 7 degrees of freedom: p > 1e-4
    assert len(dark) == 8 and ((dark - 1000) ** 2 / 1000).sum() < 30


def test_the_moons_are_half_circles_about_two_centres():
    points = moons(4000, seed=0)[:, :, 0, 0]
    centre = np.array([-0.3, -0.15])
    radii = np.stack([np.hypot(*(points - side * centre).T) for side in (1, -1)])
    nearer = np.abs(radii - 0.6).min(axis=0)
    assert np.sqrt((nearer**2).mean()) < 0.035 and abs((points[:, 1] > 0).mean() - 0.5) < 0.05


def test_the_roll_is_a_spiral():
    x, y = roll(4000, seed=0)[:, :, 0, 0].T
    radius = np.hypot(x, y) * 4.5 * np.pi
    turns = (radius - np.arctan2(y, x)) / (2 * np.pi)
    # On the spiral the radius is the angle, so `turns` is a whole number.
    off = np.abs(turns - np.rint(turns)) * 2 * np.pi / (4.5 * np.pi)  # how far along the radius
    assert np.sqrt((off**2).mean()) < 0.03


def test_the_network_s_gradient():
    rng = np.random.default_rng(0)
    net = perturb(PointNet(width=8, layers=2, waves=2).initialise(0, np.float64), rng, 0.3)
    xt, t = rng.normal(size=(5, 2, 1, 1)), np.array([1, 10, 100, 500, 1000])
    x0 = rng.normal(size=(5, 2, 1, 1))
    parameters = net.parameters()

    def J(*values):
        for p, value in zip(parameters.values(), values):
            p.data, p.node = value.data, value.node
        return objective(net(xt, t), x0, "mse")[0]

    check_gradient(J, *(p.data.copy() for p in parameters.values()))


def test_a_short_training_comes_near_to_the_ideal_denoiser():
    linear, x0 = schedule.linear(100), moons(3000, seed=0)
    draws = Draws(moons(200, seed=1), linear)
    mean, ideal = (draws.evaluate(d).mean() for d in (mean_image(x0), ideal_denoiser(x0, linear)))
    net = PointNet(width=64).initialise(0)
    # it starts by answering 0
    assert draws.evaluate(net.denoise).mean() == pytest.approx((draws.x0**2).mean(), rel=1e-5)
    training = train(net, x0, linear, beta=0.3, seed=0, batch_size=128)
    for _ in itertools.islice(training, 400):
        pass
    assert draws.evaluate(net.denoise).mean() < ideal + 0.25 * (mean - ideal)
    x_T = noise.normal(0, "start", 0, np.arange(50), (2, 1, 1))
    *_, (t, points, _) = ddim(net.denoise, linear, x_T, steps=20, clip=None)
    assert t == 0 and points.shape == (50, 2, 1, 1) and points.dtype == np.float32
