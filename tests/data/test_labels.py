"""Where labels are found, and what is said of labels that are missing or wrong."""

import gzip

import numpy as np
import pytest
from data_files import DIGIT_IMAGES, DIGIT_LABELS, idx
from PIL import Image

from tinyddpm import cli, data
from tinyddpm.data import DataError, labels


def labelled(source):
    return labels.labelled(data.load(source), source)


def pictures(folder, *places):
    """A picture at each place; its shade is 20 times its number."""
    for i, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(folder / place)


def test_the_digits_have_theirs():
    dataset, names = labelled("digits")
    assert (dataset.labels == data.digits().labels).all() and names == tuple("0123456789")


BESIDE = [
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
]


@pytest.mark.parametrize("images, beside", BESIDE)
def test_the_file_of_labels_beside_an_idx_file_of_images(images, beside, tmp_path):
    for name, array in ((images, DIGIT_IMAGES), (beside, DIGIT_LABELS)):
        content = gzip.compress(idx(array)) if name.endswith("gz") else idx(array)
        (tmp_path / name).write_bytes(content)
    dataset, names = labelled(tmp_path / images)
    assert (dataset.labels == DIGIT_LABELS).all() and dataset.labels.dtype == np.int64
    assert names == tuple("0123456789")


@pytest.mark.parametrize(
    "images, beside",
    [("images.npy", "labels.npy"), ("x_train.npy", "y_train.npy"), ("X.npy", "y.npy")],
)
def test_the_array_of_labels_beside_an_array_of_images(images, beside, tmp_path):
    np.save(tmp_path / images, DIGIT_IMAGES)
    np.save(tmp_path / beside, np.array(list("abcdefghij"))[DIGIT_LABELS][:, None])
    dataset, names = labelled(tmp_path / images)
    assert (dataset.labels == DIGIT_LABELS).all() and names == tuple("abcdefghij")
    np.save(tmp_path / beside, DIGIT_LABELS + 0.5)
    with pytest.raises(DataError, match=f"{beside}: labels: expected 60 labels.*got fractions"):
        labelled(tmp_path / images)


def test_a_sub_folder_is_a_class_and_deeper_ones_belong_to_it(tmp_path):
    pictures(tmp_path, "dog/a.png", "cat/b.png", "cat/young/c.png", "ant/z.png")
    dataset, names = labelled(tmp_path)
    assert names == ("ant", "cat", "dog")
    shades = np.rint((dataset.images[:, 0, 0, 0] + 1) * 127.5).astype(int) // 20
    assert dict(zip(shades.tolist(), dataset.labels.tolist())) == {0: 2, 1: 1, 2: 1, 3: 0}


def test_a_class_has_a_name_and_a_number():
    assert labels.number("dog", ("cat", "dog")) == 1 == labels.number("1", ("cat", "dog"))
    assert labels.number("1", ("1", "0")) == 0  # a name counts more than a number
    for wrong in ("cow", "2", "-1", "²", ""):
        with pytest.raises(ValueError, match="^class: expected one of cat, dog, got "):
            labels.number(wrong, ("cat", "dog"))


# ---- labels that are missing or wrong ------------------------------------------------------------

# What is in the file of labels that lies beside the images.
BROKEN_FILES = {
    "few": idx(DIGIT_LABELS[:59]),
    "images": idx(DIGIT_IMAGES),
    "cut": idx(DIGIT_LABELS)[:-1],
    "text": b"cat, dog",
}


def broken(folder, what):
    """A data set with something wrong about its labels."""
    if what == "loose":
        pictures(folder, "cat/a.png", "b.png")
        return folder
    if what == "many":
        np.savez(folder / "x.npz", images=DIGIT_IMAGES, labels=np.arange(59))
        return folder / "x.npz"
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(idx(DIGIT_IMAGES))
    if what in BROKEN_FILES:
        (folder / "train-labels-idx1-ubyte").write_bytes(BROKEN_FILES[what])
    return path


PROBLEMS = {
    "none": "expected images with labels",
    "loose": "no picture outside them, got b.png",
    "few": "expected a label for each of the 60 images in train-images-idx3-ubyte, got 59",
    "images": "expected an IDX file of labels (one axis), got 3 axes",
    "cut": "the header promises shape (60,)",
    "text": "expected an IDX file",
    "many": "labels: expected 60 labels, whole numbers or texts, got shape (59,) of int64",
}


@pytest.mark.parametrize("what, problem", PROBLEMS.items())
def test_missing_or_wrong_labels_are_one_line_and_nothing_is_written(
    what, problem, tmp_path, capsys
):
    source = broken(tmp_path, what)
    before = {p.name for p in tmp_path.iterdir()}
    out = str(tmp_path / "run")
    assert cli.main(["train", "--out", out, "--classes", "--data", str(source)]) == 2
    said = capsys.readouterr().err
    assert problem in said and said.startswith(f"tinyddpm: {tmp_path}"), said
    assert said.count("\n") == 1, said
    assert {p.name for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("what", PROBLEMS)
def test_the_command_that_looks_says_what_would_stop_a_run(what, tmp_path, capsys):
    assert cli.main(["data", str(broken(tmp_path, what))]) == 0
    said = capsys.readouterr().out
    assert "no classes" in said
    assert (PROBLEMS[what] in said) == (what != "none"), said
    assert cli.main(["data", "--no-classes", str(broken(tmp_path, what))]) == 0
    assert "with --classes" not in capsys.readouterr().out


def test_wrong_labels_do_not_matter_without_classes(tmp_path):
    assert data.load(broken(tmp_path, "few")).labels is None


# ---- as many of each -----------------------------------------------------------------------------


def test_classes_are_drawn_in_proportion_and_in_turn_where_all_are_equal():
    assert labels.in_proportion(np.array([2, 0, 1, 1, 0, 2]), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    uneven = np.repeat([0, 1, 3], [60, 30, 10])  # there is no 2
    drawn = labels.in_proportion(uneven, 50)
    for n in range(1, 51):
        times = np.bincount(drawn[:n], minlength=4)
        assert abs(times - n * np.array([0.6, 0.3, 0, 0.1])).max() < 1
