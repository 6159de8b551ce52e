"""Gaussian images: the exact denoiser, and the samplers' exact mean and covariance, measured on the samplers themselves.

`moments` runs the samplers. What it measures is compared with published figures, with what theory says of certain variances,
with the exact solution of the probability flow, and with the recursions of `gaussian_chains.py`.
"""
import math

import numpy as np
import pytest
from gaussian_chains import chain_2m, chain_ancestral, chain_ddim, chain_heun, end_of
from hypothesis import given
from hypothesis import strategies as st
from oracles import same, schedules, seeds
from scipy.integrate import solve_ivp

from tinyddpm.diffusion import posterior_coefficients, posterior_variance, q_sample
from tinyddpm.more import solvers
from tinyddpm.more.gaussian import gaussian_denoiser, least_J, moments, probability_flow
from tinyddpm.more.reverse import at_timesteps, interpolated_variance, respaced
from tinyddpm.more.schedules import zero_terminal_snr
from tinyddpm.more.solvers import dpm_solver, heun
from tinyddpm.sampler import ancestral, ddim, timestep_grid
from tinyddpm.schedule import Schedule, linear

SHAPE = (2, 1, 3)
PIXEL = np.zeros((1, 1, 1))
variances = st.floats(0, 4)
tame = st.lists(st.floats(1e-5, 0.3), min_size=1, max_size=20).map(Schedule)  # fewer steps than `schedules`: D·T images are run


def some_gaussian(seed, D=6, rank=None):
    """A mean of SHAPE and a covariance (D, D)."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((D, rank or D)) / 2
    return rng.standard_normal(SHAPE), root @ root.T


def run(sampler, denoiser, schedule, **options):
    """What `moments` takes: the sampler, all but its noise."""
    if sampler in (dpm_solver, heun) or (sampler is ddim and not options.get("eta")):
        return lambda x_T, noise: sampler(denoiser, schedule, x_T, clip=None, **options)
    return lambda x_T, noise: sampler(denoiser, schedule, x_T, noise, clip=None, **options)


def last(measured):
    """The mean and the covariance at the end."""
    *_, (t, mean, covariance) = measured
    assert t == 0
    return mean, covariance


def pixel(sampler, schedule, w, T=0, mean=PIXEL, **options):
    """The mean and the variance that a sampler ends with, of one pixel of N(mean, w)."""
    return (a.item() for a in last(moments(run(sampler, gaussian_denoiser(schedule, mean, w), schedule, **options), PIXEL.shape, T)))


# ---- the exact denoiser --------------------------------------------------------------------------


@given(schedules, seeds, st.sampled_from([1, 3, 6]))
def test_the_denoiser_is_the_conditional_mean_of_the_joint_gaussian(schedule, seed, rank):
    """By block inversion of the covariance of (x_0, x_t), one sample at a time, each with its own t."""
    mean, covariance = some_gaussian(seed, rank=rank)
    rng = np.random.default_rng(seed)
    xt, t = 2 * rng.standard_normal((4, *SHAPE)), rng.integers(1, schedule.T + 1, 4)
    result = gaussian_denoiser(schedule, mean, covariance)(xt, t)
    for m in range(4):
        a = np.sqrt(schedule.alpha_bar[t[m]])
        of_xt = a * covariance @ (a * np.eye(6)) + (1 - a**2) * np.eye(6)
        expected = mean.ravel() + a * covariance @ np.linalg.solve(of_xt, xt[m].ravel() - a * mean.ravel())
        np.testing.assert_allclose(result[m].ravel(), expected, rtol=0, atol=1e-13 / schedule.beta[1] * 10)


@given(schedules, variances, seeds)
def test_a_number_stands_for_that_many_times_the_identity(schedule, variance, seed):
    mean, _ = some_gaussian(seed)
    rng = np.random.default_rng(seed)
    xt, t = rng.standard_normal((5, *SHAPE)), rng.integers(1, schedule.T + 1, 5)
    short, long = (gaussian_denoiser(schedule, mean, c)(xt, t) for c in (variance, variance * np.eye(6)))
    np.testing.assert_allclose(short, long, rtol=0, atol=1e-12)
    np.testing.assert_allclose(least_J(schedule, variance), least_J(schedule, variance * np.eye(6)), rtol=1e-12)


def test_of_a_single_image_it_is_that_image_and_of_much_noise_the_mean():
    mean, covariance = some_gaussian(0)
    xt = np.random.default_rng(0).standard_normal((3, *SHAPE))
    np.testing.assert_array_equal(gaussian_denoiser(linear(10), mean, 0)(xt, same(3, 3)), mean[None].repeat(3, 0))
    np.testing.assert_array_equal(gaussian_denoiser(zero_terminal_snr(linear(10)), mean, covariance)(xt, same(10, 3)), mean[None].repeat(3, 0))


@given(schedules, seeds)
def test_no_affine_denoiser_has_a_smaller_J_and_least_J_is_its(schedule, seed):
    """x̂_0 = b + G x_t has the expected squared error tr[(aG−I) Σ (aG−I)ᵀ] + (1−a²)‖G‖² + ‖b + (aG−I)μ‖²: exact, no draws."""
    mean, covariance = some_gaussian(seed)
    rng, denoiser = np.random.default_rng(seed), gaussian_denoiser(schedule, mean, covariance)
    t = int(rng.integers(1, schedule.T + 1))
    a2 = schedule.alpha_bar[t]
    b, *columns = denoiser(np.concatenate([np.zeros((1, 6)), np.eye(6)]).reshape(7, *SHAPE), same(t, 7)).reshape(7, 6)
    G = np.array(columns).T - b[:, None]

    def J(b, G):
        off = np.sqrt(a2) * G - np.eye(6)
        return (np.trace(off @ covariance @ off.T) + (1 - a2) * (G**2).sum() + ((b + off @ mean.ravel()) ** 2).sum()) / 6

    best = J(b, G)
    assert least_J(schedule, covariance)[t] == pytest.approx(best, abs=1e-9)
    for size in (1e-3, 0.1):
        assert J(b + size * rng.standard_normal(6), G) > best and J(b, G + size * rng.standard_normal((6, 6))) > best


def test_least_J_is_a_table_that_rises_from_0_to_the_variance():
    _, covariance = some_gaussian(3)
    table = least_J(zero_terminal_snr(linear(50)), covariance)
    assert table.shape == (51,) and table[0] == 0 and np.all(np.diff(table) > 0)
    assert table[50] == pytest.approx(np.trace(covariance) / 6, rel=1e-12)


# ---- the published figures: s = 0.5, linear T = 1000 -----------------------------------


@pytest.mark.parametrize("large, expected", [(False, 0.49611), (True, 0.50075)])
def test_published_spread_of_ancestral_sampling(large, expected):
    schedule = linear(1000)
    _, variance = pixel(ancestral, schedule, 0.25, T=1000, variance=schedule.beta if large else None)
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
    _, covariance = last(moments(run(ddim, denoiser, respaced(schedule, visited), steps=steps), PIXEL.shape, 0))
    assert math.sqrt(covariance.item()) == pytest.approx(expected, abs=6e-6)


def test_the_spreads_in_the_table_of_solvers_py():
    _, table = solvers.__doc__.split("    steps  ")
    steps, *rows = (line.split() for line in table.splitlines()[:4])
    assert [name for name, *_ in rows] == ["ddim", "dpm_solver", "heun"]
    for name, *spreads in rows:
        for n, expected in zip(steps, spreads[:3]):
            _, variance = pixel({"ddim": ddim, "dpm_solver": dpm_solver, "heun": heun}[name], linear(1000), 0.25, steps=int(n))
            assert f"{math.sqrt(variance):.3f}" == expected


# ---- every sampler against recursions of another form --------------------------------------------


def agree(schedule, measured, expected):
    mean, variance = measured
    assert mean == pytest.approx(expected[0], abs=1e-10 / schedule.beta[1] ** 0.5)
    assert variance == pytest.approx(expected[1], rel=1e-9, abs=1e-10 / schedule.beta[1] ** 0.5)


means = st.floats(-2, 2)
shares = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)  # of the large variance, which alone is not 0 at t = 1


@given(schedules, variances, means, shares)
def test_ancestral_with_any_variance_table(schedule, w, m, large):
    table = interpolated_variance(schedule, large)
    agree(schedule, pixel(ancestral, schedule, w, T=schedule.T, mean=PIXEL + m, variance=table), end_of(chain_ancestral(schedule, m, w, table)))


@given(schedules, variances, means, shares, st.floats(0, 1))
def test_strided_ancestral(schedule, w, m, large, size):
    visited = timestep_grid(schedule.T, max(1, round(size * schedule.T)))
    short = respaced(schedule, visited)
    table = interpolated_variance(short, large)
    denoiser = at_timesteps(gaussian_denoiser(schedule, PIXEL + m, w), visited)
    measured = last(moments(run(ancestral, denoiser, short, variance=table), PIXEL.shape, short.T))
    agree(schedule, (a.item() for a in measured), end_of(chain_ancestral(short, m, w, table)))


@given(schedules, variances, means, st.sampled_from([0.0, 0.3, 1.0]), st.floats(0, 1))
def test_ddim_with_any_eta_on_any_number_of_steps(schedule, w, m, eta, size):
    steps = max(1, round(size * schedule.T))
    measured = pixel(ddim, schedule, w, T=schedule.T if eta else 0, mean=PIXEL + m, steps=steps, eta=eta)
    agree(schedule, measured, end_of(chain_ddim(schedule, m, w, timestep_grid(schedule.T, steps), eta)))


@given(schedules, variances, means, st.floats(0, 1))
def test_heun(schedule, w, m, size):
    steps = max(1, round(size * schedule.T))
    agree(schedule, pixel(heun, schedule, w, mean=PIXEL + m, steps=steps), end_of(chain_heun(schedule, m, w, timestep_grid(schedule.T, steps))))


@given(schedules, variances, means, st.floats(0, 1))
def test_dpm_solver(schedule, w, m, size):
    steps = max(1, round(size * schedule.T))
    *_, (a, b) = chain_2m(schedule, m, w, timestep_grid(schedule.T, steps))
    agree(schedule, pixel(dpm_solver, schedule, w, mean=PIXEL + m, steps=steps), (b, a**2))


@given(tame, seeds, st.sampled_from(["ancestral", "large", "ddim", "eta", "2M", "heun"]))
def test_a_general_covariance_is_one_pixel_along_each_principal_axis(schedule, seed, name):
    mean, covariance = some_gaussian(seed, rank=5)
    steps = max(1, schedule.T // 2)
    sampler, T, options = {"ancestral": (ancestral, schedule.T, {}), "large": (ancestral, schedule.T, {"variance": schedule.beta}), "ddim": (ddim, 0, {"steps": steps}),
                           "eta": (ddim, schedule.T, {"steps": steps, "eta": 0.6}), "2M": (dpm_solver, 0, {"steps": steps}), "heun": (heun, 0, {"steps": steps})}[name]
    end_mean, end_covariance = last(moments(run(sampler, gaussian_denoiser(schedule, mean, covariance), schedule, **options), SHAPE, T))
    w, axes = np.linalg.eigh(covariance)
    m, v = zip(*(pixel(sampler, schedule, max(0.0, w_i), T=T, mean=PIXEL + m_i, **options) for w_i, m_i in zip(w, axes.T @ mean.ravel())))
    np.testing.assert_allclose(end_mean.ravel(), axes @ m, rtol=0, atol=1e-9)
    np.testing.assert_allclose(end_covariance, axes * v @ axes.T, rtol=0, atol=1e-9)
    assert end_mean.shape == SHAPE


# ---- what theory says of whole chains ------------------------------------------------------------


@given(schedules)
def test_the_large_variance_is_right_for_standard_normal_images(schedule):
    """Ho et al. 2020, section 3.2: every x_t, down to t = 1, is then N(0, 1), as q has it."""
    for t, _, covariance in moments(run(ancestral, gaussian_denoiser(schedule, PIXEL, 1.0), schedule, variance=schedule.beta), PIXEL.shape, schedule.T):
        if t:
            assert covariance.item() == pytest.approx(1, abs=1e-10)


@given(schedules, means)
def test_the_small_variance_is_right_for_a_single_image(schedule, m):
    """Its other half: if x_T is drawn from q, every x_t is N(√ᾱ_t x_0, 1 − ᾱ_t), and the end is the image."""
    a = math.sqrt(schedule.alpha_bar[-1])

    def from_q(x_T, noise):
        return ancestral(gaussian_denoiser(schedule, PIXEL + m, 0), schedule, a * m + math.sqrt(1 - a**2) * x_T, noise, clip=None)

    for t, mean, covariance in moments(from_q, PIXEL.shape, schedule.T):
        assert mean.item() == pytest.approx(math.sqrt(schedule.alpha_bar[t]) * m, abs=1e-9 / schedule.beta[1] ** 0.5)
        assert covariance.item() == pytest.approx(1 - schedule.alpha_bar[t], abs=1e-10)


@given(schedules, variances, means)
def test_with_the_best_variance_every_step_has_the_distribution_of_q(schedule, w, m):
    """It is β̃ + c_1² Var[x_0 | x_t] (Bao et al. 2022, "Analytic-DPM", theorem 1). The last step adds no noise, so x̂_0 of x_1 is the end."""
    c1, _ = posterior_coefficients(schedule)
    best = posterior_variance(schedule) + c1**2 * least_J(schedule, w)
    alpha_bar = schedule.alpha_bar

    def from_q(x_T, noise):
        x = math.sqrt(alpha_bar[-1]) * m + math.sqrt(alpha_bar[-1] * w + 1 - alpha_bar[-1]) * x_T
        return ancestral(gaussian_denoiser(schedule, PIXEL + m, w), schedule, x, noise, clip=None, variance=best)

    for t, mean, covariance in moments(from_q, PIXEL.shape, schedule.T):
        assert mean.item() == pytest.approx(math.sqrt(alpha_bar[t]) * m, abs=1e-9 / schedule.beta[1] ** 0.5)
        if t:
            assert covariance.item() == pytest.approx(alpha_bar[t] * w + 1 - alpha_bar[t], rel=1e-9)
    assert covariance.item() == pytest.approx(w - least_J(schedule, w)[1], abs=1e-9)


@pytest.mark.parametrize("sampler", [ddim, dpm_solver, heun])
def test_fewer_strides_mean_more_error_and_all_solvers_come_to_the_same_end(sampler):
    """For the general covariance: towards where the probability flow takes N(0, I)."""
    mean, covariance = some_gaussian(5)
    schedule = linear(1000)
    flow = probability_flow(schedule, mean, covariance, np.concatenate([np.zeros((1, 6)), np.eye(6)]).reshape(7, *SHAPE), 1000, 0).reshape(7, 6)
    effects = flow[1:] - flow[0]
    errors = []
    for steps in (10, 100, 1000):
        end_mean, end_covariance = last(moments(run(sampler, gaussian_denoiser(schedule, mean, covariance), schedule, steps=steps), SHAPE, 0))
        errors.append(max(abs(end_mean.ravel() - flow[0]).max(), abs(end_covariance - effects.T @ effects).max()))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.01


# ---- the probability flow ------------------------------------------------------------------------


def test_the_probability_flow_solves_its_differential_equation():
    """dy/dσ = (y − x̂_0)/σ, integrated by SciPy, with x̂_0 by solving for the posterior mean at each σ."""
    mean, covariance = some_gaussian(1)
    schedule, now, then = linear(100), 100, 30
    sigma = np.sqrt(1 / schedule.alpha_bar - 1)

    def slope(s, y):
        return (y - mean.ravel() - covariance @ np.linalg.solve(covariance + s**2 * np.eye(6), y - mean.ravel())) / s

    x = np.random.default_rng(0).standard_normal((1, *SHAPE))
    y = solve_ivp(slope, (sigma[now], sigma[then]), x.ravel() / np.sqrt(schedule.alpha_bar[now]), rtol=1e-11, atol=1e-12, method="DOP853").y[:, -1]
    ours = probability_flow(schedule, mean, covariance, x, now, then)
    np.testing.assert_allclose(ours.ravel(), np.sqrt(schedule.alpha_bar[then]) * y, rtol=0, atol=1e-9)


@given(schedules, seeds)
def test_the_probability_flow_goes_there_and_back_and_by_way_of(schedule, seed):
    mean, covariance = some_gaussian(seed)
    covariance = covariance + 0.1 * np.eye(6)
    rng = np.random.default_rng(seed)
    a, b, c = (int(t) for t in rng.integers(0, schedule.T + 1, 3))
    x = rng.standard_normal((2, *SHAPE))
    there = probability_flow(schedule, mean, covariance, x, a, b)
    np.testing.assert_allclose(probability_flow(schedule, mean, covariance, there, b, a), x, rtol=0, atol=1e-9)
    np.testing.assert_allclose(probability_flow(schedule, mean, covariance, there, b, c), probability_flow(schedule, mean, covariance, x, a, c), rtol=0, atol=1e-9)
    short, long = (probability_flow(schedule, mean, w, x, a, b) for w in (0.7, 0.7 * np.eye(6)))
    np.testing.assert_allclose(short, long, rtol=0, atol=1e-12)


# ---- moments, as a tool --------------------------------------------------------------------------


def test_moments_of_the_forward_process_are_those_of_q():
    """Any affine chain will do: here noise is added to one image, and to N(0, I)."""
    schedule, x0 = linear(30), np.arange(6.0).reshape(SHAPE)

    def forward(x, noise):
        for t in range(1, 31):
            x = np.sqrt(schedule.alpha[t]) * x + np.sqrt(schedule.beta[t]) * noise(t)
            yield t, x, None

    for start, share in ((lambda z: x0 + 0 * z, 0), (lambda z: x0 + z, 1)):
        for t, mean, covariance in moments(lambda z, noise: forward(start(z), noise), SHAPE, 30):
            np.testing.assert_allclose(mean, q_sample(schedule, x0[None], same(t), 0 * x0[None])[0], rtol=1e-12)
            np.testing.assert_allclose(covariance, (share * schedule.alpha_bar[t] + 1 - schedule.alpha_bar[t]) * np.eye(6), rtol=0, atol=1e-12)


def test_a_sampler_that_is_not_affine_is_refused():
    schedule = linear(20)
    denoiser = gaussian_denoiser(schedule, PIXEL, 1.0)
    with pytest.raises(ValueError, match="^run: .*affine.*clip=None"):
        list(moments(lambda x, noise: ancestral(denoiser, schedule, x, noise), PIXEL.shape, 20))
    with pytest.raises(ValueError, match="^run: .*affine"):
        list(moments(lambda x, noise: ddim(lambda x, t: np.tanh(x), schedule, x, clip=None, steps=2), PIXEL.shape, 0))


def test_too_small_a_T_is_refused():
    schedule = linear(20)
    with pytest.raises(ValueError, match="^T: .*20, got 19"):
        list(moments(run(ancestral, gaussian_denoiser(schedule, PIXEL, 1.0), schedule), PIXEL.shape, 19))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_shape_and_batch_order_are_kept(dtype):
    mean, covariance = some_gaussian(2)
    rng, schedule = np.random.default_rng(0), linear(20)
    xt, t, order = rng.standard_normal((4, *SHAPE)).astype(dtype), np.array([1, 20, 7, 7]), np.array([2, 0, 3, 1])
    for function in (gaussian_denoiser(schedule, mean, covariance), gaussian_denoiser(schedule, mean.astype(np.float32), 0.3),
                     lambda x, t: probability_flow(schedule, mean, covariance, x, 20, 3)):
        before = xt.copy()
        result = function(xt, t)
        assert result.dtype == dtype and result.shape == xt.shape
        np.testing.assert_array_equal(xt, before)
        np.testing.assert_allclose(function(xt[order], t[order]), result[order], rtol=1e-6 if dtype == np.float32 else 1e-13)


def test_bad_shapes_and_covariances_are_named():
    mean, schedule = np.zeros(SHAPE), linear(5)
    for covariance in (np.eye(5), np.ones(6), np.triu(np.ones((6, 6)))):
        with pytest.raises(ValueError, match=r"^covariance: expected a number or a symmetric matrix \(6, 6\), got shape"):
            gaussian_denoiser(schedule, mean, covariance)
    for covariance in (-0.1, np.diag([1, 1, 1, 1, 1, -1])):
        with pytest.raises(ValueError, match="^covariance: expected no negative eigenvalue, got -"):
            gaussian_denoiser(schedule, mean, covariance)
    with pytest.raises(ValueError, match=r"^xt: .*\(2, 1, 3\), got \(2, 3, 1\)"):
        gaussian_denoiser(schedule, mean, 1.0)(np.zeros((1, 2, 3, 1)), same(1))
    with pytest.raises(ValueError, match="^covariance: .*above 0 to flow from t = 0"):
        probability_flow(schedule, mean, 0.0, mean[None], 0, 3)
