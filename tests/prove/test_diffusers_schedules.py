"""Our schedules, what q_sample adds and what a prediction means, against diffusers' schedulers.

Needs the extra `bench`: `make prove` installs it. Each difference between the two conventions is a
test here:

- diffusers counts t from 0: its t is our t − 1, and its table has no entry for the clean image.
- Its tables are float32: 1 − ᾱ_t has lost digits at small t, hence the tolerance of 3e-4.
- Its β are the same for every T. Ours are scaled by 1000/T where the rule is one for β, so the two
  agree only at T = 1000.
- Its "scaled_linear" ends at the same 1e-4 and 0.02 as "linear" by default; that is our
  `quadratic`.
- Its "sigmoid" is one of β: our `sigmoid_beta`. It does not have the sigmoid of Chen 2023.
- With rescale_betas_zero_snr, ε-prediction is not refused: at T it divides by 0 and gives
  infinities.
- Its get_velocity takes the clean image as `sample`, though elsewhere `sample` is x_t.
"""

import numpy as np
import pytest

from tinyddpm import diffusion
from tinyddpm.more import predictions
from tinyddpm.more.schedules import (
    from_beta,
    quadratic,
    scaled_linear,
    sigmoid,
    sigmoid_beta,
    snr,
    zero_terminal_snr,
)
from tinyddpm.schedule import cosine, linear

pytestmark = pytest.mark.prove
BETA = np.geomspace(1e-4, 0.05, 300)
OURS = {
    "linear": lambda: linear(),
    "cosine": lambda: cosine(),
    "quadratic": lambda: quadratic(),
    "scaled_linear": lambda: scaled_linear(),
    "sigmoid_beta": lambda: sigmoid_beta(),
    "linear, zero": lambda: zero_terminal_snr(linear()),
    "scaled_linear, zero": lambda: zero_terminal_snr(scaled_linear()),
    "own": lambda: from_beta(BETA),
}
SCALED_LINEAR = {"beta_schedule": "scaled_linear", "beta_start": 8.5e-4, "beta_end": 0.012}
THEIRS = {
    "linear": {},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "quadratic": {"beta_schedule": "scaled_linear"},
    "scaled_linear": SCALED_LINEAR,
    "sigmoid_beta": {"beta_schedule": "sigmoid"},
    "linear, zero": {"rescale_betas_zero_snr": True},
    "scaled_linear, zero": SCALED_LINEAR | {"rescale_betas_zero_snr": True},
    "own": {"trained_betas": BETA.tolist(), "num_train_timesteps": 300},
}
every = pytest.mark.parametrize("name", OURS)


def theirs(name, **options):
    from diffusers import DDPMScheduler

    common = {"num_train_timesteps": 1000, "clip_sample": False}
    return DDPMScheduler(**common | THEIRS[name] | options)


def drawn(T, n=200):
    """x0, eps (n, 1, 2, 3) and t, for us and as tensors. Among t are the first and the last."""
    import torch

    rng = np.random.default_rng(0)
    t = rng.integers(1, T + 1, n)
    t[:2] = 1, T
    x0, eps = rng.standard_normal((2, n, 1, 2, 3))
    return x0, eps, t, torch.tensor(x0), torch.tensor(eps), torch.tensor(t - 1)


def close(ours, theirs, rtol=3e-4):
    """Relative to the largest: some entries are differences that happen to come near 0."""
    theirs = theirs.numpy()
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * abs(ours).max())


@every
def test_the_tables(name):
    schedule, peer = OURS[name](), theirs(name)
    assert len(peer.betas) == schedule.T
    # 1 − a ratio of sums and products in float32: a few times 6e-8.
    np.testing.assert_allclose(peer.betas, schedule.beta[1:], rtol=3e-4, atol=4e-7)
    np.testing.assert_allclose(peer.alphas_cumprod, schedule.alpha_bar[1:], rtol=3e-4, atol=1e-9)


@every
def test_their_snr(name):
    import torch
    from diffusers.training_utils import compute_snr

    schedule = OURS[name]()
    ratio = compute_snr(theirs(name), torch.arange(schedule.T))
    np.testing.assert_allclose(ratio[20:], snr(schedule)[21:], rtol=3e-4, atol=1e-9)
    # 1 − ᾱ_1 = 1e-4 has three digits in float32.
    np.testing.assert_allclose(ratio[:20], snr(schedule)[1:21], rtol=2e-3)


@every
def test_what_add_noise_and_get_velocity_make(name):
    schedule, peer = OURS[name](), theirs(name)
    x0, eps, t, x0_, eps_, t_ = drawn(schedule.T)
    close(diffusion.q_sample(schedule, x0, t, eps), peer.add_noise(x0_, eps_, t_))
    close(predictions.velocity(schedule, x0, t, eps), peer.get_velocity(x0_, eps_, t_))


def their_x0_hat(peer, said, xt):
    """What their step takes the network's output to mean, with image i at their t = i."""
    import torch

    found = []
    for i in range(len(xt)):
        one = slice(i, i + 1)
        result = peer.step(torch.tensor(said[one]), i, torch.tensor(xt[one]))
        found.append(result.pred_original_sample)
    return torch.cat(found).numpy()


THEIR_NAMES = {"x0": "sample", "eps": "epsilon", "v": "v_prediction"}


@pytest.mark.parametrize("predicts", THEIR_NAMES)
@every
def test_x0_hat_of_every_prediction_at_every_t(name, predicts):
    """For any output of the network, right or wrong."""
    schedule, peer = OURS[name](), theirs(name, prediction_type=THEIR_NAMES[predicts])
    rng = np.random.default_rng(1)
    xt, said = rng.standard_normal((2, schedule.T, 1, 2, 3))
    t = np.arange(1, schedule.T + 1)
    x0_hat = their_x0_hat(peer, said, xt)
    if predicts == "eps" and "zero" in name:
        with pytest.raises(ValueError, match="zero terminal SNR"):
            predictions.denoiser(lambda xt, t: said, schedule, predicts)
        assert not np.isfinite(x0_hat[-1]).any()
        return
    ours = predictions.denoiser(lambda xt, t: said, schedule, predicts)(xt, t)
    scale = abs(ours).max(axis=(1, 2, 3))
    assert (abs(ours - x0_hat).max(axis=(1, 2, 3)) <= 3e-4 * scale).all()


# ---- the traps -----------------------------------------------------------------------------------


def test_their_table_has_no_entry_for_the_clean_image():
    found = theirs("linear").alphas_cumprod
    assert len(found) == 1000 and found[0] == pytest.approx(linear().alpha_bar[1], rel=1e-6)


def test_their_beta_do_not_depend_on_T():
    short = theirs("linear", num_train_timesteps=50)
    # The same β, where ours is 20 times as large: so most of the image is left.
    assert short.betas[-1] == pytest.approx(0.02) and linear(50).beta[50] == pytest.approx(0.4)
    assert short.alphas_cumprod[-1] > 0.5 > 1e-3 > linear(50).alpha_bar[50]


def test_their_sigmoid_is_not_that_of_chen():
    chen = sigmoid().alpha_bar[1:]
    assert abs(chen - theirs("sigmoid_beta").alphas_cumprod.numpy()).max() > 0.1


def test_a_t_that_is_off_by_one_shows_at_this_tolerance():
    import torch

    x0, eps, t, x0_, eps_, t_ = drawn(1000)
    ours = diffusion.q_sample(linear(), x0, t, eps)
    off_by_one = theirs("linear").add_noise(x0_, eps_, torch.clamp(t_ + 1, max=999))
    with pytest.raises(AssertionError):
        close(ours, off_by_one)
