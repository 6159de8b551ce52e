"""The identities of the posterior and the chain, on each further schedule.

They hold with zero terminal SNR too, where everything that divides by √ᾱ_t would show.
`test_diffusion.py` has the same identities for random β below 1.
"""

import numpy as np
import pytest
from hypothesis import given
from named_schedules import named, rescaled, several_steps
from oracles import full, noise_table, same, seeds
from PIL import Image

from tinyddpm import diffusion
from tinyddpm.more import chain
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.schedules import SCHEDULES, from_beta, log_snr, snr, zero_terminal_snr
from tinyddpm.more.solvers import ddim
from tinyddpm.pictures import schedule_plot
from tinyddpm.sampler import ancestral
from tinyddpm.schedule import cosine, linear

# ---- zero terminal SNR ---------------------------------------------------------------------------


@given(several_steps)
def test_zero_terminal_snr_keeps_the_first_loses_the_last_and_is_affine_between(schedule):
    """√ᾱ' = a√ᾱ + b, the only such map with √ᾱ'_1 = √ᾱ_1 and √ᾱ'_T = 0.

    (Lin et al. 2023, algorithm 1.)
    """
    zero = zero_terminal_snr(schedule)
    assert zero.alpha_bar[-1] == 0 and zero.beta[-1] == 1
    assert snr(zero)[-1] == 0 and log_snr(zero)[-1] == -np.inf
    assert zero.alpha_bar[1] == pytest.approx(schedule.alpha_bar[1], rel=1e-12)
    root, before = np.sqrt(zero.alpha_bar[1:]), np.sqrt(schedule.alpha_bar[1:])
    expected = np.interp(before, [before[-1], before[0]], [0, before[0]])
    np.testing.assert_allclose(root, expected, rtol=0, atol=1e-11)
    again = zero_terminal_snr(zero)  # and once is enough
    np.testing.assert_allclose(again.alpha_bar, zero.alpha_bar, rtol=1e-9, atol=0)


# ---- the identities ------------------------------------------------------------------------------


def tolerance(schedule, t):
    """1e-12 times the condition number.

    Where √ᾱ_t is 0 it has no part in it, since nothing is divided by it.
    """
    alpha_bar = schedule.alpha_bar[t]
    return 1e-12 * max(1 / (1 - alpha_bar), 1 / np.sqrt(alpha_bar) if alpha_bar else 1)


@given(named | rescaled)
def test_the_posterior_is_that_of_the_step_before(schedule):
    """c1 + c2·√ᾱ_t = √ᾱ_{t−1}  and  c2²(1−ᾱ_t) + β̃_t = 1−ᾱ_{t−1}."""
    c1, c2 = diffusion.posterior_coefficients(schedule)
    variance, alpha_bar = diffusion.posterior_variance(schedule), schedule.alpha_bar
    for t in range(1, schedule.T + 1):
        allowed = tolerance(schedule, t)
        mean = c1[t] + c2[t] * np.sqrt(alpha_bar[t])
        assert mean == pytest.approx(np.sqrt(alpha_bar[t - 1]), abs=allowed, rel=0)
        spread = c2[t] ** 2 * (1 - alpha_bar[t]) + variance[t]
        assert spread == pytest.approx(1 - alpha_bar[t - 1], abs=allowed, rel=0)


@given(named | rescaled)
def test_the_weight_of_the_x0_error_in_the_bound_is_the_loss_of_snr(schedule):
    """c1²/2β̃ = (SNR_{t−1} − SNR_t)/2 for t ≥ 2, with `snr`.

    It holds at the last step too, where nothing is left.
    """
    c1, _ = diffusion.posterior_coefficients(schedule)
    variance, ratio = diffusion.posterior_variance(schedule), snr(schedule)
    for t in range(2, schedule.T + 1):
        allowed = tolerance(schedule, t - 1) * ratio[t - 1]
        fall = (ratio[t - 1] - ratio[t]) / 2
        assert c1[t] ** 2 / (2 * variance[t]) == pytest.approx(fall, abs=allowed, rel=0)


@given(named | rescaled)
def test_one_step_at_a_time_has_the_mean_and_variance_of_the_closed_form(schedule):
    mean, variance = 1.0, 0.0
    for t in range(1, schedule.T + 1):
        beta = schedule.beta[t]
        mean = chain.q_step(schedule, full(mean), same(t), full(0)).item()
        variance = (1 - beta) * variance + beta
        signal = diffusion.q_sample(schedule, full(1), same(t), full(0)).item()
        noise = diffusion.q_sample(schedule, full(0), same(t), full(1)).item()
        assert mean == pytest.approx(signal, rel=1e-12, abs=0)
        assert variance == pytest.approx(noise**2, rel=1e-12 / schedule.beta[1])


@given(rescaled, seeds)
def test_with_zero_terminal_snr_x_T_is_noise_and_every_sampler_starts_from_it(schedule, seed):
    rng, t = np.random.default_rng(seed), same(schedule.T, 3)
    x0, x_T = rng.standard_normal((2, 3, 1, 2, 2))
    np.testing.assert_array_equal(diffusion.q_sample(schedule, x0, t, x_T), x_T)
    np.testing.assert_array_equal(diffusion.predicted_noise(schedule, x0, x_T, t), x_T)
    noise, knows = noise_table(rng, schedule.T, x_T.shape), lambda xt, t: x0
    *_, (_, drawn, _) = ancestral(knows, schedule, x_T, noise, clip=None)
    np.testing.assert_allclose(drawn, x0, rtol=1e-11 / schedule.beta[1])
    for steps in {1, 2, schedule.T}:
        *_, (_, drawn, _) = ddim(knows, schedule, x_T, noise, steps=steps, eta=0.5, clip=None)
        np.testing.assert_allclose(drawn, x0, rtol=1e-9)


def test_with_zero_terminal_snr_the_best_guess_at_T_is_the_mean_of_the_data():
    images, x_T = np.random.default_rng(0).uniform(-1, 1, (2, 5, 1, 2, 3))
    guess = ideal_denoiser(images, zero_terminal_snr(linear(20)))(x_T, same(20, 5))
    mean = np.broadcast_to(images.mean(axis=0), guess.shape)
    np.testing.assert_allclose(guess, mean, rtol=1e-12)


# ---- the picture ---------------------------------------------------------------------------------


def test_the_picture_holds_a_curve_of_each_and_every_label_fits(tmp_path):
    several = {name: make(200) for name, make in SCHEDULES.items()}
    several |= {"zero": zero_terminal_snr(cosine(25)), "mine": from_beta([0.1, 0.4])}
    figure = schedule_plot.schedules(tmp_path / "schedules.png", several)
    assert [path.name for path in tmp_path.iterdir()] == ["schedules.png"]
    with Image.open(tmp_path / "schedules.png") as picture:
        assert picture.width > 1000

    remains, ratio, spent = figure.axes[:3]
    parts = zip(remains.lines, ratio.lines, spent.patches, several.values())
    for curve, logarithm, bars, schedule in parts:
        t = np.arange(schedule.T + 1) / schedule.T
        np.testing.assert_array_equal(curve.get_data(), [t, schedule.alpha_bar])
        remaining = schedule.alpha_bar[1:-1]
        expected = np.log(remaining) - np.log(1 - remaining)
        np.testing.assert_allclose(logarithm.get_ydata()[1:-1], expected, atol=1e-9)
        assert bars.get_data().values.sum() == pytest.approx(100)
    assert len(remains.lines) == len(several) and len(spent.patches) == len(several)
    styles = {(line.get_color(), line.get_linestyle()) for line in remains.lines}
    assert len(styles) == len(several)

    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[1] == "cosine\n50% of its steps have SNR > 1"
    assert [text.split("\n")[0] for text in texts] == list(several)
    box = legend.get_window_extent()
    assert box.x1 <= figure.bbox.x1 and box.y0 >= 0
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)


@pytest.mark.parametrize("count", [0, 19])
def test_too_many_schedules_for_one_picture_are_refused(tmp_path, count):
    with pytest.raises(ValueError, match=f"named: expected 1 to 18 schedules, got {count}"):
        schedule_plot.schedules(tmp_path / "x.png", {str(i): linear(2) for i in range(count)})
