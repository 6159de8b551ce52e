"""Our schedules, what q_sample adds and what a prediction means, against diffusers' schedulers.

Needs the extra `bench`: `make prove` installs it. Where the two conventions differ, each difference is a test here:

- diffusers counts t from 0: its t is our t − 1, its table has no entry for the clean image.
- Its tables are float32: 1 − ᾱ_t has lost digits at small t, hence the tolerance of 3e-4.
- Its β are the same for every T. Ours are scaled by 1000/T where the rule is one for β, so they agree at T = 1000 alone.
- Its "scaled_linear" ends at the same 1e-4 and 0.02 as "linear" unless told otherwise; that is our `quadratic`.
- Its "sigmoid" is one of β: our `sigmoid_beta`, and not the sigmoid of Chen 2023, which it does not have.
- With rescale_betas_zero_snr, ε-prediction is not refused: at T it divides by 0 and gives infinities.
- Its get_velocity takes the clean image as `sample`, though elsewhere `sample` is x_t.
"""
import numpy as np
import pytest

from tinyddpm import diffusion
from tinyddpm.more import predictions
from tinyddpm.more.schedules import from_beta, quadratic, scaled_linear, sigmoid, sigmoid_beta, snr, zero_terminal_snr
from tinyddpm.schedule import cosine, linear

pytestmark = pytest.mark.prove
BETA = np.geomspace(1e-4, 0.05, 300)
OURS = {"linear": lambda: linear(), "cosine": lambda: cosine(), "quadratic": lambda: quadratic(), "scaled_linear": lambda: scaled_linear(),
        "sigmoid_beta": lambda: sigmoid_beta(), "linear, zero": lambda: zero_terminal_snr(linear()),
        "scaled_linear, zero": lambda: zero_terminal_snr(scaled_linear()), "own": lambda: from_beta(BETA)}
THEIRS = {"linear": {}, "cosine": {"beta_schedule": "squaredcos_cap_v2"}, "quadratic": {"beta_schedule": "scaled_linear"},
          "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 8.5e-4, "beta_end": 0.012}, "sigmoid_beta": {"beta_schedule": "sigmoid"},
          "linear, zero": {"rescale_betas_zero_snr": True},
          "scaled_linear, zero": {"beta_schedule": "scaled_linear", "beta_start": 8.5e-4, "beta_end": 0.012, "rescale_betas_zero_snr": True},
          "own": {"trained_betas": BETA.tolist(), "num_train_timesteps": 300}}
every = pytest.mark.parametrize("name", OURS)


def theirs(name, **options):
    from diffusers import DDPMScheduler
    return DDPMScheduler(**{"num_train_timesteps": 1000, "clip_sample": False} | THEIRS[name] | options)


def drawn(T, n=200):
    """x0, eps (n, 1, 2, 3) and t of both conventions, with the first and the last."""
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
    np.testing.assert_allclose(peer.betas, schedule.beta[1:], rtol=3e-4, atol=4e-7)  # 1 − a ratio of sums and products in float32: a few times 6e-8
    np.testing.assert_allclose(peer.alphas_cumprod, schedule.alpha_bar[1:], rtol=3e-4, atol=1e-9)


@every
def test_their_snr(name):
    import torch
    from diffusers.training_utils import compute_snr
    schedule = OURS[name]()
    ratio = compute_snr(theirs(name), torch.arange(schedule.T))
    np.testing.assert_allclose(ratio[20:], snr(schedule)[21:], rtol=3e-4, atol=1e-9)
    np.testing.assert_allclose(ratio[:20], snr(schedule)[1:21], rtol=2e-3)  # 1 − ᾱ_1 = 1e-4 has three digits in float32


@every
def test_what_add_noise_and_get_velocity_make(name):
    schedule, peer = OURS[name](), theirs(name)
    x0, eps, t, x0_, eps_, t_ = drawn(schedule.T)
    close(diffusion.q_sample(schedule, x0, t, eps), peer.add_noise(x0_, eps_, t_))
    close(predictions.velocity(schedule, x0, t, eps), peer.get_velocity(x0_, eps_, t_))


@pytest.mark.parametrize("predicts, theirs_is", [("x0", "sample"), ("eps", "epsilon"), ("v", "v_prediction")])
@every
def test_x0_hat_of_every_prediction_at_every_t(name, predicts, theirs_is):
    """Whatever the network says, right or wrong: what their step takes it to mean."""
    import torch
    schedule, peer = OURS[name](), theirs(name, prediction_type=theirs_is)
    rng = np.random.default_rng(1)
    xt, F = rng.standard_normal((2, schedule.T, 1, 2, 3))
    t = np.arange(1, schedule.T + 1)
    x0_hat = torch.cat([peer.step(torch.tensor(F[i:i + 1]), i, torch.tensor(xt[i:i + 1])).pred_original_sample for i in range(schedule.T)])
    if predicts == "eps" and "zero" in name:
        with pytest.raises(ValueError, match="zero terminal SNR"):
            predictions.denoiser(lambda xt, t: F, schedule, predicts)
        assert not torch.isfinite(x0_hat[-1]).any()
        return
    ours = predictions.denoiser(lambda xt, t: F, schedule, predicts)(xt, t)
    scale = abs(ours).max(axis=(1, 2, 3))
    assert (abs(ours - x0_hat.numpy()).max(axis=(1, 2, 3)) <= 3e-4 * scale).all()


def test_the_traps():
    import torch
    assert len(theirs("linear").alphas_cumprod) == 1000 and theirs("linear").alphas_cumprod[0] == pytest.approx(linear().alpha_bar[1], rel=1e-6)
    short = theirs("linear", num_train_timesteps=50)
    assert short.betas[-1] == pytest.approx(0.02) and linear(50).beta[50] == pytest.approx(0.4)  # the same β, and 20 times as much
    assert short.alphas_cumprod[-1] > 0.5 > 1e-3 > linear(50).alpha_bar[50]  # so most of the image is left
    chen = sigmoid().alpha_bar[1:]
    assert abs(chen - theirs("sigmoid_beta").alphas_cumprod.numpy()).max() > 0.1
    x0, eps, t, x0_, eps_, t_ = drawn(1000)
    ours, off_by_one = diffusion.q_sample(linear(), x0, t, eps), theirs("linear").add_noise(x0_, eps_, torch.clamp(t_ + 1, max=999))
    with pytest.raises(AssertionError):  # at this tolerance, a t that is off by one shows
        close(ours, off_by_one)
