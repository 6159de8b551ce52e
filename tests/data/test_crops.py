"""Images that are cropped at random: larger ones are kept, and their centre is seen."""

import numpy as np
import pytest
from PIL import Image

from tinyddpm import data
from tinyddpm.data import DataError
from tinyddpm.data.asked import decoded_size, uncropped
from tinyddpm.data.stored import Stored, cached, kept, mapped
from tinyddpm.data.stored.on_device import on_device
from tinyddpm.runs.config import Config

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pictures(folder, *sides):
    folder.mkdir(parents=True)
    for i, (height, width) in enumerate(sides):
        pixels = RNG.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_what_is_decoded_is_an_eighth_larger_than_a_crop_of_it():
    assert decoded_size((224, 224), "random") == (256, 256)
    assert decoded_size((224, 224), "centre") == (224, 224)
    assert decoded_size(None, "random") is None
    for side in range(1, 999):
        larger, _ = decoded_size((side, 1), "random")
        assert side < larger and 7 / 8 * (larger - 1) < side <= 7 / 8 * larger


@pytest.mark.parametrize("mapping", [True, False], ids=["mapped", "in memory"])
def test_the_images_seen_are_the_centres_of_larger_ones(mapping, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "MAPPED_FROM", 0 if mapping else 2**30)
    folder = pictures(tmp_path / "x", (30, 30), (40, 50), (17, 28), (64, 40))
    larger = data.load(folder, (16, 32)).images[:]  # 8/7 of 14 and of 28
    images = data.load(folder, (14, 28), crop="random").images
    assert images.shape == (4, 3, 14, 28) and images.size == images[:].size
    expected = larger[:, :, 1:15, 2:30]
    np.testing.assert_array_equal(images[:], expected)
    np.testing.assert_array_equal(images[[2, 0]], expected[[2, 0]])
    np.testing.assert_array_equal(images.part(np.array([1, 3]))[:], expected[[1, 3]])
    np.testing.assert_array_equal(images.mean(0), expected.mean(0))
    np.testing.assert_array_equal(on_device(images, "cpu")[:], expected)
    assert images[:1].flags.c_contiguous
    assert uncropped(images).shape == larger.shape
    np.testing.assert_array_equal(uncropped(images)[:], larger)
    np.testing.assert_array_equal(uncropped(images.part(np.array([1, 3])))[:], larger[[1, 3]])


def test_training_and_held_out_images_stay_apart(tmp_path):
    dataset = data.load(pictures(tmp_path / "x", *[(30, 30)] * 12), 8, crop="random")
    training, held_out = data.split(dataset)
    assert len(uncropped(training.images)) == 10 and held_out.images.shape == (2, 3, 8, 8)
    both = np.concatenate([uncropped(training.images)[:], uncropped(held_out.images)[:]])
    assert len(np.unique(both.reshape(12, -1), axis=0)) == 12


def test_what_is_kept_of_crops_is_kept_apart_from_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "WORTH", 0)
    monkeypatch.setattr(kept.facts_module, "SETTLED", 0)
    folder = pictures(tmp_path / "x", *[(30, 30)] * 6)
    for again in range(2):
        larger, crops = data.load(folder, 16), data.load(folder, 14, crop="random")
        assert len(list(cached.folder().glob("*.npy"))) == 1 + again  # decoded once
        found = larger.fingerprint(), crops.fingerprint()
        assert len({*found, data.load(folder, 14).fingerprint()}) == 3
        np.testing.assert_array_equal(larger.images.mean(0)[:, 1:15, 1:15], crops.images.mean(0))
    # Its part that no crop at the centre shows counts too.
    images = np.full((2, 1, 4, 4), 9, np.uint8)
    stored = Stored(images, 255).cropped((2, 2))
    images = images.copy()
    images[0, 0, 0, 0] = 8
    assert stored.fingerprint() != Stored(images, 255).cropped((2, 2)).fingerprint()


def test_arrays_that_are_larger_are_cropped_too(tmp_path):
    array = RNG.integers(0, 256, (5, 9, 12), np.uint8)
    array[0, 0, :2] = 0, 255
    np.save(tmp_path / "x.npy", array)
    dataset = data.load(tmp_path / "x.npy", (5, 12), crop="random")
    expected = data.load(tmp_path / "x.npy").images[:]
    np.testing.assert_array_equal(dataset.images[:], expected[:, :, 2:7])
    digits = data.load("digits", 6, crop="random").images
    np.testing.assert_array_equal(digits[:], data.digits().images[:, :, 1:7, 1:7])
    np.testing.assert_array_equal(uncropped(digits)[:], data.digits().images)


@pytest.mark.parametrize("size", [9, (9, 8), (12, 9), 10])
def test_an_array_of_the_size_itself_has_nothing_to_crop(size, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(2 * 81, dtype=np.uint8).reshape(2, 9, 9) + 90)
    if size == (9, 8):
        assert data.load(tmp_path / "x.npy", size, crop="random").images.shape == (2, 1, 9, 8)
        return
    with pytest.raises(DataError, match="x.npy: crop: expected images larger than .* nothing to"):
        data.load(tmp_path / "x.npy", size, crop="random")


def test_pictures_of_the_size_itself_have_nothing_to_crop(tmp_path):
    folder = pictures(tmp_path / "x", (14, 14), (16, 15), (15, 40))
    problem = "x: crop: expected pictures of at least 16 x 16 .* got none: there is nothing to crop"
    with pytest.raises(DataError, match=problem):
        data.load(folder, 14, crop="random")
    Image.new("RGB", (16, 16)).save(folder / "9.png")  # one is enough; a note counts the others
    notes = data.load(folder, 14, crop="random").origin.notes
    assert any(note.startswith("3 pictures: smaller than the size") for note in notes)


def test_crops_that_are_none(tmp_path):
    folder = pictures(tmp_path / "x", (14, 14))
    needs = r"^crop: expected a size \(--size\) with random, got none"
    with pytest.raises(DataError, match=needs):
        data.load(folder, crop="random")
    with pytest.raises(ValueError, match=needs):
        Config(crop="random")
    with pytest.raises(DataError, match="^crop: expected centre or random, got 'middle'"):
        data.load(folder, 8, crop="middle")
