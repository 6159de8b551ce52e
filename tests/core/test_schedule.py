"""The noise schedules: their tables, their published values and their errors."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from oracles import schedules

from tinyddpm.schedule import Schedule, at, cosine, linear


@given(schedules)
def test_tables_are_indexed_by_t_itself(schedule):
    T = schedule.T
    for table in (schedule.beta, schedule.alpha, schedule.alpha_bar):
        assert table.shape == (T + 1,) and table.dtype == np.float64
    assert schedule.beta[0] == 0 and schedule.alpha_bar[0] == 1
    np.testing.assert_array_equal(schedule.alpha, 1 - schedule.beta)
    for t in range(1, T + 1):  # ᾱ_t is the product of α_1..α_t, and of nothing else
        product = np.prod(1 - schedule.beta[1 : t + 1])
        np.testing.assert_allclose(schedule.alpha_bar[t], product, rtol=1e-13)


def test_alpha_bar_before_the_first_step_is_1_and_does_not_wrap_to_the_last():
    schedule = linear(10)
    assert schedule.alpha_bar[1 - 1] == 1 != schedule.alpha_bar[-1]


def test_linear_is_that_of_ho_et_al():
    schedule = linear(1000)
    np.testing.assert_allclose(schedule.beta[1:], np.linspace(1e-4, 0.02, 1000), rtol=1e-14)
    assert schedule.alpha_bar[1000] == pytest.approx(4.0358e-05, rel=1e-4)
    assert schedule.alpha_bar[1] == 1 - 1e-4


@pytest.mark.parametrize("T", [50, 200, 4000])
def test_linear_of_another_length_ends_with_about_as_little_of_the_image(T):
    left, of_1000 = linear(T).alpha_bar[T], linear(1000).alpha_bar[1000]
    assert -np.log(left) == pytest.approx(-np.log(of_1000), rel=0.35)
    assert linear(T).beta.sum() == pytest.approx(linear(1000).beta.sum(), rel=1e-12)


def test_prior_kl_of_linear():
    """How far x_T is from N(0, 1) at x_0 = ±1, in bits per dimension.

    This is KL(N(√ᾱ x_0, 1−ᾱ) ‖ N(0, 1)).
    """
    a = linear(1000).alpha_bar[1000]
    for x0 in (-1.0, 1.0):
        kl = 0.5 * (a * x0**2 + (1 - a) - 1 - np.log(1 - a)) / np.log(2)
        assert kl == pytest.approx(2.911e-5, abs=5e-9)


@pytest.mark.parametrize("T", [1, 2, 10, 1000, 4000])
def test_cosine_is_that_of_nichol_and_dhariwal(T):
    def f(t):
        return np.cos((t / T + 0.008) / 1.008 * np.pi / 2) ** 2

    alpha_bar = np.array([f(t) / f(0) for t in range(T + 1)])
    beta = np.array([min(1 - alpha_bar[t] / alpha_bar[t - 1], 0.999) for t in range(1, T + 1)])
    schedule = cosine(T)
    np.testing.assert_allclose(schedule.beta[1:], beta, rtol=1e-9)
    # β_T alone is held at .999, so ᾱ_T differs.
    np.testing.assert_allclose(schedule.alpha_bar[:T], alpha_bar[:T], rtol=1e-9)


def test_cosine_is_not_clipped_to_the_hundredth():
    schedule = cosine(1000)
    assert schedule.alpha_bar[1] > 0.9999 and schedule.alpha_bar[1000] < 1e-5
    assert schedule.beta[1] < 1e-4 and schedule.beta[1000] == 0.999


@given(st.sampled_from([linear, cosine]), st.integers(1, 300))
def test_every_length_makes_a_schedule(make, T):
    alpha_bar = make(T).alpha_bar
    assert len(alpha_bar) == T + 1 and np.all(np.diff(alpha_bar) < 0) and alpha_bar[T] > 0


@pytest.mark.parametrize("make", [linear, cosine])
@pytest.mark.parametrize("T", [0, -1, 1.5, "10", None])
def test_a_bad_T_is_named(make, T):
    with pytest.raises(ValueError, match=r"T: expected a whole number of steps.*" + str(T)):
        make(T)


@pytest.mark.parametrize("beta", [[], [0.1, 0.0], [1.0], [-0.1], [float("nan")], [[0.1, 0.2]], 0.1])
def test_a_bad_beta_is_named(beta):
    with pytest.raises(ValueError, match="beta: expected"):
        Schedule(beta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_looks_up_in_float64_and_casts_once(dtype):
    table, t = 1 - linear(1000).alpha_bar, np.array([1, 1000, 1, 7])
    found = at(table, t, np.zeros((4, 3, 5, 2), dtype))
    assert found.shape == (4, 1, 1, 1) and found.dtype == dtype
    np.testing.assert_array_equal(found[:, 0, 0, 0], table[t].astype(dtype))
