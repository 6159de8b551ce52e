"""What is found in a folder, what is passed over, and that it is said."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from data_files import DIGIT_IMAGES, noise, refused
from PIL import Image

from tinyddpm import cli, data
from tinyddpm.data import labels
from tinyddpm.data.folders import listing

SYSTEM = ["@eaDir", "lost+found", "$RECYCLE.BIN", ".thumbnails", "__MACOSX", "#recycle", "@Recycle"]
SYSTEM += ["@Recently-Snapshot", "~snapshot", "iPod Photo Cache", "node_modules"]


def pictures(folder, *places):
    for i, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(folder / place)


def text(source, **request):
    return data.report(data.load(source, **request), source).text()


def classes(source):
    return labels.labelled(data.load(source), source)[1]


# ---- the report ----------------------------------------------------------------------------------


def test_the_report_says_all_of_it(tmp_path):
    pictures(tmp_path, *(f"cat/{i}.png" for i in range(7)), *(f"dog/{i}.png" for i in range(5)))
    for name in ("a.heic", "b.HEIC", "c.svg", "README"):
        (tmp_path / name).touch()
    pictures(tmp_path, "cat/.hidden.png", "@eaDir/x.png")
    found, _ = labels.labelled(data.load(tmp_path), tmp_path)
    report = data.report(found, tmp_path)
    assert report.origin.files == 12 and report.shape == (12, 1, 8, 8)
    assert report.origin.passed == {
        ".heic": 2,
        ".svg": 1,
        "without a suffix": 1,
        "hidden files": 1,
        "hidden or system folders": 1,
    }
    assert report.classes == {"cat": 7, "dog": 5}
    assert (report.training, report.held_out) == (10, 2)
    said = report.text()
    assert 2 <= len(said.splitlines()) <= 4
    for words in (
        f"{tmp_path}: 12 files used; passed over: 2 .heic, 1 .svg",
        "12 images, (C, H, W) = (1, 8, 8)",
        "stored as uint8 from 0 to 120 (PNG L 12), read as x / 127.5 - 1",
        "1 hidden file, 1 hidden or system folder",
        "2 classes: cat 7, dog 5; 10 to train on, 2 held out (stratified)",
    ):
        assert words in said or words.replace("120", "220") in said, said


def test_labels_that_are_there_and_not_used_are_said(tmp_path):
    pictures(tmp_path, "a/1.png", "b/2.png")
    assert "no classes; their labels are not used (--classes uses them)" in text(tmp_path)
    pictures(tmp_path, "3.png")
    assert "--classes" not in text(tmp_path)


def test_a_class_folder_without_a_picture_is_said(tmp_path):
    """Without this, a folder of HEIC is one class less, and nobody knows."""
    pictures(tmp_path, "a/1.png", "b/2.png", "@eaDir/3.png")
    assert "no picture" not in text(tmp_path)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/1.heic").touch()
    assert "note: no picture is read from raw" in text(tmp_path)


def test_the_command_says_it_of_any_path(tmp_path, capsys):
    pictures(tmp_path, "a/1.png", "b/2.png")
    np.save(tmp_path / "x.npy", np.stack([np.zeros((8, 8)), np.ones((8, 8))]))
    assert cli.main(["data", str(tmp_path)]) == 0
    assert "2 classes: a 1, b 1; all 2 to train on, and held out too" in capsys.readouterr().out
    assert cli.main(["data", str(tmp_path / "x.npy")]) == 0
    assert "float64 from 0 to 1, read as 2x - 1" in capsys.readouterr().out
    assert cli.main(["data", "digits"]) == 0
    assert "1,797 images, (C, H, W) = (1, 8, 8)" in capsys.readouterr().out
    assert cli.main(["data", "digits", "--size", "6", "--crop", "random"]) == 0
    assert "1,797 images, (C, H, W) = (1, 6, 6)" in capsys.readouterr().out
    assert cli.main(["data", "digits", "--size", "9", "--crop", "random"]) == 2
    assert "there is nothing to crop" in capsys.readouterr().err
    assert cli.main(["data", str(tmp_path / "none")]) == 2
    assert "digits, or a path that is there, got" in capsys.readouterr().err


def test_train_and_info_say_it(tmp_path, capsys, monkeypatch):
    pictures(tmp_path, *(f"pics/{i}.png" for i in range(7)))
    (tmp_path / "pics/x.heic").touch()
    small = "--base 2 --groups 1 --levels 1 --attention  --blocks 1 --steps 1 --T 4 --workers 1"
    command = ["train", "--data", str(tmp_path / "pics"), "--out", str(tmp_path / "run")]
    assert cli.main([*command, *small.split(" "), "--batch-size", "2", "--no-pictures"]) == 0
    line = f"{tmp_path}/pics: 7 files used; passed over: 1 .heic"
    assert line in capsys.readouterr().out
    assert (tmp_path / "run/data.txt").read_text().startswith(line)
    with monkeypatch.context() as patch:
        patch.setattr("tinyddpm.data.stored.decoder.eight_bits", None)  # many photos take minutes
        assert cli.main(["info", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert line in said and "cannot be read" not in said
    (tmp_path / "pics").rename(tmp_path / "gone")
    assert cli.main(["info", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert line in said and "its data cannot be read here" in said


def test_info_reads_the_data_of_a_run_that_did_not_note_them(tmp_path, capsys):
    """Older versions did not."""
    pictures(tmp_path, *(f"pics/{i}.png" for i in range(7)))
    small = "--base 2 --groups 1 --levels 1 --attention  --blocks 1 --steps 1 --T 4 --workers 1"
    command = ["train", "--data", str(tmp_path / "pics"), "--out", str(tmp_path / "run")]
    assert cli.main([*command, *small.split(" "), "--batch-size", "2", "--no-pictures"]) == 0
    (tmp_path / "run/data.txt").unlink()
    capsys.readouterr()
    assert cli.main(["info", str(tmp_path / "run")]) == 0
    assert "7 files used" in capsys.readouterr().out
    (tmp_path / "pics").rename(tmp_path / "gone")
    assert cli.main(["info", str(tmp_path / "run")]) == 0
    assert "its data cannot be read here" in capsys.readouterr().out


# ---- folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize("linked", [["c"], ["a", "b", "c"]])
def test_class_folders_that_are_links_are_followed(linked, tmp_path):
    for name in "abc":
        place = tmp_path / ("elsewhere" if name in linked else "pets") / name
        pictures(place, "1.png", "deep/2.png")
        if name in linked:
            (tmp_path / "pets").mkdir(exist_ok=True)
            (tmp_path / "pets" / name).symlink_to(place)
    assert len(data.load(tmp_path / "pets").images) == 6
    assert classes(tmp_path / "pets") == ("a", "b", "c")


def test_links_in_a_circle_end(tmp_path):
    pictures(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/itself").symlink_to("itself")
    (tmp_path / "b/gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "b/to_file.png").symlink_to(tmp_path / "a/1.png")
    found = data.load(tmp_path)
    assert found.origin.places == ("a/1.png", "b/2.png", "b/to_file.png")
    assert found.origin.passed["links back to a folder above"] == 1
    assert found.origin.passed["broken links"] == 2


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    pictures(tmp_path, "a/1.png", "b/2.png")
    scan = os.scandir

    def scandir(path):
        if str(path).rstrip("/").endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything: so this is for it too
    refused(tmp_path, f"{tmp_path}/b", "Permission denied")


@pytest.mark.parametrize("system", SYSTEM)
def test_folders_of_the_system_are_no_data(system, tmp_path):
    pictures(tmp_path, "a/1.png", "b/2.png", f"{system}/3.png", f"a/{system}/deep/4.png")
    found = data.load(tmp_path)
    assert found.origin.places == ("a/1.png", "b/2.png") and classes(tmp_path) == ("a", "b")
    assert found.origin.passed == {"hidden or system folders": 2}
    assert len(data.load(tmp_path / system).images) == 1  # asked for by name it is what is meant


def test_a_folder_without_pictures_says_what_is_in_it(tmp_path):
    (tmp_path / "x.heic").touch()
    refused(tmp_path, "expected pictures in this folder", "found only 1 .heic")


def test_a_run_folder_is_never_data(tmp_path):
    run = tmp_path / "runs/x"
    pictures(tmp_path, "1.png", "runs/x/loss.png", "runs/y/2.png")
    (run / "config.toml").touch()
    assert len(data.load(tmp_path).images) == 3  # any folder may have such a file
    (run / "metrics.jsonl").touch()
    found = data.load(tmp_path)
    assert found.origin.places == ("1.png", "runs/y/2.png")
    assert found.origin.passed == {"run folders": 1}
    refused(run, "run folder")


@pytest.mark.parametrize("out", ["pics", "pics/", "./pics", "link"])
def test_a_run_is_not_written_among_its_pictures(out, tmp_path, monkeypatch, capsys):
    """The folder would be a run folder then, and no data any more."""
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path, *(f"pics/{i}.png" for i in range(3)))
    (tmp_path / "link").symlink_to("pics")
    assert cli.main(["train", "--data", "pics", "--out", out, "--steps", "1"]) == 2
    assert "--out: expected another folder than that of the images" in capsys.readouterr().err
    assert len(list((tmp_path / "pics").iterdir())) == 3


# ---- names ---------------------------------------------------------------------------------------


def test_what_lies_here_wins_over_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert data.meant("digits") == "digits"
    pictures(tmp_path, "digits/1.png")
    assert data.meant("digits") == os.path.join(".", "digits") and data.meant("x") == "x"
    assert cli.main(["data", "digits"]) == 0
    said = capsys.readouterr()
    assert re.match("digits: ./digits, which lies here, and not the data set", said.err)
    assert "1 image, (C, H, W) = (1, 8, 8)" in said.out
    assert len(data.load("digits").images) == 1797  # in code a name is a name
    for name in ("config.toml", "metrics.jsonl"):
        (tmp_path / "digits" / name).touch()
    assert data.meant("digits") == "digits"  # a run folder is no data


# ---- what Pillow warns of, and what is not read --------------------------------------------------


def with_damaged_exif(path):
    Image.fromarray(noise(8, 8)).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")


@pytest.mark.filterwarnings("error")
def test_a_damaged_exif_is_said_in_our_words(tmp_path, capfd):
    with_damaged_exif(tmp_path / "a.jpg")
    with_damaged_exif(tmp_path / "b.jpg")
    said = text(tmp_path)
    assert "note: 2 pictures: damaged EXIF notes" in said
    assert not capfd.readouterr().err


def test_frames_and_sixteen_bits_are_said(tmp_path):
    frames = [Image.fromarray(np.full((3, 4), v, np.uint8)) for v in (10, 200, 90)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(np.full((3, 4), 4095, np.uint16)).save(tmp_path / "y.png")
    said = text(tmp_path)
    assert "1 picture: several frames, of which the first is used" in said
    assert "1 picture: 16 bits, scaled to 8" in said and "4095 where white is 65535" in said


def test_what_resizing_does_is_said(tmp_path):
    for name, shape in {"a": (8, 8), "b": (40, 40), "c": (40, 60)}.items():
        Image.fromarray(noise(*shape)).save(tmp_path / f"{name}.png")
    said = text(tmp_path, size=16)
    assert "1 picture: smaller than the size, and enlarged" in said
    assert "1 picture: more than a tenth is cut off" in said


def test_megapixels_have_a_limit_that_can_be_raised(tmp_path, capsys):
    Image.fromarray(np.zeros((1000, 1200), np.uint8)).save(tmp_path / "x.png")
    refused(tmp_path, "expected at most 1 megapixels, got 1.2:", "raise --megapixels", megapixels=1)
    assert data.load(tmp_path, megapixels=1.2, size=8).images.shape == (1, 1, 8, 8)
    before = Image.MAX_IMAGE_PIXELS
    assert cli.main(["data", str(tmp_path), "--megapixels", "1"]) == 2
    assert "raise --megapixels" in capsys.readouterr().err and before == Image.MAX_IMAGE_PIXELS


def test_a_suffix_in_capitals_is_accepted_for_samples(tmp_path):
    from tinyddpm.pictures.images import write_samples

    images = DIGIT_IMAGES[:4, None].astype(np.float32) / 127.5 - 1
    chain = [(1, images, images)]
    write_samples(iter(chain), tmp_path / "s.PNG")
    assert (tmp_path / "s.PNG").read_bytes().startswith(b"\x89PNG")


def test_the_paths_of_many_pictures_are_texts(tmp_path, monkeypatch):
    """A Path takes as long as the stat of its file. 200,000 of both were half of a second start."""
    (tmp_path / "x" / "a").mkdir(parents=True)
    for place in ("0.png", "a/1.png"):
        Image.new("L", (4, 4)).save(tmp_path / "x" / place)
    monkeypatch.chdir(tmp_path / "x")
    expected = {"0.png": "0.png", "a/1.png": os.path.join("a", "1.png")}
    for folder in (".", "./", "../x", str(tmp_path / "x")):
        found = listing(Path(folder)).files
        assert all(type(path) is str for path in found.values())
        assert found == {place: str(Path(folder, path)) for place, path in expected.items()}
        images = data.load(folder).images
        assert images.shape == (2, 1, 4, 4)
