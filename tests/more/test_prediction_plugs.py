"""`predictions.gradient` in place of `train.gradient`: in the loop, in shards, for a network."""

import functools

import numpy as np
import pytest
from oracles import shaken
from predicted import LINEAR, ZERO, Answers, drawn, training_batch

from tinyddpm import noise, train
from tinyddpm.diffusion import q_sample
from tinyddpm.more.predictions import TO_X0, WEIGHTS, denoiser, gradient
from tinyddpm.objective import FORMS


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_by_default_it_is_the_gradient_of_train_bit_for_bit(form, dtype):
    unet = shaken(dtype=dtype, dropout=0.3)
    x0, t, eps = training_batch(unet, 5, dtype)
    results = []
    for function in (train.gradient, gradient):
        unet.grad[...] = 3  # it adds to what is there
        dropout = noise.Stream(0, "dropout", 9, np.arange(5))
        J, errors = function(unet, LINEAR, x0, t, eps, form, 7, dropout)
        results.append((J.tobytes(), J.dtype, J.shape, errors.tobytes(), unet.grad.tobytes()))
    assert results[0] == results[1] and (unet.grad != 3).any()


@pytest.mark.parametrize("predicts", sorted(TO_X0))
def test_float32_stays_float32(predicts):
    unet, exact = shaken(dtype=np.float32), shaken()
    exact.theta[...] = unet.theta
    x0, t, eps = training_batch(unet, 4, np.float32)
    x0_64, eps_64 = x0.astype(np.float64), eps.astype(np.float64)
    for weight in WEIGHTS:
        unet.grad[...] = exact.grad[...] = 0
        options = {"predicts": predicts, "weight": weight}
        J, errors = gradient(unet, LINEAR, x0, t, eps, **options)
        J64, errors64 = gradient(exact, LINEAR, x0_64, t, eps_64, **options)
        assert J.dtype == errors.dtype == unet.grad.dtype == np.float32 and J.shape == ()
        np.testing.assert_allclose(J, J64, rtol=1e-4)
        np.testing.assert_allclose(errors, errors64, rtol=1e-3)
        allowed = 1e-3 * abs(exact.grad).max()
        np.testing.assert_allclose(unet.grad, exact.grad, rtol=1e-3, atol=allowed)


def test_train_takes_a_partial_and_steps_along_its_gradient():
    images = np.random.default_rng(1).uniform(-1, 1, (10, 1, 4, 6))
    function = functools.partial(gradient, predicts="v", weight="min_snr")
    unet, other = shaken(), shaken()
    step = next(train.train(unet, images, ZERO, 0.1, seed=0, batch_size=4, gradient=function))
    m = np.arange(4)
    x0 = images[noise.integers(0, "data", 1, m, 10)]
    eps = noise.normal(0, "eps", 1, m, (1, 4, 6), np.float64)
    J, errors = function(other, ZERO, x0, step.t, eps)
    np.testing.assert_array_equal(unet.theta, other.theta - 0.1 * other.grad)
    assert step.J == float(J) and abs(other.grad).max() > 0
    np.testing.assert_array_equal(step.errors, errors)


PARTIALS = [("eps", {"weight": "snr"}, LINEAR), ("v", {"weight": "min_snr", "gamma": 2.0}, ZERO)]


@pytest.mark.parametrize("predicts, options, schedule", PARTIALS)
def test_shards_of_a_partial_give_the_gradient_of_one_process(predicts, options, schedule):
    parallel = pytest.importorskip("tinyddpm.fast.parallel")
    unet = shaken(dropout=0.3)
    function = functools.partial(gradient, predicts=predicts, **options)
    x0, t, eps = training_batch(unet, 7)

    def computed_by(function):
        dropout = noise.Stream(0, "dropout", 9, np.arange(7))
        return function(unet, schedule, x0, t, eps, dropout=dropout)

    J, errors = computed_by(function)
    whole, sampled = unet.grad.copy(), denoiser(unet.denoise, schedule, predicts)(x0, t)
    bits = []
    for workers in (1, 2):
        with parallel.Shards(unet, schedule, workers, gradient=function) as shards:
            unet.grad[...] = 0
            J2, errors2 = computed_by(shards.gradient)
            sampled2 = denoiser(shards.denoise, schedule, predicts)(x0, t)
        np.testing.assert_allclose(unet.grad, whole, rtol=1e-11, atol=1e-12 * abs(whole).max())
        np.testing.assert_allclose(J2, J, rtol=1e-12)
        np.testing.assert_allclose(errors2, errors, rtol=1e-11)
        np.testing.assert_allclose(sampled2, sampled, rtol=1e-11, atol=1e-12)
        bits.append((J2.tobytes(), errors2.tobytes(), unet.grad.tobytes()))
    assert bits[0] == bits[1]


def test_the_network_is_asked_about_x_t_and_t_and_gets_the_rest():
    x0, eps, F, t = drawn(LINEAR, 4)
    asked = []

    class Listens(Answers):
        def __call__(self, *arguments):
            asked.append(arguments)
            return self.F

    plugs = {"predicts": "v", "weight": "snr"}
    gradient(Listens(F), LINEAR, x0, t, eps, "mse", None, "dropout", "labels", **plugs)
    ((xt, *rest),) = asked
    np.testing.assert_array_equal(xt, q_sample(LINEAR, x0, t, eps))
    assert rest[0] is t and rest[1:] == ["dropout", "labels"]
