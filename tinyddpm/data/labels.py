"""What class each image is of: the labels that come with the data, or the sub-folders that pictures lie in.

    dataset, names = labelled(data.load("digits"), "digits")     # names: "0", "1", …, "9"
    dataset, names = labelled(data.load("pets/"), "pets/")       # pets/cat/1.png, pets/dog/7.png, …: "cat", "dog"
    number("dog", names), number("1", names)                     # 1 both times

Labels are found in three places: in the data set itself (digits, an .npz with an array called labels, y or y_train); in the file
beside an IDX file of images, whose name says labels where the other says images (train-labels-idx1-ubyte.gz); in a folder with one
sub-folder for each class. What a network does with them stands in `more/classes.py`.
"""
import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from .. import data
from .image_files import bad, find_pictures, read_labels

MOST = 10_000  # classes; a larger number is no class, or a slip


def load(source, size=None, channels=None, classes=False):
    """The Dataset at `source`, with labels only if `classes` asks for them, and the names of their classes."""
    dataset = data.load(source, size, channels)
    return labelled(dataset, source) if classes else (dataclasses.replace(dataset, labels=None), ())


def labelled(dataset, source):
    """`dataset`, loaded from `source`, with labels (n,) in {0..classes − 1}, and the names of the classes. DataError if it has none.

    Classes that are numbers have these numbers as names. Sub-folders are numbered in the order of their names.
    """
    labels, names, path = dataset.labels, None, Path(source)
    if labels is None and path.is_dir():
        labels, names = _of_folder(path)
    elif labels is None and (beside := _beside(path)):
        labels = read_labels(beside)
        if len(labels) != len(dataset.images):
            raise bad(beside, f"expected a label for each of the {len(dataset.images)} images in {path.name}, got {len(labels)}")
    if labels is None:
        raise bad(source, "classes: expected images with labels (the digits, an .npz with an array called labels, an IDX file with its file of labels "
                          "beside it, or a folder with one sub-folder for each class), there are none here")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST:
        raise bad(source, f"labels: expected numbers from 0 to at most {MOST - 1}, got {low} to {high}")
    return dataclasses.replace(dataset, labels=labels), names or tuple(map(str, range(high + 1)))


def _of_folder(folder):
    """Labels of the pictures in a folder, in the order in which they are loaded, and the names of its sub-folders."""
    inside = [path.relative_to(folder).parts for path in find_pictures(folder)]
    loose = [parts[0] for parts in inside if len(parts) == 1]
    if loose:
        raise bad(folder, f"classes: expected one sub-folder for each class and no picture outside them, got {loose[0]}")
    names = sorted({parts[0] for parts in inside})
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers[parts[0]] for parts in inside]), tuple(names)


def _beside(path):
    """The file of labels that belongs to an IDX file of images, or None if there is none of that name."""
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    beside = path.with_name(name)
    return beside if name != path.name and beside.is_file() else None


def fingerprint(dataset):
    """sha256 (hex) of the images, and of their labels if there are any."""
    if dataset.labels is None:
        return dataset.fingerprint()
    return hashlib.sha256(dataset.fingerprint().encode() + np.ascontiguousarray(dataset.labels, dtype="<i8").tobytes()).hexdigest()


def number(name, names):
    """The number of the class called `name`; a number is one too. ValueError if there is none."""
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    raise ValueError(f"class: expected one of {shown}, got {name!r}")

