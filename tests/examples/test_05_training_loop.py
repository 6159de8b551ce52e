"""What examples/05_training_loop.py finds, in its quick setting, and that what it writes out by hand is what the project computes."""
import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from test_architecture import ROOT, from_any, imports

from autograd import leaf
from tinyddpm import diffusion, fast, sampler, schedule
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.train import gradient

PATH = ROOT / "examples/05_training_loop.py"
EXAMPLE = runpy.run_path(str(PATH))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    fast.enable()
    yield EXAMPLE["main"](["--quick", "--out", str(path)]) | {"path": path}
    fast.disable()


@pytest.fixture
def unet():
    unet = UNet(UNetConfig(base=8, blocks=1, groups=4, attention=())).initialise(seed=0)
    unet.theta += np.random.default_rng(1).normal(0, 0.05, unet.theta.shape).astype(np.float32)  # a new one answers 0
    return unet


def test_it_learns_more_than_the_mean_digit(quick):
    assert [k for k, _ in quick["evaluations"]] == [25, 50, 75, 100]
    assert quick["evaluations"][-1][1] < 0.97 * quick["mean_J"]
    assert np.mean(quick["J"][-10:]) < 0.5 * np.mean(quick["J"][:10])


def test_samples_come_out_nearer_to_digits_than_noise_and_not_as_near_as_digits(quick):
    assert quick["real"] < quick["samples"] < 0.5 < quick["noise"]
    assert 0 < quick["spread"] < 0.5 * quick["real_spread"]  # so soon they are little more than the mean digit


def test_the_picture_is_there(quick):
    assert 20_000 < quick["path"].stat().st_size < 200_000


def test_it_uses_nothing_of_the_project_s_diffusion():
    assert not from_any(imports(PATH), *(f"tinyddpm.{name}" for name in ("train", "diffusion", "schedule", "objective", "sampler", "noise", "more")))


def test_its_step_is_the_trainer_s(unet):
    rng, (x0, eps) = np.random.default_rng(0), np.random.default_rng(2).standard_normal((2, 12, 1, 8, 8), np.float32)
    t, linear, before = rng.integers(1, 1001, size=12), schedule.linear(1000), unet.theta.copy()
    J, _ = gradient(unet, linear, x0, t, eps)
    expected = before - 0.5 * unet.grad
    assert EXAMPLE["training_step"](unet, x0, t, eps, beta=0.5) == pytest.approx(float(J), rel=1e-5)
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_allclose(unet.theta, expected, atol=1e-6)


def test_its_forward_process_is_the_project_s_at_every_t():
    x0, eps = np.random.default_rng(0).standard_normal((2, 1000, 1, 8, 8), np.float32)
    t = np.arange(1, 1001)
    np.testing.assert_allclose(EXAMPLE["q_sample"](x0, t, eps), diffusion.q_sample(schedule.linear(1000), x0, t, eps), atol=1e-6)


def test_its_chain_is_the_ancestral_sampler():
    rng = np.random.default_rng(3)
    x_T = rng.standard_normal((2, 1, 8, 8), np.float32)
    half = SimpleNamespace(denoise=lambda xt, t: 0.5 * xt)  # any denoiser will do
    theirs = sampler.ancestral(half.denoise, schedule.linear(1000), x_T, lambda t: rng.standard_normal(x_T.shape).astype(np.float32))
    theirs = {t: xt for t, xt, _ in theirs}
    ours = dict(EXAMPLE["sample"](half, 2, np.random.default_rng(3)))
    assert len(ours) == 1001
    for t in theirs:
        np.testing.assert_allclose(ours[t], theirs[t], atol=1e-4)


def test_it_stops_when_held_out_J_no_longer_improves(unet, capsys):
    images = np.random.default_rng(0).uniform(-1, 1, (20, 1, 8, 8)).astype(np.float32)
    J, evaluations, converged = EXAMPLE["train"](unet, images, images[:2], np.random.default_rng(0), 50, batch_size=4, beta=0.0, every=1, patience=3)
    assert converged and len(J) == len(evaluations) == 4  # with β = 0 nothing moves: the first J stays the lowest


def test_every_t_from_1_to_T_is_drawn_and_no_other(capsys):
    class Listener:
        theta, grad, heard = np.zeros(1, np.float32), np.zeros(1, np.float32), []

        def __call__(self, xt, t):
            self.heard.append(t)
            return leaf(xt)

        def denoise(self, xt, t):
            return xt

    images = np.zeros((3, 1, 8, 8), np.float32)
    EXAMPLE["train"](Listener(), images, images[:1], np.random.default_rng(0), 5, batch_size=3000, every=5)
    assert np.array_equal(np.unique(Listener.heard), np.arange(1, 1001))
