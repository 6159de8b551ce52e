"""Values and labels as people have them: read if they are clear, and said."""

import numpy as np
import pytest
from data_files import as_float, check, noise, refused

from tinyddpm import data
from tinyddpm.data import DataError, labels

IMAGES = noise(6, 8, 8)
TINY = 1e-7


def loaded(tmp_path, array, **more):
    path = tmp_path / "x.npz"
    np.savez(path, images=array, **more)
    return data.load(path)


def text(found):
    return data.report(found, "x").text()


# ---- pixels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("low, high", [(-TINY, 1), (0, 1 + 2**-10), (-0.001, 1.001)])
def test_a_rounding_error_changes_no_range(low, high, dtype, tmp_path):
    unit = np.linspace(0, 1, 64).reshape(1, 8, 8)
    stored = unit.astype(dtype)
    stored[0, 0, 0], stored[0, -1, -1] = low, high
    found = loaded(tmp_path, stored)
    np.testing.assert_allclose(found.images[:, 0], 2 * unit - 1, atol=4e-3)
    assert np.abs(found.images).max() <= 1 and found.images.min() < -0.99
    assert "read as 2x - 1" in text(found)
    if dtype != "f2":
        assert "outside the range by a rounding error, and cut off" in text(found)


def test_floats_around_zero_keep_their_range_and_may_round_too(tmp_path):
    stored = np.linspace(-1, 1, 64).reshape(1, 8, 8)
    check(loaded(tmp_path, stored), stored[:, None], 0)
    check(loaded(tmp_path, stored * (1 + TINY)), stored[:, None], 0)
    assert "read as x, unchanged" in text(loaded(tmp_path, stored))
    assert "note" not in text(loaded(tmp_path, stored))
    stored[stored < 0] = -0.05  # what resizing leaves beyond [0, 1]
    assert "the smallest value is -0.05, and -1 is black" in text(loaded(tmp_path, stored))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "i8", "u4", "u8"])
def test_0_to_255_of_any_type_is_read_as_bytes_are(dtype, tmp_path):
    stored = IMAGES.copy()
    stored[0, 0, :2] = 0, 255
    found = loaded(tmp_path, stored.astype(dtype))
    assert found.fingerprint() == loaded(tmp_path, stored).fingerprint()
    assert "from 0 to 255, read as x / 127.5 - 1" in text(found)


@pytest.mark.parametrize("dtype", [bool, "i8", "i1"])
def test_black_and_white(dtype, tmp_path):
    stored = IMAGES > 99
    check(loaded(tmp_path, stored.astype(dtype)), 2.0 * stored[:, None] - 1, 2)


@pytest.mark.parametrize("dtype", ["i4", "u4"])
def test_wide_integers_of_sixteen_bits(dtype, tmp_path):
    stored = noise(2, 8, 8, dtype=np.uint16)
    stored[0, 0, :2] = 0, 65535
    found = loaded(tmp_path, stored.astype(dtype))
    assert found.fingerprint() == loaded(tmp_path, stored).fingerprint()


@pytest.mark.parametrize(
    "array, words",
    [
        (np.full((2, 8, 8), 16.0), "if 16 is white, divide by it"),  # scikit-learn's digits
        (np.full((2, 8, 8), 16), "if 16 is white, divide by it"),
        (np.linspace(-3, 3, 64).reshape(1, 8, 8), "subtract the smallest value and divide"),
        (np.linspace(-128, 127, 64).reshape(1, 8, 8).astype(np.int8), "int8 values from -128 to"),
        (np.full((1, 8, 8), 70000), "from 70000 to 70000"),
        (np.full((1, 8, 8), 1.003), "from 1.003 to 1.003"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_fix(array, words, tmp_path):
    np.save(tmp_path / "x.npy", array)
    refused(tmp_path / "x.npy", words)


@pytest.mark.parametrize(
    "shape, words",
    [
        ((6, 64), "use x.reshape(-1, 8, 8)"),
        ((6, 3072), "use x.reshape(-1, 3, 32, 32)"),
        ((8, 8), "if this is one image, use x[None]"),
        ((6, 8, 8, 4), "use x[..., :3]"),
        ((6, 2, 8, 8), "use x[:, :1]"),
        ((8, 9, 3, 6), "use np.moveaxis(x, -1, 0)"),  # the form of SVHN
        ((6, 1, 8, 8, 1), "np.squeeze"),
    ],
)
def test_a_shape_that_is_not_read_comes_with_the_fix(shape, words, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
    refused(tmp_path / "x.npy", "expected shape", f"got {shape}", words)


def test_values_that_are_not_finite_are_counted(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[[0, np.nan], [np.inf, np.nan]]]))
    refused(tmp_path / "x.npy", "3 of 4 are not finite")


@pytest.mark.parametrize("high, dtype", [(100, "f8"), (127, "f4"), (180, "i8"), (40000, "i4")])
def test_where_the_type_does_not_say_what_white_is_less_is_worth_a_word(high, dtype, tmp_path):
    """Percentages fit into 0 to 255."""
    stored = np.linspace(0, high, 64).reshape(1, 8, 8).astype(dtype)
    assert f"the brightest value is {high} where white is" in text(loaded(tmp_path, stored))
    stored = np.linspace(0, 250, 64).reshape(1, 8, 8).astype(dtype)
    assert "note" not in text(loaded(tmp_path, stored))


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2"])
def test_masks_of_any_unsigned_type(dtype, tmp_path):
    mask = IMAGES > 99
    check(loaded(tmp_path, mask.astype(dtype)), 2.0 * mask[:, None] - 1, 2)
    assert loaded(tmp_path, np.zeros((1, 8, 8), dtype)).images.max() == -1  # and all black is black


@pytest.mark.parametrize("high, dtype", [(4095, np.uint16), (255, np.uint16), (16, np.uint8)])
def test_dark_integers_are_said(high, dtype, tmp_path):
    stored = np.linspace(0, high, 64).reshape(1, 8, 8).astype(dtype)
    white = np.iinfo(dtype).max
    assert f"the brightest value is {high} where white is {white}" in text(loaded(tmp_path, stored))
    assert "note" not in text(loaded(tmp_path, (stored * (white // high)).astype(dtype)))


def test_one_value_alone_is_said(tmp_path):
    assert "note: every value is 0" in text(loaded(tmp_path, np.zeros((2, 8, 8), np.uint8)))


def test_a_shape_with_a_second_meaning_is_said(tmp_path):
    found = loaded(tmp_path, noise(32, 24, 3))
    assert found.images.shape == (32, 1, 24, 3)
    assert "shape (32, 24, 3) is read as 32 grey images of 24 x 3" in text(found)
    assert "read as (n, H, W, C), not (n, C, H, W)" in text(loaded(tmp_path, noise(2, 3, 9, 3)))
    assert "note" not in text(loaded(tmp_path, noise(2, 8, 9, 3)))


def test_arrays_that_are_not_used_are_said(tmp_path):
    """The form of Keras's mnist.npz."""
    parts = {"x_train": IMAGES, "y_train": NUMBERS, "x_test": IMAGES[:2], "y_test": NUMBERS[:2]}
    np.savez(tmp_path / "x.npz", **parts)
    found = data.load(tmp_path / "x.npz")
    assert len(found.images) == 6 and found.labels.tolist() == NUMBERS.tolist()
    assert "arrays that are not used: x_test, y_test" in text(found)


FORMS = {
    "MedMNIST": {"train_images": IMAGES, "train_labels": 0, "val_images": IMAGES, "val_labels": 0},
    "scikit-learn": {"X_train": IMAGES, "y_train": 0, "X_test": IMAGES, "y_test": 0},
    "capitals": {"Images": IMAGES, "Labels": 0},
    "by position": {"arr_0": IMAGES, "arr_1": 0},  # np.savez(path, images, labels)
    "with names": {"X": IMAGES, "y": 0, "names": np.array(["a", "b"])},
    "with objects": {
        "imgs": IMAGES,
        "classes": 0,
        "metadata": np.array({"a": 1}, object),
    },  # dSprites
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_are_found_by_the_names_that_people_give_them(form, tmp_path):
    parts = {k: NUMBERS[:, None] if isinstance(v, int) else v for k, v in FORMS[form].items()}
    np.savez(tmp_path / "x.npz", **parts)
    found = data.load(tmp_path / "x.npz")
    check(found, as_float(IMAGES[:, None]), 256)
    assert found.labels.tolist() == NUMBERS.tolist()


def test_what_may_be_labels_and_does_not_fit_is_not_used(tmp_path):
    np.savez(tmp_path / "x.npz", arr_0=IMAGES, arr_1=IMAGES[:3])
    found = data.load(tmp_path / "x.npz")
    assert found.labels is None and not found.origin.label_problem
    assert "arrays that are not used: arr_1" in text(found)
    np.savez(tmp_path / "x.npz", a=IMAGES, b=IMAGES)
    refused(tmp_path / "x.npz", "expected a single array", "['a', 'b']")


@pytest.mark.parametrize("key", ["labels", "y", "label", "target", "targets"])
def test_names_of_labels(key, tmp_path):
    assert loaded(tmp_path, IMAGES, **{key: NUMBERS}).labels.tolist() == NUMBERS.tolist()


# ---- labels --------------------------------------------------------------------------------------

NUMBERS = np.array([0, 1, 1, 0, 2, 2])
CLEAR = {
    "a column": (NUMBERS[:, None], "012"),
    "a row": (NUMBERS[None], "012"),
    "one-hot": (np.eye(3)[NUMBERS], "012"),
    "one-hot bools": (np.eye(3, dtype=bool)[NUMBERS], "012"),
    "floats": (NUMBERS.astype(float), "012"),
    "texts": (np.array(["ant", "bee", "cat"])[NUMBERS], ("ant", "bee", "cat")),
    "bytes": (np.array([b"ant", b"bee", b"cat"])[NUMBERS], ("ant", "bee", "cat")),
    "from 1": (NUMBERS + 1, "123"),
    "with gaps": (np.array([3, 7, 40])[NUMBERS], ("3", "7", "40")),
    "negative": (NUMBERS - 1, ("-1", "0", "1")),
    "huge": (NUMBERS.astype(np.uint64) + 2**63, tuple(str(2**63 + i) for i in range(3))),
}


@pytest.mark.parametrize("form", CLEAR)
def test_labels_that_are_clear_are_read_and_name_the_classes(form, tmp_path):
    stored, names = CLEAR[form]
    found = loaded(tmp_path, IMAGES, labels=stored)
    assert found.labels.tolist() == NUMBERS.tolist() and found.labels.dtype == np.int64
    assert found.class_names == tuple(names)
    assert labels.labelled(found, "x")[1] == tuple(names)


def test_bools_are_two_classes(tmp_path):
    found = loaded(tmp_path, IMAGES, y=NUMBERS > 0)
    assert found.class_names == ("False", "True") and found.labels.tolist() == [0, 1, 1, 0, 1, 1]


def test_one_hot_classes_are_those_that_occur(tmp_path):
    found = loaded(tmp_path, IMAGES, y=np.eye(9)[NUMBERS + 4])
    assert found.class_names == ("4", "5", "6")


UNCLEAR = {
    "too few": (NUMBERS[:5], "expected 6 labels"),
    "two of each": (np.stack([NUMBERS, NUMBERS], 1) + 1, "expected 6 labels"),
    "probabilities": (np.full((6, 3), 1 / 3), "expected 6 labels"),
    "fractions": (NUMBERS + 0.5, "got fractions"),
    "NaN": (np.where(NUMBERS, NUMBERS, np.nan), "got fractions"),
    "empty texts": (np.array(["", "a", "a", "b", "", "b"]), "2 empty ones"),
    "Latin-1": (np.array(["é".encode("latin-1")] * 6), "labels"),
    "objects": (np.array(["a", None] * 3, object), "save np.array(labels, dtype=str)"),
    "dates": (np.zeros(6, "M8[s]"), "expected an array"),
}


@pytest.mark.parametrize("form", UNCLEAR)
def test_labels_that_are_not_clear_matter_only_to_those_who_ask(form, tmp_path):
    stored, words = UNCLEAR[form]
    found = loaded(tmp_path, IMAGES, labels=stored)
    assert found.labels is None and len(found.images) == 6
    assert "the labels cannot be used" in text(found) and words in text(found)
    with pytest.raises(DataError, match="x.npz") as caught:
        labels.labelled(found, tmp_path / "x.npz")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_too_many_classes(tmp_path, monkeypatch):
    monkeypatch.setattr("tinyddpm.data.values.MOST_CLASSES", 2)
    assert "at most 2 classes, got 3" in loaded(tmp_path, IMAGES, y=NUMBERS).origin.label_problem


def test_a_number_that_no_class_is_called_by_is_no_class():
    assert labels.number("7", ("3", "7")) == 1
    with pytest.raises(ValueError, match="expected one of 3, 7, got '1'"):
        labels.number("1", ("3", "7"))
