"""What examples/13_unet_walk.py finds, in its quick setting."""

import runpy

import pytest
from test_architecture import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples/13_unet_walk.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    return EXAMPLE["main"](["--quick", "--out", str(path)]) | {"path": path}


def test_the_gradient_reaches_a_new_network_from_its_end_and_all_of_it_in_the_third_step(quick):
    first, second, third, fourth = quick["fractions"]
    assert first == pytest.approx(2 / 208)  # the weight and the bias of the last convolution
    assert first < second < third == fourth == 1


def test_the_shapes_go_down_and_up_again(quick):
    shapes = list(quick["shapes"].values())
    assert quick["shapes"]["first"] == (8, 8, 8) and quick["shapes"]["last"] == (1, 8, 8)
    resolutions = [height for _, height, _ in shapes]
    assert resolutions == [8] * 3 + [4] * 9 + [8] * 5


def test_the_gradient_neither_vanishes_nor_explodes_and_the_skips_lead_it_past_the_bottom(quick):
    inner = [norm for name, norm in quick["norms"].items() if name != "last"]
    assert 0 < max(inner) < 20 * min(inner)
    assert quick["norms"]["first"] > quick["norms"]["middle2"]


def test_the_picture_is_there(quick):
    assert 20_000 < quick["path"].stat().st_size < 300_000
