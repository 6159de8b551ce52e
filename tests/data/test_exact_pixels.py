"""Which pixels of a picture become data, and which grey, to the pixel and to the grey level."""

import numpy as np
import pytest
from PIL import Image

from tinyddpm.data import load

LEVELS = np.arange(65536)


def test_every_sixteen_bit_grey_is_rounded_to_the_nearest_of_eight_bits(tmp_path):
    """65,535 / 255 is 257, which is odd: no grey lies half-way."""
    Image.fromarray(LEVELS.astype(np.uint16).reshape(256, 256)).save(tmp_path / "x.png")
    images = load(tmp_path / "x.png").images
    greys = np.rint((images.astype(np.float64) + 1) * 127.5).ravel()
    np.testing.assert_array_equal(greys, np.rint(LEVELS / 257))


@pytest.mark.parametrize("side", [2, 7, 10])
@pytest.mark.parametrize("cut", [2, 6, 20])
@pytest.mark.parametrize("upright", [False, True])
def test_the_crop_is_the_centre_to_the_pixel(tmp_path, side, cut, upright):
    """A picture that is only too wide (or high) loses as much at either end, and is not resized."""
    shape = (side, side + 2 * cut)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    middle = pixels[:, cut:-cut]
    if upright:
        pixels, middle = pixels.T.copy(), middle.T
    Image.fromarray(pixels).save(tmp_path / "x.png")
    images = load(tmp_path / "x.png", size=side).images[0, 0]
    np.testing.assert_array_equal(np.rint((images + 1) * 127.5), middle)


def keys(x):
    """Keys 1981, "Cubic convolution interpolation for digital image processing", equation 15."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


@pytest.mark.parametrize("old, new", [(6, 12), (7, 9), (24, 8), (30, 7)])
def test_resizing_is_bicubic_and_looks_at_all_pixels_when_it_shrinks(tmp_path, old, new):
    pixels = np.random.default_rng(1).integers(60, 196, (old, old), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    scale = old / new
    centres, stored = (np.arange(new) + 0.5) * scale, np.arange(old) + 0.5
    weights = keys((stored - centres[:, None]) / max(scale, 1))
    weights /= weights.sum(axis=1, keepdims=True)
    images = load(tmp_path / "x.png", size=new).images[0, 0]
    expected = np.clip(weights @ pixels @ weights.T, 0, 255)
    np.testing.assert_allclose((images + 1) * 127.5, expected, atol=1.5)
