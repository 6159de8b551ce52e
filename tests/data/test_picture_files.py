"""Pictures and folders of them: what goes in comes out of load, and the rest raises DataError."""

import subprocess
import sys

import numpy as np
import pytest
from data_files import as_float, check, folder_of, many, noise, refused
from hypothesis import given, strategies as st
from PIL import Image

from tinyddpm.data import image_files, load, split
from tinyddpm.data.stored import decoder


@many(max_examples=15)
@given(h=st.integers(1, 9), w=st.integers(1, 9), n=st.integers(1, 3), colour=st.booleans())
def test_a_folder_round_trip(tmp_path_factory, h, w, n, colour):
    pixels = noise(n, h, w, 3) if colour else noise(n, h, w)
    pictures = {f"p{i}": picture for i, picture in enumerate(pixels)}
    folder = folder_of(tmp_path_factory.mktemp("folder"), **pictures)
    d = load(folder)
    check(d, as_float(pixels.transpose(0, 3, 1, 2) if colour else pixels[:, None]), 256)
    assert d.name == folder.name and d.labels is None
    # They have this size already, so nothing is resized.
    assert load(folder, size=(h, w)).fingerprint() == d.fingerprint()


def test_order_depth_and_what_is_skipped(tmp_path):
    for i, name in enumerate(["b.PNG", "a/z.png", "a.bmp", ".hidden.png", ".cache/x.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((2, 2), i, np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    images = load(tmp_path).images  # in the order of relative names: a.bmp, a/z.png, b.PNG
    assert np.rint((images[:, 0, 0, 0] + 1) * 127.5).tolist() == [2, 1, 0]


def test_one_grey_and_one_colour_picture(tmp_path):
    grey, colour = noise(4, 4), noise(4, 4, 3)
    folder_of(tmp_path, a=grey, b=colour)
    check(load(tmp_path), as_float(np.stack([[grey] * 3, colour.transpose(2, 0, 1)])), 256)
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    check(load(tmp_path, channels=1), as_float(np.stack([grey, luma])[:, None]), 256)


def test_resizing_crops_around_the_centre(tmp_path):
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 5:19] = 255  # the central 8 columns, and what bicubic resizing sees beyond them
    folder_of(tmp_path, a=wide, b=wide.T.copy())
    images = load(tmp_path, size=4).images
    assert images.shape == (2, 1, 4, 4) and (images == 1).all()
    assert load(tmp_path, size=(2, 6)).images.shape == (2, 1, 2, 6)
    assert load(tmp_path, size="2x6").fingerprint() == load(tmp_path, size=(2, 6)).fingerprint()


def test_a_single_picture_is_a_data_set_of_one(tmp_path):
    pixels = noise(5, 6, 3)
    folder_of(tmp_path, one=pixels)
    check(load(tmp_path / "one.png"), as_float(pixels.transpose(2, 0, 1)[None]), 256)
    train, held_out = split(load(tmp_path / "one.png", size=3))
    assert train.images.shape == held_out.images.shape == (1, 3, 3, 3)


# How a camera stores the upright picture, by the orientation that it notes.
AS_STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.T,
    6: lambda x: np.rot90(x),
    7: lambda x: x[::-1, ::-1].T,
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("orientation", AS_STORED)
def test_exif_orientation(tmp_path, orientation):
    upright = noise(3, 5)
    stored = np.ascontiguousarray(AS_STORED[orientation](upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    check(load(tmp_path), as_float(upright[None, None]), 256)


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.array([[[200, 0, 100, 255], [200, 0, 100, 0], [0, 0, 0, 51]]], np.uint8)
    folder_of(tmp_path, x=rgba)
    expected = np.array([[[200, 0, 100], [255, 255, 255], [204, 204, 204]]])  # H W C
    check(load(tmp_path), as_float(expected.transpose(2, 0, 1)[None]), 256)


def test_grey_with_transparency_stays_grey(tmp_path):
    folder_of(tmp_path, x=np.array([[[7, 255], [7, 0]]], np.uint8))
    check(load(tmp_path), as_float(np.array([[[[7, 255]]]])), 256)


def test_a_transparent_colour(tmp_path):
    Image.fromarray(np.array([[7, 90]], np.uint8)).save(tmp_path / "x.png", transparency=7)
    check(load(tmp_path), as_float(np.array([[[[255, 90]]]])), 256)


def test_palettes(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([255, 0, 0, 0, 128, 0, 9, 9, 9])
    picture.save(tmp_path / "x.png")
    opaque = np.array([[[[255, 0, 9]], [[0, 128, 9]], [[0, 0, 9]]]])
    check(load(tmp_path), as_float(opaque), 256)
    picture.save(tmp_path / "x.png", transparency=bytes([255, 0, 255]))
    on_white = np.array([[[[255, 255, 9]], [[0, 255, 9]], [[0, 255, 9]]]])
    check(load(tmp_path), as_float(on_white), 256)
    picture.putpalette([50, 50, 50, 0, 0, 0, 9, 9, 9])  # a palette of greys
    picture.save(tmp_path / "x.png")
    check(load(tmp_path), as_float(np.array([[[[50, 0, 9]]]])), 256)


def test_cmyk(tmp_path):
    inks = np.zeros((4, 2, 2), np.uint8)  # cyan, magenta, yellow, black
    inks[0, 0, 0] = inks[1, 0, 1] = inks[3, 1, 1] = 255
    Image.merge("CMYK", [Image.fromarray(ink) for ink in inks]).save(tmp_path / "x.tif")
    expected = np.array([[[0, 255, 255], [255, 0, 255]], [[255, 255, 255], [0, 0, 0]]])  # H W C
    check(load(tmp_path), as_float(expected.transpose(2, 0, 1)[None]), 256)
    assert load(tmp_path, channels=1).images.shape == (1, 1, 2, 2)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path, suffix):
    levels, path = np.array([[0, 257, 32896, 65535]], np.uint16), tmp_path / f"x.{suffix}"
    if suffix == "pgm":  # which older versions of Pillow read and cannot write
        path.write_bytes(b"P5 4 1 65535\n" + levels.astype(">u2").tobytes())
    else:
        Image.fromarray(levels).save(path)
    check(load(tmp_path), as_float(np.array([[[[0, 1, 128, 255]]]])), 256)


def test_one_bit(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "x.png")
    check(load(tmp_path), np.array([[[[-1.0, 1.0]]]]), 256)


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_the_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.fromarray(np.full((3, 4), v, np.uint8)) for v in (10, 200, 90)]
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:])
    check(load(tmp_path), as_float(np.full((1, 1, 3, 4), 10)), 256)


def test_jpeg_and_webp(tmp_path):
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(tmp_path / "a.jpg")
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(tmp_path / "b.webp", lossless=True)
    np.testing.assert_allclose(load(tmp_path).images, as_float(np.array(77)), atol=1 / 127)


def test_pictures_that_cannot_be_used(tmp_path):
    refused(tmp_path, "expected pictures in this folder", ".png")
    folder_of(tmp_path, a=noise(3, 4), b=noise(4, 3))
    refused(tmp_path, "b.png", "a.png", "4 x 3", "3 x 4")
    (tmp_path / "b.png").write_text("not a picture")
    refused(tmp_path, "b.png", "expected a picture", "begins with 'not a pictur'")
    (tmp_path / "b.png").write_bytes(b"")
    refused(tmp_path, "b.png", "expected a picture", "an empty file")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    refused(tmp_path, "b.png", "cannot be read")
    (tmp_path / "b.png").unlink()
    Image.fromarray(np.zeros((3, 4), np.float32)).save(tmp_path / "b.tif")
    refused(tmp_path, "b.tif", "floats")
    Image.fromarray(np.full((3, 4), 70000, np.int32)).save(tmp_path / "b.tif")
    refused(tmp_path, "b.tif", "70000")


def test_postscript_is_never_run(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x.eps")
    refused(tmp_path, "expected pictures")
    (tmp_path / "x.eps").rename(tmp_path / "x.png")  # under any name it is still PostScript
    refused(tmp_path, "expected a picture")


@pytest.mark.parametrize("megapixels", [1e-3, 1.5e-3])  # Pillow raises from twice the first on
def test_a_picture_bomb(megapixels, tmp_path):
    folder_of(tmp_path, x=np.zeros((40, 51), np.uint8))
    refused(tmp_path, "x.png", "megapixels, got 0.00204: ", megapixels=megapixels)
    assert load(tmp_path, megapixels=2.04e-3).images.shape == (1, 1, 40, 51)


def test_pictures_beyond_the_limit(tmp_path, monkeypatch):
    folder_of(tmp_path, x=noise(4, 4))
    monkeypatch.setattr(image_files, "MAX_BYTES", 15)
    refused(tmp_path, "16 bytes of memory", "--max-memory (or TINYDDPM_MAX_GB), in gigabytes")
    # A size that is too large is refused before anything is resized.
    monkeypatch.setattr(decoder, "eight_bits", None)
    refused(
        tmp_path, "(1, 9, 9, 1) would take 81 bytes", "the limit is 15 bytes", size=9, channels=1
    )


def test_the_limit_can_be_raised_by_a_user(monkeypatch):
    assert image_files.limit("2") == 2**31 and image_files.limit("0.5") == 2**29
    for wrong in ("0", "-1", "many", "nan", "inf"):
        with pytest.raises(ValueError, match=f"^TINYDDPM_MAX_GB: expected .*, got '{wrong}'"):
            image_files.limit(wrong)
    program = "from tinyddpm.data import image_files; print(image_files.MAX_BYTES)"
    command = [sys.executable, "-c", program]
    monkeypatch.setenv("TINYDDPM_MAX_GB", "12")
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(said) == 12 * 2**30


def test_the_limit_is_an_option_and_counts_what_is_in_memory(tmp_path):
    folder_of(tmp_path, x=noise(200, 200))
    np.savez_compressed(tmp_path / "x.npz", noise(1, 200, 200, dtype=np.uint16))
    for path, size in ((tmp_path / "x.png", 40_000), (tmp_path / "x.npz", 80_000)):
        enough = (size + 0.5) / 2**30
        assert load(path, max_memory=enough).images.shape == (1, 1, 200, 200)
        refused(path, f"{size} bytes of memory", "--max-memory", max_memory=(size - 0.5) / 2**30)
    for wrong in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="^max_memory: expected a positive number of gig"):
            load(tmp_path, max_memory=wrong)
    assert load(tmp_path).images.size and image_files.MAX_BYTES == 2**31
