"""IDX files: what goes into one comes out of load, and a wrong one raises DataError."""

import gzip
import struct

import numpy as np
import pytest
from data_files import as_float, check, idx, many, noise, refused
from hypothesis import given, strategies as st

from tinyddpm.data import image_files, load


@many(max_examples=25)
@given(shape=st.tuples(*[st.integers(1, 6)] * 3), gzipped=st.booleans())
def test_idx_round_trip(tmp_path, shape, gzipped):
    pixels, path = noise(*shape), tmp_path / "any name"
    path.write_bytes(gzip.compress(idx(pixels)) if gzipped else idx(pixels))
    d = load(path, size=shape[1:])
    check(d, as_float(pixels[:, None]), 256)
    assert d.labels is None and d.name == "any name"


def test_idx_of_four_axes(tmp_path):
    pixels, path = noise(5, 4, 6, 3), tmp_path / "colour"
    path.write_bytes(idx(pixels))
    check(load(path), as_float(pixels.transpose(0, 3, 1, 2)), 256)


def test_every_uint8_lands_where_it_should(tmp_path):
    path = tmp_path / "ramp"
    path.write_bytes(idx(np.arange(256, dtype=np.uint8).reshape(1, 16, 16)))
    images = load(path).images.ravel()
    assert images[0] == -1 and images[255] == 1
    assert np.array_equal(np.rint((images + 1) * 127.5), np.arange(256))


@pytest.mark.parametrize("gzipped", [False, True])
def test_idx_cut_at_every_byte_is_refused(tmp_path, gzipped):
    path = tmp_path / "cut"
    whole = gzip.compress(idx(noise(2, 3, 4)), mtime=0) if gzipped else idx(noise(2, 3, 4))
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole + b"\1")
    refused(path)


@pytest.mark.parametrize("gzipped", [False, True])
def test_idx_headers_that_are_wrong(tmp_path, gzipped):
    path = tmp_path / "wrong"

    def write(content):
        path.write_bytes(gzip.compress(content) if gzipped else content)
        return path

    labels = np.arange(9, dtype=np.uint8)
    refused(write(idx(labels)), "expected an IDX file of images", "got one of labels")
    refused(write(idx(noise(2, 3))), "3 or 4 axes, got 2")
    refused(write(idx(noise(2, 3, 4), element=13)), "unsigned bytes", "type 13")
    refused(write(idx(noise(2, 0, 4))), "every axis", "(2, 0, 4)")
    too_long = "more" if gzipped else "25"
    refused(write(idx(noise(2, 3, 4)) + b"?"), "(2, 3, 4), 24 bytes", too_long)
    refused(write(idx(noise(2, 3, 4))[:-1]), "(2, 3, 4), 24 bytes", "23")
    refused(write(struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3)), "--max-memory")
    refused(write(struct.pack(">4B3I", 0, 0, 8, 3, 1000, 700, 700)), "490000000 bytes", "0")
    refused(write(idx(noise(2, 4, 5, 6))), "C 1 or 3", "(2, 4, 5, 6)")


def test_gzip_that_is_no_idx_or_no_gzip(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"hello"))
    refused(path, "IDX", "68 65 6c 6c")
    path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(range(40)))
    refused(path, "cannot be read")
    sound = bytearray(gzip.compress(idx(noise(9, 9, 9))))
    sound[-6] ^= 1  # the checksum
    path.write_bytes(sound)
    refused(path, "CRC")


def test_a_gzip_bomb_takes_no_more_than_the_limit(tmp_path, monkeypatch):
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 100, 100, 100) + bytes(10**6)))
    assert len(load(path).images) == 100
    monkeypatch.setattr(image_files, "MAX_BYTES", 10**6 - 1)
    refused(path, "1000000 bytes of memory", "the limit is 999999 bytes", "--max-memory")


def test_emnist_says_that_it_lies_on_its_side(tmp_path):
    for name, said in {
        "emnist-letters-train-images-idx3-ubyte": True,
        "train-images": False,
    }.items():
        (tmp_path / name).write_bytes(idx(noise(2, 4, 4)))
        notes = load(tmp_path / name).origin.notes
        assert any("EMNIST" in note for note in notes) == said
