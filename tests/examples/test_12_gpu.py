"""What examples/12_gpu.py finds, in its quick setting, on a machine that need not have a GPU."""

import runpy

import pytest
from PIL import Image
from test_architecture import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples/12_gpu.py"))
ONCE, STEP, EVALUATION, CHECKPOINT = EXAMPLE["OCCASIONS"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """As on a machine without a GPU. tests/gpu has the tests that need one."""
    main, folder = EXAMPLE["main"], tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(main.__globals__, "find_device", lambda: ("cpu", "on the CPU"))
        return main(["--quick", "--out", str(folder)]), folder


def test_the_step_taken_apart_is_that_of_train(quick):
    assert quick[0].same


def test_images_and_theta_move_once_and_then_j_alone(quick):
    found = quick[0]
    assert found.there[STEP] == 0 and found.back[STEP] == 4
    theta = found.back[CHECKPOINT] // 2
    digits = 1497 * 64 * 4
    assert found.there[ONCE] == 2 * theta + digits  # θ, its gradient, and the digits to train on
    assert found.there[EVALUATION] == 200 * (64 * 4 + 8)
    assert found.back[EVALUATION] == 200 * 64 * 4


def test_it_says_why_there_is_no_gpu(monkeypatch):
    def missing(array, device):
        raise RuntimeError(f"device {device}: CuPy is not installed")

    monkeypatch.setitem(EXAMPLE["find_device"].__globals__, "to_device", missing)
    device, said = EXAMPLE["find_device"]()
    assert device == "cpu" and "CuPy is not installed" in said


def test_the_picture_is_there(quick):
    with Image.open(quick[1] / "gpu.png") as picture:
        assert min(picture.size) > 150
