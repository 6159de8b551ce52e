"""Images that stay as they are stored are, to whoever takes some, the array that they were."""

import hashlib

import numpy as np
import pytest
from as_it_was import converted, equal_images
from data_files import idx, many, noise
from hypothesis import given, strategies as st

from tinyddpm import data, schedule
from tinyddpm.data import Dataset, dataset as dataset_module
from tinyddpm.data.stored import Stored, doubles, mapped
from tinyddpm.data.stored.chosen import AllBut
from tinyddpm.data.stored.mapped import pieces
from tinyddpm.nn.unet import UNet, UNetConfig
from tinyddpm.train import train

RNG = np.random.default_rng(0)
UNIT = RNG.random((7, 3, 4, 5))
UNIT[0, 0, 0, :2] = 0, 1
# One array for each way of reading values.
ARRAYS = {
    "bytes": noise(7, 3, 4, 5),
    "dark bytes": noise(7, 3, 4, 5) // 9,
    "mask": (UNIT > 0.5).astype(np.uint8),
    "bools": UNIT > 0.5,
    "uint16": noise(7, 3, 4, 5, dtype=np.uint16),
    "big-endian uint16": noise(7, 3, 4, 5, dtype=np.uint16).astype(">u2"),
    "int64": noise(7, 3, 4, 5).astype(np.int64),
    "int32 to 65535": noise(7, 3, 4, 5, dtype=np.uint16).astype(np.int32),
    "int8 mask": (UNIT > 0.5).astype(np.int8),
    **{f"unit {kind}": UNIT.astype(kind) for kind in ("f2", "f4", ">f4", "f8")},
    **{f"both signs {kind}": (2 * UNIT - 1).astype(kind) for kind in ("f2", "f4", "f8")},
    **{f"to 255 {kind}": (255 * UNIT).astype(kind) for kind in ("f4", "f8")},
    "rounding errors": (UNIT * (1 + 1 / 600)).astype("f4"),
    "rounding errors of both signs": ((2 * UNIT - 1) * (1 + 1 / 300)).astype("f8"),
}
KEYS = [
    np.array([3, 3, 0, 6]),
    np.array([], np.int64),
    np.array([-1, -7]),
    [2, 5],
    np.array([True, False] * 3 + [True]),
    slice(None),
    slice(5, 1, -2),
    4,
    -1,
    (slice(1, 3), 0),
    (2, 1, 0),
    (..., 0),
    ([1, 2], slice(None), 0),
]


@pytest.fixture(params=[True, False], ids=["mapped", "in memory"])
def mapping(request, monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_FROM", 0 if request.param else 2**30)
    return request.param


@pytest.mark.parametrize("kind", ARRAYS)
def test_batches_are_to_the_bit_what_they_were(kind, tmp_path, mapping):
    array = ARRAYS[kind]
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", odd=np.zeros(3, np.uint8), images=array)
    expected = converted(array)
    for name in ("x.npy", "x.npz"):
        images = data.load(tmp_path / name).images
        assert isinstance(images, Stored) and isinstance(images.array, np.memmap) == mapping
        assert images.shape == expected.shape and len(images) == 7 and images.size == expected.size
        assert images.dtype == np.float32 and images.ndim == 4
        for key in KEYS:
            found = images[key]
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found.view(np.uint32), expected[key].view(np.uint32))
        assert images[[1, 2]].flags.c_contiguous and images[1:3].flags.c_contiguous
        assert np.asarray(images).tobytes() == expected.tobytes()
        whole = hashlib.sha256(repr(expected.shape).encode() + expected.astype("<f4").tobytes())
        assert data.load(tmp_path / name).fingerprint() == whole.hexdigest()


@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_every_layout_is_mapped(layout, tmp_path, mapping):
    array = noise(5, 3, 4, 6).transpose(layout)
    np.save(tmp_path / "x.npy", np.ascontiguousarray(array))
    (tmp_path / "x").write_bytes(idx(np.ascontiguousarray(array)))
    for name in ("x.npy", "x"):
        images = data.load(tmp_path / name).images
        assert isinstance(images.array, np.memmap) == mapping
        assert images[[4, 1]].tobytes() == converted(noise(5, 3, 4, 6))[[4, 1]].tobytes()


def test_what_does_not_lie_in_its_file_as_in_memory_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_FROM", 0)
    array = noise(5, 4, 6)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(array))
    np.savez_compressed(tmp_path / "packed.npz", array)
    for name in ("fortran.npy", "packed.npz"):
        images = data.load(tmp_path / name).images
        assert not isinstance(images.array, np.memmap)
        assert images[:].tobytes() == converted(array[:, None]).tobytes()


def test_what_takes_less_memory_as_float32_is_kept_so(tmp_path):
    np.save(tmp_path / "x.npy", UNIT)
    images = data.load(tmp_path / "x.npy").images
    assert images.array.dtype == np.float32 and images[:].tobytes() == converted(UNIT).tobytes()


def test_it_is_an_array_to_numpy_and_to_operators():
    array = ARRAYS["bytes"]
    images, expected = Stored(array, 255), converted(array)
    assert (images == expected).all() and np.array_equal(np.abs(images), np.abs(expected))
    assert (2 * images - 1).tobytes() == (2 * expected - 1).tobytes()
    assert images.reshape(7, -1).shape == (7, 60) and images.max() == 1 and len(list(images)) == 7
    with pytest.raises(AttributeError, match="Stored has no attribute 'pixels'"):
        images.pixels


@pytest.mark.parametrize("key", [7, -8, [7], [-8], [True] * 6, [0.5], np.full((7, 3), True)])
def test_numbers_of_images_that_are_not_there(key):
    with pytest.raises(IndexError):
        Stored(ARRAYS["bytes"], 255)[key]


@given(st.integers(1, 40), st.data())
def test_all_but_some(n, draw):
    out = np.array(draw.draw(st.lists(st.integers(0, n - 1), unique=True)), np.int64)
    rest, expected = AllBut(n, out), np.setdiff1d(np.arange(n), out)
    assert len(rest) == len(expected) and rest[:].tolist() == expected.tolist()
    places = np.arange(len(expected))[::-1]
    assert rest[places].tolist() == expected[places].tolist()
    assert rest[1:-1:2].tolist() == expected[1:-1:2].tolist()


@pytest.mark.parametrize("how", ["stratified", "every_sixth"])
@pytest.mark.parametrize("labelled", [True, False])
def test_parts_hold_the_images_that_arrays_held(how, labelled, mapping, tmp_path):
    array, labels = noise(50, 1, 4, 4), np.arange(50) % 4 if labelled else None
    np.save(tmp_path / "x.npy", array)
    stored = Dataset(data.load(tmp_path / "x.npy").images, labels, "", 256)
    whole = Dataset(converted(array), labels, "", 256)
    for part, expected in zip(data.split(stored, how), data.split(whole, how)):
        assert isinstance(part.images, Stored) and isinstance(expected.images, np.ndarray)
        assert part.images[:].tobytes() == expected.images.tobytes()
        assert part.fingerprint() == expected.fingerprint()
        some = np.array([3, 0, 3])
        assert part.images.part(some)[:].tobytes() == expected.images[some].tobytes()


def test_of_huge_data_sets_few_images_are_held_out(monkeypatch):
    monkeypatch.setattr(dataset_module, "MOST", 999)
    monkeypatch.setattr(dataset_module, "SOME", 60)
    images = Stored(noise(1000, 1, 1, 1, dtype=np.uint16), 65535)
    training, held_out = data.split(Dataset(images, None, "", 0), "stratified")
    numbers = [part.images.chosen[:].tolist() for part in (training, held_out)]
    assert len(numbers[1]) == 10 and sorted(numbers[0] + numbers[1]) == list(range(1000))
    assert max(numbers[1]) > 800 and min(numbers[1]) < 200


@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_mean_image_is_the_same_to_the_bit(size, monkeypatch):
    monkeypatch.setattr("tinyddpm.data.stored.images.PIECE", 60 * 4 * size)
    for kind in ("bytes", "unit f8"):
        images = Stored(ARRAYS[kind], 255)
        expected = images[:]
        for dtype in (None, np.float64):
            assert images.mean(axis=0, dtype=dtype).tobytes() == expected.mean(0, dtype).tobytes()
    assert images.mean() == expected.mean()


@many()
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.sampled_from([1, 3, 4096]))
def test_equal_images_are_said_as_they_were(values, at_once):
    images = np.array(values, np.uint8)[:, None, None, None].repeat(3, 2)
    names = [f"image {i}" for i in range(len(values))]
    doubles.AT_ONCE, before = at_once, doubles.AT_ONCE
    try:
        assert doubles.doubles(images, names.__getitem__) == equal_images(images, names)
    finally:
        doubles.AT_ONCE = before


def test_of_very_many_images_the_first_are_compared(monkeypatch):
    monkeypatch.setattr(doubles, "MOST", 4)
    images = np.array([1, 2, 1, 3, 2, 1], np.uint8)[:, None]
    said = doubles.doubles(images, str)
    assert said.startswith("among the first 4, 1 image is equal to another, such as 2 to 0:")


def test_training_takes_the_same_steps():
    array = noise(20, 1, 4, 4)
    ends = []
    for images in (Stored(array, 255), converted(array)):
        unet = UNet(UNetConfig(image=(1, 4, 4), base=8, levels=(1,))).initialise(seed=0)
        steps = train(unet, images, schedule.linear(10), 0.1, seed=0, batch_size=3)
        J = [next(steps).J for _ in range(3)]
        ends.append((J, unet.theta.tobytes()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_pieces_are_the_whole(rows, monkeypatch):
    monkeypatch.setattr(mapped, "PIECE", 60 * rows)
    found = list(pieces(ARRAYS["bytes"]))
    assert np.array_equal(np.concatenate(found), ARRAYS["bytes"])
    assert len(found) == -(-7 // rows) and len(list(pieces(ARRAYS["bytes"][:0]))) == 0


def test_at_most_so_many_values():
    whole = Dataset(Stored(noise(100, 1, 2, 2), 255), np.arange(100), "", 256)
    assert data.at_most(whole, 400) is whole
    some = data.at_most(whole, 100)
    assert some.labels.tolist() == list(range(0, 100, 4))
    assert some.images[:].tobytes() == whole.images[::4].tobytes()
    assert len(data.at_most(whole, 1).images) == 1
