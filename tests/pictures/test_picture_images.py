"""Pictures of images: of the expected size, with exactly the images' greys, whole or not at all."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from picture_files import only
from PIL import Image, ImageSequence

from tinyddpm import noise, schedule
from tinyddpm.more.solvers import ddim
from tinyddpm.pictures import images as pictures

S = schedule.linear(20)


def levels(*shape):
    """uint8 pixels and the images in [−1, 1] that they are."""
    grey = noise.integers(0, "grey", 0, [0], 256, shape)[0].astype(np.uint8)
    return grey, (grey / 127.5 - 1).astype(np.float32)


def film(n, channels=1, steps=5, size=4):
    x = noise.normal(0, "x", 0, range(n), (channels, size, size))
    return list(ddim(lambda xt, t: xt / 2, S, x, steps=steps))


# ---- grids ---------------------------------------------------------------------------------------


@given(
    n=st.integers(1, 7),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    columns=st.integers(1, 8),
    zoom=st.integers(1, 4),
    gap=st.integers(0, 5),
)
def test_a_grid_holds_the_images_pixels_and_white(n, channels, height, width, columns, zoom, gap):
    grey, images = levels(n, channels, height, width)
    got = np.asarray(pictures.image_grid(images, columns, zoom, gap))
    across = min(columns, n)
    rows = -(-n // across)
    high, wide = height * zoom, width * zoom  # of an image
    assert got.shape[:2] == (rows * (high + gap) - gap, across * (wide + gap) - gap)
    got = got.reshape(*got.shape[:2], channels)
    covered = np.zeros(got.shape[:2], bool)
    for i in range(n):
        y, x = i // across * (high + gap), i % across * (wide + gap)
        tile = np.s_[y : y + high, x : x + wide]
        enlarged = np.kron(grey[i].transpose(1, 2, 0), np.ones((zoom, zoom, 1), np.uint8))
        np.testing.assert_array_equal(got[tile], enlarged)
        assert not covered[tile].any()
        covered[tile] = True
    assert (got[~covered] == 255).all()


@pytest.mark.parametrize("width, zoom", [(8, 7), (28, 2), (32, 2), (64, 1), (200, 1), (1, 56)])
def test_the_zoom_makes_images_about_56_wide(width, zoom):
    assert pictures.image_grid(np.zeros((1, 1, 2, width))).size == (zoom * width, zoom * 2)


def test_a_grid_is_as_square_as_can_be():
    grid = pictures.image_grid(np.zeros((10, 1, 8, 8)), zoom=1, gap=1)
    assert grid.size == (4 * 9 - 1, 3 * 9 - 1)


def test_what_lies_outside_is_clipped_and_the_ends_are_black_and_white():
    got = np.asarray(pictures.image_grid(np.float32([-7, -1, 0, 1, 7]).reshape(1, 1, 1, 5), zoom=1))
    assert got[0, [0, 1, 3, 4]].tolist() == [0, 0, 255, 255] and got[0, 2] in (127, 128)


@pytest.mark.parametrize("shape", [(0, 1, 2, 2), (2, 2, 2), (1, 2, 2, 2)])
def test_a_grid_of_something_else_is_refused(shape):
    with pytest.raises(ValueError, match="^images: .*C 1 or 3"):
        pictures.image_grid(np.zeros(shape))


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB")])
def test_samples_beside_real(tmp_path, channels, mode):
    _, images = levels(9, channels, 8, 8)
    path, titles = tmp_path / "samples.png", ("samples", "real digits")
    pictures.samples_beside_real(images, images[::-1], path, titles)
    with Image.open(only(path)) as picture:
        assert picture.mode == mode
        sheet = np.asarray(picture)
    for grid in (pictures.image_grid(images), pictures.image_grid(images[::-1])):
        assert _contains(sheet, np.asarray(grid))


def _contains(sheet, grid):
    """Is `grid` somewhere in `sheet`, pixel by pixel?"""
    high, wide = grid.shape[:2]
    return any(
        np.array_equal(sheet[y : y + high, x : x + wide], grid)
        for y in range(sheet.shape[0] - high + 1)
        for x in range(sheet.shape[1] - wide + 1)
        if np.array_equal(sheet[y, x : x + wide], grid[0])
    )


# ---- the film ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_denoising_has_a_frame_for_each_step_and_stays_at_the_last(tmp_path, channels):
    frames = film(4, channels)
    pictures.denoising(tmp_path / "denoising.gif", frames)
    with Image.open(only(tmp_path / "denoising.gif")) as gif:
        assert gif.n_frames == 5 and gif.info["loop"] == 0
        durations, shots = [], []
        for shot in ImageSequence.Iterator(gif):
            durations.append(shot.info["duration"])
            shots.append(np.asarray(shot.convert("RGB")))
    assert durations == [1000] * 4 + [2000]
    last = pictures.image_grid(pictures._few_greys(frames[-1][1]), columns=4)
    if channels == 1:  # colours are quantized; greys are exact
        assert _contains(shots[-1], np.asarray(last.convert("RGB")))
        assert all((shot == shot[..., :1]).all() for shot in shots)


def test_a_long_chain_is_thinned_and_a_large_one_shows_fewer(tmp_path):
    path = tmp_path / "long.gif"
    pictures.denoising(path, film(30, steps=20), most=6)
    with Image.open(path) as gif:
        assert gif.n_frames == 6
        size = gif.size
    pictures.denoising(path, film(16, steps=20), most=6)
    with Image.open(path) as gif:
        assert gif.size == size  # sixteen are shown
    pictures.denoising(path, film(16, steps=2, size=64))
    with Image.open(path) as gif:
        assert gif.size[0] < 4 * 64 + 100  # two beside two


def test_no_frames_no_film(tmp_path):
    with pytest.raises(ValueError, match="^frames: "):
        pictures.denoising(tmp_path / "x.gif", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", pictures.WRITERS)
def test_write_samples(tmp_path, suffix):
    path, frames = tmp_path / f"samples{suffix}", film(3)
    pictures.write_samples(iter(frames), path)
    if only(path).suffix == ".npz":
        with np.load(path) as arrays:
            np.testing.assert_array_equal(arrays["images"], frames[-1][1])
    else:
        with Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) == (5 if suffix == ".gif" else 1)
            if suffix == ".png":
                np.testing.assert_array_equal(picture, pictures.image_grid(frames[-1][1]))
    with pytest.raises(ValueError, match="^path: .*png.*gif.*npz"):
        pictures.write_samples(iter(frames), tmp_path / "samples.jpg")


# ---- the forward process -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_forward(tmp_path, channels):
    x0, eps = noise.normal(0, "x", 0, [0, 1], (channels, 4, 6))
    pictures.forward(tmp_path / "forward.png", x0, S, [0, 5, 20], eps)
    with Image.open(only(tmp_path / "forward.png")) as picture:
        assert picture.width > 600
