"""The held-out draws, what counts as progress on them, and the EMA that is measured with them."""

import numpy as np
import pytest

from tinyddpm import data, schedule
from tinyddpm.runs import ema
from tinyddpm.runs.heldout import BANDS, Draws, mean_image, mean_of
from tinyddpm.runs.training import Progress


def test_held_out_draws_cover_the_bands_evenly_and_never_change():
    images = data.digits().images[::6]
    draws = Draws(images, schedule.linear(1000))
    assert len(draws.t) == 3000 and draws.t.min() >= 1 and draws.t.max() <= 1000
    assert (np.bincount((draws.t - 1) // 100) == 300).all()
    assert (draws.t == Draws(images, schedule.linear(1000)).t).all()
    assert draws.t[:5].tolist() == [48, 167, 229, 345, 487]


@pytest.mark.parametrize("T", [1, 7, 10, 999])
def test_held_out_draws_stay_within_T(T):
    draws = Draws(data.digits().images[:50], schedule.linear(T))
    assert draws.t.min() >= 1 and draws.t.max() <= T


def test_evaluate_is_the_mean_over_bands_of_squared_error():
    images = data.digits().images[:20]
    draws = Draws(images, schedule.linear(50))
    zero = draws.evaluate(lambda xt, t: np.zeros_like(xt), chunk=7)
    assert zero.shape == (BANDS,)
    np.testing.assert_allclose(zero, np.square(images, dtype=np.float64).mean(), rtol=1e-6)
    variance = images.var(axis=0, dtype=np.float64).mean()
    assert draws.evaluate(mean_image(images)).mean() == pytest.approx(variance, rel=1e-5)


def test_one_answer_for_all_needs_no_noise():
    """A run compares itself with predict-the-mean before its first step: that costs no draws."""
    images = data.digits().images[:20]
    draws, mean = Draws(images, schedule.linear(50)), mean_of(images[:7])
    one_answer = draws.of_one_answer(mean)
    assert "xt" not in vars(draws)
    always = draws.evaluate(lambda xt, t: np.broadcast_to(mean, xt.shape))
    assert one_answer == pytest.approx(always.mean(), rel=1e-12)
    assert draws.xt is draws.xt  # drawn once


def test_progress_waits_for_a_real_improvement():
    progress = Progress()
    assert progress.see(1.0, 1) and progress.waited == 0
    assert progress.see(0.9995, 2) and progress.waited == 1  # the best, but not really better
    assert not progress.see(1.5, 3) and progress.waited == 2
    assert (progress.best, progress.best_step) == (0.9995, 2)
    assert progress.see(0.5, 4) and progress.waited == 0


def test_a_slow_improvement_is_still_one():
    """Less than 0.1 % an evaluation, but 10 % in all: that is not convergence."""
    progress = Progress()
    for step in range(200):
        progress.see(0.9995**step, step)
        assert progress.waited < 3


def test_the_EMA_has_its_closed_form():
    thetas = np.random.default_rng(0).normal(size=(40, 3))
    theta0, decay = np.ones(3), 0.8
    running = theta0.copy()
    for k, theta in enumerate(thetas, 1):
        ema.update(running, theta, decay, k)
    d = np.array([min(decay, (1 + k) / (10 + k)) for k in range(1, 41)])
    later = np.append(np.cumprod(d[::-1])[::-1], 1.0)  # product of all decays from k on
    terms = [later[k] * (1 - d[k - 1]) * thetas[k - 1] for k in range(1, 41)]
    np.testing.assert_allclose(running, later[0] * theta0 + sum(terms), rtol=1e-12)
    ema.update(running, thetas[0], 0.0, 41)
    assert (running == thetas[0]).all()
