"""Philox gives the published vectors, and `bits` lays out its words in order."""

import numpy as np
import pytest

from tinyddpm import noise
from tinyddpm.noise import addressed
from tinyddpm.noise.philox import philox

# philox4x32, 10 rounds, from kat_vectors of the Random123 library: counter, key, output.
KAT_VECTORS = """
00000000 00000000 00000000 00000000  00000000 00000000  6627e8d5 e169c58d bc57ac4c 9b00dbd8
ffffffff ffffffff ffffffff ffffffff  ffffffff ffffffff  408f276d 41c83b0e a20bc7c6 6d5451fd
243f6a88 85a308d3 13198a2e 03707344  a4093822 299f31d0  d16cfe09 94fdcceb 5001e420 24126ea1
"""
KNOWN_ANSWERS = [line.split("  ") for line in KAT_VECTORS.strip().splitlines()]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("counter, key, expected", KNOWN_ANSWERS)
def test_philox_gives_the_published_vectors(counter, key, expected):
    out = philox([np.uint32([[c]]) for c in words(counter)], np.uint32(words(key)))
    assert [c.dtype for c in out] == [np.uint32] * 4 and [c.shape for c in out] == [(1, 1)] * 4
    assert [c.item() for c in out] == words(expected)


def test_philox_treats_every_element_of_an_array_alone():
    counters = np.uint32([words(counter) for counter, _, _ in KNOWN_ANSWERS])  # (3, 4)
    together = np.stack(philox(counters.T, (1, 2)), axis=-1)
    for counter, row in zip(counters, together, strict=True):
        assert [int(c) for c in philox(counter, (1, 2))] == row.tolist()


def test_bits_lay_out_the_blocks_of_each_sample_in_order():
    step = 5 + (7 << 32)
    key = addressed._key(3, "layout")
    got = noise.bits(3, "layout", step, [9, 2], 10)
    for row, sample in zip(got, (9, 2), strict=True):
        blocks = [philox((block, sample, 5, 7), key) for block in range(3)]
        assert row.tolist() == [int(word) for block in blocks for word in block][:10]
