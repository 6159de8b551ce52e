"""What examples/07_ddpm_and_gan.py finds, in its quick setting."""

import runpy

import numpy as np
import pytest
from PIL import Image
from test_architecture import ROOT

from autograd.check import check_pullback

EXAMPLE = runpy.run_path(str(ROOT / "examples/07_ddpm_and_gan.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    runs = EXAMPLE["main"](["--quick", "--out", str(folder)])
    return {name: [r for r in runs if r.name == name] for name in EXAMPLE["MODELS"]}, folder


def test_no_run_diverges_here_and_all_have_found_the_ring(quick):
    for runs in quick[0].values():
        for r in runs:
            assert len(r.losses) == EXAMPLE["QUICK"].steps
            assert np.isfinite(r.points).all() and r.near > 0.15


def test_the_objective_of_a_regression_falls_and_stays_and_a_game_goes_up_and_down(quick):
    runs = quick[0]
    for r in runs["DDPM"]:
        assert r.losses[-200:].mean() < 0.95 * r.losses[:20].mean()
    swing = {name: np.mean([EXAMPLE["swing"](r) for r in own]) for name, own in runs.items()}
    assert swing["GAN"] > 2 * swing["DDPM"]


def test_a_run_fails_that_misses_a_mode(monkeypatch):
    class Fake:
        def __init__(self, seed):
            pass

        def step(self, k, descend):
            return (1.0,)

        def sample(self, z):
            return self.points[np.arange(len(z)) % len(self.points)]

    centres = EXAMPLE["CENTRES"]
    monkeypatch.setitem(EXAMPLE["MODELS"], "fake", Fake)
    mostly_elsewhere = np.concatenate([centres, 0 * centres, 0 * centres])
    cases = (centres, False, 1), (centres[:7], True, 1), (mostly_elsewhere, False, 1 / 3)
    for points, fails, near in cases:
        Fake.points = points
        found = EXAMPLE["run"]("fake", "SGD", 0.1, 0, 2, 840)
        assert found.fails == fails and found.near == pytest.approx(near)


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
