"""The further schedules: their published definitions and figures, the identities of the posterior and the chain on each of them and with zero
terminal SNR, where all that is divided by √ᾱ_t would show, and the picture of them.

`test_diffusion.py` has the same identities for random β below 1.
"""
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import full, noise_table, same, schedules, seeds
from PIL import Image

from tinyddpm import diffusion
from tinyddpm.pictures import schedule_plot
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.schedules import SCHEDULES, from_alpha_bar, from_beta, log_snr, quadratic, scaled_linear, fraction_of_steps, sigmoid, sigmoid_beta, snr, zero_terminal_snr
from tinyddpm.sampler import ancestral, ddim
from tinyddpm.schedule import Schedule, cosine, linear

named = st.builds(lambda make, T: make(T), st.sampled_from(list(SCHEDULES.values())), st.integers(1, 64))
rescaled = schedules.filter(lambda s: s.T > 1).map(zero_terminal_snr) | named.filter(lambda s: s.T > 1).map(zero_terminal_snr)


# ---- the definitions -----------------------------------------------------------------------------


@pytest.mark.parametrize("make, first, last", [(quadratic, 1e-4, 0.02), (scaled_linear, 8.5e-4, 0.012)])
def test_quadratic_and_scaled_linear_are_linear_in_the_square_root(make, first, last):
    beta = make().beta[1:]
    np.testing.assert_allclose(np.diff(np.sqrt(beta)), (last**0.5 - first**0.5) / 999, rtol=1e-9)
    assert len(beta) == 1000 and beta[0] == pytest.approx(first, rel=1e-12) and beta[-1] == pytest.approx(last, rel=1e-12)


def test_the_terminal_figures_that_lin_et_al_print():
    """SNR(T) and √ᾱ_T, table 1 of "Common diffusion noise schedules and sample steps are flawed" (computed there in float32)."""
    for schedule, ratio, root in ((linear(), 4.035993e-05, 0.006353), (cosine(), 2.428735e-09, 4.928220e-05), (scaled_linear(), 0.004682, 0.068265)):
        assert snr(schedule)[1000] == pytest.approx(ratio, rel=3e-4)
        assert np.sqrt(schedule.alpha_bar[1000]) == pytest.approx(root, rel=1e-4)


def test_sigmoid_beta_is_a_sigmoid_of_equal_steps():
    beta = sigmoid_beta().beta[1:]
    logit = np.log((beta - 1e-4) / (0.02 - beta))
    np.testing.assert_allclose(logit, np.linspace(-6, 6, 1000), rtol=0, atol=1e-9)


@pytest.mark.parametrize("start, end, tau", [(-3, 3, 1.0), (-3, 3, 0.3), (0, 3, 0.7), (-2, 5, 1.1)])
def test_sigmoid_is_chens(start, end, tau):
    """Its log-odds, once the stretching is undone, fall in equal steps; it goes from 1 to the published floor."""
    alpha_bar = sigmoid(500, start, end, tau).alpha_bar
    low, high = (0.5 + 0.5 * np.tanh(x / tau / 2) for x in (start, end))
    s = high - alpha_bar[:-1] * (high - low)
    np.testing.assert_allclose(np.log(s / (1 - s)), np.linspace(start, end, 501)[:-1] / tau, rtol=0, atol=1e-8)
    assert alpha_bar[500] == pytest.approx(1e-9, rel=1e-6)


@given(st.integers(1, 40).map(lambda n: 2 * n))
def test_sigmoid_is_symmetric(T):
    alpha_bar = sigmoid(T).alpha_bar
    assert alpha_bar[T // 2] == pytest.approx(0.5, abs=1e-12)
    np.testing.assert_allclose(alpha_bar + alpha_bar[::-1], 1, rtol=0, atol=2e-9)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 300))
def test_every_name_makes_a_schedule_of_any_length(name, T):
    schedule = SCHEDULES[name](T)
    assert schedule.T == T and np.all(np.diff(schedule.alpha_bar) < 0) and 0 < schedule.alpha_bar[T]
    assert np.all((schedule.beta[1:] > 0) & (schedule.beta[1:] < 1))


@pytest.mark.parametrize("make", [quadratic, scaled_linear, sigmoid_beta])
@pytest.mark.parametrize("T", [50, 200, 4000])
def test_another_length_ends_with_about_as_little_of_the_image(make, T):
    assert make(T).beta.sum() == pytest.approx(make(1000).beta.sum(), rel=0.02)
    assert np.log(make(T).alpha_bar[T]) == pytest.approx(np.log(make(1000).alpha_bar[1000]), rel=0.35)


# ---- schedules of one's own ----------------------------------------------------------------------


@given(named | rescaled)
def test_a_schedule_comes_back_from_its_own_tables(schedule):
    np.testing.assert_array_equal(from_beta(schedule.beta[1:].tolist()).alpha_bar, schedule.alpha_bar)
    again = from_alpha_bar(schedule.alpha_bar[1:])
    np.testing.assert_allclose(again.alpha_bar, schedule.alpha_bar, rtol=1e-13)
    np.testing.assert_allclose(again.beta, schedule.beta, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(Schedule(json.loads(json.dumps(schedule.beta[1:].tolist()))).alpha_bar, schedule.alpha_bar)  # as workers are told it


@pytest.mark.parametrize("make, values, message", [
    (from_beta, [0.1, 0.2, 0.0], r"^beta: .*in \(0, 1\) at every t, got 0.0 at t = 3 of 3"),
    (from_beta, [0.1, -0.2, 2.0], r"^beta: .*got -0.2 at t = 2 of 3"),
    (from_beta, [0.1, 1.0, 0.1], r"^beta: .*got 1.0 at t = 2 of 3"),
    (from_beta, [1.0], r"^beta: .*got 1.0 at t = 1 of 1"),
    (from_beta, [0.1, float("nan")], r"^beta: .*got nan at t = 2 of 2"),
    (from_beta, [0.1, 1.5], r"^beta: .*got 1.5 at t = 2 of 2"),
    (from_beta, [], r"^beta: expected a sequence of T numbers.*\(0,\)"),
    (from_beta, 0.1, r"^beta: expected a sequence of T numbers.*\(\)"),
    (from_beta, [[0.1]], r"^beta: expected a sequence of T numbers.*\(1, 1\)"),
    (from_alpha_bar, [0.9, 0.9], r"^alpha_bar: .*below the one before.*got 0.9 at t = 2 of 2"),
    (from_alpha_bar, [1.0, 0.9], r"^alpha_bar: .*got 1.0 at t = 1 of 2"),
    (from_alpha_bar, [0.9, 0.0, 0.0], r"^alpha_bar: .*got 0.0 at t = 2 of 3"),
    (from_alpha_bar, [0.9, -0.1], r"^alpha_bar: .*got -0.1 at t = 2 of 2"),
    (from_alpha_bar, [0.0], r"^alpha_bar: .*got 0.0 at t = 1 of 1"),
    (from_alpha_bar, [], r"^alpha_bar: expected a sequence"),
    (zero_terminal_snr, linear(1), r"^zero_terminal_snr: .*at least 2 steps, got T = 1"),
])
def test_what_is_wrong_is_named_with_its_t(make, values, message):
    with pytest.raises(ValueError, match=message):
        make(values)


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("T", [0, -1, 1.5, "10", None])
def test_a_bad_T_is_named(make, T):
    with pytest.raises(ValueError, match=r"T: expected a whole number of steps"):
        make(T)


@pytest.mark.parametrize("options, message", [({"first": 0.0}, "first, last"), ({"first": 0.03}, "0.03 and 0.02"), ({"last": 1.0}, "first, last")])
def test_bad_ends_are_named(options, message):
    for make in (quadratic, sigmoid_beta):
        with pytest.raises(ValueError, match=message):
            make(10, **options)


@pytest.mark.parametrize("options", [{"start": 3}, {"tau": 0}, {"tau": -1}, {"end": float("nan")}])
def test_a_bad_sigmoid_is_named(options):
    with pytest.raises(ValueError, match="sigmoid: expected start < end and tau > 0"):
        sigmoid(10, **options)


def test_only_the_last_of_several_steps_may_take_all_that_is_left():
    assert Schedule([0.1, 1.0]).alpha_bar.tolist() == [1, 0.9, 0]
    for beta in ([1.0], [1.0, 0.1], [0.1, 1.0, 0.1], [1.0, 1.0], [0.1, 1.0000001]):
        with pytest.raises(ValueError, match="beta: expected"):
            Schedule(beta)


# ---- zero terminal SNR ---------------------------------------------------------------------------


@given(schedules.filter(lambda s: s.T > 1) | named.filter(lambda s: s.T > 1))
def test_zero_terminal_snr_keeps_the_first_loses_the_last_and_is_affine_between(schedule):
    """√ᾱ' = a√ᾱ + b, the only such map with √ᾱ'_1 = √ᾱ_1 and √ᾱ'_T = 0  (Lin et al. 2023, algorithm 1)"""
    zero = zero_terminal_snr(schedule)
    assert zero.alpha_bar[-1] == 0 and zero.beta[-1] == 1 and snr(zero)[-1] == 0 and log_snr(zero)[-1] == -np.inf
    assert zero.alpha_bar[1] == pytest.approx(schedule.alpha_bar[1], rel=1e-12)
    root, before = np.sqrt(zero.alpha_bar[1:]), np.sqrt(schedule.alpha_bar[1:])
    np.testing.assert_allclose(root, np.interp(before, [before[-1], before[0]], [0, before[0]]), rtol=0, atol=1e-11)
    np.testing.assert_allclose(zero_terminal_snr(zero).alpha_bar, zero.alpha_bar, rtol=1e-9, atol=0)  # and once is enough


# ---- the identities, on all of them -------------------------------------------


def tolerance(schedule, t):
    """1e-12 times the condition number; √ᾱ_t is no part of it where it is 0, since nothing is divided by it."""
    alpha_bar = schedule.alpha_bar[t]
    return 1e-12 * max(1 / (1 - alpha_bar), 1 / np.sqrt(alpha_bar) if alpha_bar else 1)


@given(named | rescaled)
def test_the_posterior_is_that_of_the_step_before(schedule):
    """c1 + c2·√ᾱ_t = √ᾱ_{t−1}  and  c2²(1−ᾱ_t) + β̃_t = 1−ᾱ_{t−1}"""
    c1, c2 = diffusion.posterior_coefficients(schedule)
    variance, alpha_bar = diffusion.posterior_variance(schedule), schedule.alpha_bar
    for t in range(1, schedule.T + 1):
        assert c1[t] + c2[t] * np.sqrt(alpha_bar[t]) == pytest.approx(np.sqrt(alpha_bar[t - 1]), abs=tolerance(schedule, t), rel=0)
        assert c2[t] ** 2 * (1 - alpha_bar[t]) + variance[t] == pytest.approx(1 - alpha_bar[t - 1], abs=tolerance(schedule, t), rel=0)


@given(named | rescaled)
def test_the_weight_of_the_x0_error_in_the_bound_is_the_loss_of_snr(schedule):
    """c1²/2β̃ = (SNR_{t−1} − SNR_t)/2 for t ≥ 2: with `snr`, at the last step too, where nothing is left"""
    c1, _ = diffusion.posterior_coefficients(schedule)
    variance, ratio = diffusion.posterior_variance(schedule), snr(schedule)
    for t in range(2, schedule.T + 1):
        allowed = tolerance(schedule, t - 1) * ratio[t - 1]
        assert c1[t] ** 2 / (2 * variance[t]) == pytest.approx((ratio[t - 1] - ratio[t]) / 2, abs=allowed, rel=0)


@given(named | rescaled)
def test_one_step_at_a_time_has_the_mean_and_variance_of_the_closed_form(schedule):
    mean, variance = 1.0, 0.0
    for t in range(1, schedule.T + 1):
        mean, variance = diffusion.q_step(schedule, full(mean), same(t), full(0)).item(), (1 - schedule.beta[t]) * variance + schedule.beta[t]
        assert mean == pytest.approx(diffusion.q_sample(schedule, full(1), same(t), full(0)).item(), rel=1e-12, abs=0)
        assert variance == pytest.approx(diffusion.q_sample(schedule, full(0), same(t), full(1)).item() ** 2, rel=1e-12 / schedule.beta[1])


@given(rescaled, seeds)
def test_with_zero_terminal_snr_x_T_is_noise_and_every_sampler_starts_from_it(schedule, seed):
    rng, t = np.random.default_rng(seed), same(schedule.T, 3)
    x0, x_T = rng.standard_normal((2, 3, 1, 2, 2))
    np.testing.assert_array_equal(diffusion.q_sample(schedule, x0, t, x_T), x_T)
    np.testing.assert_array_equal(diffusion.predicted_noise(schedule, x0, x_T, t), x_T)
    noise = noise_table(rng, schedule.T, x_T.shape)
    *_, (_, drawn, _) = ancestral(lambda xt, t: x0, schedule, x_T, noise, clip=None)
    np.testing.assert_allclose(drawn, x0, rtol=1e-11 / schedule.beta[1])
    for steps in {1, 2, schedule.T}:
        *_, (_, drawn, _) = ddim(lambda xt, t: x0, schedule, x_T, noise, steps=steps, eta=0.5, clip=None)
        np.testing.assert_allclose(drawn, x0, rtol=1e-9)


def test_with_zero_terminal_snr_the_best_guess_at_T_is_the_mean_of_the_data():
    images, x_T = np.random.default_rng(0).uniform(-1, 1, (2, 5, 1, 2, 3))
    guess = ideal_denoiser(images, zero_terminal_snr(linear(20)))(x_T, same(20, 5))
    np.testing.assert_allclose(guess, np.broadcast_to(images.mean(axis=0), guess.shape), rtol=1e-12)


# ---- the signal-to-noise ratio -------------------------------------------------------------------


@given(named | schedules)
def test_snr_is_the_ratio_of_the_variances_of_what_q_sample_adds(schedule):
    ratio, logarithm = snr(schedule), log_snr(schedule)
    assert ratio.shape == logarithm.shape == (schedule.T + 1,) and ratio[0] == logarithm[0] == np.inf
    for t in range(1, schedule.T + 1):
        signal = diffusion.q_sample(schedule, full(1), same(t), full(0)).item() ** 2
        noise = diffusion.q_sample(schedule, full(0), same(t), full(1)).item() ** 2
        assert ratio[t] == pytest.approx(signal / noise, rel=1e-12)
        assert logarithm[t] == pytest.approx(np.log(signal) - np.log(noise), abs=1e-10)
    assert np.all(np.diff(ratio[1:]) < 0)


def test_snr_of_linear_spans_what_is_known_of_it():
    ratio = snr(linear())
    assert ratio[1] == pytest.approx(9999, rel=1e-9) and 1 / ratio[1000] == pytest.approx(24777, rel=1e-4)


def test_the_fraction_of_steps_with_more_signal_than_noise():
    """26 % of linear and 50 % of cosine"""
    for make, expected in ((linear, 0.26), (cosine, 0.50)):
        noisy, clear = fraction_of_steps(make(), [-np.inf, 0, np.inf])
        assert clear == pytest.approx(expected, abs=0.005) and noisy + clear == pytest.approx(1)


@given(named | rescaled, st.lists(st.integers(-9, 9), min_size=1, max_size=6, unique=True))
def test_shares_count_the_steps_between_the_edges(schedule, edges):
    edges = [-np.inf, *sorted(e + 0.123 for e in edges), np.inf]
    share, ratio = fraction_of_steps(schedule, edges), snr(schedule)[1:]
    for got, (low, high) in zip(share, itertools.pairwise(edges), strict=True):
        assert got * schedule.T == pytest.approx(sum(np.exp(low) <= r < np.exp(high) for r in ratio), abs=1e-9)
    assert share.sum() == pytest.approx(1)


# ---- the picture ---------------------------------------------------------------------------------


def test_the_picture_holds_a_curve_of_each_and_every_label_fits(tmp_path):
    several = {name: make(200) for name, make in SCHEDULES.items()} | {"zero": zero_terminal_snr(cosine(25)), "mine": from_beta([0.1, 0.4])}
    figure = schedule_plot.schedules(tmp_path / "schedules.png", several)
    assert [path.name for path in tmp_path.iterdir()] == ["schedules.png"]
    with Image.open(tmp_path / "schedules.png") as picture:
        assert picture.width > 1000

    remains, ratio, spent = figure.axes[:3]
    for curve, logarithm, bars, schedule in zip(remains.lines, ratio.lines, spent.patches, several.values()):
        np.testing.assert_array_equal(curve.get_data(), [np.arange(schedule.T + 1) / schedule.T, schedule.alpha_bar])
        remaining = schedule.alpha_bar[1:-1]
        np.testing.assert_allclose(logarithm.get_ydata()[1:-1], np.log(remaining) - np.log(1 - remaining), atol=1e-9)
        assert bars.get_data().values.sum() == pytest.approx(100)
    assert len(remains.lines) == len(several) and len(spent.patches) == len(several)
    legend, = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[1] == "cosine\n50% of its steps have SNR > 1" and [text.split("\n")[0] for text in texts] == list(several)
    assert len({(line.get_color(), line.get_linestyle()) for line in remains.lines}) == len(several)
    box = legend.get_window_extent()
    assert box.x1 <= figure.bbox.x1 and box.y0 >= 0 and not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)


@pytest.mark.parametrize("count", [0, 19])
def test_too_many_schedules_for_one_picture_are_refused(tmp_path, count):
    with pytest.raises(ValueError, match=f"named: expected 1 to 18 schedules, got {count}"):
        schedule_plot.schedules(tmp_path / "x.png", {str(i): linear(2) for i in range(count)})
