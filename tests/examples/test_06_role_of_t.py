"""What examples/06_role_of_t.py finds, in less than its quick setting."""

import runpy

import pytest
from PIL import Image
from test_architecture import ROOT

from tinyddpm import fast

EXAMPLE = runpy.run_path(str(ROOT / "examples/06_role_of_t.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch, fast.enabled():
        for name, value in {"point_steps": 300, "held_out": 30, "samples": 10}.items():
            patch.setattr(EXAMPLE["QUICK"], name, value)
        return EXAMPLE["main"](["--quick", "--out", str(folder)]), folder


def test_points_need_t_most_where_there_is_least_noise(quick):
    with_t, without_t = (quick[0].points[EXAMPLE[which]] for which in ("WITH_T", "WITHOUT_T"))
    worse = without_t.J / with_t.J
    assert worse[0] > 1.5 and worse.argmax() == 0
    assert without_t.J.mean() > 1.04 * with_t.J.mean()
    assert without_t.distance > with_t.distance


def test_digits_show_by_themselves_how_noisy_they_are(quick):
    with_t, without_t = (quick[0].digits[EXAMPLE[which]] for which in ("WITH_T", "WITHOUT_T"))
    assert abs(without_t.J.mean() / with_t.J.mean() - 1) < 0.05
    assert with_t.J.mean() < 0.98 * quick[0].mean_J  # both have learnt something


def test_the_picture_is_there(quick):
    with Image.open(quick[1] / "role_of_t.png") as picture:
        assert min(picture.size) > 150
