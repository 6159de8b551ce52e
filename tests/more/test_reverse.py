"""The reverse step: three forms of its mean, its variances, dynamic thresholding, and chains that skip steps."""
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import full, noise_table, same, schedules, seeds

from tinyddpm.diffusion import posterior_coefficients, posterior_mean, posterior_variance, q_sample
from tinyddpm.more.reverse import at_timesteps, interpolated_variance, posterior_mean_from_eps, posterior_mean_from_v, respaced, thresholded
from tinyddpm.more.schedules import zero_terminal_snr
from tinyddpm.sampler import ancestral, ddim, timestep_grid
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


def assert_close(schedule, actual, expected, t):
    """To 1e-12 of the condition number at each t."""
    alpha_bar = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    error = abs(actual - expected) * np.sqrt(alpha_bar) * (1 - alpha_bar) / (1 + abs(expected))
    assert error.max() < 1e-12


def bent(xt, t):
    """A denoiser of no meaning: it depends on t and is not linear."""
    return 2 * np.sin(2 * xt + (0.1 * np.asarray(t).reshape(-1, 1, 1, 1)).astype(xt.dtype))


# ---- the mean ------------------------------------------------------------------------------------


@given(schedules, seeds)
def test_the_mean_is_the_same_from_x0_from_eps_and_from_v(schedule, seed):
    x0, eps, v, xt, t = drawn(schedule, seed)
    expected = posterior_mean(schedule, x0, xt, t)
    assert_close(schedule, posterior_mean_from_eps(schedule, eps, xt, t), expected, t)
    assert_close(schedule, posterior_mean_from_v(schedule, v, xt, t), expected, t)


@given(schedules, seeds)
def test_the_means_are_those_of_bayes_rule(schedule, seed):
    """q(x_{t−1} | x_t, x_0) ∝ q(x_t | x_{t−1}) q(x_{t−1} | x_0): the precisions of two Gaussians add up, for t ≥ 2."""
    drawn_at = drawn(schedule, seed)
    x0, eps, v, xt, t = (a[drawn_at[-1] >= 2] for a in drawn_at)
    assume(t.size)
    alpha, beta, before = (table[i].reshape(-1, 1, 1, 1) for table, i in ((schedule.alpha, t), (schedule.beta, t), (schedule.alpha_bar, t - 1)))
    precision = alpha / beta + 1 / (1 - before)
    mean = (np.sqrt(alpha) * xt / beta + np.sqrt(before) * x0 / (1 - before)) / precision
    for ours in (posterior_mean(schedule, x0, xt, t), posterior_mean_from_eps(schedule, eps, xt, t), posterior_mean_from_v(schedule, v, xt, t)):
        assert_close(schedule, ours, mean, t)
    np.testing.assert_allclose(posterior_variance(schedule)[t], 1 / precision.ravel(), rtol=1e-12 / schedule.beta[1])


@given(schedules, seeds)
def test_at_t_1_with_the_true_x0_eps_or_v_the_mean_is_x0(schedule, seed):
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, *SHAPE))
    t = same(1, len(x0))
    xt = q_sample(schedule, x0, t, eps)
    v = np.sqrt(schedule.alpha_bar[1]) * eps - np.sqrt(1 - schedule.alpha_bar[1]) * x0
    for mean in (posterior_mean(schedule, x0, xt, t), posterior_mean_from_eps(schedule, eps, xt, t), posterior_mean_from_v(schedule, v, xt, t)):
        assert_close(schedule, mean, x0, t)


def test_with_zero_terminal_snr_v_gives_the_mean_at_T_and_eps_is_refused():
    schedule = zero_terminal_snr(linear(20))
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, *SHAPE))
    t = same(20, len(x0))  # x_T = ε and v = −x_0
    np.testing.assert_allclose(posterior_mean_from_v(schedule, -x0, eps, t), posterior_mean(schedule, x0, eps, t), rtol=1e-12)
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
        np.testing.assert_array_equal(result[order], mean(schedule, x[order], y[order], t[order]))


# ---- the variance --------------------------------------------------------------------------------


@given(schedules, st.floats(0, 1))
def test_the_interpolated_variance_is_a_line_in_the_logarithm(schedule, large):
    small, beta = posterior_variance(schedule), schedule.beta
    table = interpolated_variance(schedule, large)
    assert table.shape == (schedule.T + 1,) and table[0] == 0
    for t in range(2, schedule.T + 1):
        assert table[t] == pytest.approx(np.exp(large * np.log(beta[t]) + (1 - large) * np.log(small[t])), rel=1e-12)
        assert small[t] * (1 - 1e-12) <= table[t] <= beta[t] * (1 + 1e-12)


@given(schedules)
def test_its_ends_are_the_small_and_the_large_variance(schedule):
    np.testing.assert_array_equal(interpolated_variance(schedule, 0), posterior_variance(schedule))
    np.testing.assert_array_equal(interpolated_variance(schedule, 1), schedule.beta)
    assert interpolated_variance(schedule, 0.5)[1] == 0


def test_each_t_may_have_its_own_share():
    schedule = linear(5)
    table = interpolated_variance(schedule, np.array([0, 0, 1, 0.25, 0, 1]))
    assert table[2] == schedule.beta[2] and table[4] == posterior_variance(schedule)[4] and table[5] == schedule.beta[5]
    assert table[3] == interpolated_variance(schedule, 0.25)[3]


@pytest.mark.parametrize("large", [-0.1, 1.1, float("nan"), np.array([0, 0.5, 2])])
def test_a_share_outside_0_to_1_is_named(large):
    with pytest.raises(ValueError, match="^large: expected shares from 0 to 1"):
        interpolated_variance(linear(2), large)


def test_the_sampler_adds_noise_of_the_variance_of_its_table():
    schedule, T = cosine(7), 7
    table = interpolated_variance(schedule, 0.3)
    quiet, loud = ([x for _, x, _ in ancestral(lambda x, t: 0 * x, schedule, full(0), lambda t: full(t == now), variance=table)]
                   for now in (0, 4))
    added = (loud[T - 4] - quiet[T - 4]).item()  # x_3, the first that has the noise of t = 4
    assert added == pytest.approx(np.sqrt(table[4]), rel=1e-12) and loud[T - 5] == quiet[T - 5]


# ---- dynamic thresholding ------------------------------------------------------------------------


def constant(x0_hat):
    return lambda xt, t: x0_hat


images = st.tuples(seeds, st.floats(-2, 2), st.sampled_from([0.0, 50.0, 90.0, 99.5, 100.0]))


@given(images)
def test_thresholding_is_its_definition_for_each_image(case):
    seed, log_size, percentile = case
    x = np.exp(log_size) * np.random.default_rng(seed).standard_normal(SHAPE)
    result = thresholded(constant(x), percentile)(None, None)
    for m, image in enumerate(x):
        ranked = sorted(abs(image).ravel())
        place = percentile / 100 * (len(ranked) - 1)
        low = int(place)
        size = ranked[low] + (place - low) * (ranked[min(low + 1, len(ranked) - 1)] - ranked[low])
        s = size if size > 1 else 1.0
        expected = [min(max(value, -s), s) / s for value in image.ravel()]
        np.testing.assert_allclose(result[m].ravel(), expected, rtol=0, atol=1e-14)


@given(images, st.sampled_from([np.float32, np.float64]))
def test_what_comes_out_lies_within_the_images_range_in_the_same_order_and_dtype(case, dtype):
    seed, log_size, percentile = case
    x = (np.exp(log_size) * np.random.default_rng(seed).standard_normal(SHAPE)).astype(dtype)
    before = x.copy()
    result = thresholded(constant(x), percentile)(None, None)
    assert result.dtype == dtype and result.shape == SHAPE and abs(result).max() <= 1
    np.testing.assert_array_equal(x, before)
    for image, bounded in zip(x, result):
        assert np.all(np.diff(bounded.ravel()[image.ravel().argsort()]) >= 0)
        if percentile == 100 and abs(image).max() > 1:
            assert abs(bounded).max() == 1  # scaled, nothing cut off


def test_an_image_that_is_in_range_stays_as_it_is():
    x = np.random.default_rng(0).uniform(-1, 1, SHAPE)
    np.testing.assert_array_equal(thresholded(constant(x), 99.5)(None, None), x)


def test_a_few_pixels_out_of_range_are_clipped_and_many_shrink_the_image():
    x = np.linspace(-0.5, 0.5, 100).reshape(1, 1, 4, 25)
    x[0, 0, 0, 0] = 7
    few = thresholded(constant(x), 90)(None, None)
    np.testing.assert_array_equal(few, np.clip(x, -1, 1))
    many = thresholded(constant(4 * x), 50)(None, None)
    assert 0.45 < (abs(many) == 1).mean() < 0.55 and abs(many).min() < abs(x).min() * 4


def test_each_image_has_its_own_threshold():
    x = np.random.default_rng(1).standard_normal(SHAPE) * np.array([0.1, 1, 10]).reshape(3, 1, 1, 1)
    order = np.array([2, 0, 1])
    np.testing.assert_array_equal(thresholded(constant(x[order]), 90)(None, None), thresholded(constant(x), 90)(None, None)[order])
    np.testing.assert_array_equal(thresholded(constant(x[1:2]), 90)(None, None), thresholded(constant(x), 90)(None, None)[1:2])


def test_in_a_sampler_the_eps_used_is_that_of_the_thresholded_x0():
    """Then clip has nothing left to do, and DDIM with η = 1 is still the ancestral sampler."""
    rng = np.random.default_rng(2)
    schedule, denoiser = linear(9), thresholded(bent, 80)
    x_T, noise = rng.standard_normal(SHAPE), noise_table(rng, 9, SHAPE)
    *_, (_, free, x0_hat) = ancestral(denoiser, schedule, x_T, noise, clip=None)
    *_, (_, clipped, _) = ancestral(denoiser, schedule, x_T, noise, clip=1.0)
    *_, (_, strided, _) = ddim(denoiser, schedule, x_T, noise, steps=9, eta=1.0, clip=None)
    np.testing.assert_array_equal(clipped, free)
    np.testing.assert_allclose(strided, free, rtol=0, atol=1e-12)
    assert abs(bent(x_T, same(9, 3))).max() > 1 >= abs(x0_hat).max()


@pytest.mark.parametrize("percentile", [-1, 100.1, float("nan")])
def test_a_bad_percentile_is_named(percentile):
    with pytest.raises(ValueError, match="^percentile: expected 0 to 100"):
        thresholded(bent, percentile)


# ---- fewer steps ---------------------------------------------------------------------------------


@given(schedules, st.data())
def test_a_respaced_schedule_has_the_alpha_bar_of_the_steps_it_visits(schedule, data):
    visited = data.draw(st.permutations(range(1, schedule.T + 1)).flatmap(lambda p: st.integers(1, len(p)).map(lambda n: p[:n])))
    short = respaced(schedule, visited)
    assert short.T == len(visited)
    np.testing.assert_allclose(short.alpha_bar[1:], schedule.alpha_bar[sorted(visited)], rtol=1e-12)


@given(schedules)
def test_visiting_every_step_changes_nothing(schedule):
    same_again = respaced(schedule, range(1, schedule.T + 1))
    np.testing.assert_allclose(same_again.beta, schedule.beta, rtol=0, atol=1e-14)


@given(schedules, st.floats(0, 1), seeds)
def test_strided_ancestral_sampling_is_ddim_with_eta_1(schedule, size, seed):
    rng = np.random.default_rng(seed)
    visited = timestep_grid(schedule.T, max(1, round(size * schedule.T)))
    x_T, noise = rng.standard_normal(SHAPE), noise_table(rng, schedule.T, SHAPE)
    ours = ancestral(at_timesteps(bent, visited), respaced(schedule, visited), x_T, lambda i: noise(visited[-i]))
    for (i, x, x0_hat), (t, y, y0_hat) in zip(ours, ddim(bent, schedule, x_T, noise, steps=len(visited), eta=1.0), strict=True):
        assert t == (visited[-i] if i else 0)
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-9)
        np.testing.assert_allclose(x0_hat, y0_hat, rtol=0, atol=1e-9)


def test_the_large_variance_of_a_respaced_schedule_is_that_of_its_strides():
    schedule = linear(1000)
    short = respaced(schedule, timestep_grid(1000, 10))
    for i in range(1, 11):
        assert short.beta[i] == pytest.approx(1 - np.prod(schedule.alpha[100 * i - 99:100 * i + 1]), rel=1e-12)
    c1, c2 = posterior_coefficients(short)
    np.testing.assert_allclose(c1 + c2 * np.sqrt(short.alpha_bar), np.sqrt([0, *short.alpha_bar[:-1]]), atol=1e-12)


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
    with pytest.raises(ValueError, match=r"^timesteps: expected different whole numbers from 1 to T = 10, got \["):
        respaced(linear(10), timesteps)
    if timesteps != [1, 11]:  # at_timesteps does not know T
        with pytest.raises(ValueError, match="^timesteps: expected different whole numbers from 1 to T, got"):
            at_timesteps(bent, timesteps)
