"""The samplers' exact mean and covariance on Gaussian images, measured on the samplers themselves.

`moments` runs the samplers. What it measures is compared with published figures, with theory for
certain variances, with the exact solution of the probability flow, and with the recursions of
`gaussian_chains.py`.
"""

import math

import numpy as np
import pytest
from gaussian_chains import chain_2m, chain_ancestral, chain_ddim, chain_heun, end_of
from gaussian_worlds import PIXEL, SHAPE, last, means, pixel, run, some_gaussian, variances
from hypothesis import given, strategies as st
from oracles import schedules, seeds

from tinyddpm.diffusion import posterior_coefficients, posterior_variance
from tinyddpm.more import solvers
from tinyddpm.more.gaussian import gaussian_denoiser, least_J, moments, probability_flow
from tinyddpm.more.reverse import at_timesteps, interpolated_variance, respaced
from tinyddpm.more.solvers import ddim, dpm_solver, heun, timestep_grid
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import Schedule, linear

# Fewer steps than `schedules`: each test runs D·T images.
tame = st.lists(st.floats(1e-5, 0.3), min_size=1, max_size=20).map(Schedule)

# ---- the published figures: s = 0.5, linear T = 1000 ---------------------------------------------


@pytest.mark.parametrize("large, expected", [(False, 0.49611), (True, 0.50075)])
def test_published_spread_of_ancestral_sampling(large, expected):
    schedule = linear(1000)
    table = schedule.beta if large else None
    _, variance = pixel(ancestral, schedule, 0.25, T=1000, variance=table)
    assert math.sqrt(variance) == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize("steps, expected", [(10, 0.36995), (50, 0.47140), (1000, 0.49850)])
def test_published_spread_of_ddim(steps, expected):
    _, variance = pixel(ddim, linear(1000), 0.25, steps=steps)
    assert math.sqrt(variance) == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize("steps, expected", [(10, 0.37413), (50, 0.47244)])
def test_published_spread_of_ddim_on_the_leading_grid(steps, expected):
    """…, 201, 101, 1: it never visits T. Here it is all the steps of a respaced schedule."""
    schedule, visited = linear(1000), range(1, 1001, 1000 // steps)
    denoiser = at_timesteps(gaussian_denoiser(schedule, PIXEL, 0.25), visited)
    sampler = run(ddim, denoiser, respaced(schedule, visited), steps=steps)
    _, covariance = last(moments(sampler, PIXEL.shape, 0))
    assert math.sqrt(covariance.item()) == pytest.approx(expected, abs=6e-6)


def test_the_spreads_in_the_table_of_solvers_py():
    _, table = solvers.__doc__.split("    steps  ")
    steps, *rows = (line.split() for line in table.splitlines()[:4])
    assert [name for name, *_ in rows] == ["ddim", "dpm_solver", "heun"]
    samplers = {"ddim": ddim, "dpm_solver": dpm_solver, "heun": heun}
    for name, *spreads in rows:
        for n, expected in zip(steps, spreads[:3]):
            _, variance = pixel(samplers[name], linear(1000), 0.25, steps=int(n))
            assert f"{math.sqrt(variance):.3f}" == expected


# ---- every sampler against recursions of another form --------------------------------------------


def agree(schedule, measured, expected):
    mean, variance = measured
    allowed = 1e-10 / schedule.beta[1] ** 0.5
    assert mean == pytest.approx(expected[0], abs=allowed)
    assert variance == pytest.approx(expected[1], rel=1e-9, abs=allowed)


def some_steps(schedule, size):
    """A fraction `size` of the steps, at least one."""
    return max(1, round(size * schedule.T))


# The weight of the large variance, which alone is not 0 at t = 1.
weights = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


@given(schedules, variances, means, weights)
def test_ancestral_with_any_variance_table(schedule, w, m, large):
    table = interpolated_variance(schedule, large)
    measured = pixel(ancestral, schedule, w, T=schedule.T, mean=PIXEL + m, variance=table)
    agree(schedule, measured, end_of(chain_ancestral(schedule, m, w, table)))


@given(schedules, variances, means, weights, st.floats(0, 1))
def test_strided_ancestral(schedule, w, m, large, size):
    visited = timestep_grid(schedule.T, some_steps(schedule, size))
    short = respaced(schedule, visited)
    table = interpolated_variance(short, large)
    denoiser = at_timesteps(gaussian_denoiser(schedule, PIXEL + m, w), visited)
    sampler = run(ancestral, denoiser, short, variance=table)
    measured = (a.item() for a in last(moments(sampler, PIXEL.shape, short.T)))
    agree(schedule, measured, end_of(chain_ancestral(short, m, w, table)))


@given(schedules, variances, means, st.sampled_from([0.0, 0.3, 1.0]), st.floats(0, 1))
def test_ddim_with_any_eta_on_any_number_of_steps(schedule, w, m, eta, size):
    steps = some_steps(schedule, size)
    T = schedule.T if eta else 0
    measured = pixel(ddim, schedule, w, T=T, mean=PIXEL + m, steps=steps, eta=eta)
    grid = timestep_grid(schedule.T, steps)
    agree(schedule, measured, end_of(chain_ddim(schedule, m, w, grid, eta)))


@given(schedules, variances, means, st.floats(0, 1))
def test_heun(schedule, w, m, size):
    steps = some_steps(schedule, size)
    expected = end_of(chain_heun(schedule, m, w, timestep_grid(schedule.T, steps)))
    agree(schedule, pixel(heun, schedule, w, mean=PIXEL + m, steps=steps), expected)


@given(schedules, variances, means, st.floats(0, 1))
def test_dpm_solver(schedule, w, m, size):
    steps = some_steps(schedule, size)
    *_, (a, b) = chain_2m(schedule, m, w, timestep_grid(schedule.T, steps))
    agree(schedule, pixel(dpm_solver, schedule, w, mean=PIXEL + m, steps=steps), (b, a**2))


# name: sampler, whether it draws noise, whether it skips steps, further options
SAMPLERS = {
    "ancestral": (ancestral, True, False, lambda s: {}),
    "large": (ancestral, True, False, lambda s: {"variance": s.beta}),
    "ddim": (ddim, False, True, lambda s: {}),
    "eta": (ddim, True, True, lambda s: {"eta": 0.6}),
    "2M": (dpm_solver, False, True, lambda s: {}),
    "heun": (heun, False, True, lambda s: {}),
}


@given(tame, seeds, st.sampled_from(list(SAMPLERS)))
def test_a_general_covariance_is_one_pixel_along_each_principal_axis(schedule, seed, name):
    mean, covariance = some_gaussian(seed, rank=5)
    sampler, noisy, strided, more = SAMPLERS[name]
    T, options = schedule.T if noisy else 0, more(schedule)
    if strided:
        options["steps"] = max(1, schedule.T // 2)
    denoiser = gaussian_denoiser(schedule, mean, covariance)
    whole = moments(run(sampler, denoiser, schedule, **options), SHAPE, T)
    end_mean, end_covariance = last(whole)
    w, axes = np.linalg.eigh(covariance)
    m, v = zip(
        *(
            pixel(sampler, schedule, max(0.0, w_i), T=T, mean=PIXEL + m_i, **options)
            for w_i, m_i in zip(w, axes.T @ mean.ravel())
        )
    )
    np.testing.assert_allclose(end_mean.ravel(), axes @ m, rtol=0, atol=1e-9)
    np.testing.assert_allclose(end_covariance, axes * v @ axes.T, rtol=0, atol=1e-9)
    assert end_mean.shape == SHAPE


# ---- theory of whole chains ----------------------------------------------------------------------


@given(schedules)
def test_the_large_variance_is_right_for_standard_normal_images(schedule):
    """Ho et al. 2020, section 3.2: every x_t, down to t = 1, is then N(0, 1), as in q."""
    denoiser = gaussian_denoiser(schedule, PIXEL, 1.0)
    sampler = run(ancestral, denoiser, schedule, variance=schedule.beta)
    for t, _, covariance in moments(sampler, PIXEL.shape, schedule.T):
        if t:
            assert covariance.item() == pytest.approx(1, abs=1e-10)


@given(schedules, means)
def test_the_small_variance_is_right_for_a_single_image(schedule, m):
    """The other half: if x_T comes from q, every x_t is N(√ᾱ_t x_0, 1 − ᾱ_t), the end the image."""
    a = math.sqrt(schedule.alpha_bar[-1])
    denoiser = gaussian_denoiser(schedule, PIXEL + m, 0)

    def from_q(x_T, noise):
        x = a * m + math.sqrt(1 - a**2) * x_T
        return ancestral(denoiser, schedule, x, noise, clip=None)

    allowed = 1e-9 / schedule.beta[1] ** 0.5
    for t, mean, covariance in moments(from_q, PIXEL.shape, schedule.T):
        expected = math.sqrt(schedule.alpha_bar[t]) * m
        assert mean.item() == pytest.approx(expected, abs=allowed)
        assert covariance.item() == pytest.approx(1 - schedule.alpha_bar[t], abs=1e-10)


@given(schedules, variances, means)
def test_with_the_best_variance_every_step_has_the_distribution_of_q(schedule, w, m):
    """It is β̃ + c_1² Var[x_0 | x_t] (Bao et al. 2022, "Analytic-DPM", theorem 1).

    The last step adds no noise, so x̂_0 of x_1 is the end.
    """
    c1, _ = posterior_coefficients(schedule)
    best = posterior_variance(schedule) + c1**2 * least_J(schedule, w)
    signal, variance = np.sqrt(schedule.alpha_bar), schedule.alpha_bar * w + 1 - schedule.alpha_bar
    denoiser = gaussian_denoiser(schedule, PIXEL + m, w)

    def from_q(x_T, noise):
        x = signal[-1] * m + math.sqrt(variance[-1]) * x_T
        return ancestral(denoiser, schedule, x, noise, clip=None, variance=best)

    allowed = 1e-9 / schedule.beta[1] ** 0.5
    for t, mean, covariance in moments(from_q, PIXEL.shape, schedule.T):
        assert mean.item() == pytest.approx(signal[t] * m, abs=allowed)
        if t:
            assert covariance.item() == pytest.approx(variance[t], rel=1e-9)
    assert covariance.item() == pytest.approx(w - least_J(schedule, w)[1], abs=1e-9)


@pytest.mark.parametrize("sampler", [ddim, dpm_solver, heun])
def test_fewer_strides_mean_more_error_and_all_solvers_come_to_the_same_end(sampler):
    """For the general covariance: towards where the probability flow takes N(0, I)."""
    mean, covariance = some_gaussian(5)
    schedule = linear(1000)
    denoiser = gaussian_denoiser(schedule, mean, covariance)
    probes = np.concatenate([np.zeros((1, 6)), np.eye(6)]).reshape(7, *SHAPE)
    flow = probability_flow(schedule, mean, covariance, probes, 1000, 0).reshape(7, 6)
    effects = flow[1:] - flow[0]
    errors = []
    for steps in (10, 100, 1000):
        measured = moments(run(sampler, denoiser, schedule, steps=steps), SHAPE, 0)
        end_mean, end_covariance = last(measured)
        off_mean = abs(end_mean.ravel() - flow[0]).max()
        errors.append(max(off_mean, abs(end_covariance - effects.T @ effects).max()))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.01
