"""What the network predicts: round trips, and what samplers see of it.

Among the mistakes of other projects: a v of the wrong sign, and a t that is off by one.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st
from oracles import schedules, seeds
from predicted import LINEAR, ZERO, Answers, column, condition, drawn, predicted

from autograd import Tensor
from tinyddpm.diffusion import q_sample
from tinyddpm.more import predictions
from tinyddpm.more.predictions import denoiser, gradient, velocity, weights
from tinyddpm.more.solvers import ddim
from tinyddpm.sampler import ancestral

# ---- x_0, ε and v are three names for one thing --------------------------------------------------


@given(schedules, seeds)
def test_what_was_added_is_what_comes_back(schedule, seed):
    """From x_0 and ε: v and x_t; then each of the three from x_t and each of the others."""
    x0, eps, _, t = drawn(schedule, seed)
    xt, allowed = q_sample(schedule, x0, t, eps), 1e-11 * condition(schedule)
    truth = {"x0": x0, "eps": eps, "v": velocity(schedule, x0, t, eps)}
    for source, target in itertools.permutations(truth, 2):
        name = f"{target}_from_{source}"
        found = getattr(predictions, name)(schedule, truth[source], xt, t)
        np.testing.assert_allclose(found, truth[target], rtol=0, atol=allowed, err_msg=name)


@given(schedules, seeds, st.permutations(["x0", "eps", "v"]))
def test_a_round_trip_of_any_array_ends_where_it_began(schedule, seed, names):
    """x_t and F need not belong together.

    Each conversion is the inverse of another, whatever the network says.
    """
    xt, _, F, t = drawn(schedule, seed)
    a, b, c = names
    there = [getattr(predictions, f"{q}_from_{p}") for p, q in ((a, b), (b, c), (c, a))]
    x, largest = F, 1.0
    for convert in there:
        x = convert(schedule, x, xt, t)
        largest = max(largest, abs(x).max())
    np.testing.assert_allclose(x, F, rtol=0, atol=1e-12 * condition(schedule) * largest)


def test_x_t_and_v_are_x_0_and_eps_turned_by_an_angle():
    """(x_t, v) = R(φ)(x_0, ε) with cos φ = √ᾱ_t (Salimans & Ho 2022, appendix D).

    Lengths stay, φ = 0 gives (x_0, ε), and a right angle gives (ε, −x_0).
    """
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, 50, 1, 2, 3))
    t = np.arange(1, 51)
    for schedule in (LINEAR, ZERO):
        phi = column(np.arccos(np.sqrt(schedule.alpha_bar[t])))
        v = velocity(schedule, x0, t, eps)
        found = q_sample(schedule, x0, t, eps) + 1j * v
        np.testing.assert_allclose(found, np.exp(-1j * phi) * (x0 + 1j * eps), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(v[-1], -x0[-1])  # ᾱ_T = 0


CONVERSIONS = [
    "x0_from_eps",
    "x0_from_v",
    "eps_from_x0",
    "eps_from_v",
    "v_from_x0",
    "v_from_eps",
    "x0_from_x0",
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_tensor_is_converted_as_an_array_is_and_the_dtype_stays(name, dtype):
    convert = getattr(predictions, name)
    x0, eps, F, t = drawn(LINEAR, 3)
    xt, F = q_sample(LINEAR, x0, t, eps).astype(dtype), F.astype(dtype)
    array, tensor = convert(LINEAR, F, xt, t), convert(LINEAR, Tensor(F), xt, t)
    assert isinstance(tensor, Tensor) and array.dtype == tensor.dtype == dtype
    assert array.shape == F.shape
    np.testing.assert_array_equal(tensor.data, array)
    exact = convert(LINEAR, F.astype(np.float64), xt.astype(np.float64), t)
    np.testing.assert_allclose(array, exact, rtol=1e-4, atol=1e-4)


# ---- what samplers see ---------------------------------------------------------------------------


@given(schedules, seeds, predicted)
def test_samplers_draw_the_same_whatever_the_network_predicts(schedule, seed, predicts):
    """A network that says the same of x̂_0 = sin(2 x_t + t), as ε̂ or v̂."""

    def x0_hat(xt, t):
        return np.sin(2 * xt + column(t))

    to_prediction = {
        "x0": lambda schedule, x0, xt, t: x0,
        "eps": predictions.eps_from_x0,
        "v": predictions.v_from_x0,
    }[predicts]

    def network(xt, t):
        return to_prediction(schedule, x0_hat(xt, t), xt, t)

    rng = np.random.default_rng(seed)
    xt, t = rng.standard_normal((schedule.T, 1, 2, 3)), 1 + rng.permutation(schedule.T)
    found = denoiser(network, schedule, predicts)(xt, t)
    np.testing.assert_allclose(found, x0_hat(xt, t), rtol=0, atol=1e-11 * condition(schedule))


@pytest.mark.parametrize("predicts", ["x0", "v"])
def test_a_network_that_knows_the_answer_draws_it_from_pure_noise(predicts):
    """With zero terminal SNR, from T on: x̂_0 is the image at the very first step already."""
    x0, x_T = np.random.default_rng(0).standard_normal((2, 3, 1, 2, 3))
    networks = {
        "x0": lambda xt, t: x0,
        "v": lambda xt, t: predictions.v_from_x0(ZERO, x0, xt, t),
    }
    made = denoiser(networks[predicts], ZERO, predicts)
    for chain in (
        ancestral(made, ZERO, x_T, lambda t: x_T, clip=None),
        ddim(made, ZERO, x_T, steps=7, clip=None),
    ):
        for _, xt, x0_hat in chain:
            np.testing.assert_allclose(x0_hat, x0, rtol=0, atol=1e-11)
        np.testing.assert_allclose(xt, x0, rtol=0, atol=1e-11)


def test_conditioning_of_the_network_passes_through_when_it_samples():
    made = denoiser(lambda xt, t, label=None: xt if label is None else label * xt, LINEAR, "x0")
    x, t = np.ones((2, 1, 1, 1)), np.array([1, 2])
    assert made(x, t).sum() == 2 and made(x, t, 3.0).sum() == 6


# ---- what is refused -----------------------------------------------------------------------------


def test_eps_is_refused_by_name_with_zero_terminal_snr():
    x0, eps, F, t = drawn(ZERO, 0)
    for call in (
        lambda: denoiser(None, ZERO, "eps"),
        lambda: gradient(Answers(F), ZERO, x0, t, eps, predicts="eps"),
        lambda: predictions.x0_from_eps(ZERO, F, x0, t),
        lambda: predictions.v_from_eps(ZERO, F, x0, t),
    ):
        with pytest.raises(ValueError, match=r"^eps: .*zero terminal SNR.*T = 50; predict x0 or v"):
            call()


def test_bad_names_are_told_the_good_ones():
    x0, eps, F, t = drawn(LINEAR, 0)
    with pytest.raises(ValueError, match="predicts: expected one of x0, eps, v, got 'x_0'"):
        gradient(Answers(F), LINEAR, x0, t, eps, predicts="x_0")
    with pytest.raises(ValueError, match="predicts: expected one of x0, eps, v, got 'noise'"):
        denoiser(None, LINEAR, "noise")
    names = "none, snr, snr_plus_1, truncated_snr, min_snr"
    with pytest.raises(ValueError, match=f"weight: expected one of {names}, got 'SNR'"):
        gradient(Answers(F), LINEAR, x0, t, eps, weight="SNR")
    for gamma in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="gamma: expected a positive number, got"):
            weights(LINEAR, "min_snr", gamma)
