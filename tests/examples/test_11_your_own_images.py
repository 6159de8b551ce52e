"""What examples/11_your_own_images.py finds, in its quick setting."""

import runpy

import pytest
from PIL import Image
from test_architecture import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples/11_your_own_images.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return EXAMPLE["main"](["--quick", "--out", str(folder)]), folder


def test_a_folder_of_pictures_of_many_sizes_is_learnt_from(quick):
    found, folder = quick
    sizes = set()
    for path in (folder / "painted_120").iterdir():
        with Image.open(path) as picture:
            sizes.add(picture.size)
    assert len(sizes) > 1
    assert found.shape == (3, 8, 8)
    assert found.fraction < 1.1  # it begins at 4: a network that answers grey


def test_after_so_few_steps_samples_can_be_known_and_are_no_copies(quick):
    assert quick[0].told_apart > 0.7
    assert quick[0].copies > 0.5


def test_it_takes_a_folder_that_is_there(tmp_path, monkeypatch):
    """The folder is read and nothing is painted."""
    EXAMPLE["paint"](tmp_path / "mine", 40)
    monkeypatch.setitem(EXAMPLE["main"].__globals__, "paint", None)
    monkeypatch.setitem(EXAMPLE["QUICK"].options, "steps", 2)
    found = EXAMPLE["main"]([str(tmp_path / "mine"), "--quick", "--out", str(tmp_path / "out")])
    assert found.shape == (3, 8, 8) and found.fraction > 1.1


def test_run_again_in_the_same_folder_it_trains_anew_and_keeps_the_first_run(quick, monkeypatch):
    folder = quick[1]
    first = folder / "your_own_images"
    before = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    monkeypatch.setitem(EXAMPLE["QUICK"].options, "steps", 2)
    for number in (2, 3):
        EXAMPLE["main"](["--quick", "--out", str(folder)])
        assert (folder / f"your_own_images-{number}" / "config.toml").exists()
    assert {path: path.stat().st_mtime_ns for path in first.iterdir()} == before
    assert len(list((folder / "painted_120").iterdir())) == 120


def test_the_picture_is_there(quick):
    with Image.open(quick[1] / "your_own_images.png") as picture:
        assert min(picture.size) > 150
