"""What is said of pictures that are other than meant: sizes, damage, colours, doubles, parts."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from data_files import folder_of, noise, refused
from PIL import Image

from tinyddpm import cli, data
from tinyddpm.data import DataError, image_files, labels
from tinyddpm.data.stored import decoding


def text(source, **request):
    return data.report(data.load(source, **request), source).text()


def labelled(source):
    return data.report(labels.labelled(data.load(source), source)[0], source).text()


def pictures(folder, *places):
    """A picture at each place, each another."""
    for place, picture in zip(places, noise(len(places), 8, 8)):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / place)


# ---- sizes ---------------------------------------------------------------------------------------


def test_different_sizes_are_counted_before_one_is_asked_for(tmp_path, capsys):
    folder_of(tmp_path, a=noise(8, 9), b=noise(20, 30), c=noise(8, 9))
    (tmp_path / "x.heic").touch()
    assert cli.main(["data", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == (
        f"{tmp_path}: 3 files used; passed over: 1 .heic\n"
        "3 images of 2 sizes (H x W): 2 of 8 x 9, 1 of 20 x 30; the shortest side of all is 8\n"
    )
    assert "b.png: is 20 x 30 pixels, but" in said.err
    assert said.err.endswith("give a size, such as --size 8\n")
    assert cli.main(["data", str(tmp_path), "--size", "8"]) == 0


def test_many_sizes_are_cut_short_and_turned_pictures_count_upright(tmp_path):
    for i in range(9):
        Image.fromarray(noise(70 + i, 90)).save(tmp_path / f"{i}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(90, 70)).save(tmp_path / "turned.jpg", exif=exif)
    with pytest.raises(image_files.DifferentSizes) as caught:
        data.load(tmp_path)
    assert "2 of 70 x 90, 1 of 71 x 90" in caught.value.found
    assert ", and 3 more sizes; the shortest side of all is 70" in caught.value.found
    assert str(caught.value).endswith("such as --size 64")


# ---- damage --------------------------------------------------------------------------------------


def test_all_pictures_that_cannot_be_used_are_named_at_once(tmp_path):
    folder_of(tmp_path, **{f"p{i}": picture for i, picture in enumerate(noise(9, 8, 8, 3))})
    whole = (tmp_path / "p0.png").read_bytes()
    for i, content in {1: b"<html>", 3: b"", 5: whole[:60], 6: b"no", 7: b"no"}.items():
        (tmp_path / f"p{i}.png").write_bytes(content)
    with pytest.raises(DataError) as caught:
        data.load(tmp_path)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/p1.png: expected a picture") and "a web page" in said
    assert said.endswith(
        f"; 4 more cannot be used: {tmp_path}/p3.png, {tmp_path}/p5.png, {tmp_path}/p6.png, …"
    )


def test_names_that_do_not_print_leave_one_line(tmp_path, capsys):
    for name in ("a\n.png", "b\x1b[31m.png"):
        (tmp_path / name).touch()
    with pytest.raises(DataError) as caught:
        data.load(tmp_path)
    assert str(caught.value).isprintable() and "b?[31m.png" in str(caught.value)
    odd = tmp_path / "c\nd"
    odd.mkdir()
    folder_of(odd, a=noise(8, 9), b=noise(9, 8))
    assert cli.main(["data", str(odd)]) == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 and len(said.err.splitlines()) == 1


def test_where_nothing_can_be_used_we_soon_give_up(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MOST_UNUSABLE", 3)
    for i in range(9):
        (tmp_path / f"{i}.png").write_bytes(b"\0")
    refused(tmp_path, "0.png: expected a picture", "; at least 2 more cannot be used")


@pytest.mark.parametrize("mode", [0, 0o444, 0o111])
@pytest.mark.skipif(os.name != "posix" or os.getuid(), reason="only root can become another")
def test_a_folder_that_another_user_cannot_read_is_named(mode):
    """Root reads everything, so a child process becomes nobody."""
    with tempfile.TemporaryDirectory() as name:  # nobody may not enter tmp_path
        root = Path(name)
        root.chmod(0o755)
        pictures(root, "a/1.png", "b/2.png")
        (root / "b").chmod(mode)
        said = seen_by_nobody(root)
    assert f"{root}/b" in said and "Permission denied" in said and said.count(str(root)) == 1


def seen_by_nobody(folder):
    program = (
        "import os, sys; from PIL import Image; Image.init(); from tinyddpm import data\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: print(data.load(sys.argv[1]).origin)\n"
        "except data.DataError as error: print(error)"
    )
    child = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(child, capture_output=True, text=True, check=True).stdout


# ---- files that are no pictures ------------------------------------------------------------------


REFUSED = {
    "x.pt": (b"\x80\x02}q\0.", "a pickle (.pkl, .pt), which could run code"),
    "x.h5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "x.rar": (b"Rar!\x1a\x07", "a RAR archive"),
    "x.7z": (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    "x.heic": (b"\0\0\0\x18ftypheic", "a HEIC picture"),
    "x.svg": (b"<svg xmlns='", "an SVG drawing"),
    "x.png": (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
    "x.jpg": (b"<!DOCTYPE html><html>", "a web page, perhaps in place of a download"),
    "y.jpg": (b"\n", "a text that begins with"),
    "x.csv": ("größe,pixel\n".encode(), "a text that begins with 'größe,pixel'"),
    "z.jpg": (b"\0\0\0\x18ftypmif1", "a HEIC picture"),
    "x.avif": (b"\0\0\0\x1cftypavif", "an AVIF picture that is damaged"),
    "x.mp4": (b"\0\0\0\x18ftypmp42", "a film: write its frames"),
    "x.avi": (b"RIFF\0\0\0\0AVI LIST", "a film: write its frames"),
    "x.mkv": (b"\x1a\x45\xdf\xa3", "a film: write its frames"),
    "x.dcm": (bytes(128) + b"DICM", "a DICOM picture"),
    "x.exr": (b"v/1\x01\2\0\0\0", "an OpenEXR picture"),
    "x.jxl": (b"\xff\x0a\xfa\x1f", "a JPEG XL picture"),
    "data.mdb": (bytes(16) + b"\xde\xc0\xef\xbe" + bytes(9), "an LMDB database"),
    "x.db": (b"SQLite format 3\0", "a database"),
    "x.safetensors": (b"\x10" + bytes(7) + b'{"a":{}}\0', "a safetensors file"),
    "x.bin": (b"\x01\x02\x03", "one that begins with '01 02 03'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_by_name(name, tmp_path):
    content, words = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, words)


# ---- colours -------------------------------------------------------------------------------------


def test_wide_colours_that_are_read_as_srgb_are_said(tmp_path):
    """A photo of a telephone. Pillow does not apply the profile in the file."""
    photo = Image.fromarray(noise(8, 8, 3))
    header = bytes(16) + b"RGB " + bytes(20)
    photo.save(tmp_path / "a.jpg", icc_profile=header + "Display P3".encode("utf-16-be"))
    photo.save(tmp_path / "b.png", icc_profile=header + b"Adobe RGB (1998)")
    photo.save(tmp_path / "c.png", icc_profile=header + b"sRGB IEC61966-2.1")
    press = bytes(16) + b"CMYK" + bytes(20)
    photo.convert("CMYK").save(tmp_path / "d.jpg", icc_profile=press)
    said = text(tmp_path)
    assert "1 picture: colours are Display P3 and read as sRGB" in said
    assert "1 picture: colours are Adobe RGB and read as sRGB" in said
    assert "1 picture: CMYK with a colour profile" in said and said.count("picture:") == 3


def test_grey_pictures_stored_in_colour_are_said(tmp_path):
    grey = np.stack([noise(2, 8, 8)] * 3, axis=-1)
    folder_of(tmp_path, a=grey[0], b=grey[1])
    assert "every picture is grey, but stored in colour: --channels 1" in text(tmp_path)
    assert "note" not in text(tmp_path, channels=1) and "note" not in text(tmp_path, channels=3)
    folder_of(tmp_path, c=noise(8, 8, 3))
    assert "note" not in text(tmp_path)


def test_a_mask_of_zeros_and_ones_is_black_and_white(tmp_path):
    mask = (noise(8, 8) > 99).astype(np.uint8)
    folder_of(tmp_path, a=mask)
    found = data.load(tmp_path)
    assert (found.images[0, 0] == 2.0 * mask - 1).all() and found.grey_levels == 2
    assert "uint8 from 0 to 1 (PNG L 1), read as 2x - 1" in text(tmp_path)


# ---- doubles, parts and names --------------------------------------------------------------------


def test_equal_images_are_said(tmp_path):
    one, other, third = noise(3, 8, 8)
    folder_of(tmp_path, a=one, b=other, c=one, d=third, e=one)
    assert "note: 2 images are equal to another, such as c.png to a.png: what is" in text(tmp_path)
    np.save(tmp_path / "x.npy", np.stack([one, other, other]))
    assert "1 image is equal to another, such as image 2 to image 1" in text(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.stack([one, other, third]))
    assert "note" not in text(tmp_path / "x.npy")


def test_a_class_that_is_a_link_to_another_is_said_so(tmp_path):
    pictures(tmp_path, "cat/1.png")
    (tmp_path / "dog").symlink_to("cat")
    assert "1 image is equal to another, such as dog/1.png to cat/1.png" in text(tmp_path)


@pytest.mark.parametrize("parts", [("train", "test"), ("Training", "val", "Test")])
def test_parts_of_a_data_set_are_no_classes(parts, tmp_path):
    pictures(tmp_path, *(f"{part}/{kind}/1.png" for part in parts for kind in ("cat", "dog")))
    assert "look like parts of a data set, and all are used: give one" in text(tmp_path)
    assert "note" not in text(tmp_path / parts[0])


def test_a_folder_around_the_classes_is_said(tmp_path):
    pictures(tmp_path, "pets/cat/1.png", "pets/dog/2.png")
    said = labelled(tmp_path)
    assert "1 class: pets 2;" in said
    assert "all images lie in pets: if cat, dog in it are the classes, give it" in said
    assert "note" not in text(tmp_path) and "note" not in labelled(tmp_path / "pets")


def test_class_names_that_look_alike_are_said(tmp_path):
    pictures(tmp_path, "Cat/1.png", "cat/2.png", "dog/3.png", "dog /4.png")
    pictures(tmp_path / "letters", "a/1.png", "A/2.png")
    said = labelled(tmp_path)
    assert "names look alike: 'Cat' and 'cat'; 'dog' and 'dog '" in said
    assert "note" not in labelled(tmp_path / "letters")
