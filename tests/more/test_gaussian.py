"""Gaussian images: the exact denoiser, the probability flow, and `moments` as a tool."""

import numpy as np
import pytest
from gaussian_worlds import PIXEL, SHAPE, run, some_gaussian, variances
from hypothesis import given, strategies as st
from oracles import same, schedules, seeds
from scipy.integrate import solve_ivp

from tinyddpm.diffusion import q_sample
from tinyddpm.more.gaussian import gaussian_denoiser, least_J, moments, probability_flow
from tinyddpm.more.schedules import zero_terminal_snr
from tinyddpm.more.solvers import ddim
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import linear

# ---- the exact denoiser --------------------------------------------------------------------------


@given(schedules, seeds, st.sampled_from([1, 3, 6]))
def test_the_denoiser_is_the_conditional_mean_of_the_joint_gaussian(schedule, seed, rank):
    """By block inversion of the covariance of (x_0, x_t), one sample at a time, each with its t."""
    mean, covariance = some_gaussian(seed, rank=rank)
    mu = mean.ravel()
    rng = np.random.default_rng(seed)
    xt, t = 2 * rng.standard_normal((4, *SHAPE)), rng.integers(1, schedule.T + 1, 4)
    result = gaussian_denoiser(schedule, mean, covariance)(xt, t)
    for m in range(4):
        a = np.sqrt(schedule.alpha_bar[t[m]])
        of_xt = a * covariance @ (a * np.eye(6)) + (1 - a**2) * np.eye(6)
        expected = mu + a * covariance @ np.linalg.solve(of_xt, xt[m].ravel() - a * mu)
        allowed = 1e-13 / schedule.beta[1] * 10
        np.testing.assert_allclose(result[m].ravel(), expected, rtol=0, atol=allowed)


@given(schedules, variances, seeds)
def test_a_number_stands_for_that_many_times_the_identity(schedule, variance, seed):
    mean, _ = some_gaussian(seed)
    rng = np.random.default_rng(seed)
    xt, t = rng.standard_normal((5, *SHAPE)), rng.integers(1, schedule.T + 1, 5)
    matrix = variance * np.eye(6)
    short, long = (gaussian_denoiser(schedule, mean, c)(xt, t) for c in (variance, matrix))
    np.testing.assert_allclose(short, long, rtol=0, atol=1e-12)
    short, long = (least_J(schedule, c) for c in (variance, matrix))
    np.testing.assert_allclose(short, long, rtol=1e-12)


def test_of_a_single_image_it_is_that_image_and_of_much_noise_the_mean():
    mean, covariance = some_gaussian(0)
    xt = np.random.default_rng(0).standard_normal((3, *SHAPE))
    expected = mean[None].repeat(3, 0)
    single = gaussian_denoiser(linear(10), mean, 0)
    np.testing.assert_array_equal(single(xt, same(3, 3)), expected)
    of_noise = gaussian_denoiser(zero_terminal_snr(linear(10)), mean, covariance)
    np.testing.assert_array_equal(of_noise(xt, same(10, 3)), expected)


@given(schedules, seeds)
def test_no_affine_denoiser_has_a_smaller_J_and_least_J_is_its(schedule, seed):
    """The expected squared error of x̂_0 = b + G x_t, exactly, without draws.

    It is tr[(aG−I) Σ (aG−I)ᵀ] + (1−a²)‖G‖² + ‖b + (aG−I)μ‖².
    """
    mean, covariance = some_gaussian(seed)
    rng, denoiser = np.random.default_rng(seed), gaussian_denoiser(schedule, mean, covariance)
    t = int(rng.integers(1, schedule.T + 1))
    a2 = schedule.alpha_bar[t]
    probes = np.concatenate([np.zeros((1, 6)), np.eye(6)]).reshape(7, *SHAPE)
    b, *columns = denoiser(probes, same(t, 7)).reshape(7, 6)
    G = np.array(columns).T - b[:, None]

    def J(b, G):
        off = np.sqrt(a2) * G - np.eye(6)
        bias = ((b + off @ mean.ravel()) ** 2).sum()
        return (np.trace(off @ covariance @ off.T) + (1 - a2) * (G**2).sum() + bias) / 6

    best = J(b, G)
    assert least_J(schedule, covariance)[t] == pytest.approx(best, abs=1e-9)
    for size in (1e-3, 0.1):
        assert J(b + size * rng.standard_normal(6), G) > best
        assert J(b, G + size * rng.standard_normal((6, 6))) > best


def test_least_J_is_a_table_that_rises_from_0_to_the_variance():
    _, covariance = some_gaussian(3)
    table = least_J(zero_terminal_snr(linear(50)), covariance)
    assert table.shape == (51,) and table[0] == 0 and np.all(np.diff(table) > 0)
    assert table[50] == pytest.approx(np.trace(covariance) / 6, rel=1e-12)


# ---- the probability flow ------------------------------------------------------------------------


def test_the_probability_flow_solves_its_differential_equation():
    """dy/dσ = (y − x̂_0)/σ, integrated by SciPy. x̂_0 is the posterior mean, solved at each σ."""
    mean, covariance = some_gaussian(1)
    mu = mean.ravel()
    schedule, now, then = linear(100), 100, 30
    signal, sigma = np.sqrt(schedule.alpha_bar), np.sqrt(1 / schedule.alpha_bar - 1)

    def slope(s, y):
        return (y - mu - covariance @ np.linalg.solve(covariance + s**2 * np.eye(6), y - mu)) / s

    x = np.random.default_rng(0).standard_normal((1, *SHAPE))
    span, start = (sigma[now], sigma[then]), x.ravel() / signal[now]
    y = solve_ivp(slope, span, start, rtol=1e-11, atol=1e-12, method="DOP853").y[:, -1]
    ours = probability_flow(schedule, mean, covariance, x, now, then)
    np.testing.assert_allclose(ours.ravel(), signal[then] * y, rtol=0, atol=1e-9)


@given(schedules, seeds)
def test_the_probability_flow_goes_there_and_back_and_by_way_of(schedule, seed):
    mean, covariance = some_gaussian(seed)
    covariance = covariance + 0.1 * np.eye(6)
    rng = np.random.default_rng(seed)
    a, b, c = (int(t) for t in rng.integers(0, schedule.T + 1, 3))
    x = rng.standard_normal((2, *SHAPE))

    def flow(x, now, then, covariance=covariance):
        return probability_flow(schedule, mean, covariance, x, now, then)

    there = flow(x, a, b)
    np.testing.assert_allclose(flow(there, b, a), x, rtol=0, atol=1e-9)
    np.testing.assert_allclose(flow(there, b, c), flow(x, a, c), rtol=0, atol=1e-9)
    short, long = (flow(x, a, b, w) for w in (0.7, 0.7 * np.eye(6)))
    np.testing.assert_allclose(short, long, rtol=0, atol=1e-12)


# ---- moments, as a tool --------------------------------------------------------------------------


def test_moments_of_the_forward_process_are_those_of_q():
    """Any affine chain will do: here noise is added to one image, and to N(0, I)."""
    schedule, x0 = linear(30), np.arange(6.0).reshape(SHAPE)

    def forward(x, noise):
        for t in range(1, 31):
            x = np.sqrt(schedule.alpha[t]) * x + np.sqrt(schedule.beta[t]) * noise(t)
            yield t, x, None

    for start, w in ((lambda z: x0 + 0 * z, 0), (lambda z: x0 + z, 1)):
        chain = lambda z, noise, start=start: forward(start(z), noise)
        for t, mean, covariance in moments(chain, SHAPE, 30):
            expected = q_sample(schedule, x0[None], same(t), 0 * x0[None])[0]
            np.testing.assert_allclose(mean, expected, rtol=1e-12)
            variance = w * schedule.alpha_bar[t] + 1 - schedule.alpha_bar[t]
            np.testing.assert_allclose(covariance, variance * np.eye(6), rtol=0, atol=1e-12)


def test_a_sampler_that_is_not_affine_is_refused():
    schedule = linear(20)
    denoiser = gaussian_denoiser(schedule, PIXEL, 1.0)
    clipped = lambda x, noise: ancestral(denoiser, schedule, x, noise)
    with pytest.raises(ValueError, match="^run: .*affine.*clip=None"):
        list(moments(clipped, PIXEL.shape, 20))
    bent = lambda x, noise: ddim(lambda x, t: np.tanh(x), schedule, x, clip=None, steps=2)
    with pytest.raises(ValueError, match="^run: .*affine"):
        list(moments(bent, PIXEL.shape, 0))


def test_too_small_a_T_is_refused():
    schedule = linear(20)
    sampler = run(ancestral, gaussian_denoiser(schedule, PIXEL, 1.0), schedule)
    with pytest.raises(ValueError, match="^T: .*20, got 19"):
        list(moments(sampler, PIXEL.shape, 19))


# ---- arguments and results -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_shape_and_batch_order_stay(dtype):
    mean, covariance = some_gaussian(2)
    rng, schedule = np.random.default_rng(0), linear(20)
    xt, t = rng.standard_normal((4, *SHAPE)).astype(dtype), np.array([1, 20, 7, 7])
    order = np.array([2, 0, 3, 1])
    for function in (
        gaussian_denoiser(schedule, mean, covariance),
        gaussian_denoiser(schedule, mean.astype(np.float32), 0.3),
        lambda x, t: probability_flow(schedule, mean, covariance, x, 20, 3),
    ):
        before = xt.copy()
        result = function(xt, t)
        assert result.dtype == dtype and result.shape == xt.shape
        np.testing.assert_array_equal(xt, before)
        rtol = 1e-6 if dtype == np.float32 else 1e-13
        np.testing.assert_allclose(function(xt[order], t[order]), result[order], rtol=rtol)


def test_bad_shapes_and_covariances_are_named():
    mean, schedule = np.zeros(SHAPE), linear(5)
    expected = r"^covariance: expected a number or a symmetric matrix \(6, 6\), got shape"
    for covariance in (np.eye(5), np.ones(6), np.triu(np.ones((6, 6)))):
        with pytest.raises(ValueError, match=expected):
            gaussian_denoiser(schedule, mean, covariance)
    for covariance in (-0.1, np.diag([1, 1, 1, 1, 1, -1])):
        with pytest.raises(ValueError, match="^covariance: expected no negative eigenvalue, got -"):
            gaussian_denoiser(schedule, mean, covariance)
    with pytest.raises(ValueError, match=r"^xt: .*\(2, 1, 3\), got \(2, 3, 1\)"):
        gaussian_denoiser(schedule, mean, 1.0)(np.zeros((1, 2, 3, 1)), same(1))
    with pytest.raises(ValueError, match="^covariance: .*above 0 to flow from t = 0"):
        probability_flow(schedule, mean, 0.0, mean[None], 0, 3)
