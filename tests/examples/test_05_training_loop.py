"""What examples/05_training_loop.py finds, in its quick setting.

What it writes out by hand must be what the project computes.
"""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from test_architecture import ROOT, from_any, imports

from tinyddpm import diffusion, fast, sampler, schedule
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.pictures import by_hand
from tinyddpm.train import gradient

PATH = ROOT / "examples/05_training_loop.py"
EXAMPLE = runpy.run_path(str(PATH))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """In 250 steps of noise, each four times as large: to draw 1000 takes longer than to train."""
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    variance = np.concatenate([[0], np.linspace(4e-4, 0.08, 250)])
    short = {"T": 250, "noise_variance": variance, "alpha_bar": np.cumprod(1 - variance)}
    with pytest.MonkeyPatch.context() as patch, fast.enabled():
        for name, value in short.items():
            patch.setitem(EXAMPLE["main"].__globals__, name, value)
        return EXAMPLE["main"](["--quick", "--out", str(path)]) | {"path": path}


@pytest.fixture
def unet():
    unet = UNet(UNetConfig(base=8, blocks=1, groups=4, attention=())).initialise(seed=0)
    change = np.random.default_rng(1).normal(0, 0.05, unet.theta.shape)
    unet.theta += change.astype(np.float32)  # a new one answers 0
    return unet


def test_it_fits_on_one_page():
    lines = PATH.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90 and max(map(len, lines)) <= 100


def test_it_learns_more_than_the_mean_digit(quick):
    assert len(quick["J"]) == 100 and len(quick["held_out_J"]) == 4
    assert quick["held_out_J"][-1] < 0.97 * quick["mean_J"]
    assert np.mean(quick["J"][-10:]) < 0.5 * np.mean(quick["J"][:10])


def test_samples_come_out_nearer_to_digits_than_noise_and_not_as_near_as_digits(quick):
    assert quick["real"] < quick["samples"] < 0.5 < quick["noise"]
    # So soon they are little more than the mean digit.
    assert 0 < quick["spread"] < 0.5 * quick["real_spread"]


@pytest.mark.parametrize(
    "scale, said",
    [(1.0, "Within 15%"), (0.9, "Within 15%"), (0.8, "too little: train"), (1.2, "too much")],
)
def test_it_says_whether_samples_differ_as_real_images_do(scale, said, capsys):
    images = np.random.default_rng(0).uniform(-1, 1, (30, 1, 8, 8))
    found = by_hand.compare(images, scale * images, images, images)
    assert found["spread"] == pytest.approx(scale * found["real_spread"])
    assert said in capsys.readouterr().out


def test_the_picture_is_there(quick):
    assert 20_000 < quick["path"].stat().st_size < 200_000


def test_it_uses_nothing_of_the_project_s_diffusion():
    rooms = "train", "diffusion", "schedule", "objective", "sampler", "noise", "more"
    assert not from_any(imports(PATH), *(f"tinyddpm.{room}" for room in rooms))


def test_its_step_is_the_trainer_s(unet):
    x0, eps = np.random.default_rng(2).standard_normal((2, 12, 1, 8, 8), np.float32)
    t = np.random.default_rng(0).integers(1, 1001, size=12)
    before = unet.theta.copy()
    J, _ = gradient(unet, schedule.linear(1000), x0, t, eps)
    expected = before - 0.5 * unet.grad
    assert EXAMPLE["training_step"](unet, x0, t, eps, beta=0.5) == pytest.approx(float(J), rel=1e-5)
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_allclose(unet.theta, expected, atol=1e-6)


def test_its_forward_process_is_the_project_s_at_every_t():
    x0, eps = np.random.default_rng(0).standard_normal((2, 1000, 1, 8, 8), np.float32)
    t = np.arange(1, 1001)
    expected = diffusion.q_sample(schedule.linear(1000), x0, t, eps)
    np.testing.assert_allclose(EXAMPLE["q_sample"](x0, t, eps), expected, atol=1e-6)


def test_its_chain_is_the_ancestral_sampler():
    rng = np.random.default_rng(3)
    x_T = rng.standard_normal((2, 1, 8, 8), np.float32)
    half = SimpleNamespace(denoise=lambda xt, t: 0.5 * xt)  # any denoiser will do
    draw = lambda t: rng.standard_normal(x_T.shape).astype(np.float32)
    chain = sampler.ancestral(half.denoise, schedule.linear(1000), x_T, draw)
    theirs = {t: xt for t, xt, _ in chain}
    ours = dict(EXAMPLE["sample"](half, 2, np.random.default_rng(3)))
    assert len(ours) == 1001
    for t in theirs:
        np.testing.assert_allclose(ours[t], theirs[t], atol=1e-4)


def test_it_stops_when_held_out_J_no_longer_improves(unet, capsys):
    images = np.random.default_rng(0).uniform(-1, 1, (20, 1, 8, 8)).astype(np.float32)
    options = {"steps": 50, "M": 4, "beta": 0.0, "every": 1}
    rng = np.random.default_rng(0)
    _, J, held_out_J = EXAMPLE["train"](unet, images, images[:2], rng, **options)
    # With β = 0 nothing moves: the first held-out J stays the lowest.
    assert len(J) == len(held_out_J) == 6


def test_every_t_from_1_to_T_is_drawn_and_no_other(capsys):
    class Listener(UNet):
        heard = []

        def forward(self, xt, t, *others):
            Listener.heard.append(t)
            return super().forward(xt[:1], t[:1])

        def denoise(self, xt, t):
            return xt

    listener = Listener(UNetConfig(base=8, blocks=1, attention=())).initialise(seed=0)
    images = np.zeros((3, 1, 8, 8), np.float32)
    options = {"steps": 5, "M": 3000, "every": 5}
    EXAMPLE["train"](listener, images, images[:1], np.random.default_rng(0), **options)
    assert np.array_equal(np.unique(Listener.heard), np.arange(1, 1001))
