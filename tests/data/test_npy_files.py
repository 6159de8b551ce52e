""".npy and .npz: what goes into one comes out of load, and a wrong one raises DataError."""

import io
import zipfile

import numpy as np
import pytest
from data_files import as_float, check, many, noise, npy_header, refused
from hypothesis import given, strategies as st

from tinyddpm.data import load

# The channels of pictures (n, C, H, W), and how an array may hold them.
LAYOUTS = {
    "n h w": (1, lambda x: x[:, 0]),
    "n h w 1": (1, lambda x: x.transpose(0, 2, 3, 1)),
    "n h w 3": (3, lambda x: x.transpose(0, 2, 3, 1)),
    "n 1 h w": (1, lambda x: x),
    "n 3 h w": (3, lambda x: x),
}


@many(max_examples=25)
@given(st.integers(1, 4), st.integers(4, 6), st.integers(4, 6), st.sampled_from(list(LAYOUTS)))
def test_npy_round_trip_in_every_layout(tmp_path, n, h, w, layout):
    channels, stored = LAYOUTS[layout]
    pixels, path = noise(n, channels, h, w), tmp_path / "x.npy"
    np.save(path, np.ascontiguousarray(stored(pixels)))
    check(load(path), as_float(pixels), 256)


def test_where_both_layouts_fit_the_last_axis_is_colour(tmp_path):
    pixels = noise(2, 3, 5, 3)
    np.save(tmp_path / "x.npy", pixels)
    check(load(tmp_path / "x.npy"), as_float(pixels.transpose(0, 3, 1, 2)), 256)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "f2", "f4"])
@pytest.mark.parametrize("fortran", [False, True])
def test_floats_of_either_range(tmp_path, dtype, fortran):
    path = tmp_path / "x.npy"
    unit = np.linspace(0, 1, 40).reshape(2, 4, 5).astype(dtype, order="F" if fortran else "C")
    np.save(path, unit)
    check(load(path), 2 * unit[:, None].astype(float) - 1, 0)
    np.save(path, -unit)
    check(load(path), -unit[:, None].astype(float), 0)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits(tmp_path, dtype):
    pixels = noise(2, 4, 5, dtype=np.uint16).astype(dtype)
    pixels[0, 0, :2] = 0, 65535
    np.save(tmp_path / "x.npy", pixels)
    d = load(tmp_path / "x.npy")
    check(d, pixels[:, None].astype(float) / 32767.5 - 1, 65536)
    assert d.images[0, 0, 0, :2].tolist() == [-1, 1]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("images", ["images", "x", "arr_0", "x_train", "anything"])
@pytest.mark.parametrize("labels", ["labels", "y", None])
def test_npz_round_trip(tmp_path, save, images, labels):
    pixels, path = noise(4, 3, 5), tmp_path / "x.npz"
    save(path, **{images: pixels}, **({labels: np.arange(4, dtype=np.uint8)} if labels else {}))
    d = load(path, size=(3, 5), channels=1)
    check(d, as_float(pixels[:, None]), 256)
    if labels is None:
        assert d.labels is None
    else:
        assert d.labels.tolist() == [0, 1, 2, 3] and d.labels.dtype == np.int64


def test_arrays_are_not_resized(tmp_path):
    np.save(tmp_path / "x.npy", noise(2, 4, 5))
    refused(tmp_path / "x.npy", "size", "4 x 5", "(5, 4)", size=(5, 4))
    refused(tmp_path / "x.npy", "channels", channels=3)


@pytest.mark.parametrize(
    "array, words",
    [
        (np.full((1, 2, 2), np.nan), ["floats in [0, 1], [-1, 1] or [0, 255]", "nan"]),
        (np.full((1, 2, 2), np.inf), ["inf"]),
        (np.array([[[0.0, -np.inf]]]), ["-inf to 0"]),
        (np.full((1, 2, 2), 1.5), ["from 1.5 to 1.5"]),
        (np.full((1, 2, 2), -1.5), ["-1.5"]),
        (np.full((1, 2, 2), 1e300), ["1e+300"]),
        (np.full((1, 2, 2), -2, np.int64), ["uint8", "int64"]),
        (np.full((1, 2, 2), -2, np.int8), ["int8"]),
        (np.full((1, 2, 2), 2**16, np.uint32), ["uint32"]),
        (np.zeros((1, 2, 2), complex), ["numbers", "complex"]),
        (np.full((1, 2, 2), "a"), ["numbers", "U1"]),
        (np.zeros((1, 2, 2), [("a", "u1")]), ["numbers"]),
        (np.full((1, 2, 2), None), ["pickle", "run code"]),
        (np.zeros((2, 2), np.uint8), ["(n, H, W)", "(2, 2)"]),
        (np.zeros((2, 4, 5, 6), np.uint8), ["C 1 or 3", "(2, 4, 5, 6)"]),
        (np.zeros((2, 4, 5, 1, 1), np.uint8), ["(2, 4, 5, 1, 1)"]),
        (np.zeros((0, 4, 5), np.uint8), ["every axis", "(0, 4, 5)"]),
        (np.zeros((2, 4, 0), np.uint8), ["every axis"]),
        (np.uint8(3), ["()"]),
    ],
    ids=lambda x: f"{x.dtype}{x.shape}" if hasattr(x, "dtype") else "",
)
def test_arrays_that_are_no_pictures(tmp_path, array, words):
    np.save(tmp_path / "x.npy", array)
    refused(tmp_path / "x.npy", *words)
    np.savez(tmp_path / "x.npz", array)
    refused(tmp_path / "x.npz", *words)


TOO_LARGE = [(2**60, 1, 1), (2**40, 2**40, 2**40), (2**62, 4, 4), (-1, -8, 8), (10, 8, 8)]


@pytest.mark.parametrize("shape", TOO_LARGE)
def test_npy_headers_that_promise_too_much(tmp_path, shape):
    path = tmp_path / "x.npy"
    path.write_bytes(npy_header(shape) + bytes(600))
    refused(path, str(shape))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", npy_header(shape) + bytes(600))
    refused(tmp_path / "x.npz", str(shape))


@many(max_examples=40)
@given(fraction=st.floats(0, 1, exclude_max=True), compressed=st.booleans(), zipped=st.booleans())
def test_npy_and_npz_cut_anywhere_are_refused(tmp_path, fraction, compressed, zipped):
    path, stream = tmp_path / "cut", io.BytesIO()
    save = (np.savez_compressed if compressed else np.savez) if zipped else np.save
    save(stream, noise(2, 3, 4))
    path.write_bytes(stream.getvalue()[: int(fraction * len(stream.getvalue()))])
    refused(path)


def test_npy_with_more_than_it_promises_or_another_version(tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(npy_header((1, 2, 2)) + bytes(5))
    refused(path, "4 bytes", "holds 5")
    path.write_bytes(b"\x93NUMPY\x03\x00" + npy_header((1, 2, 2))[8:])
    refused(path, "version", "3.0")
    path.write_bytes(npy_header((1, 2, 2)).replace(b"(1, 2, 2)", b"open('x')"))
    refused(path, "cannot be read")


def test_npz_without_the_right_arrays(tmp_path):
    path, x = tmp_path / "x.npz", noise(2, 4, 5)
    np.savez(path, a=x, b=x)
    refused(path, "images, x, arr_0, x_train", "['a', 'b']")
    np.savez(path, labels=np.arange(2))
    refused(path, "['labels']")
    np.savez(path)
    refused(path)
    np.savez(path, a=x, b=x, images=x[:1])
    assert len(load(path).images) == 1
