"""The reverse step: three forms of its mean, its variances, and chains that skip steps."""

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from oracles import full, noise_table, same, schedules, seeds

from tinyddpm.diffusion import (
    posterior_coefficients,
    posterior_mean,
    posterior_variance,
    q_sample,
)
from tinyddpm.more.reverse import (
    at_timesteps,
    interpolated_variance,
    posterior_mean_from_eps,
    posterior_mean_from_v,
    respaced,
)
from tinyddpm.more.schedules import zero_terminal_snr
from tinyddpm.more.solvers import ddim, timestep_grid
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import cosine, linear

SHAPE = (3, 2, 2, 4)  # of the drawn batches: H and W differ


def drawn(schedule, seed):
    """x_0, ε, v and x_t of a sample for each t in {1..T}, in random order."""
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, schedule.T, 2, 1, 3))
    t = 1 + rng.permutation(schedule.T)
    alpha_bar = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    v = np.sqrt(alpha_bar) * eps - np.sqrt(1 - alpha_bar) * x0
    return x0, eps, v, np.sqrt(alpha_bar) * x0 + np.sqrt(1 - alpha_bar) * eps, t


def three_means(schedule, x0, eps, v, xt, t):
    return (
        posterior_mean(schedule, x0, xt, t),
        posterior_mean_from_eps(schedule, eps, xt, t),
        posterior_mean_from_v(schedule, v, xt, t),
    )


def assert_close(schedule, actual, expected, t):
    """To 1e-12 of the condition number at each t."""
    alpha_bar = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    error = abs(actual - expected) * np.sqrt(alpha_bar) * (1 - alpha_bar) / (1 + abs(expected))
    assert error.max() < 1e-12


def bent(xt, t):
    """A denoiser without meaning: it depends on t and is not linear."""
    return 2 * np.sin(2 * xt + (0.1 * np.asarray(t).reshape(-1, 1, 1, 1)).astype(xt.dtype))


# ---- the mean ------------------------------------------------------------------------------------


@given(schedules, seeds)
def test_the_mean_is_the_same_from_x0_from_eps_and_from_v(schedule, seed):
    x0, eps, v, xt, t = drawn(schedule, seed)
    expected, from_eps, from_v = three_means(schedule, x0, eps, v, xt, t)
    assert_close(schedule, from_eps, expected, t)
    assert_close(schedule, from_v, expected, t)


@given(schedules, seeds)
def test_the_means_are_those_of_bayes_rule(schedule, seed):
    """q(x_{t−1} | x_t, x_0) ∝ q(x_t | x_{t−1}) q(x_{t−1} | x_0), for t ≥ 2.

    The precisions of two Gaussians add up.
    """
    drawn_at = drawn(schedule, seed)
    x0, eps, v, xt, t = (a[drawn_at[-1] >= 2] for a in drawn_at)
    assume(t.size)
    tables = (schedule.alpha, t), (schedule.beta, t), (schedule.alpha_bar, t - 1)
    alpha, beta, before = (table[i].reshape(-1, 1, 1, 1) for table, i in tables)
    precision = alpha / beta + 1 / (1 - before)
    mean = (np.sqrt(alpha) * xt / beta + np.sqrt(before) * x0 / (1 - before)) / precision
    for ours in three_means(schedule, x0, eps, v, xt, t):
        assert_close(schedule, ours, mean, t)
    variance = posterior_variance(schedule)[t]
    np.testing.assert_allclose(variance, 1 / precision.ravel(), rtol=1e-12 / schedule.beta[1])


@given(schedules, seeds)
def test_at_t_1_with_the_true_x0_eps_or_v_the_mean_is_x0(schedule, seed):
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, *SHAPE))
    t = same(1, len(x0))
    xt = q_sample(schedule, x0, t, eps)
    v = np.sqrt(schedule.alpha_bar[1]) * eps - np.sqrt(1 - schedule.alpha_bar[1]) * x0
    for mean in three_means(schedule, x0, eps, v, xt, t):
        assert_close(schedule, mean, x0, t)


def test_with_zero_terminal_snr_v_gives_the_mean_at_T_and_eps_is_refused():
    schedule = zero_terminal_snr(linear(20))
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, *SHAPE))
    t = same(20, len(x0))  # x_T = ε and v = −x_0
    found = posterior_mean_from_v(schedule, -x0, eps, t)
    np.testing.assert_allclose(found, posterior_mean(schedule, x0, eps, t), rtol=1e-12)
    with pytest.raises(ValueError, match="^eps: .*zero terminal SNR.*T = 20"):
        posterior_mean_from_eps(schedule, eps, eps, t)


@given(st.sampled_from([np.float32, np.float64]), seeds)
def test_the_means_keep_dtype_shape_and_the_order_of_the_batch(dtype, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 5, 4))
    schedule, t, order = linear(20), rng.integers(1, 21, shape[0]), rng.permutation(shape[0])
    x, y = rng.standard_normal((2, *shape)).astype(dtype)
    for mean in (posterior_mean_from_eps, posterior_mean_from_v):
        result = mean(schedule, x, y, t)
        assert (result.dtype, result.shape) == (dtype, shape)
        permuted = mean(schedule, x[order], y[order], t[order])
        np.testing.assert_array_equal(result[order], permuted)


# ---- the variance --------------------------------------------------------------------------------


@given(schedules, st.floats(0, 1))
def test_the_interpolated_variance_is_a_line_in_the_logarithm(schedule, large):
    small, beta = posterior_variance(schedule), schedule.beta
    table = interpolated_variance(schedule, large)
    assert table.shape == (schedule.T + 1,) and table[0] == 0
    for t in range(2, schedule.T + 1):
        expected = np.exp(large * np.log(beta[t]) + (1 - large) * np.log(small[t]))
        assert table[t] == pytest.approx(expected, rel=1e-12)
        assert small[t] * (1 - 1e-12) <= table[t] <= beta[t] * (1 + 1e-12)


@given(schedules)
def test_its_ends_are_the_small_and_the_large_variance(schedule):
    small = posterior_variance(schedule)
    np.testing.assert_array_equal(interpolated_variance(schedule, 0), small)
    np.testing.assert_array_equal(interpolated_variance(schedule, 1), schedule.beta)
    assert interpolated_variance(schedule, 0.5)[1] == 0


def test_each_t_may_have_its_own_fraction():
    schedule = linear(5)
    small = posterior_variance(schedule)
    table = interpolated_variance(schedule, np.array([0, 0, 1, 0.25, 0, 1]))
    assert table[2] == schedule.beta[2] and table[4] == small[4] and table[5] == schedule.beta[5]
    assert table[3] == interpolated_variance(schedule, 0.25)[3]


@pytest.mark.parametrize("large", [-0.1, 1.1, float("nan"), np.array([0, 0.5, 2])])
def test_a_fraction_outside_0_to_1_is_named(large):
    with pytest.raises(ValueError, match="^large: expected fractions from 0 to 1"):
        interpolated_variance(linear(2), large)


def test_the_sampler_adds_noise_of_the_variance_of_its_table():
    schedule, T = cosine(7), 7
    table = interpolated_variance(schedule, 0.3)

    def images(now):
        """The chain with noise 1 at t = now, and none elsewhere."""
        noise, zero = lambda t: full(t == now), lambda x, t: 0 * x
        return [x for _, x, _ in ancestral(zero, schedule, full(0), noise, variance=table)]

    quiet, loud = images(0), images(4)
    added = (loud[T - 4] - quiet[T - 4]).item()  # x_3, the first that has the noise of t = 4
    assert added == pytest.approx(np.sqrt(table[4]), rel=1e-12) and loud[T - 5] == quiet[T - 5]


# ---- fewer steps ---------------------------------------------------------------------------------


def parts_of(steps):
    """Some of the steps, at least one, in any order."""
    return st.permutations(steps).flatmap(
        lambda p: st.integers(1, len(p)).map(lambda n: p[:n]),
    )


@given(schedules, st.data())
def test_a_respaced_schedule_has_the_alpha_bar_of_the_steps_it_visits(schedule, data):
    visited = data.draw(parts_of(range(1, schedule.T + 1)))
    short = respaced(schedule, visited)
    assert short.T == len(visited)
    expected = schedule.alpha_bar[sorted(visited)]
    np.testing.assert_allclose(short.alpha_bar[1:], expected, rtol=1e-12)


@given(schedules)
def test_visiting_every_step_changes_nothing(schedule):
    same_again = respaced(schedule, range(1, schedule.T + 1))
    np.testing.assert_allclose(same_again.beta, schedule.beta, rtol=0, atol=1e-14)


@given(schedules, st.floats(0, 1), seeds)
def test_strided_ancestral_sampling_is_ddim_with_eta_1(schedule, size, seed):
    rng = np.random.default_rng(seed)
    visited = timestep_grid(schedule.T, max(1, round(size * schedule.T)))
    x_T, noise = rng.standard_normal(SHAPE), noise_table(rng, schedule.T, SHAPE)
    strided, short = at_timesteps(bent, visited), respaced(schedule, visited)
    ours = ancestral(strided, short, x_T, lambda i: noise(visited[-i]))
    theirs = ddim(bent, schedule, x_T, noise, steps=len(visited), eta=1.0)
    for (i, x, x0_hat), (t, y, y0_hat) in zip(ours, theirs, strict=True):
        assert t == (visited[-i] if i else 0)
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-9)
        np.testing.assert_allclose(x0_hat, y0_hat, rtol=0, atol=1e-9)


def test_the_large_variance_of_a_respaced_schedule_is_that_of_its_strides():
    schedule = linear(1000)
    short = respaced(schedule, timestep_grid(1000, 10))
    for i in range(1, 11):
        stride = schedule.alpha[100 * i - 99 : 100 * i + 1]
        assert short.beta[i] == pytest.approx(1 - np.prod(stride), rel=1e-12)
    c1, c2 = posterior_coefficients(short)
    before = np.sqrt([0, *short.alpha_bar[:-1]])
    np.testing.assert_allclose(c1 + c2 * np.sqrt(short.alpha_bar), before, atol=1e-12)


def test_the_denoiser_is_asked_for_the_timesteps_it_was_trained_on():
    asked, x = [], full(0, 4)
    denoiser = at_timesteps(lambda xt, t: asked.append(t.tolist()) or xt, [1000, 1, 500])
    list(ancestral(denoiser, respaced(linear(1000), [500, 1, 1000]), x, lambda t: x))
    denoiser(x, np.array([3, 1, 2, 1]))
    assert asked == [[1000] * 4, [500] * 4, [1] * 4, [1000, 1, 500, 1]]


def test_zero_terminal_snr_survives():
    assert respaced(zero_terminal_snr(linear(100)), [1, 50, 100]).alpha_bar[-1] == 0


@pytest.mark.parametrize("timesteps", [[], [0, 1], [1, 11], [3, 3], [-1], [1.5, 2]])
def test_bad_timesteps_are_named(timesteps):
    expected = "^timesteps: expected different whole numbers from 1 to T"
    with pytest.raises(ValueError, match=rf"{expected} = 10, got \["):
        respaced(linear(10), timesteps)
    if timesteps != [1, 11]:  # at_timesteps does not know T
        with pytest.raises(ValueError, match=f"{expected}, got"):
            at_timesteps(bent, timesteps)
