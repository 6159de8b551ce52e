"""Learned variance: against improved-diffusion's own numbers, and what it must be in any case.

`improved_diffusion.json` holds what the code of Nichol & Dhariwal 2021 computes in float64. It says
which version, and how it was called.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from bound_parts import drawing
from hypothesis import given, strategies as st
from oracles import noise_table, same, seeds
from predicted import Answers, column
from scipy.stats import norm

from autograd import leaf
from autograd.check import check_pullback
from tinyddpm.diffusion import posterior_mean, posterior_variance, q_sample
from tinyddpm.more import likelihood, predictions
from tinyddpm.more.likelihood import Bound, model_variance
from tinyddpm.more.schedules import snr, zero_terminal_snr
from tinyddpm.more.training import hybrid
from tinyddpm.more.variance import (
    VarianceDenoiser,
    ancestral_learned,
    log_variance,
    nats,
    terms,
)
from tinyddpm.objective import FORMS
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import Schedule, cosine, linear

THEIRS = json.loads((Path(__file__).parent / "improved_diffusion.json").read_text())
SCHEDULE = Schedule(THEIRS["beta"])
SHAPE, C = (6, 2, 2, 3), 2
x0, eps = (np.reshape(THEIRS[name], SHAPE) for name in ("images", "noise"))
OUTPUT, t = np.reshape(THEIRS["output"], (6, 4, 2, 3)), np.array(THEIRS["t"])
# Their cdf is an approximation of the normal one, so at t = 1 the bound differs in the 4th digit.
LATER = t > 1
OWN_WEIGHT = {"eps": "snr", "x0": "none"}
either = pytest.mark.parametrize("predicts", ["eps", "x0"])


class Both(Answers):
    """A network whose output, v included, is its only parameter."""

    with_v = Answers.__call__


# ---- improved-diffusion's numbers ----------------------------------------------------------------


@either
def test_the_variance_and_the_mean_are_theirs(predicts):
    xt = q_sample(SCHEDULE, x0, t, eps)
    found = log_variance(SCHEDULE, OUTPUT[:, C:], t)
    np.testing.assert_allclose(found.ravel(), THEIRS[predicts]["log_variance"], rtol=1e-10)
    x0_hat = predictions.TO_X0[predicts](SCHEDULE, OUTPUT[:, :C], xt, t).clip(-1, 1)
    mean = posterior_mean(SCHEDULE, x0_hat, xt, t)
    np.testing.assert_allclose(mean.ravel(), THEIRS[predicts]["mean"], rtol=1e-7)


def own_loss(predicts, output=OUTPUT, rows=slice(None), **options):
    net = Both(output[rows])
    weight = {"weight": OWN_WEIGHT[predicts], "predicts": predicts}
    J, errors = hybrid.gradient(
        net, SCHEDULE, x0[rows], t[rows], eps[rows], **weight | {"grey_levels": 256} | options
    )
    return float(J), errors, net.F.grad


@either
def test_the_hybrid_loss_and_its_gradient_are_theirs(predicts):
    """RESCALED_MSE with LEARNED_RANGE: the bound times T/1000, which no prediction feels.

    Of an x_0-loss without weight, the bound's term has a smaller share here.
    """
    theirs = THEIRS[predicts]
    ratio = SCHEDULE.alpha_bar[t] / (1 - SCHEDULE.alpha_bar[t])
    share = np.ones(6) if predicts == "eps" else np.minimum(1, 1 / ratio)
    vb, gradient = share * theirs["vb"], np.reshape(theirs["gradient"], OUTPUT.shape)
    gradient = np.concatenate([gradient[:, :C], column(share) * gradient[:, C:]], axis=1)
    for i in range(6):
        J, _, own = own_loss(predicts, rows=slice(i, i + 1))
        accuracy = 1e-9 if LATER[i] else 2e-3
        assert J == pytest.approx(vb[i] + theirs["mse"][i], rel=accuracy)
        size = abs(gradient[i]).max()
        np.testing.assert_allclose(own[0] / 6, gradient[i], rtol=accuracy, atol=accuracy * size)
    J, _, own = own_loss(predicts)
    assert J == pytest.approx(np.mean(vb) + np.mean(theirs["mse"]), rel=2e-3)
    np.testing.assert_allclose(own[:, :C], gradient[:, :C], rtol=1e-8, atol=1e-12)


@either
@pytest.mark.parametrize("steps", [5, 50])
def test_a_chain_of_all_steps_or_fewer_ends_where_theirs_does(predicts, steps):
    def network(xt, t):
        xt, u = xt[:, :C], column(t) / 50
        return np.concatenate([np.tanh(xt) * u + 0.1, np.sin(3 * xt + u)], axis=1)

    visited = range(50, 0, -50 // steps)
    place = {t: i for i, t in enumerate(visited)}
    denoiser = VarianceDenoiser(network, SCHEDULE, predicts)
    draw = lambda t: 0.5 * eps + 0.1 * place[t]
    *_, (last, x, _) = ancestral_learned(denoiser, SCHEDULE, eps, draw, steps)
    assert last == 0
    np.testing.assert_allclose(x.ravel(), THEIRS[predicts][f"chain_{steps}"], rtol=1e-7)


# ---- the variance --------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [linear(20), cosine(20), SCHEDULE])
def test_one_is_beta_and_minus_one_is_the_posteriors(schedule):
    t, one = np.arange(1, schedule.T + 1), np.ones((schedule.T, 1, 1, 1))
    small = model_variance(schedule)[1:]
    high = np.exp(log_variance(schedule, one, t)).ravel()
    low = np.exp(log_variance(schedule, -one, t)).ravel()
    middle = np.exp(log_variance(schedule, 0 * one, t)).ravel()
    np.testing.assert_allclose(high, schedule.beta[1:], rtol=1e-12)
    np.testing.assert_allclose(low, small, rtol=1e-12)
    np.testing.assert_allclose(middle, np.sqrt(small * schedule.beta[1:]), rtol=1e-12)


@pytest.mark.parametrize(("v", "table"), [(1, "beta"), (-1, "posterior")])
def test_at_either_end_the_chain_is_ancestrals(v, table):
    schedule = linear(30)
    variance = schedule.beta if table == "beta" else posterior_variance(schedule)
    rng = np.random.default_rng(0)
    x_T, noise = rng.standard_normal((2, 1, 2, 3)), noise_table(rng, 30, (2, 1, 2, 3))

    def network(xt, t):
        x = xt[:, :1]
        answer = np.tanh(1.4 * x + 0.1)
        return answer if xt.shape[1] == 1 else np.concatenate([answer, v + 0 * x], axis=1)

    denoiser = VarianceDenoiser(network, schedule)
    own = ancestral_learned(denoiser, schedule, x_T, noise)
    known = ancestral(denoiser, schedule, x_T, noise, variance=variance)
    for (t1, x1, hat1), (t2, x2, hat2) in zip(own, known, strict=True):
        assert t1 == t2
        np.testing.assert_allclose(x1, x2, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(hat1, hat2, rtol=1e-9, atol=1e-12)


def test_a_denoiser_without_v_is_refused():
    with pytest.raises(ValueError, match="denoiser: expected a VarianceDenoiser, got"):
        next(ancestral_learned(lambda xt, t: xt, SCHEDULE, eps, noise=lambda t: eps))


# ---- the bound -----------------------------------------------------------------------------------


@given(seeds, st.integers(2, 40), st.floats(-3, 3))
def test_the_decoders_term_is_the_log_of_a_bins_probability(seed, levels, size):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, levels, (1, 1, 2, 4)) * (2 / (levels - 1)) - 1
    mean = images + rng.uniform(-1, 1, images.shape) / (levels - 1)
    lv = 2 * np.log(2 / (levels - 1)) + size + 0.2 * rng.standard_normal(images.shape)
    found = nats(lv, schedule=SCHEDULE, x0=images, x0_hat=mean, t=same(1), grey_levels=levels).data
    half, sigma = 1 / (levels - 1), np.exp(lv / 2)
    low = np.where(images < -1 + half, -np.inf, images - half)
    high = np.where(images > 1 - half, np.inf, images + half)
    p = norm.cdf((high - mean) / sigma) - norm.cdf((low - mean) / sigma)
    np.testing.assert_allclose(found, -np.log(p), rtol=1e-7, atol=1e-9)


@given(seeds, st.sampled_from([1, 2, 9, 50]), st.sampled_from([2, 17, 256]))
def test_the_pullback_of_the_bound_is_its_derivative(seed, step, levels):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, levels, (2, 1, 2, 3)) * (2 / (levels - 1)) - 1
    x0_hat = images + 0.1 * rng.standard_normal(images.shape)
    lv = log_variance(SCHEDULE, rng.uniform(-2, 2, images.shape), same(step, 2))
    how = {"schedule": SCHEDULE, "x0": images, "x0_hat": x0_hat, "t": same(step, 2)}
    check_pullback(nats, lv, options=how | {"grey_levels": levels}, directions=0)


def test_far_out_in_the_tails_nothing_is_lost():
    """A wrong image, and a variance that is far too small: large numbers, but numbers."""
    images, wrong = np.full((1, 1, 1, 2), -1.0), np.full((1, 1, 1, 2), 1.0)
    for lv in (-18.0, 30.0):
        node = leaf(np.full(images.shape, lv, np.float32))
        how = {"x0": images, "x0_hat": wrong, "t": same(1), "grey_levels": 256}
        out = nats(node, schedule=SCHEDULE, **how)
        out.backward(np.ones(images.shape, np.float32))
        assert np.isfinite(out.data).all() and np.isfinite(node.grad).all()
        assert lv > 0 or (node.grad < 0).all()


def test_with_v_at_either_end_the_bound_is_that_of_the_fixed_variance():
    schedule, images = linear(25), np.round(np.tanh(x0) * 8).clip(-8, 8) / 8
    for v, variance in ((1, schedule.beta), (-1, None)):

        def network(xt, t, v=v):
            x = np.tanh(xt[:, :C] + 0.1)
            return x if xt.shape[1] == C else np.concatenate([x, v + 0 * x], axis=1)

        denoiser = VarianceDenoiser(network, schedule)
        own = Bound(terms(denoiser, schedule, images, drawing(images), 17))
        chain = likelihood.terms(denoiser, schedule, images, drawing(images), 17, variance)
        np.testing.assert_allclose(own.each, Bound(chain).each, rtol=1e-9, atol=1e-12)


# ---- the gradient --------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [linear(50), zero_terminal_snr(linear(50))])
def test_the_bounds_share_is_the_papers_for_the_eps_and_the_v_loss(schedule):
    for weight in ("snr", "snr_plus_1", "truncated_snr"):
        share = hybrid.bound_weights(schedule, weight)
        np.testing.assert_allclose(share[1:50], 1, rtol=1e-12)
    share, ratio = hybrid.bound_weights(schedule)[1:], snr(schedule)[1:]
    np.testing.assert_allclose(share[ratio > 1], 1 / ratio[ratio > 1], rtol=1e-12)
    assert (share[ratio <= 1] == 1).all()


def test_the_bound_leaves_the_prediction_alone():
    _, _, with_bound = own_loss("x0")
    _, _, without = own_loss("x0", scale=0.0)
    np.testing.assert_array_equal(with_bound[:, :C], without[:, :C])
    assert (with_bound[:, C:] != 0).all() and (without[:, C:] == 0).all()


def test_the_forms_differ_by_a_factor_parts_add_up_and_importance_is_on_both_losses():
    J = {form: own_loss("x0", form=form)[0] for form in FORMS}
    assert J["sum"] == pytest.approx(6 * J["batch_mean"]) == pytest.approx(6 * 12 * J["mse"])
    parts = [own_loss("x0", rows=s, batch_size=6)[0] for s in (slice(0, 2), slice(2, 6))]
    assert sum(parts) == pytest.approx(J["mse"])
    doubled = own_loss("x0", importance=np.full(6, 2.0))[0]
    assert doubled == pytest.approx(2 * J["mse"])
