"""Damaged and hostile files: a data set or a DataError of one line, and no code is run."""

import gzip
import io
import pickle
import zipfile

import numpy as np
import pytest
from data_files import idx, many, noise, refused
from hypothesis import given, strategies as st
from PIL import Image

from tinyddpm.data import DataError, load
from tinyddpm.data.labels import labelled

FORMATS = ["idx", "gz", "npy", "npz", "png"]


@many(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 255), st.sampled_from(FORMATS))
def test_a_damaged_byte_gives_a_data_set_or_a_data_error(tmp_path, where, value, source):
    pixels, stream, path = noise(2, 3, 4), io.BytesIO(), tmp_path / "damaged"
    if source == "idx":
        stream.write(idx(pixels))
    elif source == "gz":
        stream.write(gzip.compress(idx(pixels)))
    elif source == "png":
        Image.fromarray(pixels[0]).save(stream, "PNG")
    else:
        np.save(stream, pixels) if source == "npy" else np.savez_compressed(stream, pixels)
    damaged = bytearray(stream.getvalue())
    damaged[where % len(damaged)] = value
    path.write_bytes(damaged)
    try:
        d = load(path)
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert d.images.ndim == 4 and d.images.size and np.abs(d.images).max() <= 1


class Trap:
    """Unpickling one of these writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_pickle_is_opened(tmp_path):
    sprung, path = tmp_path / "sprung", tmp_path / "x.npy"
    np.save(path, np.array([[[Trap(sprung)]]]), allow_pickle=True)
    refused(path, "pickle")
    path.write_bytes(pickle.dumps(Trap(sprung)))  # np.load(allow_pickle=True) would take this too
    refused(path, "an IDX, .npy or .npz file; got a pickle")
    np.savez(tmp_path / "x.npz", images=noise(1, 2, 2), labels=np.array([Trap(sprung)]))
    with pytest.raises(DataError, match="pickle"):
        labelled(load(tmp_path / "x.npz"), tmp_path / "x.npz")
    assert not sprung.exists()


def test_a_file_name_cannot_break_the_line(tmp_path):
    (tmp_path / "a\nb\x1b[2J").touch()
    with pytest.raises(DataError) as caught:
        load(tmp_path / "a\nb\x1b[2J")
    assert "a?b?[2J" in str(caught.value) and str(caught.value).isprintable()


def test_a_data_error_is_a_value_error_and_keeps_its_cause(tmp_path):
    (tmp_path / "x").write_bytes(b"PK\x03\x04....")
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "x")
    assert isinstance(caught.value.__cause__, zipfile.BadZipFile)
