"""What examples/06_role_of_t.py finds, in its quick setting."""
import runpy

import pytest
from PIL import Image
from test_architecture import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples/06_role_of_t.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return EXAMPLE["main"](["--quick", "--out", str(folder)]), folder


def test_points_need_t_most_where_there_is_least_noise(quick):
    told, blind = quick[0].points["told t"], quick[0].points["not told"]
    worse = blind.J / told.J
    assert worse[0] > 1.5 and worse.argmax() == 0
    assert blind.J.mean() > 1.04 * told.J.mean()
    assert blind.away > told.away


def test_digits_show_by_themselves_how_noisy_they_are(quick):
    told, blind = quick[0].digits["told t"], quick[0].digits["not told"]
    assert abs(blind.J.mean() / told.J.mean() - 1) < 0.05
    assert told.J.mean() < 0.98 * quick[0].mean  # both have learnt something


def test_the_picture_is_there(quick):
    with Image.open(quick[1] / "role_of_t.png") as picture:
        assert min(picture.size) > 150
