"""The pictures to train on: the embedded digits, known data sets, arrays, or a folder of pictures.

    dataset = load("digits")                       # 1,797 digits of 8 x 8, embedded: no download
    dataset = load("fashion-mnist")                # after `tinyddpm data fashion-mnist`
    dataset = load("train-images-idx3-ubyte.gz")   # a file of MNIST or Fashion-MNIST
    dataset = load("cifar.npz")                    # an array of pictures, perhaps with labels
    dataset = load("holiday/", size=32)            # every picture in a folder, cropped and resized
    train, held_out = split(dataset)
    test = load_test("fashion-mnist")              # pictures that no training sees

Whatever the source, the pictures come out as float32 (n, C, H, W) in [-1, 1]. They are kept as they
are stored, and converted when someone takes some of them (stored/). A file that cannot be used
raises DataError: one line with the file's name, what was expected and what came. Files are data:
nothing in them is run.
"""

import dataclasses
import gzip
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from . import archives, datasets
from .asked import Crop, Shape, Size, as_requested, decoded_size, expect_one_as_large, request
from .dataset import Dataset, split
from .folders import as_seen, is_run_folder, listing, visible_folders
from .image_files import (
    MEGAPIXELS,
    DataError,
    DifferentSizes,
    File,
    at_most,
    bad,
    blaming,
    printable,
)
from .origin import Origin, first_line
from .stored import Facts
from .stored.array_files import Labels, read_file
from .stored.doubles import doubles
from .stored.facts import facts_of
from .stored.kept import pictures as kept_pictures
from .values import classes, how_to_shape, pixels, second_meaning

# assets/README.md says where the digits come from.
DIGITS_NAME = "digits"
DIGITS = Path(__file__).parent.parent / "assets" / "digits.csv.gz"

# Sub-folders of these names are no classes.
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}


def digits() -> Dataset:
    """The 1,797 test digits of UCI, with labels 0..9.

    The images are (1797, 1, 8, 8); 0 (paper) becomes -1 and 16 (ink) becomes +1, exactly.
    """
    with gzip.open(DIGITS, "rt", encoding="utf-8") as lines:
        # Each line has 64 pixels, row by row, then the label.
        table = np.loadtxt(lines, delimiter=",", dtype=np.int64)
    images = (table[:, :64] / 8 - 1).astype(np.float32).reshape(-1, 1, 8, 8)
    origin = Origin(stored="0 to 16", how="x / 8 - 1")
    names = tuple(map(str, range(10)))
    return Dataset(images, table[:, 64].copy(), DIGITS_NAME, 17, names, origin)


def load(
    source: str | Path,
    size: Size = None,
    channels: int | None = None,
    megapixels: float = MEGAPIXELS,
    max_memory: float | None = None,
    crop: Crop = "centre",
) -> Dataset:
    """The data set at `source`; the top of this file has examples.

    Arrays have axes (n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3; where both of the last
    two fit, C is the last axis. Numbers from 0 to 255 become x / 127.5 - 1, integers to 65535
    become x / 32767.5 - 1. Bools, masks of 0 and 1, and floats in [0, 1] become 2x - 1. Floats in
    [-1, 1], some of them negative, stay as they are. `report` says which it was.

    Args:
        source: "digits" for the embedded ones (a folder of that name is "./digits"); the name of
            another known data set (datasets.SOURCES), for its training set; or the path of

            - an IDX file of unsigned bytes, (n, H, W) or four axes, plain or gzipped, recognised by
              its content;
            - an .npy file, or an .npz. Its pictures are its only array, the only one of three or
              four axes, or named as in IMAGE_KEYS of `stored/array_files.py`, its labels as in
              LABEL_KEYS;
            - a picture (a data set of one), or a folder or archive (.zip, .tar.gz) of pictures,
              searched at every depth and read in the order of names.
        size: int or (H, W). Pictures are cropped to this aspect ratio around their centre, then
            resized; without a size all must have the same one. Arrays (IDX, .npy, .npz, the known
            data sets) are never resized: they must have this size.
        channels: 1 (grey) or 3 (RGB). Pictures are converted; by default to 1 if every picture is
            grey, else to 3. Arrays are never converted: they must have these channels.
        megapixels: pictures of more are refused.
        max_memory: gigabytes that the images may take in memory, as they are stored. What stays in
            its file, or in the cache, is not counted. None: image_files.MAX_BYTES.
        crop: "random": the images, arrays too, are larger than the size. They are seen around their
            centre, and `asked.uncropped` gives all of them.

    Raises:
        DataError: for anything else.
    """
    shape, channels = request(size, channels, crop)
    if not megapixels > 0:
        raise DataError(f"megapixels: expected a positive number, got {megapixels}")
    if source == DIGITS_NAME:
        return as_requested(digits(), source, shape, channels, crop)
    if isinstance(source, str) and source in datasets.SOURCES:
        return _known(source, "train", shape, channels, crop)
    if not str(source):
        raise DataError('source: expected "digits" or a path, got an empty string')
    with at_most(max_memory):
        dataset = _from_path(Path(source), shape, channels, megapixels, crop)
        return as_requested(dataset, Path(source), shape, channels, crop)


def load_test(
    source: str | Path,
    size: Size = None,
    channels: int | None = None,
    megapixels: float = MEGAPIXELS,
    max_memory: float | None = None,
    crop: Crop = "centre",
) -> Dataset:
    """Pictures that no training sees, to measure samples against.

    They are the test set of a known data set; of any other, the part that a run with --split
    every_sixth holds out. Only a test set is untouched by any decision. (The first 300 held-out
    pictures give the held-out J, which decides when training stops.)
    """
    if isinstance(source, str) and has_test_set(source):
        shape, channels = request(size, channels, crop)
        return _known(source, "test", shape, channels, crop)
    return split(load(source, size, channels, megapixels, max_memory, crop))[1]


def has_test_set(source: str | Path) -> bool:
    """Whether `load_test` gives a real test set, and not the part that `split` holds out."""
    known = datasets.SOURCES.get(source) if isinstance(source, str) else None
    return known is not None and known.has_test_set


# ---- from a name, or from a path -----------------------------------------------------------------


def meant(source: str) -> str:
    """What a user means by `source`: where a file or folder has a data set's name, it wins.

    A run folder of that name is no data, so it does not.
    """
    known = source == DIGITS_NAME or source in datasets.SOURCES
    path = Path(source)
    if known and path.exists() and not is_run_folder(path):
        return f".{os.sep}{source}"
    return source


def is_there(source: str) -> bool:
    """Whether there is a data set of this name, or anything at this path."""
    return source == DIGITS_NAME or source in datasets.SOURCES or Path(source).exists()


def _known(name: str, part: str, size: Shape | None, channels: int | None, crop: Crop) -> Dataset:
    source = datasets.SOURCES[name]
    images, labels = datasets.read(name, part)
    dataset = _from_array(Path(name), images, None, Origin(files=len(source.files)))
    if labels is not None:  # both parts number the classes alike, whichever occur
        names = source.class_names or tuple(map(str, range(int(labels.max()) + 1)))
        dataset = dataclasses.replace(dataset, labels=labels.astype(np.int64), class_names=names)
    return as_requested(dataset, name, size, channels, crop)


def _from_path(
    path: Path, size: Shape | None, channels: int | None, megapixels: float, crop: Crop
) -> Dataset:
    how = decoded_size(size, crop), channels, megapixels, crop
    with blaming(path):  # even to look at a path can fail: no permission, too long a name
        if path.is_dir():
            found = listing(path)
            return _from_pictures(path, found.files, found.passed, *how)
        if not path.is_file():  # reading a pipe or a device may never end
            problem = "this is neither" if path.exists() else "there is nothing here"
            raise bad(path, f"expected a file or a folder, {problem}")
        if archive := archives.pictures(path):
            return _from_pictures(path, archive.files, archive.passed, *how)
        if stored := read_file(path):
            array, labels, unused = stored
            notes = [f"arrays that are not used: {', '.join(unused)}"] if unused else []
            if path.name.startswith("emnist-"):
                notes.append("EMNIST's own files store rows as columns: x.transpose(0, 2, 1)")
            origin = Origin(files=1, notes=tuple(notes))
            return _from_array(path, array, labels, origin, "image {}".format, facts_of(path))
        return _from_pictures(path, {"": path}, {}, *how)


def _from_pictures(
    path: Path,
    files: Mapping[str, File],
    passed: Mapping[str, int],
    size: Shape | None,
    channels: int | None,
    megapixels: float,
    crop: Crop,
) -> Dataset:
    if crop == "random" and size is not None:
        expect_one_as_large(path, files.values(), size, megapixels)
    try:
        pictures, facts = kept_pictures(list(files.values()), size, channels, megapixels)
    except DifferentSizes as error:
        error.found = f"{printable(first_line(path, len(files), passed))}\n{error.found}"
        raise
    places = tuple(place for place in files if place)
    origin = Origin(len(files), passed, places, notes=pictures.notes)
    tops = origin.sub_folders()
    if tops and path.is_dir() and (empty := visible_folders(path) - set(tops)):
        note = f"no picture is read from {', '.join(sorted(empty))}"
        origin = dataclasses.replace(origin, notes=(note, *origin.notes))
    if len(parts := [name for name in tops if name.lower() in PARTS]) > 1:
        note = f"{' and '.join(parts)} look like parts of a data set, and all are used: give one"
        origin = dataclasses.replace(origin, notes=(note, *origin.notes))
    names = list(files)
    dataset = _from_array(path, pictures.array, None, origin, names.__getitem__, facts)
    stored = f"{dataset.origin.stored} ({pictures.stored})"
    origin = dataclasses.replace(dataset.origin, stored=stored)
    return dataclasses.replace(dataset, origin=origin)


def _from_array(
    path: Path,
    array: np.ndarray,
    labels: Labels,
    origin: Origin,
    called: Callable[[int], str] | None = None,
    facts: Facts | None = None,
) -> Dataset:
    """The data set of these images.

    Args:
        path: what to call them in an error.
        array: as they are stored.
        labels: as they are stored.
        origin: what is known so far.
        called: the name of image i, if equal ones are to be said.
        facts: what is known of the array.
    """
    facts = facts or Facts()
    notes = list(origin.notes)
    shape = array.shape
    if array.ndim == 3:
        array = array[:, None]  # (n, H, W) -> (n, 1, H, W)
    elif array.ndim == 4 and shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)  # (n, H, W, C) -> (n, C, H, W)
    elif array.ndim != 4 or shape[1] not in (1, 3):
        layouts = "(n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3"
        raise bad(path, f"expected shape {layouts}, got {shape}{how_to_shape(shape)}")
    if note := second_meaning(shape):
        notes.append(note)
    reading = pixels(path, array, facts)
    numbers, problem = None, ""
    names: tuple[str, ...] = ()
    if isinstance(labels, DataError):
        problem = str(labels)
    elif labels is not None:
        try:
            numbers, names = classes(labels, len(array))
        except ValueError as error:
            problem = str(bad(path, f"labels: {error}"))
    if problem:
        notes.append(f"the labels cannot be used ({problem})")
    if "-1" in names and len(names) > 2:
        notes.append("the label -1 is taken for a class")
    notes += reading.notes
    if called and (equal := facts.get("equal", lambda: doubles(array, called))):
        notes.append(equal)
    origin = dataclasses.replace(
        origin,
        stored=reading.stored,
        how=reading.how,
        notes=tuple(notes),
        label_problem=problem,
    )
    name = as_seen(path.name or str(path))
    return Dataset(reading.images, numbers, name, reading.grey_levels, names, origin)
