"""box_muller: logarithm, cosine and sine out of + - * / and the square root.

They are right to 2 units in the last place, and their bits must never change.
"""

import hashlib

import numpy as np
import pytest

from tinyddpm import noise
from tinyddpm.noise import box_muller

WIDE = np.longdouble
pytestmark = pytest.mark.skipif(
    np.finfo(WIDE).nmant < 63,
    reason="the reference is computed in longdouble, which is no wider than float64 here",
)
SHA256 = {
    np.float64: "524bf261984b2b099f22e441b6901246e135ada7e2a448dd809f3d4c4c0958f4",
    np.float32: "929f6e3889b904d74617905c6e3f65d1e46e60236c92a6b99e105f2436f57dfc",
}


def words():
    """Random ones, and all around where the pieces of the functions meet.

    That is at the ends, the quarters and eighths of a turn, and the powers of sqrt(1/2).
    """
    random = np.random.default_rng(0).integers(0, 2**32, 200_000)
    sixteenths = 2**32 * np.arange(1, 16) // 16
    powers = (2**32 * 0.5 ** (np.arange(1, 60) / 2)).astype(np.int64)
    borders = [0, 2**32, *sixteenths, *powers]
    near = (np.int64(borders)[:, None] + np.arange(-300, 300)).ravel()
    return np.concatenate([random, near[(near >= 0) & (near < 2**32)]]).astype(np.uint32)


def units_in_the_last_place(got, true):
    return np.abs((got - true) / np.spacing(np.abs(true).astype(np.float64))).max()


def test_logarithm_cosine_and_sine():
    w = words()
    u = (w.astype(WIDE) + WIDE(0.5)) / 2**32
    assert units_in_the_last_place(box_muller.log_of_uniform(w), np.log(u)) <= 2
    # The reference takes whole quarters off too, exactly. Otherwise its own argument would be too
    # inexact near the zeros.
    quarter = np.rint(4 * u)
    rest = 2 * WIDE("3.14159265358979323846264338327950288") * (u - quarter / 4)
    c, s, quarter = np.cos(rest), np.sin(rest), quarter.astype(int) % 4
    cosine, sine = box_muller.cosine_and_sine(w)
    assert units_in_the_last_place(cosine, np.choose(quarter, [c, -s, -c, s])) <= 2
    assert units_in_the_last_place(sine, np.choose(quarter, [s, c, -s, -c])) <= 2


def test_products_with_the_high_parts_are_exact():
    """A constant's high part has few bits: its product with the factor it meets has at most 53."""
    log_2, two_pi = box_muller.LOG_2_HIGH, box_muller.TWO_PI_HIGH
    assert log_2 * 2**44 % 1 == 0 and log_2 * 2**44 * 33 < 2**53
    assert two_pi * 2**20 % 1 == 0 and two_pi * 2**20 * 2**30 <= 2**53
    assert abs(box_muller.LOG_2_LOW) < 2.0**-44 and abs(box_muller.TWO_PI_LOW) < 2.0**-20
    assert log_2 + box_muller.LOG_2_LOW == np.log(2)
    assert two_pi + box_muller.TWO_PI_LOW == 2 * np.pi


@pytest.mark.parametrize("dtype", SHA256)
def test_normals_to_the_last_bit(dtype):
    """As they are on every machine, a GPU's included; numbers beyond float32's precision too."""
    z = noise.normal(2024, "eps", 11, [0, 7, 2**32 - 1], (1000,), dtype)
    little_endian = z.astype(np.dtype(dtype).newbyteorder("<"))
    assert hashlib.sha256(little_endian.tobytes()).hexdigest() == SHA256[dtype]


def test_pieces_do_not_show(monkeypatch):
    w = words()[:9000].reshape(3, -1)
    whole = box_muller.box_muller(w, np.float64)
    monkeypatch.setattr(box_muller, "PIECE", 7)
    np.testing.assert_array_equal(box_muller.box_muller(w, np.float64), whole)
    np.testing.assert_array_equal(box_muller.box_muller(w, np.float32), whole.astype(np.float32))
