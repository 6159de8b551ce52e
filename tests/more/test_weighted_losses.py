"""How each t is weighted: the identities of the losses, and the three forms of J with weights.

Among the mistakes of other projects: an x_0-objective silently multiplied by SNR.
"""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from oracles import schedules, seeds, shaken
from predicted import (
    LINEAR,
    ZERO,
    Answers,
    column,
    condition,
    drawn,
    predicted,
    training_batch,
)

from autograd.check import EXTRAPOLATED, numerical_gradient
from tinyddpm.diffusion import q_sample
from tinyddpm.more import predictions
from tinyddpm.more.predictions import TO_X0, WEIGHTS, gradient, velocity, weights
from tinyddpm.objective import FORMS
from tinyddpm.schedule import Schedule

either = schedules | st.just(ZERO)


def squares(x):
    """‖x‖² of each sample."""
    return (x**2).sum(axis=(1, 2, 3))


def snr_at(schedule, t):
    return schedule.alpha_bar[t] / (1 - schedule.alpha_bar[t])


# ---- the losses ----------------------------------------------------------------------------------


def loss(schedule, F, x0, t, eps, **options):
    """J, the errors and ∂J/∂F that `gradient` gives if the network says F."""
    net = Answers(F)
    J, errors = gradient(net, schedule, x0, t, eps, **options)
    return J, errors, net.F.grad


@given(schedules, seeds)
def test_the_eps_loss_is_snr_times_the_x0_loss(schedule, seed):
    x0, eps, F, t = drawn(schedule, seed)
    options = {"form": "sum", "predicts": "eps", "weight": "snr"}
    J, _, slope = loss(schedule, F, x0, t, eps, **options)
    assert J == pytest.approx(squares(F - eps).sum(), rel=1e-12 * condition(schedule))
    np.testing.assert_allclose(slope, 2 * (F - eps), rtol=0, atol=1e-11 * condition(schedule))


@given(either, seeds)
def test_the_v_loss_is_snr_plus_1_times_the_x0_loss(schedule, seed):
    x0, eps, F, t = drawn(schedule, seed)
    options = {"form": "sum", "predicts": "v", "weight": "snr_plus_1"}
    J, _, slope = loss(schedule, F, x0, t, eps, **options)
    alpha_bar = column(schedule.alpha_bar[t])
    v = np.sqrt(alpha_bar) * eps - np.sqrt(1 - alpha_bar) * x0
    assert J == pytest.approx(squares(F - v).sum(), rel=1e-12 / schedule.beta[1])
    np.testing.assert_allclose(slope, 2 * (F - v), rtol=0, atol=1e-11 / schedule.beta[1])


@given(either, seeds)
def test_an_x0_prediction_without_weight_is_not_the_eps_loss_in_disguise(schedule, seed):
    """Every sample weighs the same, whatever its SNR."""
    x0, eps, F, t = drawn(schedule, seed)
    J, errors, slope = loss(schedule, F, x0, t, eps, form="sum")
    assert J == pytest.approx(squares(F - x0).sum(), rel=1e-12)
    np.testing.assert_allclose(slope, 2 * (F - x0), rtol=1e-12)
    np.testing.assert_allclose(errors, squares(F - x0), rtol=1e-12)


@given(schedules, seeds)
def test_the_truncated_snr_loss_is_the_larger_of_the_eps_and_the_x0_loss(schedule, seed):
    """As Salimans & Ho (2022, section 4) define it: max(‖x̂_0 − x_0‖², ‖ε̂ − ε‖²)."""
    x0, eps, F, t = drawn(schedule, seed)
    J, _, _ = loss(schedule, F, x0, t, eps, form="sum", weight="truncated_snr")
    eps_hat = predictions.eps_from_x0(schedule, F, q_sample(schedule, x0, t, eps), t)
    expected = np.maximum(squares(F - x0), squares(eps_hat - eps)).sum()
    assert J == pytest.approx(expected, rel=1e-11 * condition(schedule))


@given(schedules, seeds, st.sampled_from([0.1, 1.0, 5.0, 20.0]))
def test_min_snr_is_as_hang_et_al_write_it_for_each_prediction(schedule, seed, gamma):
    """On the ε-loss min(SNR, γ)/SNR, on the v-loss min(SNR, γ)/(SNR+1).

    (Hang et al. 2023, section 3.4.)
    """
    x0, eps, F, t = drawn(schedule, seed)
    ratio = snr_at(schedule, t)
    v = velocity(schedule, x0, t, eps)
    for predicts, truth, divisor in (("x0", x0, 1), ("eps", eps, ratio), ("v", v, ratio + 1)):
        options = {"predicts": predicts, "weight": "min_snr", "gamma": gamma}
        J, _, _ = loss(schedule, F, x0, t, eps, form="sum", **options)
        expected = (np.minimum(ratio, gamma) / divisor * squares(F - truth)).sum()
        assert J == pytest.approx(expected, rel=1e-11 * condition(schedule))


@given(schedules, seeds, predicted, st.sampled_from(WEIGHTS))
def test_the_errors_are_those_of_x0_and_bear_no_weight(schedule, seed, predicts, weight):
    x0, eps, F, t = drawn(schedule, seed)
    _, errors, _ = loss(schedule, F, x0, t, eps, predicts=predicts, weight=weight)
    ratio = snr_at(schedule, t)
    expected = {
        "x0": squares(F - x0),
        "eps": squares(F - eps) / ratio,
        "v": squares(F - velocity(schedule, x0, t, eps)) / (ratio + 1),
    }[predicts]
    np.testing.assert_allclose(errors, expected, rtol=1e-11 * condition(schedule))


@given(either, seeds, st.sampled_from(["x0", "v"]), st.sampled_from(WEIGHTS))
def test_the_three_forms_differ_by_a_factor_and_the_parts_of_a_batch_add_up(
    schedule, seed, predicts, weight
):
    x0, eps, F, t = drawn(schedule, seed)
    M, D = len(x0), x0[0].size
    options = {"predicts": predicts, "weight": weight}
    J = {form: loss(schedule, F, x0, t, eps, form=form, **options)[0] for form in FORMS}
    assert J["sum"] == pytest.approx(M * J["batch_mean"], rel=1e-12)
    assert J["sum"] == pytest.approx(M * D * J["mse"], rel=1e-12)
    parts = [
        loss(schedule, F[s], x0[s], t[s], eps[s], batch_size=M, **options)[0]
        for s in (slice(0, 1), slice(1, M))
    ]
    assert sum(parts) == pytest.approx(J["mse"], rel=1e-12)


@given(seeds, st.sampled_from(["x0", "v"]), st.sampled_from(WEIGHTS))
def test_permuting_the_batch_permutes_the_contributions(seed, predicts, weight):
    arrays = x0, eps, F, t = drawn(ZERO, seed, n=5)
    order = np.random.default_rng(seed).permutation(5)
    options = {"predicts": predicts, "weight": weight}
    _, errors, slope = loss(ZERO, F, x0, t, eps, **options)
    x0, eps, F, t = (a[order] for a in arrays)
    _, errors2, slope2 = loss(ZERO, F, x0, t, eps, **options)
    np.testing.assert_array_equal(errors2, errors[order])
    np.testing.assert_array_equal(slope2, slope[order])


# ---- the weights ---------------------------------------------------------------------------------


def test_weights_by_hand():
    """ᾱ = .9, .5, .2: SNR 9, 1, 1/4."""
    schedule = Schedule([0.1, 4 / 9, 0.6])
    by_hand = {
        "none": [1, 1, 1],
        "snr": [9, 1, 0.25],
        "snr_plus_1": [10, 2, 1.25],
        "truncated_snr": [9, 1, 1],
        "min_snr": [5, 1, 0.25],
    }
    for weight, expected in by_hand.items():
        np.testing.assert_allclose(weights(schedule, weight), [0, *expected], rtol=1e-12)
    found = weights(schedule, "min_snr", gamma=0.5)
    np.testing.assert_allclose(found, [0, 0.5, 0.5, 0.25], rtol=1e-12)
    np.testing.assert_array_equal(weights(schedule), [0, 1, 1, 1])


def test_with_zero_terminal_snr_every_weight_is_finite():
    last = {weight: weights(ZERO, weight)[-1] for weight in WEIGHTS}
    assert last == {"none": 1, "snr": 0, "snr_plus_1": 1, "truncated_snr": 1, "min_snr": 0}
    assert all(np.isfinite(weights(ZERO, weight)).all() for weight in WEIGHTS)


# ---- the gradients -------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("predicts", sorted(TO_X0))
def test_the_gradient_is_the_slope_of_J_by_finite_differences(predicts, weight):
    """With respect to what the network says, element by element."""
    x0, eps, F, t = drawn(LINEAR, 8, n=3)
    options = {"predicts": predicts, "weight": weight}
    _, _, slope = loss(LINEAR, F, x0, t, eps, **options)
    measured = numerical_gradient(lambda F: loss(LINEAR, F, x0, t, eps, **options)[0], F)
    np.testing.assert_allclose(slope, measured, rtol=1e-7, atol=1e-9 * abs(slope).max())
    assert (measured != 0).all()


COMBINATIONS = [("x0", "truncated_snr"), ("eps", "snr"), ("v", "snr_plus_1"), ("v", "min_snr")]


@pytest.mark.parametrize("predicts, weight", COMBINATIONS)
def test_the_gradient_of_a_unet_is_the_slope_of_J(predicts, weight):
    unet = shaken(size=0.1)
    x0, t, eps = training_batch(unet, 4)
    options = {"predicts": predicts, "weight": weight}
    gradient(unet, LINEAR, x0, t, eps, **options)
    theta, slope = unet.theta.copy(), unet.grad.copy()

    def at(theta):
        unet.theta[...] = theta
        return gradient(unet, LINEAR, x0, t, eps, **options)[0]

    for seed in range(3):
        v = np.random.default_rng(seed).standard_normal(theta.shape)
        v /= np.linalg.norm(v)
        measured = EXTRAPOLATED.slope(at, theta, v)
        allowed = 1e-6 * abs(slope * v).sum()
        assert abs(float(slope @ v) - measured) <= allowed < 1e-2 * abs(measured)
