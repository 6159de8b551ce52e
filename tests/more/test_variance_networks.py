"""Networks that learn their variance: gradients, precision, workers, guidance."""

from functools import partial

import numpy as np
import pytest
from bound_parts import LOG2
from oracles import SMALL, perturb
from predicted import column

from tinyddpm.diffusion import q_sample
from tinyddpm.fast.parallel import Shards
from tinyddpm.more import predictions
from tinyddpm.more.classes import ClassConfig, guided
from tinyddpm.more.training import hybrid
from tinyddpm.more.variance import (
    VarianceClassUNet,
    VarianceDenoiser,
    VarianceUNet,
    ancestral_learned,
    log_variance,
    nats,
)
from tinyddpm.nn import UNet
from tinyddpm.schedule import linear

SCHEDULE = linear(50)


def net(kind=VarianceUNet, config=SMALL, dtype=np.float64):
    unet = kind(config).initialise(0, dtype)
    return perturb(unet, np.random.default_rng(7), 0.3)


def batch(dtype=np.float64, n=3):
    rng = np.random.default_rng(3)
    images = (rng.integers(0, 17, (n, *SMALL.image)) / 8 - 1).astype(dtype)
    return images, np.array([1, 9, 50])[:n], rng.standard_normal(images.shape).astype(dtype)


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_the_gradient_of_the_whole_network_is_the_numerical_one(predicts):
    """v's part and the prediction's apart: each loss with the other's share held."""
    unet = net()
    images, t, noise = batch()
    options = {"predicts": predicts, "weight": "min_snr", "grey_levels": 17}
    held = unet(q_sample(SCHEDULE, images, t, noise), t).data
    to_x0 = predictions.TO_X0[predicts]
    xt = q_sample(SCHEDULE, images, t, noise)
    D = images[0].size

    def J(theta):
        unet.bind(theta, np.zeros_like(theta))
        both = unet.with_v(xt, t).data
        x0_hat = to_x0(SCHEDULE, both[:, :1], xt, t)
        w = column(predictions.weights(SCHEDULE, "min_snr")[t])
        simple = (w * (x0_hat - images) ** 2).mean()
        how = {"x0": images, "x0_hat": to_x0(SCHEDULE, held, xt, t), "t": t, "grey_levels": 17}
        bound = nats(log_variance(SCHEDULE, both[:, 1:], t), schedule=SCHEDULE, **how).data
        bound = column(hybrid.bound_weights(SCHEDULE, "min_snr")[t]) * bound
        return simple + bound.sum() / (3 * D) / LOG2 * SCHEDULE.T / 1000

    theta = unet.theta.copy()
    value, _ = hybrid.gradient(unet, SCHEDULE, images, t, noise, **options)
    slope = unet.grad.copy()
    assert value == pytest.approx(J(theta.copy()), rel=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(4):
        d = rng.standard_normal(theta.shape) / np.sqrt(theta.size)
        h = 1e-5
        numerical = (J(theta + h * d) - J(theta - h * d)) / (2 * h)
        assert d @ slope == pytest.approx(numerical, rel=1e-6)


def test_float32_stays_float32():
    unet = net(dtype=np.float32)
    images, t, noise = batch(np.float32)
    J, errors = hybrid.gradient(unet, SCHEDULE, images, t, noise, grey_levels=17)
    assert J.dtype == errors.dtype == unet.grad.dtype == np.float32
    denoiser = VarianceDenoiser(unet.denoise, SCHEDULE)
    for _, x, x0_hat in ancestral_learned(denoiser, SCHEDULE, noise, lambda t: noise, 4):
        assert x.dtype == x0_hat.dtype == np.float32


def test_a_network_without_v_is_refused():
    with pytest.raises(ValueError, match="unet: expected a network of more/variance.py"):
        hybrid.gradient(UNet(SMALL).initialise(0), SCHEDULE, *batch(np.float32))


# ---- the network ---------------------------------------------------------------------------------


def test_a_new_network_answers_0_and_a_variance_in_the_middle():
    unet = VarianceUNet(SMALL).initialise(0)
    images, t, _ = batch(np.float32)
    both = unet.with_v(images, t)
    assert both.shape == (3, 2, 4, 6) and not both.data.any()


def test_what_it_predicts_has_the_images_shape_and_with_room_v_too():
    unet = net()
    images, t, _ = batch()
    both = unet.with_v(images, t).data
    np.testing.assert_array_equal(unet(images, t).data, both[:, :1])
    np.testing.assert_array_equal(unet.denoise(images, t), both[:, :1])
    room = np.concatenate([images, 0 * images], axis=1)
    np.testing.assert_array_equal(unet.denoise(room, t), both)


def test_workers_compute_the_same_gradient_and_v():
    unet, (images, t, noise) = net(dtype=np.float32), batch(np.float32)
    room = np.concatenate([images, 0 * images], axis=1)
    gradient = partial(hybrid.gradient, predicts="v", weight="snr_plus_1", grey_levels=17)
    J, _ = gradient(unet, SCHEDULE, images, t, noise)
    own, both = unet.grad.copy(), unet.denoise(room, t)
    unet.grad[...] = 0
    with Shards(unet, SCHEDULE, workers=2, shards=2, gradient=gradient) as shards:
        J2, _ = shards.gradient(unet, SCHEDULE, images, t, noise)
        np.testing.assert_allclose(shards.denoise(room, t), both, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(unet.grad, own, rtol=2e-4, atol=1e-4 * abs(own).max())
    assert J2 == pytest.approx(J, rel=1e-5)


def test_guidance_is_for_the_prediction_and_v_is_the_classs():
    config = ClassConfig(**vars(SMALL), classes=3)
    unet, (images, t, _) = net(VarianceClassUNet, config), batch()
    labels = np.array([2, 0, 1])
    for weight in (0.0, 1.0, 3.0):
        guide = partial(guided, labels=labels, classes=3, weight=weight)
        denoiser = VarianceDenoiser(unet.denoise, SCHEDULE, "x0", guide)
        x0_hat, v = denoiser.with_v(images, t)
        expected = guided(unet.denoise, labels, 3, weight)(images, t)
        np.testing.assert_allclose(x0_hat, expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(denoiser(images, t), expected, rtol=1e-10, atol=1e-12)
        cond = labels if weight else np.full(3, 3)
        own = unet.with_v(images, t, cond=cond).data[:, 1:]
        np.testing.assert_allclose(v, own, rtol=1e-10, atol=1e-12)
