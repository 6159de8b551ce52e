"""--resume: there must be a run, and its images may lie anywhere as long as they are the same."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import assert_same_run, records

from tinyddpm import cli, data
from tinyddpm.runs import checkpoint, config as configuration
from tinyddpm.runs.folder import BEST, CHECKPOINT, CONFIG
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run

NETWORK = "--T 12 --base 4 --levels 1 --attention= --groups 2 --blocks 1".split()
TINY = [*NETWORK, *"--batch-size 4 --every 2 --warmup 2 --beta 0.5 --workers 1".split()]


def train(*arguments):
    return cli.main(["train", "--no-pictures", *map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a folder of 13 pictures, and runs/x, a run of 4 steps on them."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Path("pics").mkdir()
        for i, image in enumerate(data.digits().images[:13, 0]):
            Image.fromarray(np.uint8(127 * (image + 1))).save(f"pics/{i:02d}.png")
        assert train("--data", "pics", "--out", "runs/x", "--steps", 4, *TINY) == 0
    return place


@pytest.fixture
def pics(made, tmp_path, monkeypatch):
    """The current folder: a copy of it."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "here"))
    return tmp_path / "here"


# ---- where the images lie ------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["pics/", "./pics", "runs/../pics", "absolute", "link", "moved"])
def test_the_same_images_in_another_place_are_the_same_run(place, pics, capsys):
    place = str(pics / "pics") if place == "absolute" else place
    if place == "link":
        os.symlink("pics", "link")
    if place == "moved":
        os.rename("pics", "moved")
        assert train("--out", "runs/x", "--resume", "--steps", 6) == 2
        said = capsys.readouterr().err
        assert "pics: " in said and "--data says where the images of the run are now" in said
    assert train("--out", "runs/x", "--resume", "--data", place, "--steps", 6) == 0
    assert configuration.read("runs/x/config.toml")["data"] == place
    assert checkpoint.load(Path("runs/x") / CHECKPOINT).step == 6
    # From now on every command looks there, even if the best state is from before.
    shutil.copy("runs/x/checkpoint-000004.safetensors", "runs/x/best.safetensors")
    assert Run("runs/x").config.data == place and Run("runs/x").step == 4
    assert train("--out", "runs/x", "--resume", "--steps", 8) == 0


def test_a_place_that_is_written_into_the_configuration_counts_too(pics):
    os.rename("pics", "moved")
    file = Path("runs/x") / CONFIG
    file.write_text(file.read_text().replace('data = "pics"', 'data = "moved"'))
    assert Run("runs/x").config.data == "moved"
    assert train("--out", "runs/x", "--resume", "--steps", 6) == 0


def test_the_same_images_as_an_array_or_with_their_size_named_are_the_same_run(pics):
    np.save("pics.npy", data.load("pics").images)
    options = ["--out", "runs/x", "--resume"]
    assert train(*options, "--data", "pics.npy", "--channels", 1, "--steps", 6) == 0
    assert train(*options, "--data", "pics", "--size", 8, "--steps", 8) == 0


def test_a_picture_more_or_another_size_is_another_run_and_it_says_what_differs(pics, capsys):
    before = (Path("runs/x") / CHECKPOINT).read_bytes()
    options = ["--out", "runs/x", "--resume", "--steps", "6"]
    assert train(*options, "--size", 4) == 2
    said = capsys.readouterr().err
    assert "data: pics does not hold the images that the run to resume was trained on" in said
    assert "(it had size None)" in said
    shutil.copytree("pics", "more")
    shutil.copy("pics/00.png", "more/13.png")
    assert train(*options, "--data", "more") == 2
    assert "(it had data pics)" in capsys.readouterr().err
    os.rename("pics/12.png", "pics/-1.png")  # another order: other images are held out
    assert train(*options) == 2
    assert "pics no longer holds the images" in capsys.readouterr().err
    assert (Path("runs/x") / CHECKPOINT).read_bytes() == before


def test_a_run_without_its_configuration_file_goes_on_with_that_of_its_checkpoint(pics):
    (Path("runs/x") / CONFIG).unlink()
    assert train("--out", "runs/x", "--resume", "--steps", 6) == 0
    assert configuration.read("runs/x/config.toml")["base"] == 4


# ---- there must be a run -------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["runs/y", "runs/xx", "pics", "runs"])
def test_a_name_that_no_run_has_trains_nothing(out, pics, capsys):
    before = sorted(pics.rglob("*"))
    assert train("--out", out, "--resume") == 2
    said = capsys.readouterr().err
    assert f"--resume: {out} holds no run to go on with" in said and said.count("\n") == 1
    assert ("Did you mean runs/x?" in said) == (out == "runs/xx")
    assert sorted(pics.rglob("*")) == before
    with pytest.raises(ValueError, match="holds no run to go on with"):
        run(configuration.Config(), out, resume=True)


def test_by_default_too(pics, capsys):
    assert train("--resume", "--recipe", "digits") == 2
    assert "runs/digits holds no run" in capsys.readouterr().err


def test_resume_if_there_starts_a_run_once_and_then_goes_on(pics):
    options = ["--data", "pics", "--out", "runs/z", "--resume-if-there", *TINY]
    for steps in (2, 4):
        assert train(*options, "--steps", steps) == 0
        assert checkpoint.load(Path("runs/z") / CHECKPOINT).step == steps
    assert_same_run(Path("runs/z"), Path("runs/x"))


def test_a_run_that_was_ended_before_its_first_checkpoint_begins_again(
    config, unbroken, tmp_path, capsys
):
    folder = tmp_path / "x"
    run(dataclasses.replace(config, steps=3), folder)
    (folder / CHECKPOINT).unlink()
    assert not (folder / BEST).exists()
    run(config, folder, resume=True)
    assert "holds no checkpoint yet: the run begins at its first step" in capsys.readouterr().err
    assert records(folder) == records(unbroken)


# ---- rectangles, flips and crops -----------------------------------------------------------------


def test_a_run_on_flipped_rectangles_goes_on_exactly(pics, capsys):
    shape = "--data", "pics", "--size", "4x8", "--flip"
    assert train(*shape, "--out", "runs/whole", "--steps", 6, *TINY) == 0
    assert train(*shape, "--out", "runs/parts", "--steps", 3, *TINY) == 0
    assert train("--out", "runs/parts", "--resume", "--steps", 6) == 0
    assert_same_run(pics / "runs/parts", pics / "runs/whole")
    written = configuration.read(Path("runs/whole", CONFIG))
    assert (written["size"], written["image"], written["flip"]) == ("4x8", [1, 4, 8], True)
    *_, (_, x0, _) = Run("runs/whole").sample(n=1, steps=2, sampler="ddim")
    assert x0.shape == (1, 1, 4, 8)
    assert train("--out", "runs/parts", "--resume", "--steps", 8, "--no-flip") == 2
    assert "flip: the run to resume has True, not False" in capsys.readouterr().err
    assert (
        train(*shape[:2], "--no-flip", "--size", "4x8", "--out", "runs/y", "--steps", 6, *TINY) == 0
    )
    assert [r["J"] for r in records(pics / "runs/y") if "J" in r][1:] != [
        r["J"] for r in records(pics / "runs/whole") if "J" in r
    ][1:]


def test_a_run_on_random_crops_goes_on_exactly(pics, capsys):
    asked = "--data", "pics", "--size", "4x6", "--crop", "random", "--flip"
    assert train(*asked, "--out", "runs/whole", "--steps", 6, *TINY) == 0
    assert train(*asked, "--out", "runs/parts", "--steps", 3, *TINY) == 0
    assert train("--out", "runs/parts", "--resume", "--steps", 6) == 0
    assert_same_run(pics / "runs/parts", pics / "runs/whole")
    written = configuration.read(Path("runs/whole", CONFIG))
    assert (written["size"], written["image"], written["crop"]) == ("4x6", [1, 4, 6], "random")
    assert train("--out", "runs/parts", "--resume", "--steps", 8, "--crop", "centre") == 2
    assert "crop: the run to resume has 'random', not 'centre'" in capsys.readouterr().err
    # The first steps of a run see other parts of the images than at the centre.
    assert train(*asked[:4], "--flip", "--out", "runs/y", "--steps", 6, *TINY) == 0
    found = [[r["J"] for r in records(pics / "runs" / name) if "J" in r] for name in ("whole", "y")]
    assert len(found[0]) == 6 and not set(found[0]) & set(found[1])


def test_a_part_that_no_crop_at_the_centre_shows_belongs_to_the_data(pics, capsys):
    asked = "--data", "pics", "--size", "4", "--crop", "random"
    assert train(*asked, "--out", "runs/whole", "--steps", 3, *TINY) == 0
    changed = np.array(Image.open("pics/00.png"))
    changed[:1, :1] ^= 255
    Image.fromarray(changed).save("pics/00.png")
    assert train("--out", "runs/whole", "--resume", "--steps", 6) == 2
    assert "images" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["4x", "x4", "4x8x8", "0x4", "-4", "many", "0"])
def test_sizes_that_are_none(size, pics, capsys):
    assert train("--data", "pics", "--size", size, "--out", "runs/z", "--steps", 1, *TINY) == 2
    said = capsys.readouterr().err
    assert said.startswith("tinyddpm: size: expected") and not Path("runs/z").exists()
