"""What examples/07_ddpm_and_gan.py finds, in its quick setting, with one seed."""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from test_architecture import ROOT

from autograd.check import check_pullback

EXAMPLE = runpy.run_path(str(ROOT / "examples/07_ddpm_and_gan.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXAMPLE["QUICK"], "seeds", 1)
        runs = EXAMPLE["main"](["--quick", "--out", str(folder)])
    return {name: [r for r in runs if r.name == name] for name in EXAMPLE["MODELS"]}, folder


def test_no_run_diverges_here_and_all_have_found_the_ring(quick):
    for runs in quick[0].values():
        for r in runs:
            assert len(r.losses) == EXAMPLE["QUICK"].budgets[-1]
            assert np.isfinite(r.points).all() and r.near > 0.15


def test_the_objective_of_a_regression_falls_and_stays_and_a_game_goes_up_and_down(quick):
    runs = quick[0]
    for r in runs["DDPM"]:
        assert r.losses[-200:].mean() < 0.95 * r.losses[:20].mean()
    swing = {name: np.mean([EXAMPLE["swing"](r) for r in own]) for name, own in runs.items()}
    assert swing["GAN"] > 2 * swing["DDPM"]


class Fake:
    """A model whose points at each look, and losses, are given."""

    losses, looks = (1.0, 1.0, 1.0), ()

    def __init__(self, seed):
        self.looked, self.stepped = iter(self.looks), iter(self.losses)

    def step(self, k, descend):
        return (next(self.stepped),)

    def sample(self, z):
        points = next(self.looked)
        return points[np.arange(len(z)) % len(points)]


CENTRES = EXAMPLE["CENTRES"]


def found(monkeypatch, looks, losses=(1.0, 1.0, 1.0)):
    monkeypatch.setitem(EXAMPLE["MODELS"], "fake", Fake)
    monkeypatch.setattr(Fake, "looks", looks)
    monkeypatch.setattr(Fake, "losses", losses)
    return EXAMPLE["run"]("fake", "plain", 0.1, 0, range(1, len(looks) + 1), 840)


MOSTLY_ELSEWHERE = np.concatenate([CENTRES, 0 * CENTRES, 0 * CENTRES])
ANGLES = np.linspace(0, 2 * np.pi, 840, endpoint=False)
THIN_RING = 0.8 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
ENDS = [
    (CENTRES, "fine", 1),
    (CENTRES[:7], "late", 1),
    (MOSTLY_ELSEWHERE, "fine", pytest.approx(1 / 3)),
    (THIN_RING, "fine", pytest.approx(EXAMPLE["RING"], abs=0.01)),
]


@pytest.mark.parametrize(("points", "verdict", "near"), ENDS)
def test_a_run_fails_that_misses_a_mode(monkeypatch, points, verdict, near):
    r = found(monkeypatch, [points])
    assert r.verdicts == [verdict] and r.fails == (verdict != "fine")
    assert r.near == near


@pytest.mark.parametrize(
    ("modes", "losses", "verdicts"),
    [
        ((7, 7, 8), (1, 1, 1), ["late", "late", "fine"]),
        ((8, 7, 8), (1, 1, 1), ["fine", "broken", "fine"]),
        ((8, 7, 7), (1, 1, 1), ["fine", "broken", "broken"]),
        ((7, 8, 8), (1, np.inf), ["late", "broken", "broken"]),
    ],
)
def test_late_is_who_never_had_all_and_broken_who_had_or_diverges(
    monkeypatch, modes, losses, verdicts
):
    r = found(monkeypatch, [CENTRES[:n] for n in modes], losses)
    assert r.verdicts == verdicts and r.fails == (verdicts[-1] != "fine")
    assert r.diverges == (losses[-1] == np.inf)


@pytest.mark.parametrize("method", EXAMPLE["UPDATES"])
def test_each_network_of_a_model_has_an_update_of_its_own(method):
    """A GAN's first steps equal those of two networks that descend by themselves."""
    gan, updates = EXAMPLE["GAN"](0), {}

    def descend(net, k):
        updates.setdefault(net, EXAMPLE["UPDATES"][method]())(net, 0.01 * k / EXAMPLE["WARMUP"], k)

    losses = [gan.step(k, descend) for k in (1, 2, 3)]
    r = EXAMPLE["run"]("GAN", method, 0.01, 0, (3,), 10)
    assert np.array_equal(r.losses, losses)


def test_its_own_op_has_the_right_pullback():
    check_pullback(EXAMPLE["softplus"], np.linspace(-30, 30, 13))


def test_the_networks_are_of_about_the_same_size():
    sizes = []
    for model in EXAMPLE["MODELS"].values():
        nets = [net for net in vars(model(0)).values() if hasattr(net, "parameters")]
        sizes.append(sum(p.size for net in nets for p in net.parameters().values()))
    assert max(sizes) < 1.1 * min(sizes)


def test_the_picture_is_there(quick):
    with Image.open(quick[1] / "ddpm_and_gan.png") as picture:
        assert min(picture.size) > 150


def test_the_picture_of_failures_shows_every_budget_of_every_model():
    axes = Figure().subplots()
    for name, last in (("DDPM", 300), ("GAN", 900), ("VAE", 500)):
        r = SimpleNamespace(name=name, verdicts=["late", "fine"])
        EXAMPLE["draw_failures"](axes, [r], np.array([100, last]), "k")
    low, high = axes.get_xlim()
    assert low < 100 and high > 900
