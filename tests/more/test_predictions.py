"""What the network predicts and how t is weighted: round trips and the identities of the losses, the three forms of J with
weights, the gradients by finite differences, and that both plugs fit where they are to be used.

A name for each mistake that other projects made: an x_0-objective silently multiplied by SNR, a v of the wrong sign, a t that is off by one.
"""
import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import batch, schedules, seeds, shaken

from autograd import Tensor, leaf
from autograd.check import EXTRAPOLATED, numerical_gradient
from tinyddpm import noise, train
from tinyddpm.diffusion import q_sample
from tinyddpm.more import predictions
from tinyddpm.more.predictions import TO_X0, WEIGHTS, denoiser, gradient, velocity, weights
from tinyddpm.more.schedules import zero_terminal_snr
from tinyddpm.objective import FORMS
from tinyddpm.sampler import ancestral, ddim
from tinyddpm.schedule import Schedule, linear

LINEAR, ZERO = linear(50), zero_terminal_snr(linear(50))
predicted = st.sampled_from(sorted(TO_X0))


class Answers:
    """A network whose output is its only parameter: what `gradient` adds to F's gradient is ∂J/∂F."""

    def __init__(self, F):
        self.F = leaf(F)

    def __call__(self, xt, t, dropout=None, cond=None):
        return self.F


def drawn(schedule, seed, n=None):
    """x0, eps and a wrong answer F of the network, (N, C, H, W) each with H ≠ W, and t, which holds 1 and T."""
    rng = np.random.default_rng(seed)
    n = n or int(rng.integers(2, 6))
    x0, eps, F = rng.standard_normal((3, n, 2, 1, 3))
    t = rng.integers(1, schedule.T + 1, n)
    t[:2] = 1, schedule.T
    return x0, eps, F, t


def column(values):
    return np.asarray(values).reshape(-1, 1, 1, 1)


def squares(x):
    """‖x‖² of each sample."""
    return (x**2).sum(axis=(1, 2, 3))


def condition(schedule):
    return max(1 / np.sqrt(schedule.alpha_bar[-1]), 1 / (1 - schedule.alpha_bar[1]))


# ---- x_0, ε and v are three names for one thing --------------------------------------------------


@given(schedules, seeds)
def test_what_was_added_is_what_comes_back(schedule, seed):
    """From x_0 and ε: v and x_t; then each of the three from x_t and each of the others."""
    x0, eps, _, t = drawn(schedule, seed)
    xt, tolerance = q_sample(schedule, x0, t, eps), 1e-12 * condition(schedule)
    truth = {"x0": x0, "eps": eps, "v": velocity(schedule, x0, t, eps)}
    for source, target in itertools.permutations(truth, 2):
        convert = getattr(predictions, f"{target}_from_{source}")
        np.testing.assert_allclose(convert(schedule, truth[source], xt, t), truth[target], rtol=0, atol=10 * tolerance, err_msg=convert.__name__)


@given(schedules, seeds, st.permutations(["x0", "eps", "v"]))
def test_a_round_trip_of_any_array_ends_where_it_began(schedule, seed, names):
    """x_t and F need not belong together: each conversion is the inverse of another, whatever the network says."""
    xt, _, F, t = drawn(schedule, seed)
    a, b, c = names
    there = [getattr(predictions, f"{q}_from_{p}") for p, q in ((a, b), (b, c), (c, a))]
    x, largest = F, 1.0
    for convert in there:
        x = convert(schedule, x, xt, t)
        largest = max(largest, abs(x).max())
    np.testing.assert_allclose(x, F, rtol=0, atol=1e-12 * condition(schedule) * largest)


def test_x_t_and_v_are_x_0_and_eps_turned_by_an_angle():
    """(x_t, v) = R(φ)(x_0, ε) with cos φ = √ᾱ_t: lengths stay, φ = 0 gives (x_0, ε) and a right angle (ε, −x_0) (Salimans & Ho 2022, appendix D)."""
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, 50, 1, 2, 3))
    t = np.arange(1, 51)
    for schedule in (LINEAR, ZERO):
        phi = column(np.arccos(np.sqrt(schedule.alpha_bar[t])))
        v = velocity(schedule, x0, t, eps)
        np.testing.assert_allclose(q_sample(schedule, x0, t, eps) + 1j * v, np.exp(-1j * phi) * (x0 + 1j * eps), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(v[-1], -x0[-1])  # ᾱ_T = 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["x0_from_eps", "x0_from_v", "eps_from_x0", "eps_from_v", "v_from_x0", "v_from_eps", "x0_from_x0"])
def test_a_tensor_is_converted_as_an_array_is_and_the_dtype_stays(name, dtype):
    convert = getattr(predictions, name)
    x0, eps, F, t = drawn(LINEAR, 3)
    xt, F = q_sample(LINEAR, x0, t, eps).astype(dtype), F.astype(dtype)
    array, tensor = convert(LINEAR, F, xt, t), convert(LINEAR, Tensor(F), xt, t)
    assert isinstance(tensor, Tensor) and array.dtype == tensor.dtype == dtype and array.shape == F.shape
    np.testing.assert_array_equal(tensor.data, array)
    np.testing.assert_allclose(array, convert(LINEAR, F.astype(np.float64), xt.astype(np.float64), t), rtol=1e-4, atol=1e-4)


# ---- the losses ----------------------------------------------------------------------------------


def loss(schedule, F, x0, t, eps, **options):
    """J, the errors and ∂J/∂F that `gradient` gives if the network says F."""
    net = Answers(F)
    J, errors = gradient(net, schedule, x0, t, eps, **options)
    return J, errors, net.F.grad


@given(schedules, seeds)
def test_the_eps_loss_is_snr_times_the_x0_loss(schedule, seed):
    x0, eps, F, t = drawn(schedule, seed)
    J, _, slope = loss(schedule, F, x0, t, eps, form="sum", predicts="eps", weight="snr")
    assert J == pytest.approx(squares(F - eps).sum(), rel=1e-12 * condition(schedule))
    np.testing.assert_allclose(slope, 2 * (F - eps), rtol=0, atol=1e-11 * condition(schedule))


@given(schedules | st.just(ZERO), seeds)
def test_the_v_loss_is_snr_plus_1_times_the_x0_loss(schedule, seed):
    x0, eps, F, t = drawn(schedule, seed)
    J, _, slope = loss(schedule, F, x0, t, eps, form="sum", predicts="v", weight="snr_plus_1")
    v = column(np.sqrt(schedule.alpha_bar[t])) * eps - column(np.sqrt(1 - schedule.alpha_bar[t])) * x0
    assert J == pytest.approx(squares(F - v).sum(), rel=1e-12 / schedule.beta[1])
    np.testing.assert_allclose(slope, 2 * (F - v), rtol=0, atol=1e-11 / schedule.beta[1])


@given(schedules | st.just(ZERO), seeds)
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
    assert J == pytest.approx(np.maximum(squares(F - x0), squares(eps_hat - eps)).sum(), rel=1e-11 * condition(schedule))


@given(schedules, seeds, st.sampled_from([0.1, 1.0, 5.0, 20.0]))
def test_min_snr_is_as_hang_et_al_write_it_for_each_prediction(schedule, seed, gamma):
    """On the ε-loss min(SNR, γ)/SNR, on the v-loss min(SNR, γ)/(SNR+1)  (Hang et al. 2023, section 3.4)."""
    x0, eps, F, t = drawn(schedule, seed)
    ratio = schedule.alpha_bar[t] / (1 - schedule.alpha_bar[t])
    v = velocity(schedule, x0, t, eps)
    for predicts, truth, share in (("x0", x0, 1), ("eps", eps, ratio), ("v", v, ratio + 1)):
        J, _, _ = loss(schedule, F, x0, t, eps, form="sum", predicts=predicts, weight="min_snr", gamma=gamma)
        expected = (np.minimum(ratio, gamma) / share * squares(F - truth)).sum()
        assert J == pytest.approx(expected, rel=1e-11 * condition(schedule))


@given(schedules, seeds, predicted, st.sampled_from(WEIGHTS))
def test_the_errors_are_those_of_x0_and_bear_no_weight(schedule, seed, predicts, weight):
    x0, eps, F, t = drawn(schedule, seed)
    _, errors, _ = loss(schedule, F, x0, t, eps, predicts=predicts, weight=weight)
    ratio = schedule.alpha_bar[t] / (1 - schedule.alpha_bar[t])
    expected = {"x0": squares(F - x0), "eps": squares(F - eps) / ratio, "v": squares(F - velocity(schedule, x0, t, eps)) / (ratio + 1)}[predicts]
    np.testing.assert_allclose(errors, expected, rtol=1e-11 * condition(schedule))


@given(schedules | st.just(ZERO), seeds, st.sampled_from(["x0", "v"]), st.sampled_from(WEIGHTS))
def test_the_three_forms_differ_by_a_factor_and_the_parts_of_a_batch_add_up(schedule, seed, predicts, weight):
    x0, eps, F, t = drawn(schedule, seed)
    M, D = len(x0), x0[0].size
    J = {form: loss(schedule, F, x0, t, eps, form=form, predicts=predicts, weight=weight)[0] for form in FORMS}
    assert J["sum"] == pytest.approx(M * J["batch_mean"], rel=1e-12) == pytest.approx(M * D * J["mse"], rel=1e-12)
    parts = [loss(schedule, F[s], x0[s], t[s], eps[s], batch_size=M, predicts=predicts, weight=weight)[0] for s in (slice(0, 1), slice(1, M))]
    assert sum(parts) == pytest.approx(J["mse"], rel=1e-12)


@given(seeds, st.sampled_from(["x0", "v"]), st.sampled_from(WEIGHTS))
def test_permuting_the_batch_permutes_the_contributions(seed, predicts, weight):
    x0, eps, F, t = drawn(ZERO, seed, n=5)
    order = np.random.default_rng(seed).permutation(5)
    _, errors, slope = loss(ZERO, F, x0, t, eps, predicts=predicts, weight=weight)
    _, errors2, slope2 = loss(ZERO, F[order], x0[order], t[order], eps[order], predicts=predicts, weight=weight)
    np.testing.assert_array_equal(errors2, errors[order])
    np.testing.assert_array_equal(slope2, slope[order])


# ---- the weights ---------------------------------------------------------------------------------


def test_weights_by_hand():
    """ᾱ = .9, .5, .2: SNR 9, 1, 1/4."""
    schedule = Schedule([0.1, 4 / 9, 0.6])
    for weight, expected in {"none": [1, 1, 1], "snr": [9, 1, 0.25], "snr_plus_1": [10, 2, 1.25], "truncated_snr": [9, 1, 1], "min_snr": [5, 1, 0.25]}.items():
        np.testing.assert_allclose(weights(schedule, weight), [0, *expected], rtol=1e-12)
    np.testing.assert_allclose(weights(schedule, "min_snr", gamma=0.5), [0, 0.5, 0.5, 0.25], rtol=1e-12)
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
    _, _, slope = loss(LINEAR, F, x0, t, eps, predicts=predicts, weight=weight)
    measured = numerical_gradient(lambda F: loss(LINEAR, F, x0, t, eps, predicts=predicts, weight=weight)[0], F)
    np.testing.assert_allclose(slope, measured, rtol=1e-7, atol=1e-9 * abs(slope).max())
    assert (measured != 0).all()


@pytest.mark.parametrize("predicts, weight", [("x0", "truncated_snr"), ("eps", "snr"), ("v", "snr_plus_1"), ("v", "min_snr")])
def test_the_gradient_of_a_unet_is_the_slope_of_J(predicts, weight):
    unet = shaken(size=0.1)
    x0, t, eps = training_batch(unet, 4)
    gradient(unet, LINEAR, x0, t, eps, predicts=predicts, weight=weight)
    theta, slope = unet.theta.copy(), unet.grad.copy()

    def at(theta):
        unet.theta[...] = theta
        return gradient(unet, LINEAR, x0, t, eps, predicts=predicts, weight=weight)[0]

    for seed in range(3):
        v = np.random.default_rng(seed).standard_normal(theta.shape)
        v /= np.linalg.norm(v)
        measured = EXTRAPOLATED.slope(at, theta, v)
        assert abs(float(slope @ v) - measured) <= 1e-6 * abs(slope * v).sum() < 1e-2 * abs(measured)


# ---- the plugs -----------------------------------------------------------------------------------


def training_batch(unet, n, dtype=np.float64):
    xt, _ = batch(unet, n, dtype)
    t = np.random.default_rng(1).integers(1, 51, n)
    t[:2] = 1, 50
    return xt, t, xt[::-1].copy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_by_default_it_is_the_gradient_of_train_bit_for_bit(form, dtype):
    unet = shaken(dtype=dtype, dropout=0.3)
    x0, t, eps = training_batch(unet, 5, dtype)
    results = []
    for function in (train.gradient, gradient):
        unet.grad[...] = 3  # it adds to what is there
        J, errors = function(unet, LINEAR, x0, t, eps, form, 7, noise.Stream(0, "dropout", 9, np.arange(5)))
        results.append((J.tobytes(), J.dtype, J.shape, errors.tobytes(), unet.grad.tobytes()))
    assert results[0] == results[1] and (unet.grad != 3).any()


@pytest.mark.parametrize("predicts", sorted(TO_X0))
def test_float32_stays_float32(predicts):
    unet, exact = shaken(dtype=np.float32), shaken()
    exact.theta[...] = unet.theta
    x0, t, eps = training_batch(unet, 4, np.float32)
    for weight in WEIGHTS:
        unet.grad[...] = exact.grad[...] = 0
        J, errors = gradient(unet, LINEAR, x0, t, eps, predicts=predicts, weight=weight)
        J64, errors64 = gradient(exact, LINEAR, x0.astype(np.float64), t, eps.astype(np.float64), predicts=predicts, weight=weight)
        assert J.dtype == errors.dtype == unet.grad.dtype == np.float32 and J.shape == ()
        np.testing.assert_allclose(J, J64, rtol=1e-4)
        np.testing.assert_allclose(errors, errors64, rtol=1e-3)
        np.testing.assert_allclose(unet.grad, exact.grad, rtol=1e-3, atol=1e-3 * abs(exact.grad).max())


def test_train_takes_a_partial_and_steps_along_its_gradient():
    images = np.random.default_rng(1).uniform(-1, 1, (10, 1, 4, 6))
    function = functools.partial(gradient, predicts="v", weight="min_snr")
    unet, other = shaken(), shaken()
    step = next(train.train(unet, images, ZERO, 0.1, seed=0, batch_size=4, gradient=function))
    m = np.arange(4)
    x0, eps = images[noise.integers(0, "data", 1, m, 10)], noise.normal(0, "eps", 1, m, (1, 4, 6), np.float64)
    J, errors = function(other, ZERO, x0, step.t, eps)
    np.testing.assert_array_equal(unet.theta, other.theta - 0.1 * other.grad)
    assert step.J == float(J) and abs(other.grad).max() > 0
    np.testing.assert_array_equal(step.errors, errors)


@pytest.mark.parametrize("predicts, options, schedule", [("eps", {"weight": "snr"}, LINEAR), ("v", {"weight": "min_snr", "gamma": 2.0}, ZERO)])
def test_shards_of_a_partial_give_the_gradient_of_one_process(predicts, options, schedule):
    parallel = pytest.importorskip("tinyddpm.fast.parallel")
    unet, function = shaken(dropout=0.3), functools.partial(gradient, predicts=predicts, **options)
    x0, t, eps = training_batch(unet, 7)
    J, errors = function(unet, schedule, x0, t, eps, dropout=noise.Stream(0, "dropout", 9, np.arange(7)))
    whole, sampled = unet.grad.copy(), denoiser(unet.denoise, schedule, predicts)(x0, t)
    bits = []
    for workers in (1, 2):
        with parallel.Shards(unet, schedule, workers, gradient=function) as shards:
            unet.grad[...] = 0
            J2, errors2 = shards.gradient(unet, schedule, x0, t, eps, dropout=noise.Stream(0, "dropout", 9, np.arange(7)))
            sampled2 = denoiser(shards.denoise, schedule, predicts)(x0, t)
        np.testing.assert_allclose(unet.grad, whole, rtol=1e-11, atol=1e-12 * abs(whole).max())
        np.testing.assert_allclose(J2, J, rtol=1e-12)
        np.testing.assert_allclose(errors2, errors, rtol=1e-11)
        np.testing.assert_allclose(sampled2, sampled, rtol=1e-11, atol=1e-12)
        bits.append((J2.tobytes(), errors2.tobytes(), unet.grad.tobytes()))
    assert bits[0] == bits[1]


@given(schedules, seeds, predicted)
def test_samplers_draw_the_same_whatever_the_network_predicts(schedule, seed, predicts):
    """A network that says of x̂_0 = sin(2 x_t + t) the same as ε̂ or v̂."""
    def x0_hat(xt, t):
        return np.sin(2 * xt + column(t))

    def network(xt, t):
        return {"x0": lambda *a: a[1], "eps": predictions.eps_from_x0, "v": predictions.v_from_x0}[predicts](schedule, x0_hat(xt, t), xt, t)

    rng = np.random.default_rng(seed)
    xt, t = rng.standard_normal((schedule.T, 1, 2, 3)), 1 + rng.permutation(schedule.T)
    made = denoiser(network, schedule, predicts)
    np.testing.assert_allclose(made(xt, t), x0_hat(xt, t), rtol=0, atol=1e-11 * condition(schedule))


@pytest.mark.parametrize("predicts", ["x0", "v"])
def test_a_network_that_knows_the_answer_draws_it_from_pure_noise(predicts):
    """With zero terminal SNR, from T on: x̂_0 is the image at the very first step already."""
    rng = np.random.default_rng(0)
    x0, x_T, F = *rng.standard_normal((2, 3, 1, 2, 3)), {}
    F["x0"], F["v"] = (lambda xt, t: x0), (lambda xt, t: predictions.v_from_x0(ZERO, x0, xt, t))
    made = denoiser(F[predicts], ZERO, predicts)
    for sampler in (ancestral(made, ZERO, x_T, lambda t: x_T, clip=None), ddim(made, ZERO, x_T, steps=7, clip=None)):
        for _, xt, x0_hat in sampler:
            np.testing.assert_allclose(x0_hat, x0, rtol=0, atol=1e-11)
        np.testing.assert_allclose(xt, x0, rtol=0, atol=1e-11)


def test_the_network_is_asked_about_x_t_and_t_and_time_conditioninghe_rest():
    x0, eps, F, t = drawn(LINEAR, 4)
    asked = []

    class Listens(Answers):
        def __call__(self, *arguments):
            asked.append(arguments)
            return self.F

    gradient(Listens(F), LINEAR, x0, t, eps, "mse", None, "dropout", "labels", predicts="v", weight="snr")
    (xt, *rest), = asked
    np.testing.assert_array_equal(xt, q_sample(LINEAR, x0, t, eps))
    assert rest[0] is t and rest[1:] == ["dropout", "labels"]


def test_what_else_the_network_is_told_when_it_samples_comes_through():
    made = denoiser(lambda xt, t, label=None: xt if label is None else label * xt, LINEAR, "x0")
    x, t = np.ones((2, 1, 1, 1)), np.array([1, 2])
    assert made(x, t).sum() == 2 and made(x, t, 3.0).sum() == 6


# ---- what is refused -----------------------------------------------------------------------------


def test_eps_is_refused_by_name_with_zero_terminal_snr():
    x0, eps, F, t = drawn(ZERO, 0)
    for call in (lambda: denoiser(None, ZERO, "eps"), lambda: gradient(Answers(F), ZERO, x0, t, eps, predicts="eps"),
                 lambda: predictions.x0_from_eps(ZERO, F, x0, t), lambda: predictions.v_from_eps(ZERO, F, x0, t)):
        with pytest.raises(ValueError, match=r"^eps: .*zero terminal SNR.*T = 50; predict x0 or v"):
            call()


def test_bad_names_are_time_conditioninghe_good_ones():
    x0, eps, F, t = drawn(LINEAR, 0)
    with pytest.raises(ValueError, match="predicts: expected one of x0, eps, v, got 'x_0'"):
        gradient(Answers(F), LINEAR, x0, t, eps, predicts="x_0")
    with pytest.raises(ValueError, match="predicts: expected one of x0, eps, v, got 'noise'"):
        denoiser(None, LINEAR, "noise")
    with pytest.raises(ValueError, match="weight: expected one of none, snr, snr_plus_1, truncated_snr, min_snr, got 'SNR'"):
        gradient(Answers(F), LINEAR, x0, t, eps, weight="SNR")
    for gamma in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="gamma: expected a positive number, got"):
            weights(LINEAR, "min_snr", gamma)
