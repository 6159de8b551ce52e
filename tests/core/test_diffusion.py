"""The two processes of diffusion: the identities that tie q, its chain and its posterior."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from oracles import full, noise_table, same, schedules, seeds

from tinyddpm.diffusion import (
    posterior_coefficients,
    posterior_mean,
    posterior_variance,
    predicted_noise,
    q_sample,
)
from tinyddpm.more.chain import q_chain, q_step
from tinyddpm.schedule import linear


def tolerance(schedule, t):
    """1e-12 times the condition number at t ≥ 1."""
    alpha_bar = schedule.alpha_bar[t]
    return 1e-12 * max(1, 1 / np.sqrt(alpha_bar), 1 / (1 - alpha_bar))


def steps(schedule):
    return range(1, schedule.T + 1)


@given(schedules)
def test_posterior_mean_of_a_noiseless_image_is_the_noiseless_image_one_step_before(schedule):
    """c1 + c2·√ᾱ_t = √ᾱ_{t−1}"""
    for t in steps(schedule):
        before, now = np.sqrt(schedule.alpha_bar[t - 1]), np.sqrt(schedule.alpha_bar[t])
        mean = posterior_mean(schedule, full(1), full(now), same(t)).item()
        assert mean == pytest.approx(before, abs=tolerance(schedule, t), rel=0)


@given(schedules)
def test_posterior_variance_completes_the_variance_of_the_step_before(schedule):
    """c2²(1−ᾱ_t) + β̃_t = 1−ᾱ_{t−1}"""
    _, c2 = posterior_coefficients(schedule)
    variance = posterior_variance(schedule)
    for t in steps(schedule):
        whole = c2[t] ** 2 * (1 - schedule.alpha_bar[t]) + variance[t]
        before = 1 - schedule.alpha_bar[t - 1]
        assert whole == pytest.approx(before, abs=tolerance(schedule, t), rel=0)


@given(schedules)
def test_weight_of_the_x0_error_in_the_bound_is_the_loss_of_signal_to_noise_ratio(schedule):
    """c1²/2β̃ = (SNR_{t−1} − SNR_t)/2 for t ≥ 2  (Kingma et al. 2021)"""
    c1, _ = posterior_coefficients(schedule)
    variance, alpha_bar = posterior_variance(schedule), schedule.alpha_bar
    for t in range(2, schedule.T + 1):
        before, now = (alpha_bar[s] / (1 - alpha_bar[s]) for s in (t - 1, t))
        allowed = tolerance(schedule, t - 1) * before
        weight = c1[t] ** 2 / (2 * variance[t])
        assert weight == pytest.approx((before - now) / 2, abs=allowed, rel=0)


@given(schedules)
def test_one_step_at_a_time_has_the_mean_and_variance_of_the_closed_form(schedule):
    mean, variance = 1.0, 0.0  # of x_t, as a multiple of x_0
    for t in steps(schedule):
        shrink = q_step(schedule, full(1), same(t), full(0)).item()
        added = q_step(schedule, full(0), same(t), full(1)).item()
        mean, variance = shrink * mean, shrink**2 * variance + added**2
        signal = q_sample(schedule, full(1), same(t), full(0)).item()
        noise = q_sample(schedule, full(0), same(t), full(1)).item()
        assert mean == pytest.approx(signal, rel=1e-12)
        assert variance == pytest.approx(noise**2, rel=1e-12 / schedule.beta[1])


@given(schedules, seeds)
def test_q_chain_is_the_recursion(schedule, seed):
    rng = np.random.default_rng(seed)
    x0 = rng.standard_normal((2, 3, 2, 1))
    noise = noise_table(rng, schedule.T, x0.shape)
    x, chain = x0.copy(), list(q_chain(schedule, x0, noise))
    assert [t for t, _ in chain] == list(steps(schedule))
    for t, xt in chain:
        x = (1 - schedule.beta[t]) ** 0.5 * x + schedule.beta[t] ** 0.5 * noise(t)
        np.testing.assert_allclose(xt, x, rtol=0, atol=1e-13)


def test_q_chain_adds_up_to_one_normal_noise():
    """x_T of the chain is q_sample of a single ε, a weighted sum of the steps' ε.

    The squares of the weights add up to 1.
    """
    schedule = linear(40)
    *_, (_, weights) = q_chain(schedule, full(0, 41), lambda t: np.eye(41)[t].reshape(41, 1, 1, 1))
    weights /= np.sqrt(1 - schedule.alpha_bar[40])
    assert (weights**2).sum() == pytest.approx(1, abs=1e-12)


@given(schedules, seeds)
def test_q_sample_is_equation_4_with_its_own_t_for_each_sample(schedule, seed):
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, 5, 2, 3, 4))
    t = rng.integers(1, schedule.T + 1, 5)
    xt = q_sample(schedule, x0, t, eps)
    for m in range(5):
        alpha_bar = np.prod(1 - schedule.beta[1 : t[m] + 1])
        expected = alpha_bar**0.5 * x0[m] + (1 - alpha_bar) ** 0.5 * eps[m]
        np.testing.assert_allclose(xt[m], expected, rtol=0, atol=1e-10)


@given(schedules, seeds)
def test_predicted_noise_is_the_noise_that_was_added(schedule, seed):
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, schedule.T, 1, 2, 3))
    t = 1 + rng.permutation(schedule.T)
    found = predicted_noise(schedule, x0, q_sample(schedule, x0, t, eps), t)
    np.testing.assert_allclose(found, eps, rtol=0, atol=1e-12 / np.sqrt(schedule.beta[1]))


@given(schedules, seeds)
def test_at_t_1_the_posterior_is_x0_itself_and_has_no_noise(schedule, seed):
    rng = np.random.default_rng(seed)
    x0, xt = rng.standard_normal((2, 3, 1, 2, 2))
    c1, c2 = posterior_coefficients(schedule)
    # c1 is β_1/(1−ᾱ_1): the two are equal but for rounding.
    assert c1[1] == pytest.approx(1, abs=tolerance(schedule, 1), rel=0)
    assert c2[1] == 0 and posterior_variance(schedule)[1] == 0
    np.testing.assert_array_equal(posterior_mean(schedule, x0, xt, same(1, 3)), c1[1] * x0)


@given(schedules)
def test_alpha_bar_before_t_1_does_not_wrap_to_the_last(schedule):
    """With ᾱ_0 read as ᾱ_T, β̃_1 and c2 would be positive."""
    variance = posterior_variance(schedule)
    tables = [*posterior_coefficients(schedule), variance]
    assert [len(table) for table in tables] == [schedule.T + 1] * 3
    assert [table[0] for table in tables] == [0, 0, 0]
    assert variance[1] == 0 and np.all(variance[2:] > 0)
    assert np.all(variance[1:] <= schedule.beta[1:])


@given(st.sampled_from([np.float32, np.float64]), seeds)
def test_the_dtype_and_any_image_shape_come_through(dtype, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 5, 4))
    schedule, t = linear(20), rng.integers(1, 21, shape[0])
    x, y = rng.standard_normal((2, *shape)).astype(dtype)
    results = [
        q_sample(schedule, x, t, y),
        q_step(schedule, x, t, y),
        posterior_mean(schedule, x, y, t),
        predicted_noise(schedule, x, y, t),
        *[xt for _, xt in q_chain(schedule, x, lambda t: y)],
    ]
    assert {(r.dtype, r.shape) for r in results} == {(np.dtype(dtype), shape)}


@given(schedules, seeds)
def test_permuting_the_batch_permutes_the_result(schedule, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((2, 6, 2, 1, 3))
    t, order = rng.integers(1, schedule.T + 1, 6), rng.permutation(6)
    for function in (
        lambda x, y, t: q_sample(schedule, x, t, y),
        lambda x, y, t: q_step(schedule, x, t, y),
        lambda x, y, t: posterior_mean(schedule, x, y, t),
    ):
        permuted = function(x[order], y[order], t[order])
        np.testing.assert_array_equal(function(x, y, t)[order], permuted)
