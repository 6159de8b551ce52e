"""Each term of the variational bound: against integrals and analytic means."""

import numpy as np
import pytest
from bound_parts import LOG2, hermite, tables
from hypothesis import given, settings, strategies as st
from oracles import full, same, schedules
from scipy import integrate, stats

from tinyddpm.data import digits
from tinyddpm.diffusion import (
    posterior_coefficients,
    posterior_mean,
    posterior_variance,
    q_sample,
)
from tinyddpm.more.likelihood import (
    decoder_term,
    grey_numbers,
    log_probability,
    model_variance,
    prior_term,
    step_coefficients,
    step_term,
    terms,
)
from tinyddpm.schedule import linear

# ---- L_T -----------------------------------------------------------------------------------------


def test_prior_kl_of_black_and_white():
    """2.911e-5 bits/dim."""
    colours = np.float32([1, -1, 1]).reshape(3, 1, 1, 1)
    images = np.ones((3, 1, 2, 4), np.float32) * colours
    np.testing.assert_allclose(prior_term(linear(1000), images), 2.911e-5, rtol=2e-4)


@given(schedules, st.floats(-1, 1))
@settings(max_examples=10)
def test_prior_term_is_the_integral_of_the_kl(schedule, x0):
    a = schedule.alpha_bar[-1]
    expected = kl(np.sqrt(a) * x0, 1 - a, 0.0, 1.0) / LOG2
    assert prior_term(schedule, full(x0))[0] == pytest.approx(expected, rel=1e-6, abs=1e-12)


def kl(mean1, variance1, mean2, variance2):
    """KL(N(mean1, variance1) ‖ N(mean2, variance2)) in nats, integrated numerically."""
    first, second = stats.norm(mean1, np.sqrt(variance1)), stats.norm(mean2, np.sqrt(variance2))
    reach = 12 * np.sqrt(variance1)
    return integrate.quad(
        lambda x: first.pdf(x) * (first.logpdf(x) - second.logpdf(x)),
        mean1 - reach,
        mean1 + reach,
        points=[mean1],
        epsabs=1e-14,
        epsrel=1e-10,
        limit=200,
    )[0]


# ---- L_{t−1} -------------------------------------------------------------------------------------

which_table = pytest.mark.parametrize("which", ["small", "large", "between"])


@which_table
@settings(max_examples=12)
@given(
    schedules.filter(lambda s: s.T > 1),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(-2, 2),
    st.data(),
)
def test_step_term_is_the_integral_of_the_kl(which, schedule, x0, x0_hat, xt, data):
    t = data.draw(st.integers(2, schedule.T))
    small, table = posterior_variance(schedule)[t], tables(schedule)[which]
    mean, mean_hat = (
        float(posterior_mean(schedule, full(x), full(xt), same(t)).item()) for x in (x0, x0_hat)
    )
    expected = kl(mean, small, mean_hat, small if table is None else table[t])
    got = step_term(schedule, full(x0), full(x0_hat), same(t), table)[0] * LOG2
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-9 * (1 + abs(mean) ** 2 / small))


@given(schedules)
def test_the_weight_is_half_the_fall_of_the_signal_to_noise_ratio(schedule):
    """(SNR_{t−1} − SNR_t)/2."""
    alpha_bar = schedule.alpha_bar[1:]
    snr = np.concatenate([[np.inf], alpha_bar / (1 - alpha_bar)])
    weight, offset = np.zeros(2), np.zeros(2)
    if schedule.T > 1:
        weight, offset = step_coefficients(schedule)
    t = np.arange(2, schedule.T + 1)
    fall = snr[t - 1] - snr[t]
    # the condition number of SNR_{t−1} − SNR_t, and of 1 − ᾱ
    condition = (snr[t - 1] / fall).max(initial=1) / schedule.beta[1]
    np.testing.assert_allclose(weight[2:], fall / 2, rtol=1e-12 * condition)
    assert not offset.any() and not weight[:2].any()


@which_table
def test_gaussian_data_each_term_has_its_analytic_mean(which):
    """Data N(0, s²) and the exact denoiser, whose mean squared error is s²(1−ᾱ)/(ᾱs² + 1−ᾱ).

    The means over x_0 and ε are by quadrature, exactly.
    """
    s, schedule = 0.5, linear(1000)
    table = tables(schedule)[which]
    points, weights = hermite(3)
    x0, eps = (a.reshape(-1, 1, 1, 1) for a in np.meshgrid(s * points, points))
    weights = np.outer(weights, weights).ravel()
    small, sigma2 = posterior_variance(schedule), model_variance(schedule, table)
    c1, _ = posterior_coefficients(schedule)
    for t in (2, 3, 50, 500, 1000):
        a, xt = schedule.alpha_bar[t], q_sample(schedule, x0, same(t, 9), eps)
        x0_hat = np.sqrt(a) * s**2 / (a * s**2 + 1 - a) * xt
        error = s**2 * (1 - a) / (a * s**2 + 1 - a)
        ratio = small[t] / sigma2[t]
        expected = (ratio - 1 - np.log(ratio) + c1[t] ** 2 * error / sigma2[t]) / (2 * LOG2)
        found = weights @ step_term(schedule, x0, x0_hat, same(t, 9), table)
        assert found == pytest.approx(expected, rel=1e-10)
    a = schedule.alpha_bar[-1]
    expected = (a * s**2 - a - np.log1p(-a)) / (2 * LOG2)
    assert weights @ prior_term(schedule, x0) == pytest.approx(expected, rel=1e-10)


def test_step_term_takes_another_t_for_each_image():
    schedule, rng = linear(20), np.random.default_rng(0)
    x0, x0_hat = rng.uniform(-1, 1, (2, 4, 2, 3, 5))
    t = np.array([2, 20, 7, 2])
    together = step_term(schedule, x0, x0_hat, t, schedule.beta)
    alone = [step_term(schedule, x0[[i]], x0_hat[[i]], t[[i]], schedule.beta)[0] for i in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-13)
    assert len(set(together)) == 4


# ---- L_0 -----------------------------------------------------------------------------------------


@given(st.sampled_from([2, 3, 17, 256]), st.floats(-1.5, 1.5), st.floats(1e-3, 2.0))
def test_the_probabilities_of_all_grey_levels_sum_to_1(n, mean, deviation):
    logs = log_probability(np.arange(n), np.full(n, mean), deviation**2, n)
    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-12)
    assert np.isfinite(logs).all()


@given(st.sampled_from([2, 5, 17]), st.floats(-1, 1), st.floats(0.05, 1.0))
def test_a_probability_is_the_integral_over_its_bin(n, mean, deviation):
    """The first and the last bin are open."""
    got = np.exp(log_probability(np.arange(n), np.full(n, mean), deviation**2, n))
    pdf = stats.norm(mean, deviation).pdf
    centres = np.linspace(-1, 1, n)
    half = (centres[1] - centres[0]) / 2
    for k, centre in enumerate(centres):
        low = max(-np.inf if k == 0 else centre - half, mean - 12 * deviation)
        high = min(np.inf if k == n - 1 else centre + half, mean + 12 * deviation)
        mass = 0.0
        if low < high:
            points = [mean] if low < mean < high else None
            mass = integrate.quad(pdf, low, high, points=points, epsabs=1e-13)[0]
        assert got[k] == pytest.approx(mass, abs=1e-10)


def test_far_from_the_mean_the_logarithm_keeps_its_digits():
    """Both cdfs round to 1, or to 0.

    By symmetry the two sides agree, and Mills' ratio bounds the tail:
    φ(z)/z·(1 − 1/z²) < Q(z) < φ(z)/z.
    """
    left, right = log_probability(np.array([0, 16]), np.array([1.0, -1.0]), 0.01**2, 17)
    z = (2 - 1 / 16) / 0.01
    assert left == pytest.approx(right, rel=1e-13)
    upper = stats.norm.logpdf(z) - np.log(z)
    assert upper + np.log1p(-1 / z**2) <= left <= upper


def test_the_decoder_of_an_unmistakable_image_costs_nothing_and_of_another_a_lot():
    images = digits().images[:5]
    variance = float(model_variance(linear(1000))[1])
    np.testing.assert_allclose(decoder_term(images, images, variance, 17), 0, atol=1e-9)
    assert decoder_term(images, -images, variance, 17).min() > 100


GREY_LEVELS = [(17, np.float32), (256, np.float32), (65536, np.float32), (2, np.float64)]


@pytest.mark.parametrize("n, dtype", GREY_LEVELS)
def test_grey_levels_are_recognised(n, dtype):
    numbers = np.arange(n).reshape(1, 1, 1, n)
    images = (numbers / ((n - 1) / 2) - 1).astype(dtype)
    np.testing.assert_array_equal(grey_numbers(images, n), numbers)


def test_the_digits_have_17_grey_levels_and_no_others():
    assert grey_numbers(digits().images, 17).max() == 16
    for wrong in (16, 18, 256):
        with pytest.raises(ValueError, match=f"^x0: expected {wrong} grey levels"):
            grey_numbers(digits().images, wrong)
    with pytest.raises(ValueError, match="^x0: .*from -1.125"):
        grey_numbers(full(-1.125), 17)
    for wrong in (0, 1, 17.0, True):
        with pytest.raises(ValueError, match="^grey_levels: expected .*at least 2"):
            next(terms(None, linear(3), digits().images[:2], None, wrong))


def test_the_variance_at_t_1():
    """β̃_2 in place of β̃_1 = 0, but β_1 as it is; tables are not written into."""
    schedule = linear(10)
    small, large = posterior_variance(schedule), schedule.beta.copy()
    by_default = model_variance(schedule)
    assert by_default[1] == model_variance(schedule, small)[1] == small[2] and small[1] == 0
    np.testing.assert_array_equal(model_variance(schedule, schedule.beta)[1:], large[1:])
    np.testing.assert_array_equal(by_default[2:], small[2:])


# ---- what is refused -----------------------------------------------------------------------------


def test_what_cannot_be_is_refused():
    schedule, x0 = linear(5), digits().images[:2]
    for t in (0, 1, 6):
        expected = f"^t: expected 2 to T = 5 .*got {min(t, 3)} to {max(t, 3)}"
        with pytest.raises(ValueError, match=expected):
            step_term(schedule, x0, x0, np.array([t, 3]))
    expected = r"^variance: expected a table of T \+ 1 = 6 numbers, got shape \(5,\)"
    with pytest.raises(ValueError, match=expected):
        model_variance(schedule, schedule.beta[1:])
    expected = "^variance: expected positive numbers for t = 1..T, got 0"
    with pytest.raises(ValueError, match=expected):
        model_variance(schedule, np.array([0, 1, 1, 0, 1, 1.0]))
    with pytest.raises(ValueError, match="^variance: expected a positive one at t = 1"):
        model_variance(linear(1))
