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
