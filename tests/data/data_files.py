"""Files of data, and what `load` should make of them, for the tests of this folder."""

import functools
import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from tinyddpm.data import DataError, datasets, digits, load

# The first 60 digits, as uint8.
DIGIT_IMAGES = np.rint((digits().images[:60, 0] + 1) * 127.5).astype(np.uint8)
DIGIT_LABELS = digits().labels[:60].astype(np.uint8)

# A file that hypothesis writes again for every example may lie in one tmp_path.
many = functools.partial(
    settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def refused(path, *words, **request):
    """load raises DataError, in one line that names the file and says each of the words."""
    with pytest.raises(DataError) as caught:
        load(path, **request)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message, f"{word!r} is not in {message!r}"


def idx(array, element=8):
    """The bytes of an IDX file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, element, array.ndim, *array.shape)
    return header + array.tobytes()


def npy_header(shape, descr="|u1"):
    stream = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def as_float(array):
    """What load makes of uint8 pixels, in float64."""
    return array.astype(np.float64) / 127.5 - 1


def check(dataset, expected, grey_levels):
    """The invariants of every Dataset, and these pixels."""
    images = dataset.images[:]
    assert dataset.images.dtype == images.dtype == np.float32 and images.flags.c_contiguous
    assert images.min() >= -1 and images.max() <= 1
    assert dataset.grey_levels == grey_levels
    assert dataset.images.shape == images.shape == expected.shape
    np.testing.assert_allclose(images, expected, rtol=0, atol=2e-7)


def folder_of(tmp_path, **pictures):
    """A folder with these arrays as PNG files."""
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    return tmp_path


def change(monkeypatch, name, **changes):
    """The data set `name`, for the rest of the test, with these changes to its Source."""
    monkeypatch.setitem(datasets.SOURCES, name, replace(datasets.SOURCES[name], **changes))
