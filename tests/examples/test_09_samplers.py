"""What examples/09_samplers.py finds, in its quick setting.

There the ideal denoiser of the digits stands in for a network.
"""

import runpy

import numpy as np
import pytest
from PIL import Image
from test_architecture import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples/09_samplers.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return EXAMPLE["main"](["--quick", "--out", str(folder)]), folder


def test_solvers_of_second_order_are_sooner_where_they_go(quick):
    from_real, from_end = quick[0].samplers
    for steps in (5, 20):
        for name in ("DPM-Solver++(2M)", "Heun"):
            assert from_end[name, steps] < from_end["DDIM", steps]
    for name in ("DDIM", "DPM-Solver++(2M)", "Heun"):
        assert from_end[name, 5] > from_end[name, 20] > from_end[name, 100] == 0
    # The ideal denoiser draws digits, whatever the sampler.
    assert max(from_real.values()) < 0.1


def test_guidance_asks_for_the_class_and_takes_variety_away(quick):
    obeyed, variety = quick[0].guidance
    assert obeyed[0] == pytest.approx(0.1)  # ten times the same images, whatever is asked for
    assert min(obeyed[w] for w in (1, 3, 6)) > 0.95
    assert variety[0] > variety[1] > variety[3]


def test_resampling_makes_what_is_painted_go_with_what_is_known(quick):
    unchanged, right = quick[0].inpainting
    assert unchanged and right[10] > right[1]


def test_a_blend_of_pixels_is_paler_than_a_digit_and_one_made_again_from_t_is_not(quick):
    _, contrast = quick[0].interpolation
    for name in ("by way of x_T", "at t = 200", "at t = 350", "at t = 500"):
        assert contrast["in pixels"] < contrast[name]


def test_the_ideal_denoiser_of_the_training_set_finds_no_short_code_for_held_out_digits(quick):
    bound = quick[0].bound
    assert bound.total - 2 * bound.error > np.log2(17)


def test_the_pictures_are_there_and_small(quick):
    for name in ("samplers", "guidance", "inpainting", "interpolation", "bound"):
        path = quick[1] / f"{name}.png"
        with Image.open(path) as picture:
            assert min(picture.size) > 150
        assert path.stat().st_size < 100_000


def test_the_distance_of_two_samples_of_one_distribution_is_about_0_and_of_two_others_is_not():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 300, 1, 2, 2))
    assert abs(EXAMPLE["distance"](a, b)) < 0.03 < 0.3 < EXAMPLE["distance"](a, b + 1)


def test_without_a_run_it_says_what_to_do(capsys):
    with pytest.raises(SystemExit):
        EXAMPLE["main"]([])
    assert "tinyddpm train --recipe digits_classes" in capsys.readouterr().err
