"""Winograd's matrices: the published ones, and each entry of all of them."""

import numpy as np
import pytest

from tinyddpm.fast.tiles import TILES_4X4, TILES_5X5, UPSAMPLING_TILES
from tinyddpm.fast.winograd import winograd

PUBLISHED_BT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
PUBLISHED_G_TIMES_24 = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]
PUBLISHED_AT = [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
]


def outputs(transforms, x, w):
    """Aᵀ[(G w)·(Bᵀ x)]."""
    return transforms.At @ ((transforms.G @ w) * (transforms.Bt @ x))


@pytest.mark.parametrize("transforms", [TILES_4X4, TILES_5X5], ids=["by 4", "by 5"])
def test_every_entry_of_the_matrices_matters(transforms):
    """In one dimension they correlate x with w. An entry off by 1e-3 would show."""
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal(len(transforms.At) + 2), rng.standard_normal(3)
    found, expected = outputs(transforms, x, w), np.correlate(x, w, "valid")
    assert np.allclose(found, expected, rtol=0, atol=1e-13)


def test_every_entry_matters_with_up_sampling():
    rng = np.random.default_rng(5)
    small, w = rng.standard_normal(4), rng.standard_normal(3)
    expected = np.correlate(small[[0, 1, 1, 2, 2, 3]], w, "valid")
    assert np.allclose(outputs(UPSAMPLING_TILES, small, w), expected, rtol=0, atol=1e-13)
    assert UPSAMPLING_TILES.Bt.shape == (5, 4)


def test_the_published_matrices():
    """Lavin & Gray 2016, section 4.3: F(4×4, 3×3)."""
    Bt, G, At = winograd(4, [0, 1, -1, 2, -2])
    assert np.array_equal(Bt, PUBLISHED_BT)
    assert np.allclose(24 * G, PUBLISHED_G_TIMES_24, rtol=0, atol=1e-14)
    assert np.array_equal(At, PUBLISHED_AT)
