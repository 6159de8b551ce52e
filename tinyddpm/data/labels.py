"""The class of each image: from labels that come with the data, or from the sub-folders.

    dataset, names = labelled(loading.load("digits"), "digits")   # names: "0", "1", …, "9"
    dataset, names = labelled(loading.load("pets/"), "pets/")     # pets/cat/1.png, …: "cat", "dog"
    number("dog", names), number("1", names)                      # 1 both times

Labels are found in three places:

- in the data set itself: the digits, or an .npz with an array named labels or y;
- in a file beside an IDX or .npy file of images, whose name says labels where the other says
  images, or y where it says x (train-labels-idx1-ubyte.gz, labels.npy, y_train.npy);
- in the folder or archive, if it has one sub-folder for each class.

The classes are the values that occur, and are named by them.

`more/classes.py` says what a network does with them.
"""

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import loading, values
from .asked import Crop, Size
from .dataset import Dataset
from .folders import as_seen
from .image_files import MEGAPIXELS, DataError, bad
from .origin import Origin
from .stored.array_files import read_labels


class NoLabels(DataError):
    """There are no labels, and nothing that was meant as labels."""


def load(
    source: str | Path,
    size: Size = None,
    channels: int | None = None,
    classes: bool = False,
    megapixels: float = MEGAPIXELS,
    known: Sequence[str] = (),
    max_memory: float | None = None,
    crop: Crop = "centre",
) -> tuple[Dataset, tuple[str, ...]]:
    """The data set at `source`, and the names of its classes.

    Unless `classes` is true, there are no labels and no names. For the other arguments see
    `loading.load`, and `labelled` for `known`.
    """
    dataset = loading.load(source, size, channels, megapixels, max_memory, crop)
    return labelled_if(classes, dataset, source, known)


def labelled_if(
    classes: bool, dataset: Dataset, source: str | Path, known: Sequence[str] = ()
) -> tuple[Dataset, tuple[str, ...]]:
    """What `labelled` gives, or without `classes` the data set without labels, and no names."""
    if classes:
        return labelled(dataset, source, known)
    return dataclasses.replace(dataset, labels=None), ()


def labelled(
    dataset: Dataset, source: str | Path, known: Sequence[str] = ()
) -> tuple[Dataset, tuple[str, ...]]:
    """`dataset`, loaded from `source`, with labels, and the names of the classes.

    The labels are (n,) in {0..classes - 1}. The classes are the values that occur, or the
    sub-folders with pictures, in the order of their names.

    Args:
        dataset: the images.
        source: where they come from; a file of labels may lie beside it.
        known: the classes of an older run. It keeps their order. It had a class for every number
            up to the largest label: if they are the numbers from 0 on, it keeps them all.

    Raises:
        NoLabels: there are none.
        DataError: they do not fit the images.
    """
    labels, names = _found(dataset, Path(source))
    if labels is None:
        if dataset.origin.label_problem:
            raise DataError(dataset.origin.label_problem)
        places = (
            "the digits, an .npz with an array named labels, an IDX file with its file of labels "
            "beside it, or a folder with one sub-folder for each class"
        )
        problem = f"classes: expected images with labels ({places}), found no labels"
        raise NoLabels(str(bad(source, problem)))
    numbers = tuple(map(str, range(len(known))))
    former_order = set(names) == set(known)  # that of names which are spelled otherwise now
    if former_order or numbers == tuple(known) and set(names) < set(numbers):
        labels, names = np.array([known.index(name) for name in names])[labels], tuple(known)
    origin = dataset.origin
    notes = tuple(note for note in _notes(names, origin) if note not in origin.notes)
    origin = dataclasses.replace(origin, notes=(*notes, *origin.notes))
    return dataclasses.replace(dataset, labels=labels, class_names=names, origin=origin), names


def _notes(names: tuple[str, ...], origin: Origin) -> list[str]:
    """What the user should know of the classes."""
    notes = []
    same: dict[str, list[str]] = {}
    for name in names:
        # Letters are classes of their own: A is not a.
        plain = name.casefold().strip() if name[1:] else name
        same.setdefault(plain, []).append(name)
    if twins := [group for group in same.values() if len(group) > 1]:
        shown = "; ".join(" and ".join(map(repr, group)) for group in twins[:3])
        notes.append(f"classes whose names look alike: {shown}")
    inner = {place.split("/")[1] for place in origin.places if place.count("/") > 1}
    if len(names) == 1 and origin.places and len(inner) > 1:
        shown = ", ".join(sorted(inner)[:3])
        notes.append(f"all images lie in {names[0]}: if {shown} in it are the classes, give it")
    return notes


def _found(dataset: Dataset, path: Path) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The number of each image's class, or None, and the names of the classes."""
    if dataset.labels is not None:
        return dataset.labels, dataset.class_names
    if dataset.origin.places:
        return _of_folder(dataset.origin, path)
    beside = _beside(path)
    if beside is None:
        return None, ()
    labels = read_labels(beside)
    if len(labels) != len(dataset.images):
        expected = f"a label for each of the {len(dataset.images)} images in {path.name}"
        raise bad(beside, f"expected {expected}, got {len(labels)}")
    try:
        return values.classes(labels, len(labels))
    except ValueError as error:
        raise bad(beside, f"labels: {error}") from None


def _of_folder(origin: Origin, folder: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of the pictures of a folder or an archive, and its sub-folders' names."""
    inside = [place.split("/") for place in origin.places]
    loose = [parts[0] for parts in inside if len(parts) == 1]
    if loose:
        expected = "one sub-folder for each class and no picture outside them"
        problem = str(bad(folder, f"classes: expected {expected}, got {loose[0]}"))
        raise (DataError if len(loose) < len(inside) else NoLabels)(problem)
    names = origin.sub_folders()
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers[as_seen(parts[0])] for parts in inside]), tuple(names)


def _beside(path: Path) -> Path | None:
    """The file of labels that belongs to a file of images, if there is one of that name."""
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    if path.suffix == ".npy":
        name = re.sub(r"^[xX](?=[_.])", "y", name)
    beside = path.with_name(name)
    return beside if name != path.name and beside.is_file() else None


def fingerprint(dataset: Dataset) -> str:
    """sha256 (hex) of the images, and of their labels if there are any."""
    if dataset.labels is None:
        return dataset.fingerprint()
    labels = np.ascontiguousarray(dataset.labels, dtype="<i8").tobytes()
    return hashlib.sha256(dataset.fingerprint().encode() + labels).hexdigest()


def in_proportion(labels: np.ndarray, n: int) -> np.ndarray:
    """n numbers of classes, each as often as among the labels, and in turn where all are equal.

    Each is the class that is furthest behind its share.
    """
    share = np.bincount(labels) / len(labels)
    chosen, times = np.empty(n, np.int64), np.zeros(len(share))
    for i in range(n):
        chosen[i] = np.argmax(share * (i + 1) - times)
        times[chosen[i]] += 1
    return chosen


def number(name: str, names: Sequence[str]) -> int:
    """The number of the class called `name`; ValueError if none is.

    Where no class is called by a number, `name` may also be a number from 0 on.
    """
    seen = [as_seen(each) for each in names]
    if as_seen(name) in seen:
        return seen.index(as_seen(name))
    counted = not any(name.lstrip("-").isdecimal() for name in names)
    if counted and name.isdecimal() and int(name) < len(names):
        return int(name)
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    raise ValueError(f"class: expected one of {shown}, got {name!r}")
