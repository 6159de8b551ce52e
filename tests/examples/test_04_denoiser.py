"""What examples/04_denoiser.py finds, in its quick setting."""

import runpy

import pytest
from test_architecture import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples/04_denoiser.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    return EXAMPLE["main"](["--quick", "--out", str(path)]) | {"path": path}


def test_with_little_noise_it_knows_the_image_and_with_much_it_says_the_mean(quick):
    own, other = zip(*quick["of_t"].values())
    assert own[0] < 1e-6 and other[-1] < 0.01
    assert own[-1] > 0.4 and other[0] > 0.4
    assert list(own) == sorted(own) and list(other) == sorted(other, reverse=True)


def test_in_one_step_everything_comes_out_as_the_mean_and_in_many_as_images(quick):
    near, spread = zip(*quick["of_steps"].values())
    assert near[0] > 0.3 and near[-1] < 0.01
    assert spread[0] < 0.01 and spread[-1] > 0.7 * quick["spread"]
    assert list(spread) == sorted(spread)


def test_the_ideal_answer_needs_no_clip_and_an_error_in_eps_does(quick):
    errors = quick["errors"]
    assert quick["largest"] <= 1
    assert errors["ε", False][-1] > 10 > 1.5 > errors["ε", True][-1]
    assert errors["ε", False][0] < 0.01  # at t = 1 an error in ε hardly matters


def test_an_error_in_x0_does_not_grow_and_gains_little_by_the_clip(quick):
    free, clipped = (quick["errors"]["x_0", c] for c in (False, True))
    assert max(free) == pytest.approx(min(free), rel=1e-3)
    assert all(0.5 * f < c <= f for f, c in zip(free, clipped))


def test_the_picture_is_there(quick):
    assert 20_000 < quick["path"].stat().st_size < 200_000
