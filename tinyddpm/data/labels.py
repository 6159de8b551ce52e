"""The class of each image: from labels that come with the data, or from the sub-folders.

    dataset, names = labelled(loading.load("digits"), "digits")   # names: "0", "1", …, "9"
    dataset, names = labelled(loading.load("pets/"), "pets/")     # pets/cat/1.png, …: "cat", "dog"
    number("dog", names), number("1", names)                      # 1 both times

Labels are found in three places:

- in the data set itself: the digits, or an .npz with an array named labels, y or y_train;
- in a file beside an IDX file of images, whose name says labels where the other says images
  (train-labels-idx1-ubyte.gz);
- in the folder, if it has one sub-folder for each class.

`more/classes.py` says what a network does with them.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import loading
from .array_files import read_labels
from .image_files import bad, find_pictures
from .loading import Dataset, Size

MOST_CLASSES = 10_000  # a label beyond this is no class, or a slip


def load(
    source: str | Path,
    size: Size = None,
    channels: int | None = None,
    classes: bool = False,
) -> tuple[Dataset, tuple[str, ...]]:
    """The data set at `source`, and the names of its classes.

    Unless `classes` is true, there are no labels and no names. For the other arguments see
    `loading.load`.
    """
    dataset = loading.load(source, size, channels)
    if classes:
        return labelled(dataset, source)
    return dataclasses.replace(dataset, labels=None), ()


def labelled(dataset: Dataset, source: str | Path) -> tuple[Dataset, tuple[str, ...]]:
    """`dataset`, loaded from `source`, with labels, and the names of the classes.

    The labels are (n,) in {0..classes − 1}. If classes are numbers, these are their names.
    Sub-folders are numbered in the order of their names.

    Raises:
        DataError: if there are no labels, or if they do not fit the images.
    """
    labels, names = _found(dataset, Path(source))
    if labels is None:
        places = (
            "the digits, an .npz with an array named labels, an IDX file with its file of labels "
            "beside it, or a folder with one sub-folder for each class"
        )
        raise bad(source, f"classes: expected images with labels ({places}), found no labels")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST_CLASSES:
        expected = f"numbers from 0 to at most {MOST_CLASSES - 1}"
        raise bad(source, f"labels: expected {expected}, got {low} to {high}")
    names = names or tuple(map(str, range(high + 1)))
    return dataclasses.replace(dataset, labels=labels), names


def _found(dataset: Dataset, path: Path) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The labels, or None, and the names of the classes if they have any but their numbers."""
    if dataset.labels is not None:
        return dataset.labels, ()
    if path.is_dir():
        return _of_folder(path)
    beside = _beside(path)
    if beside is None:
        return None, ()
    labels = read_labels(beside)
    if len(labels) != len(dataset.images):
        expected = f"a label for each of the {len(dataset.images)} images in {path.name}"
        raise bad(beside, f"expected {expected}, got {len(labels)}")
    return labels, ()


def _of_folder(folder: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of the pictures in a folder, in the order of loading, and its sub-folders' names."""
    inside = [path.relative_to(folder).parts for path in find_pictures(folder)]
    loose = [parts[0] for parts in inside if len(parts) == 1]
    if loose:
        expected = "one sub-folder for each class and no picture outside them"
        raise bad(folder, f"classes: expected {expected}, got {loose[0]}")
    names = sorted({parts[0] for parts in inside})
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers[parts[0]] for parts in inside]), tuple(names)


def _beside(path: Path) -> Path | None:
    """The file of labels that belongs to an IDX file of images, if there is one of that name."""
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    beside = path.with_name(name)
    return beside if name != path.name and beside.is_file() else None


def fingerprint(dataset: Dataset) -> str:
    """sha256 (hex) of the images, and of their labels if there are any."""
    if dataset.labels is None:
        return dataset.fingerprint()
    labels = np.ascontiguousarray(dataset.labels, dtype="<i8").tobytes()
    return hashlib.sha256(dataset.fingerprint().encode() + labels).hexdigest()


def number(name: str, names: Sequence[str]) -> int:
    """The number of the class called `name`, which may be a number too; ValueError if none is."""
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    raise ValueError(f"class: expected one of {shown}, got {name!r}")
