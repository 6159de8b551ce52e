"""The digits, the split, and what `load` is asked for."""

import gzip
import hashlib

import numpy as np
import pytest
from data_files import check, refused

from tinyddpm.data import DataError, Dataset, digits, load, split
from tinyddpm.data.loading import DIGITS

# ---- the digits ----------------------------------------------------------------------------------


def test_the_digits_are_the_ones_in_the_file():
    d = digits()
    with gzip.open(DIGITS, "rt") as lines:
        table = np.array([line.split(",") for line in lines], dtype=np.int64)
    check(d, (table[:, :64] / 8 - 1).reshape(1797, 1, 8, 8), 17)
    assert d.images.min() == -1 and d.images.max() == 1
    assert len(np.unique(d.images)) == 17
    assert d.labels.dtype == np.int64 and d.labels[0] == 0
    assert np.bincount(d.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    first_row = np.array([0, 0, 5, 13, 9, 1, 0, 0])
    assert d.images[0, 0, 0].tolist() == (first_row / 8 - 1).tolist()


def test_the_readme_states_the_hash_of_the_digits():
    digest = hashlib.sha256(DIGITS.read_bytes()).hexdigest()
    assert digest in (DIGITS.parent / "README.md").read_text()


def test_digits_can_be_loaded_by_name_but_not_resized():
    assert load("digits", size=8, channels=1).fingerprint() == digits().fingerprint()
    refused("digits", "size", "8 x 8", "(16, 16)", size=16)
    refused("digits", "channels", "3", channels=3)


def test_a_fingerprint_sees_pixels_order_and_shape():
    d = digits()
    variants = [d.images, d.images[::-1], d.images.reshape(1797, 1, 4, 16), d.images.copy()]
    variants[3][7, 0, 3, 3] += 2**-20
    prints = {Dataset(x, None, "", 0).fingerprint() for x in variants}
    assert len(prints) == 4 and all(len(p) == 64 for p in prints)
    assert Dataset(d.images.copy(), None, "other", 0).fingerprint() == d.fingerprint()


# ---- the split -----------------------------------------------------------------------------------


def test_split_holds_out_every_sixth_digit():
    train, held_out = split(digits())
    assert len(train.images) == len(train.labels) == 1497
    assert len(held_out.images) == len(held_out.labels) == 300
    assert np.array_equal(held_out.images, digits().images[::6]) and held_out.grey_levels == 17


@pytest.mark.parametrize("n", range(1, 15))
def test_split_of_a_few_pictures(n):
    images = np.linspace(-1, 1, n, dtype=np.float32).reshape(n, 1, 1, 1)
    whole = Dataset(images, np.arange(n), "few", 0)
    train, held_out = split(whole)
    assert held_out.labels.tolist() == list(range(0, n, 6))
    assert train.labels.tolist() == ([0] if n == 1 else [i for i in range(n) if i % 6])
    assert np.array_equal(train.images, whole.images[train.labels])


def test_split_without_labels():
    train, held_out = split(Dataset(np.zeros((7, 1, 2, 2), np.float32), None, "", 0))
    assert train.labels is None and held_out.labels is None and len(held_out.images) == 2


# ---- paths and requests --------------------------------------------------------------------------


def test_paths_that_lead_nowhere(tmp_path):
    refused(tmp_path / "nothing", "there is nothing here")
    refused("/dev/null", "neither")
    refused(tmp_path / ("x" * 3000), "cannot be read")
    with pytest.raises(DataError, match="empty string"):
        load("")
    (tmp_path / "empty").touch()
    refused(tmp_path / "empty", "is empty")


@pytest.mark.parametrize(
    "size", [0, (8, -1), (8, 8, 8), 8.0, True, "8", "8x", "8x-1", "0x8", "1x2x3"]
)
def test_sizes_that_make_no_sense(size):
    with pytest.raises(DataError, match="size: expected a positive int .* got"):
        load("digits", size=size)


@pytest.mark.parametrize("channels", [0, 2, 4, "rgb"])
def test_channels_that_make_no_sense(channels):
    with pytest.raises(DataError, match="channels: expected 1 .* got"):
        load("digits", channels=channels)
