"""Solvers in the limit of small strides: their order, round trips, and what they land on."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from oracles import full, schedules, seeds
from scipy.integrate import solve_ivp
from solved import SHAPE, bent, both, drawn, last

from tinyddpm import noise
from tinyddpm.data import digits
from tinyddpm.more.gaussian import gaussian_denoiser, probability_flow
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.solvers import ddim, ddim_inversion, dpm_solver, heun
from tinyddpm.schedule import linear

# ---- the order of convergence --------------------------------------------------------------------


def slopes(errors):
    """log₂ of how much smaller the error is for twice as many steps."""
    return [math.log2(a / b) for a, b in zip(errors, errors[1:])]


def assert_order(errors, order):
    assert slopes(errors) == pytest.approx([order] * 3, abs=0.1) and errors[-1] < 0.01


orders = pytest.mark.parametrize("solver, order", [(ddim, 1), (dpm_solver, 2), (heun, 2)])
STEPS = 32, 64, 128, 256


def at_half(solver, denoiser, schedule, x_T, steps):
    chain = solver(denoiser, schedule, x_T, steps=steps, clip=None)
    return next(xt for t, xt, _ in chain if t == schedule.T // 2)


@orders
def test_order_on_gaussian_images(solver, order):
    """From T to T/2 the exact solution is known.

    (The last stride, to σ = 0, is one of Euler in all of them.)
    """
    schedule, rng = linear(1024), np.random.default_rng(3)
    mean, root = rng.standard_normal((1, 2, 2)), rng.standard_normal((4, 4)) / 2
    x_T = drawn(shape=(5, 1, 2, 2))
    exact = probability_flow(schedule, mean, root @ root.T, x_T, 1024, 512)
    denoiser = gaussian_denoiser(schedule, mean, root @ root.T)
    ends = (at_half(solver, denoiser, schedule, x_T, n) for n in STEPS)
    assert_order([abs(end - exact).max() for end in ends], order)


@orders
def test_order_on_two_images(solver, order):
    """±1 in one pixel: x̂_0 = tanh(y/σ²) is not linear. The exact solution is SciPy's."""
    schedule = linear(1024)
    signal, sigma = np.sqrt(schedule.alpha_bar), np.sqrt(1 / schedule.alpha_bar - 1)
    x_T = np.array([-1.3, -0.2, 0.05, 0.9]).reshape(4, 1, 1, 1)
    slope = lambda s, y: (y - np.tanh(y / s**2)) / s
    span, start = (sigma[1024], sigma[512]), x_T.ravel() / signal[1024]
    y = solve_ivp(slope, span, start, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    denoiser = ideal_denoiser(np.array([-1.0, 1]).reshape(2, 1, 1, 1), schedule)
    ends = (at_half(solver, denoiser, schedule, x_T, n) for n in STEPS)
    assert_order([abs(end.ravel() - signal[512] * y).max() for end in ends], order)


def test_inversion_is_of_first_order():
    """From T/2 to T, started on the exact flow by the exact inverse of the steps before."""
    schedule, mean, w = linear(1024), full(0.3)[0], 0.6
    denoiser, x0 = gaussian_denoiser(schedule, mean, w), full(1.7)
    errors = []
    for n in STEPS:
        chain = ddim_inversion(denoiser, schedule, x0, steps=n, clip=None)
        film = {t: xt for t, xt, _ in chain}
        exact = probability_flow(schedule, mean, w, film[512], 512, 1024)
        errors.append(abs(film[1024] - exact).item())
    assert_order(errors, 1)


# ---- there and back ------------------------------------------------------------------------------


def gaussian_digits():
    """Eight digits, and the exact denoiser of N(mean, covariance) of all of them.

    Their 64 pixels depend on each other.
    """
    images, schedule = digits().images.astype(np.float64), linear(1000)
    covariance = np.cov(images.reshape(len(images), -1).T) + 0.01 * np.eye(64)
    return images[:8], schedule, gaussian_denoiser(schedule, images.mean(axis=0), covariance)


def round_trip(steps, rounds):
    images, schedule, denoiser = gaussian_digits()
    x_T = last(ddim_inversion(denoiser, schedule, images, steps, rounds, clip=None))
    again = last(ddim(denoiser, schedule, x_T, steps=steps, clip=None))
    return abs(again - images).max(), x_T


def test_a_round_trip_gives_the_digits_back_the_better_the_more_steps():
    errors = [round_trip(steps, 1)[0] for steps in (10, 50, 250, 1000)]
    assert errors[0] > errors[1] > errors[2] > errors[3] and errors[3] < 0.05


def test_more_rounds_make_the_round_trip_exact_on_as_few_steps():
    errors = [round_trip(10, rounds)[0] for rounds in (1, 10, 100)]
    assert errors[0] > 0.1 > errors[1] > errors[2] and round_trip(10, 300)[0] < 1e-6


def test_what_a_digit_is_encoded_to_looks_like_noise():
    _, x_T = round_trip(250, 1)
    assert abs(x_T.mean()) < 0.2 and 0.8 < x_T.std() < 1.2


@given(schedules, seeds, st.floats(0.1, 4))
def test_with_enough_rounds_ddim_undoes_inversion_at_every_step(schedule, seed, variance):
    """The iteration shrinks errors by (1−ᾱ)/(ᾱs² + 1−ᾱ) at most.

    200 rounds are plenty where that is below .9.
    """
    steps = min(4, schedule.T)
    a2 = schedule.alpha_bar[1:]
    denoiser, x0 = gaussian_denoiser(schedule, np.zeros(SHAPE[1:]), variance), drawn(seed)
    chain = ddim_inversion(denoiser, schedule, x0, steps, rounds=200, clip=None)
    up = {0: x0} | {t: xt for t, xt, _ in chain}
    if np.max((1 - a2) / (a2 * variance + 1 - a2)) < 0.9:
        for t, xt, _ in ddim(denoiser, schedule, up[schedule.T], steps=steps, clip=None):
            np.testing.assert_allclose(xt, up[t], rtol=0, atol=1e-8)


def test_a_clipped_chain_is_inverted_too():
    images, schedule, denoiser = gaussian_digits()
    images = 0.98 * images  # the clipped x̂_0 is constant at ±1, and a constant has no inverse
    x_T = last(ddim_inversion(denoiser, schedule, images, 20, 300))
    assert abs(last(ddim(denoiser, schedule, x_T, steps=20)) - images).max() < 1e-4


@pytest.mark.parametrize("rounds", [0, -1])
def test_a_bad_number_of_rounds_is_named(rounds):
    with pytest.raises(ValueError, match=f"^rounds: expected at least 1, got {rounds}"):
        next(ddim_inversion(bent, linear(5), full(1), steps=2, rounds=rounds))


# ---- data points ---------------------------------------------------------------------------------


@both
def test_with_the_ideal_denoiser_they_land_on_data_points(solver):
    images, schedule = digits().images[:200], linear(1000)
    x_T = noise.normal(0, "eps", 0, range(16), (1, 8, 8), np.float32)
    x0 = last(solver(ideal_denoiser(images, schedule), schedule, x_T, steps=50))
    nearest = np.abs(x0[:, None] - images).max(axis=(2, 3, 4))
    assert nearest.min(axis=1).max() < 1e-3
    assert len(set(nearest.argmin(axis=1))) > 8  # of many images, not always the same
