"""What examples/15_predictions.py finds, in less than its quick setting."""

import math
import runpy

import numpy as np
import pytest
from PIL import Image
from test_architecture import ROOT

from tinyddpm import data, diffusion, fast, schedule
from tinyddpm.more.predictions import velocity
from tinyddpm.runs.heldout import Draws

EXAMPLE = runpy.run_path(str(ROOT / "examples/15_predictions.py"))
LINEAR = schedule.linear(1000)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    with pytest.MonkeyPatch.context() as patch, fast.enabled():
        for name, value in {"steps": 16, "trial": 6, "samples": 8, "images": 16}.items():
            patch.setattr(EXAMPLE["QUICK"], name, value)
        return EXAMPLE["main"](["--quick", "--out", str(path)]), path


def test_with_little_noise_eps_and_v_give_the_better_image(quick):
    assert {("eps", "x0"), ("v", "x0")} <= set(quick[0].agreed["little noise"])


def test_near_pure_noise_a_small_error_of_eps_is_a_huge_one_of_the_image(quick):
    found, mean = quick[0].found, quick[0].mean_errors[-1]
    for seed in range(3):
        last = {name: seeds[seed].errors[-1] for name, seeds in found.items()}
        assert last["eps"] > 100 * mean
        assert max(last["x0"], last["v"]) < 2 * mean
    assert {("x0", "eps"), ("v", "eps")} <= set(quick[0].agreed["nearly pure noise"])


def test_each_has_three_seeds_and_a_beta_of_the_same_list(quick):
    assert set(quick[0].betas.values()) <= set(EXAMPLE["QUICK"].betas)
    for seeds in quick[0].found.values():
        assert len({result.frechet for result in seeds}) == len(EXAMPLE["SEEDS"]) == 3


def test_the_own_error_is_that_of_what_is_predicted():
    """Checked against eps and v themselves, worked out from x_0 and x_t."""
    draws = Draws(data.digits().images[:30], LINEAR)
    guess = lambda xt, t: 0.3 * xt - 0.1
    x0_hat, eps = guess(draws.xt, draws.t), diffusion.predicted_noise
    of_eps = eps(LINEAR, x0_hat, draws.xt, draws.t), eps(LINEAR, draws.x0, draws.xt, draws.t)
    of_v = (
        velocity(LINEAR, x0, draws.t, e) for x0, e in zip((x0_hat, draws.x0), of_eps, strict=True)
    )
    for name, (a, b) in {"x0": (x0_hat, draws.x0), "eps": of_eps, "v": of_v}.items():
        expected = np.square(a.astype(float) - b).mean()
        assert EXAMPLE["own_error"](name, guess, draws, chunk=70) == pytest.approx(
            expected, rel=1e-3
        )
    assert EXAMPLE["own_error"]("v", None, draws) == math.inf


def test_only_what_all_seeds_say_is_agreed():
    figures = {"a": [1, 2, 3], "b": [2, 3, 4], "c": [0, 4, 3.5]}
    assert EXAMPLE["agreed"](figures) == [("a", "b")]


def test_the_picture_is_there(quick):
    with Image.open(quick[1]) as picture:
        assert min(picture.size) > 400
