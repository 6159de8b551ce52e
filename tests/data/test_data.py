"""The data room: what goes into a file comes out of load, and a file that is wrong in any way raises DataError."""

import functools
import gzip
import hashlib
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tinyddpm import data
from tinyddpm.data.loading import DIGITS
from tinyddpm.data import image_files
from tinyddpm.data import DataError, Dataset, digits, load, split

# A file that hypothesis writes again for every example may lie in one tmp_path.
many = functools.partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


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
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, element, array.ndim, *array.shape) + array.tobytes()


def npy_header(shape, descr="|u1"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def as_float(array):
    """What load makes of uint8 pixels, in float64."""
    return array.astype(np.float64) / 127.5 - 1


def check(dataset, expected, grey_levels):
    """The invariants of every Dataset, and these pixels."""
    assert dataset.images.dtype == np.float32 and dataset.images.flags.c_contiguous
    assert dataset.images.min() >= -1 and dataset.images.max() <= 1
    assert dataset.grey_levels == grey_levels
    assert dataset.images.shape == expected.shape
    np.testing.assert_allclose(dataset.images, expected, rtol=0, atol=2e-7)


# --- the digits ------------------------------------------------------------------------------------------------------


def test_the_digits_are_the_ones_in_the_file():
    d = digits()
    with gzip.open(DIGITS, "rt") as lines:
        table = np.array([line.split(",") for line in lines], dtype=np.int64)
    check(d, (table[:, :64] / 8 - 1).reshape(1797, 1, 8, 8), 17)
    assert d.images.min() == -1 and d.images.max() == 1
    assert len(np.unique(d.images)) == 17
    assert d.labels.dtype == np.int64 and d.labels[0] == 0
    assert np.bincount(d.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert d.images[0, 0, 0].tolist() == [-1, -1, -0.375, 0.625, 0.125, -0.875, -1, -1]  # 0 0 5 13 9 1 0 0


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


# --- split -----------------------------------------------------------------------------------------------------------


def test_split_holds_out_every_sixth_digit():
    train, held_out = split(digits())
    assert len(train.images) == len(train.labels) == 1497
    assert len(held_out.images) == len(held_out.labels) == 300
    assert np.array_equal(held_out.images, digits().images[::6]) and held_out.grey_levels == 17


@pytest.mark.parametrize("n", range(1, 15))
def test_split_of_a_few_pictures(n):
    whole = Dataset(np.linspace(-1, 1, n, dtype=np.float32).reshape(n, 1, 1, 1), np.arange(n), "few", 0)
    train, held_out = split(whole)
    assert held_out.labels.tolist() == list(range(0, n, 6))
    assert train.labels.tolist() == ([0] if n == 1 else [i for i in range(n) if i % 6])
    assert np.array_equal(train.images, whole.images[train.labels])


def test_split_without_labels():
    train, held_out = split(Dataset(np.zeros((7, 1, 2, 2), np.float32), None, "", 0))
    assert train.labels is None and held_out.labels is None and len(held_out.images) == 2


# --- IDX -------------------------------------------------------------------------------------------------------------


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


@many(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 255), st.sampled_from(["idx", "gz", "npy", "npz", "png"]))
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


@pytest.mark.parametrize("gzipped", [False, True])
def test_idx_headers_that_are_wrong(tmp_path, gzipped):
    path = tmp_path / "wrong"

    def write(content):
        path.write_bytes(gzip.compress(content) if gzipped else content)
        return path

    refused(write(idx(np.arange(9, dtype=np.uint8))), "labels", "expected the file of images")
    refused(write(idx(noise(2, 3))), "3 or 4 axes, got 2")
    refused(write(idx(noise(2, 3, 4), element=13)), "unsigned bytes", "type 13")
    refused(write(idx(noise(2, 0, 4))), "every axis", "(2, 0, 4)")
    refused(write(idx(noise(2, 3, 4)) + b"?"), "(2, 3, 4), 24 bytes", "25" if not gzipped else "more")
    refused(write(idx(noise(2, 3, 4))[:-1]), "(2, 3, 4), 24 bytes", "23")
    refused(write(struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3)), "MAX_BYTES")
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
    monkeypatch.setattr(image_files, "MAX_BYTES", 4 * 10**6 - 1)
    refused(path, "4000000 bytes of memory", "MAX_BYTES = 3999999")


# --- .npy and .npz ---------------------------------------------------------------------------------------------------


@many(max_examples=25)
@given(n=st.integers(1, 4), h=st.integers(4, 6), w=st.integers(4, 6), axes=st.sampled_from(["n", "1", "3", "n1", "n3"]))
def test_npy_round_trip_in_every_layout(tmp_path, n, h, w, axes):
    shape = {"n": (n, h, w), "1": (n, h, w, 1), "3": (n, h, w, 3), "n1": (n, 1, h, w), "n3": (n, 3, h, w)}[axes]
    pixels, path = noise(*shape), tmp_path / "x.npy"
    np.save(path, pixels)
    expected = pixels[:, None] if axes == "n" else pixels if axes[0] == "n" else pixels.transpose(0, 3, 1, 2)
    check(load(path), as_float(expected), 256)


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
    assert d.labels is None if labels is None else (d.labels.tolist() == [0, 1, 2, 3] and d.labels.dtype == np.int64)


def test_arrays_are_not_resized(tmp_path):
    np.save(tmp_path / "x.npy", noise(2, 4, 5))
    refused(tmp_path / "x.npy", "size", "4 x 5", "(5, 4)", size=(5, 4))
    refused(tmp_path / "x.npy", "channels", channels=3)


@pytest.mark.parametrize(
    "array, words",
    [
        (np.full((1, 2, 2), np.nan), ["floats in [0, 1] or [-1, 1]", "nan"]),
        (np.full((1, 2, 2), np.inf), ["inf"]),
        (np.array([[[0.0, -np.inf]]]), ["-inf to 0"]),
        (np.full((1, 2, 2), 1.5), ["from 1.5 to 1.5"]),
        (np.full((1, 2, 2), -1.5), ["-1.5"]),
        (np.full((1, 2, 2), 1e300), ["1e+300"]),
        (np.zeros((1, 2, 2), np.int64), ["uint8", "int64"]),
        (np.zeros((1, 2, 2), np.int8), ["int8"]),
        (np.zeros((1, 2, 2), np.uint32), ["uint32"]),
        (np.zeros((1, 2, 2), bool), ["numbers", "bool"]),
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


@pytest.mark.parametrize("shape", [(2**60, 1, 1), (2**40, 2**40, 2**40), (2**62, 4, 4), (-1, -8, 8), (10, 8, 8)])
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
    np.savez(path, x=x, y=np.arange(3))
    refused(path, "2 integer labels", "(3,)")
    np.savez(path, x=x, y=np.zeros(2))
    refused(path, "float64")
    np.savez(path, x=x, y=np.array([None, 1]))
    refused(path, "[y]", "pickle")
    np.savez(path, a=x, b=x, images=x[:1])
    assert len(load(path).images) == 1


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
    refused(path, "expected a picture, or an IDX, .npy or .npz")
    np.savez(tmp_path / "x.npz", images=noise(1, 2, 2), labels=np.array([Trap(sprung)]))
    refused(tmp_path / "x.npz", "pickle")
    assert not sprung.exists()


# --- pictures --------------------------------------------------------------------------------------------------------


def folder_of(tmp_path, **pictures):
    """A folder with these arrays as PNG files."""
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    return tmp_path


@many(max_examples=15)
@given(h=st.integers(1, 9), w=st.integers(1, 9), n=st.integers(1, 3), colour=st.booleans())
def test_a_folder_round_trip(tmp_path_factory, h, w, n, colour):
    pixels = noise(n, h, w, 3) if colour else noise(n, h, w)
    folder = folder_of(tmp_path_factory.mktemp("folder"), **{f"p{i}": picture for i, picture in enumerate(pixels)})
    d = load(folder)
    check(d, as_float(pixels.transpose(0, 3, 1, 2) if colour else pixels[:, None]), 256)
    assert d.name == folder.name and d.labels is None
    assert load(folder, size=(h, w)).fingerprint() == d.fingerprint()  # nothing to do, so nothing is done


def test_order_depth_and_what_is_passed_over(tmp_path):
    for i, name in enumerate(["b.PNG", "a/z.png", "a.bmp", ".hidden.png", ".cache/x.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((2, 2), i, np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    images = load(tmp_path).images  # in the order of relative names: a.bmp, a/z.png, b.PNG
    assert np.rint((images[:, 0, 0, 0] + 1) * 127.5).tolist() == [2, 1, 0]


def test_one_grey_and_one_colour_picture(tmp_path):
    grey, colour = noise(4, 4), noise(4, 4, 3)
    folder_of(tmp_path, a=grey, b=colour)
    check(load(tmp_path), as_float(np.stack([[grey] * 3, colour.transpose(2, 0, 1)])), 256)
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    check(load(tmp_path, channels=1), as_float(np.stack([grey, luma])[:, None]), 256)


def test_resizing_crops_around_the_centre(tmp_path):
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 5:19] = 255  # the central 8 columns, and what bicubic resizing sees beyond them
    folder_of(tmp_path, a=wide, b=wide.T.copy())
    images = load(tmp_path, size=4).images
    assert images.shape == (2, 1, 4, 4) and (images == 1).all()
    assert load(tmp_path, size=(2, 6)).images.shape == (2, 1, 2, 6)


def test_a_single_picture_is_a_data_set_of_one(tmp_path):
    pixels = noise(5, 6, 3)
    folder_of(tmp_path, one=pixels)
    check(load(tmp_path / "one.png"), as_float(pixels.transpose(2, 0, 1)[None]), 256)
    train, held_out = split(load(tmp_path / "one.png", size=3))
    assert train.images.shape == held_out.images.shape == (1, 3, 3, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    upright = noise(3, 5)
    back = {  # how a camera stores the upright picture
        1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
        5: lambda x: x.T, 6: lambda x: np.rot90(x), 7: lambda x: x[::-1, ::-1].T, 8: lambda x: np.rot90(x, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(back[orientation](upright))).save(tmp_path / "x.png", exif=exif)
    check(load(tmp_path), as_float(upright[None, None]), 256)


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.array([[[200, 0, 100, 255], [200, 0, 100, 0], [0, 0, 0, 51]]], np.uint8)
    folder_of(tmp_path, x=rgba)
    expected = np.array([[[200, 0, 100], [255, 255, 255], [204, 204, 204]]]).transpose(2, 0, 1)[None]
    check(load(tmp_path), as_float(expected), 256)


def test_grey_with_transparency_stays_grey(tmp_path):
    folder_of(tmp_path, x=np.array([[[7, 255], [7, 0]]], np.uint8))
    check(load(tmp_path), as_float(np.array([[[[7, 255]]]])), 256)


def test_a_transparent_colour(tmp_path):
    Image.fromarray(np.array([[7, 90]], np.uint8)).save(tmp_path / "x.png", transparency=7)
    check(load(tmp_path), as_float(np.array([[[[255, 90]]]])), 256)


def test_palettes(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([255, 0, 0, 0, 128, 0, 9, 9, 9])
    picture.save(tmp_path / "x.png")
    check(load(tmp_path), as_float(np.array([[[[255, 0, 9]], [[0, 128, 9]], [[0, 0, 9]]]])), 256)
    picture.save(tmp_path / "x.png", transparency=bytes([255, 0, 255]))
    check(load(tmp_path), as_float(np.array([[[[255, 255, 9]], [[0, 255, 9]], [[0, 255, 9]]]])), 256)
    picture.putpalette([50, 50, 50, 0, 0, 0, 9, 9, 9])  # a palette of greys
    picture.save(tmp_path / "x.png")
    check(load(tmp_path), as_float(np.array([[[[50, 0, 9]]]])), 256)


def test_cmyk(tmp_path):
    inks = np.zeros((4, 2, 2), np.uint8)  # cyan, magenta, yellow, black
    inks[0, 0, 0] = inks[1, 0, 1] = inks[3, 1, 1] = 255
    Image.merge("CMYK", [Image.fromarray(ink) for ink in inks]).save(tmp_path / "x.tif")
    expected = np.array([[[0, 255, 255], [255, 0, 255]], [[255, 255, 255], [0, 0, 0]]]).transpose(2, 0, 1)[None]
    check(load(tmp_path), as_float(expected), 256)
    assert load(tmp_path, channels=1).images.shape == (1, 1, 2, 2)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path, suffix):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / f"x.{suffix}")
    check(load(tmp_path), as_float(np.array([[[[0, 1, 128, 255]]]])), 256)


def test_one_bit(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "x.png")
    check(load(tmp_path), np.array([[[[-1.0, 1.0]]]]), 256)


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_the_first_frame_of_an_animation(tmp_path, suffix):
    frames = [Image.fromarray(np.full((3, 4), v, np.uint8)) for v in (10, 200, 90)]
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:])
    check(load(tmp_path), as_float(np.full((1, 1, 3, 4), 10)), 256)


def test_jpeg_and_webp(tmp_path):
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(tmp_path / "a.jpg")
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(tmp_path / "b.webp", lossless=True)
    np.testing.assert_allclose(load(tmp_path).images, as_float(np.array(77)), atol=1 / 127)


def test_pictures_that_cannot_be_used(tmp_path):
    refused(tmp_path, "expected pictures in this folder", ".png")
    folder_of(tmp_path, a=noise(3, 4), b=noise(4, 3))
    refused(tmp_path, "b.png", "a.png", "4 x 3", "3 x 4")
    (tmp_path / "b.png").write_text("not a picture")
    refused(tmp_path, "b.png", "expected a picture", "6e 6f 74")
    (tmp_path / "b.png").write_bytes(b"")
    refused(tmp_path, "b.png", "expected a picture")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    refused(tmp_path, "b.png", "cannot be read")
    (tmp_path / "b.png").unlink()
    Image.fromarray(np.zeros((3, 4), np.float32)).save(tmp_path / "b.tif")
    refused(tmp_path, "b.tif", "floats")
    Image.fromarray(np.full((3, 4), 70000, np.int32)).save(tmp_path / "b.tif")
    refused(tmp_path, "b.tif", "70000")


def test_postscript_is_never_run(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x.eps")
    refused(tmp_path, "expected pictures")
    (tmp_path / "x.eps").rename(tmp_path / "x.png")  # by another name it is PostScript still
    refused(tmp_path, "expected a picture")


def test_a_picture_bomb(tmp_path, monkeypatch):
    folder_of(tmp_path, x=np.zeros((40, 40), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)  # Pillow raises beyond twice this
    refused(tmp_path, "x.png", "DecompressionBombError")


def test_pictures_beyond_the_limit(tmp_path, monkeypatch):
    folder_of(tmp_path, x=noise(4, 4))
    monkeypatch.setattr(image_files, "MAX_BYTES", 63)
    refused(tmp_path, "64 bytes of memory")
    monkeypatch.setattr(image_files, "_eight_bits", None)  # a size too large is refused before anything is resized
    refused(tmp_path, "(1, 9, 9, 1) would take 324 bytes", "MAX_BYTES = 63", size=9, channels=1)


# --- paths and requests ----------------------------------------------------------------------------------------------


def test_paths_that_lead_nowhere(tmp_path):
    refused(tmp_path / "nothing", "there is nothing here")
    refused("/dev/null", "neither")
    refused(tmp_path / ("x" * 3000), "cannot be read")
    with pytest.raises(DataError, match="empty string"):
        load("")
    (tmp_path / "empty").touch()
    refused(tmp_path / "empty", "is empty")


def test_a_file_name_cannot_break_the_line(tmp_path):
    (tmp_path / "a\nb\x1b[2J").touch()
    with pytest.raises(DataError) as caught:
        load(tmp_path / "a\nb\x1b[2J")
    assert "a?b?[2J" in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize("size", [0, (8, -1), (8, 8, 8), 8.0, True, "8"])
def test_sizes_that_make_no_sense(size):
    with pytest.raises(DataError, match="size: expected a positive int .* got"):
        load("digits", size=size)


@pytest.mark.parametrize("channels", [0, 2, 4, "rgb"])
def test_channels_that_make_no_sense(channels):
    with pytest.raises(DataError, match="channels: expected 1 .* got"):
        load("digits", channels=channels)


def test_a_data_error_is_a_value_error_and_keeps_its_cause(tmp_path):
    (tmp_path / "x").write_bytes(b"PK\x03\x04....")
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "x")
    assert isinstance(caught.value.__cause__, zipfile.BadZipFile)
