"""The further schedules: their published definitions and figures, and schedules of one's own."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from named_schedules import named, rescaled
from oracles import full, same, schedules

from tinyddpm import diffusion
from tinyddpm.more.schedules import (
    SCHEDULES,
    fraction_of_steps,
    from_alpha_bar,
    from_beta,
    log_snr,
    quadratic,
    scaled_linear,
    sigmoid,
    sigmoid_beta,
    snr,
    zero_terminal_snr,
)
from tinyddpm.schedule import Schedule, cosine, linear

# ---- the definitions -----------------------------------------------------------------------------

ENDS = [(quadratic, 1e-4, 0.02), (scaled_linear, 8.5e-4, 0.012)]


@pytest.mark.parametrize("make, first, last", ENDS)
def test_quadratic_and_scaled_linear_are_linear_in_the_square_root(make, first, last):
    beta = make().beta[1:]
    step = (last**0.5 - first**0.5) / 999
    np.testing.assert_allclose(np.diff(np.sqrt(beta)), step, rtol=1e-9)
    assert len(beta) == 1000
    assert beta[0] == pytest.approx(first, rel=1e-12) and beta[-1] == pytest.approx(last, rel=1e-12)


# SNR(T) and √ᾱ_T, table 1 of Lin et al. 2023, "Common diffusion noise schedules and sample steps
# are flawed". They computed it in float32.
TERMINAL = [
    (linear, 4.035993e-05, 0.006353),
    (cosine, 2.428735e-09, 4.928220e-05),
    (scaled_linear, 0.004682, 0.068265),
]


@pytest.mark.parametrize("make, ratio, root", TERMINAL)
def test_the_terminal_figures_that_lin_et_al_print(make, ratio, root):
    schedule = make()
    assert snr(schedule)[1000] == pytest.approx(ratio, rel=3e-4)
    assert np.sqrt(schedule.alpha_bar[1000]) == pytest.approx(root, rel=1e-4)


def test_sigmoid_beta_is_a_sigmoid_of_equal_steps():
    beta = sigmoid_beta().beta[1:]
    logit = np.log((beta - 1e-4) / (0.02 - beta))
    np.testing.assert_allclose(logit, np.linspace(-6, 6, 1000), rtol=0, atol=1e-9)


@pytest.mark.parametrize("start, end, tau", [(-3, 3, 1.0), (-3, 3, 0.3), (0, 3, 0.7), (-2, 5, 1.1)])
def test_sigmoid_is_chens(start, end, tau):
    """Its log-odds, once the stretching is undone, fall in equal steps.

    It goes from 1 to the published floor.
    """
    alpha_bar = sigmoid(500, start, end, tau).alpha_bar
    low, high = (0.5 + 0.5 * np.tanh(x / tau / 2) for x in (start, end))
    s = high - alpha_bar[:-1] * (high - low)
    expected = np.linspace(start, end, 501)[:-1] / tau
    np.testing.assert_allclose(np.log(s / (1 - s)), expected, rtol=0, atol=1e-8)
    assert alpha_bar[500] == pytest.approx(1e-9, rel=1e-6)


@given(st.integers(1, 40).map(lambda n: 2 * n))
def test_sigmoid_is_symmetric(T):
    alpha_bar = sigmoid(T).alpha_bar
    assert alpha_bar[T // 2] == pytest.approx(0.5, abs=1e-12)
    np.testing.assert_allclose(alpha_bar + alpha_bar[::-1], 1, rtol=0, atol=2e-9)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 300))
def test_every_name_makes_a_schedule_of_any_length(name, T):
    schedule = SCHEDULES[name](T)
    assert schedule.T == T and np.all(np.diff(schedule.alpha_bar) < 0)
    assert 0 < schedule.alpha_bar[T]
    assert np.all((schedule.beta[1:] > 0) & (schedule.beta[1:] < 1))


@pytest.mark.parametrize("tau", [0.1, 1e-3])
def test_a_sigmoid_that_is_too_steep_is_named(tau):
    with pytest.raises(ValueError, match=f"^sigmoid: expected start, end and tau .* tau = {tau}"):
        sigmoid(1000, tau=tau)


@pytest.mark.parametrize("make", [quadratic, scaled_linear, sigmoid_beta])
@pytest.mark.parametrize("T", [50, 200, 4000])
def test_another_length_ends_with_about_as_little_of_the_image(make, T):
    usual, other = make(1000), make(T)
    assert other.beta.sum() == pytest.approx(usual.beta.sum(), rel=0.02)
    remains = np.log(usual.alpha_bar[1000])
    assert np.log(other.alpha_bar[T]) == pytest.approx(remains, rel=0.35)


# ---- schedules of one's own ----------------------------------------------------------------------


@given(named | rescaled)
def test_a_schedule_comes_back_from_its_own_tables(schedule):
    beta = schedule.beta[1:].tolist()
    np.testing.assert_array_equal(from_beta(beta).alpha_bar, schedule.alpha_bar)
    again = from_alpha_bar(schedule.alpha_bar[1:])
    np.testing.assert_allclose(again.alpha_bar, schedule.alpha_bar, rtol=1e-13)
    np.testing.assert_allclose(again.beta, schedule.beta, rtol=0, atol=1e-15)
    sent = Schedule(json.loads(json.dumps(beta)))  # as workers get it
    np.testing.assert_array_equal(sent.alpha_bar, schedule.alpha_bar)


WRONG = [
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
]


@pytest.mark.parametrize("make, values, message", WRONG)
def test_what_is_wrong_is_named_with_its_t(make, values, message):
    with pytest.raises(ValueError, match=message):
        make(values)


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("T", [0, -1, 1.5, "10", None])
def test_a_bad_T_is_named(make, T):
    with pytest.raises(ValueError, match=r"T: expected a whole number of steps"):
        make(T)


BAD_ENDS = [
    ({"first": 0.0}, "first, last"),
    ({"first": 0.03}, "0.03 and 0.02"),
    ({"last": 1.0}, "first, last"),
]


@pytest.mark.parametrize("options, message", BAD_ENDS)
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


# ---- the signal-to-noise ratio -------------------------------------------------------------------


@given(named | schedules)
def test_snr_is_the_ratio_of_the_variances_of_what_q_sample_adds(schedule):
    ratio, logarithm = snr(schedule), log_snr(schedule)
    assert ratio.shape == logarithm.shape == (schedule.T + 1,)
    assert ratio[0] == logarithm[0] == np.inf
    for t in range(1, schedule.T + 1):
        signal = diffusion.q_sample(schedule, full(1), same(t), full(0)).item() ** 2
        noise = diffusion.q_sample(schedule, full(0), same(t), full(1)).item() ** 2
        assert ratio[t] == pytest.approx(signal / noise, rel=1e-12)
        assert logarithm[t] == pytest.approx(np.log(signal) - np.log(noise), abs=1e-10)
    assert np.all(np.diff(ratio[1:]) < 0)


def test_snr_of_linear_spans_what_is_known_of_it():
    ratio = snr(linear())
    assert ratio[1] == pytest.approx(9999, rel=1e-9)
    assert 1 / ratio[1000] == pytest.approx(24777, rel=1e-4)


@pytest.mark.parametrize("make, expected", [(linear, 0.26), (cosine, 0.50)])
def test_the_fraction_of_steps_with_more_signal_than_noise(make, expected):
    """26 % of linear and 50 % of cosine."""
    noisy, clear = fraction_of_steps(make(), [-np.inf, 0, np.inf])
    assert clear == pytest.approx(expected, abs=0.005) and noisy + clear == pytest.approx(1)


@given(named | rescaled, st.lists(st.integers(-9, 9), min_size=1, max_size=6, unique=True))
def test_fractions_count_the_steps_between_the_edges(schedule, edges):
    edges = [-np.inf, *sorted(e + 0.123 for e in edges), np.inf]
    fractions, ratio = fraction_of_steps(schedule, edges), snr(schedule)[1:]
    for got, (low, high) in zip(fractions, itertools.pairwise(edges), strict=True):
        count = sum(np.exp(low) <= r < np.exp(high) for r in ratio)
        assert got * schedule.T == pytest.approx(count, abs=1e-9)
    assert fractions.sum() == pytest.approx(1)
