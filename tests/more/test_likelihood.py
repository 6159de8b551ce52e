"""The variational bound, term by term: against integrals, an exact chain, exact denoisers and known entropies."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import full, same, schedules, seeds
from PIL import Image
from scipy import integrate, stats

from tinyddpm import noise
from tinyddpm.pictures.bound_plot import bound_terms
from tinyddpm.data import digits
from tinyddpm.diffusion import posterior_coefficients, posterior_mean, posterior_variance, q_sample, q_step
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.likelihood import Bound, bits_per_dimension, decoder_term, grey_numbers, log_probability, model_variance, prior_term, step_coefficients, step_term, terms
from tinyddpm.schedule import Schedule, cosine, linear

LOG2 = np.log(2)


def hermite(n):
    """Points and weights (n,) of an integral over N(0, 1): exact for polynomials up to degree 2n − 1 (Gauss and Hermite)."""
    points, weights = np.polynomial.hermite_e.hermegauss(n)
    return points, weights / np.sqrt(2 * np.pi)


def tables(schedule):
    """The model variances to try: β̃ by default, β, and one between."""
    small = posterior_variance(schedule)
    return {"small": None, "large": schedule.beta, "between": np.sqrt(small * schedule.beta)}


# ---- L_T -----------------------------------------------------------------------------------------


def test_prior_kl_of_black_and_white():
    """2.911e-5 bits/dim."""
    images = np.ones((3, 1, 2, 4), np.float32) * np.float32([1, -1, 1]).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(prior_term(linear(1000), images), 2.911e-5, rtol=2e-4)


@given(schedules, st.floats(-1, 1))
@settings(max_examples=10)
def test_prior_term_is_the_integral_of_the_kl(schedule, x0):
    a = schedule.alpha_bar[-1]
    assert prior_term(schedule, full(x0))[0] == pytest.approx(kl(np.sqrt(a) * x0, 1 - a, 0.0, 1.0) / LOG2, rel=1e-6, abs=1e-12)


def kl(mean1, variance1, mean2, variance2):
    """KL(N(mean1, variance1) ‖ N(mean2, variance2)) in nats, integrated numerically."""
    first, second = stats.norm(mean1, np.sqrt(variance1)), stats.norm(mean2, np.sqrt(variance2))
    reach = 12 * np.sqrt(variance1)
    return integrate.quad(lambda x: first.pdf(x) * (first.logpdf(x) - second.logpdf(x)), mean1 - reach, mean1 + reach,
                          points=[mean1], epsabs=1e-14, epsrel=1e-10, limit=200)[0]


# ---- L_{t−1} -------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["small", "large", "between"])
@settings(max_examples=12)
@given(schedules.filter(lambda s: s.T > 1), st.floats(-1, 1), st.floats(-1, 1), st.floats(-2, 2), st.data())
def test_step_term_is_the_integral_of_the_kl(which, schedule, x0, x0_hat, xt, data):
    t = data.draw(st.integers(2, schedule.T))
    small, variance = posterior_variance(schedule)[t], tables(schedule)[which]
    means = [float(posterior_mean(schedule, full(x), full(xt), same(t)).item()) for x in (x0, x0_hat)]
    expected = kl(means[0], small, means[1], small if variance is None else variance[t])
    got = step_term(schedule, full(x0), full(x0_hat), same(t), variance)[0] * LOG2
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-9 * (1 + abs(means[0]) ** 2 / small))


@given(schedules)
def test_the_weight_is_half_the_fall_of_the_signal_to_noise_ratio(schedule):
    """(SNR_{t−1} − SNR_t)/2."""
    alpha_bar = schedule.alpha_bar[1:]
    snr = np.concatenate([[np.inf], alpha_bar / (1 - alpha_bar)])
    weight, offset = step_coefficients(schedule) if schedule.T > 1 else (np.zeros(2), np.zeros(2))
    t = np.arange(2, schedule.T + 1)
    condition = (snr[t - 1] / (snr[t - 1] - snr[t])).max(initial=1) / schedule.beta[1]  # of SNR_{t−1} − SNR_t, and of 1 − ᾱ
    np.testing.assert_allclose(weight[2:], (snr[t - 1] - snr[t]) / 2, rtol=1e-12 * condition)
    assert not offset.any() and not weight[:2].any()


@pytest.mark.parametrize("which", ["small", "large", "between"])
def test_gaussian_data_each_term_has_its_analytic_mean(which):
    """Data N(0, s²) and the exact denoiser, whose mean squared error is s²(1−ᾱ)/(ᾱs² + 1−ᾱ); the means over x_0 and ε by quadrature, exactly."""
    s, schedule = 0.5, linear(1000)
    variance = tables(schedule)[which]
    points, weights = hermite(3)
    x0, eps = (a.reshape(-1, 1, 1, 1) for a in np.meshgrid(s * points, points))
    weights = np.outer(weights, weights).ravel()
    small, sigma2 = posterior_variance(schedule), model_variance(schedule, variance)
    c1, _ = posterior_coefficients(schedule)
    for t in (2, 3, 50, 500, 1000):
        a = schedule.alpha_bar[t]
        x0_hat = np.sqrt(a) * s**2 / (a * s**2 + 1 - a) * q_sample(schedule, x0, same(t, 9), eps)
        error = s**2 * (1 - a) / (a * s**2 + 1 - a)
        expected = (small[t] / sigma2[t] - 1 - np.log(small[t] / sigma2[t]) + c1[t] ** 2 * error / sigma2[t]) / (2 * LOG2)
        assert weights @ step_term(schedule, x0, x0_hat, same(t, 9), variance) == pytest.approx(expected, rel=1e-10)
    a = schedule.alpha_bar[-1]
    assert weights @ prior_term(schedule, x0) == pytest.approx((a * s**2 - a - np.log1p(-a)) / (2 * LOG2), rel=1e-10)


def test_step_term_takes_another_t_for_each_image():
    schedule, rng = linear(20), np.random.default_rng(0)
    x0, x0_hat = rng.uniform(-1, 1, (2, 4, 2, 3, 5))
    t = np.array([2, 20, 7, 2])
    together = step_term(schedule, x0, x0_hat, t, schedule.beta)
    np.testing.assert_allclose(together, [step_term(schedule, x0[[i]], x0_hat[[i]], t[[i]], schedule.beta)[0] for i in range(4)], rtol=1e-13)
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
    centres = np.linspace(-1, 1, n)
    half = (centres[1] - centres[0]) / 2
    for k, centre in enumerate(centres):
        low = max(-np.inf if k == 0 else centre - half, mean - 12 * deviation)
        high = min(np.inf if k == n - 1 else centre + half, mean + 12 * deviation)
        mass = integrate.quad(stats.norm(mean, deviation).pdf, low, high, points=[mean] if low < mean < high else None, epsabs=1e-13)[0] if low < high else 0.0
        assert got[k] == pytest.approx(mass, abs=1e-10)


def test_far_from_the_mean_the_logarithm_keeps_its_digits():
    """Both cdfs round to 1, or to 0. By symmetry the two sides agree, and Mills' ratio bounds the tail: φ(z)/z·(1 − 1/z²) < Q(z) < φ(z)/z."""
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


@pytest.mark.parametrize("n, dtype", [(17, np.float32), (256, np.float32), (65536, np.float32), (2, np.float64)])
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
    assert model_variance(schedule)[1] == small[2] and model_variance(schedule, small)[1] == small[2] and small[1] == 0
    np.testing.assert_array_equal(model_variance(schedule, schedule.beta)[1:], large[1:])
    np.testing.assert_array_equal(model_variance(schedule)[2:], small[2:])


# ---- the chain -----------------------------------------------------------------------------------


def bent(xt, t):
    """A denoiser of no meaning, not linear in x_t."""
    return np.tanh(1.3 * xt + 0.2 * t.reshape(-1, 1, 1, 1) - 0.3)


@pytest.mark.parametrize("which", ["small", "large", "between"])
def test_the_terms_add_up_to_the_bound_as_it_is_defined(which):
    """E_q[log q(x_{1:T} | x_0) − log p(x_{0:T})] (Ho et al. 2020, equation 3), by quadrature over the chain that q takes one
    step at a time: no posterior and no KL in it."""
    schedule = Schedule([0.2, 0.3, 0.45])
    variance = model_variance(schedule, tables(schedule)[which])
    points, weights = hermite(36)
    eps = np.stack(np.meshgrid(points, points, points)).reshape(3, -1, 1, 1, 1)
    w = np.einsum("i,j,k->ijk", weights, weights, weights).ravel()
    x0, n = full(-0.5, eps.shape[1]), eps.shape[1]
    x, log_q = [x0], 0.0
    for t in (1, 2, 3):
        x.append(q_step(schedule, x[-1], same(t, n), eps[t - 1]))
        log_q = log_q + stats.norm.logpdf(x[t], np.sqrt(1 - schedule.beta[t]) * x[t - 1], np.sqrt(schedule.beta[t]))
    log_p = stats.norm.logpdf(x[3])
    for t in (3, 2):
        mean = posterior_mean(schedule, bent(x[t], same(t, n)), x[t], same(t, n))
        log_p = log_p + stats.norm.logpdf(x[t - 1], mean, np.sqrt(variance[t]))
    mean = bent(x[1], same(1, n))  # grey levels −1, −.5, 0, .5, 1: that of −.5 is from −.75 to −.25
    decoder = stats.norm.cdf(-0.25, mean, np.sqrt(variance[1])) - stats.norm.cdf(-0.75, mean, np.sqrt(variance[1]))
    expected = w @ (log_q - log_p - np.log(decoder)).ravel() / LOG2

    points, weights = hermite(150)
    chain = terms(bent, schedule, full(-0.5, 150), lambda t: points.reshape(-1, 1, 1, 1), 5, tables(schedule)[which], clip=None)
    assert sum(weights @ bits for _, bits in chain) == pytest.approx(expected, abs=2e-5)


VALUES, COUNTS = np.array([-1.0, -0.5, 0.5, 1.0]), np.array([5, 2, 1, 8])  # one pixel of five grey levels, one of which never occurs


def bound_of_the_exact_model(T, make=linear, variance=None):
    """The bound, in the mean over x_0 and (by quadrature) ε, when the denoiser is the exact one: E[x_0 | x_t]."""
    schedule = make(T)
    points, weights = hermite(120)
    x0 = np.repeat(VALUES, 120).reshape(-1, 1, 1, 1)
    w = np.outer(COUNTS / COUNTS.sum(), weights).ravel()
    ideal = ideal_denoiser(np.repeat(VALUES, COUNTS).reshape(-1, 1, 1, 1), schedule)
    eps = np.tile(points, 4).reshape(-1, 1, 1, 1)
    return sum(w @ bits for _, bits in terms(ideal, schedule, x0, lambda t: eps, 5, variance and variance(schedule)))


def test_no_bound_is_below_the_entropy_and_it_comes_as_close_as_there_are_steps():
    """The gap falls as 1/T: what is lost is that p(x_{t−1} | x_t) is no Gaussian."""
    entropy = stats.entropy(COUNTS, base=2)
    gaps = {T: bound_of_the_exact_model(T) - entropy for T in (10, 100, 300, 1000)}
    assert gaps[10] > gaps[100] > gaps[300] > gaps[1000] > 0
    assert gaps[1000] < 0.03 and 3 < gaps[300] / gaps[1000] < 4
    assert 0 < bound_of_the_exact_model(300, cosine) - entropy < 0.05
    assert bound_of_the_exact_model(100, variance=lambda s: s.beta) - entropy > gaps[100]


def drawing(x0, seed=0):
    return lambda t: noise.normal(seed, "bound", t, np.arange(len(x0)), x0.shape[1:], x0.dtype)


def test_the_chain_goes_from_L_T_to_L_0_and_asks_at_each_t_with_that_noise():
    schedule, x0 = linear(4), digits().images[:3]
    asked = []

    def denoiser(xt, t):
        np.testing.assert_array_equal(xt, q_sample(schedule, x0, t, drawing(x0)(int(t[0]))))
        assert t.shape == (3,) and len(set(t.tolist())) == 1
        asked.append(int(t[0]))
        return 3 * np.ones_like(xt)  # outside: it must be clipped

    chain = list(terms(denoiser, schedule, x0, drawing(x0), 17))
    assert [i for i, _ in chain] == [4, 3, 2, 1, 0] and asked == [4, 3, 2, 1]
    ones, by_i = np.ones_like(x0), dict(chain)
    for t in (4, 3, 2):
        np.testing.assert_array_equal(by_i[t - 1], step_term(schedule, x0, ones, same(t, 3)))
    np.testing.assert_array_equal(by_i[0], decoder_term(x0, ones, posterior_variance(schedule)[2], 17))
    free = dict(terms(denoiser, schedule, x0, drawing(x0), 17, clip=None))
    asked.clear()
    np.testing.assert_array_equal(free[2], step_term(schedule, x0, 3 * ones, same(3, 3)))


def test_float32_images_are_measured_in_float64_and_not_written_into():
    schedule, x0 = linear(5), digits().images[:4]
    before = x0.copy()
    chain = list(terms(bent, schedule, x0, drawing(x0), 17))
    exact = list(terms(bent, schedule, x0.astype(np.float64), lambda t: drawing(x0)(t).astype(np.float64), 17))
    assert all(bits.dtype == np.float64 and bits.shape == (4,) for _, bits in chain)
    for (_, a), (_, b) in zip(chain, exact):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    np.testing.assert_array_equal(x0, before)


@given(seeds)
def test_permuting_the_images_permutes_their_terms(seed):
    schedule, x0 = linear(3), digits().images[:5]
    order = np.random.default_rng(seed).permutation(5)
    here = np.stack([bits for _, bits in terms(bent, schedule, x0, drawing(x0), 17)])
    there = np.stack([bits for _, bits in terms(bent, schedule, x0[order], lambda t: drawing(x0)(t)[order], 17)])
    np.testing.assert_allclose(there, here[:, order], rtol=1e-12)


# ---- the table and the picture -------------------------------------------------------------------


def some_bound(T=25, n=6):
    x0 = digits().images[:n]
    return Bound(terms(bent, linear(T), x0, drawing(x0), 17))


def test_the_table_adds_up():
    bound = some_bound()
    assert bound.each.shape == (26, 6) and bound.terms.shape == bound.errors.shape == (26,)
    assert bound.total == pytest.approx(bound.terms.sum()) == pytest.approx(bound.rate + bound.distortion)
    assert bound.error == pytest.approx(stats.sem(bound.each.sum(axis=0)))
    np.testing.assert_allclose(bound.errors, stats.sem(bound.each, axis=1))
    rows = bound.rows(bands=4)
    assert [name for name, _, _ in rows] == ["L_T", "L_t-1, t = 20..25", "L_t-1, t = 14..19", "L_t-1, t = 8..13", "L_t-1, t = 2..7", "L_0", "total"]
    assert sum(mean for _, mean, _ in rows[:-1]) == pytest.approx(rows[-1][1]) == pytest.approx(bound.total)
    assert rows[1][1] == pytest.approx(bound.terms[19:25].sum()) and rows[1][2] == pytest.approx(stats.sem(bound.each[19:25].sum(axis=0)))
    assert rows[0][1] == bound.terms[25] and rows[-2][1] == bound.distortion
    text = str(bound)
    assert len(text.splitlines()) == 14 and f"{bound.total:.6f}" in text


def test_bits_are_per_dimension_and_of_base_2():
    assert bits_per_dimension(np.full((2, 1, 3, 4), LOG2)).tolist() == [1.0, 1.0]


def test_one_image_has_no_standard_error():
    bound = some_bound(n=1)
    assert np.isnan(bound.error) and np.isnan(bound.errors).all() and np.isfinite(bound.total)


@pytest.mark.parametrize("T, n", [(25, 6), (25, 1), (2, 3), (1, 2)])
def test_the_picture_is_drawn(tmp_path, T, n):
    x0 = digits().images[:n]
    schedule = linear(T)
    bound_terms(tmp_path / "bound.png", Bound(terms(bent, schedule, x0, drawing(x0), 17, variance=schedule.beta)))
    with Image.open(tmp_path / "bound.png") as image:
        assert image.size == (924, 726) and len(set(image.convert("L").tobytes())) > 20
    assert [p.name for p in tmp_path.iterdir()] == ["bound.png"]


# ---- what is refused -----------------------------------------------------------------------------


def test_what_cannot_be_is_refused():
    schedule, x0 = linear(5), digits().images[:2]
    for t in (0, 1, 6):
        with pytest.raises(ValueError, match=f"^t: expected 2 to T = 5 .*got {min(t, 3)} to {max(t, 3)}"):
            step_term(schedule, x0, x0, np.array([t, 3]))
    with pytest.raises(ValueError, match=r"^variance: expected a table of T \+ 1 = 6 numbers, got shape \(5,\)"):
        model_variance(schedule, schedule.beta[1:])
    with pytest.raises(ValueError, match="^variance: expected positive numbers for t = 1..T, got 0"):
        model_variance(schedule, np.array([0, 1, 1, 0, 1, 1.0]))
    with pytest.raises(ValueError, match="^variance: expected a positive one at t = 1"):
        model_variance(linear(1))
    with pytest.raises(ValueError, match="^Bound: expected the whole chain"):
        Bound(list(terms(bent, schedule, x0, drawing(x0), 17))[:3])
