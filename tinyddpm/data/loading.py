"""The pictures to train on: the embedded digits, known data sets, arrays, or a folder of pictures.

    dataset = load("digits")                       # 1,797 digits of 8 x 8, embedded: no download
    dataset = load("fashion-mnist")                # after `tinyddpm data fashion-mnist`
    dataset = load("train-images-idx3-ubyte.gz")   # a file of MNIST or Fashion-MNIST
    dataset = load("cifar.npz")                    # an array of pictures, perhaps with labels
    dataset = load("holiday/", size=32)            # every picture in a folder, cropped and resized
    train, held_out = split(dataset)
    test = load_test("fashion-mnist")              # pictures that no training sees

Whatever the source, the pictures come out as float32 (n, C, H, W) in [-1, 1]. A file that cannot be
used raises DataError: one line with the file's name, what was expected and what came. Files are
data: nothing in them is run.
"""

import dataclasses
import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import datasets
from .array_files import read_file
from .image_files import DataError, bad, blaming, find_pictures, read_pictures

# assets/README.md says where the digits come from.
DIGITS = Path(__file__).parent.parent / "assets" / "digits.csv.gz"

Size = int | Sequence[int] | None  # as a caller gives it: a side, or (H, W)
Shape = tuple[int, int]  # (H, W)


@dataclasses.dataclass(frozen=True, eq=False)  # no ==: arrays compare by element; use fingerprints
class Dataset:
    """Pictures, with what the rest of the program needs to know about them.

    Attributes:
        images: float32 (n, C, H, W) in [-1, 1]; n, H, W >= 1 and C is 1 or 3.
        labels: int64 (n,), or None if the source has none.
        name: "digits", or the last part of the path.
        grey_levels: how many values a pixel can take: 17 for the digits, 256 or 65536 for 8 or 16
            bits, 0 for floats.
    """

    images: np.ndarray
    labels: np.ndarray | None
    name: str
    grey_levels: int

    def fingerprint(self) -> str:
        """sha256 (hex) of the images' shape and bytes.

        The same pictures in the same order have the same fingerprint, on any machine.
        """
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images, dtype="<f4").data)
        return digest.hexdigest()


def digits() -> Dataset:
    """The 1,797 test digits of UCI, with labels 0..9.

    The images are (1797, 1, 8, 8); 0 (paper) becomes -1 and 16 (ink) becomes +1, exactly.
    """
    with gzip.open(DIGITS, "rt") as lines:
        # Each line has 64 pixels, row by row, then the label.
        table = np.loadtxt(lines, delimiter=",", dtype=np.int64)
    images = (table[:, :64] / 8 - 1).astype(np.float32).reshape(-1, 1, 8, 8)
    return Dataset(images, table[:, 64].copy(), "digits", 17)


def load(source: str | Path, size: Size = None, channels: int | None = None) -> Dataset:
    """The data set at `source`; the top of this file has examples.

    Arrays have axes (n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3; where both of the last
    two fit, C is the last axis. uint8 becomes x / 127.5 - 1, uint16 becomes x / 32767.5 - 1, and
    floats in [0, 1] become 2x - 1. Floats in [-1, 1], some of them negative, stay as they are.

    Args:
        source: "digits" for the embedded ones (a folder of that name is "./digits"); the name of
            another known data set (datasets.SOURCES), for its training set; or the path of

            - an IDX file of unsigned bytes, (n, H, W) or four axes, plain or gzipped, recognised by
              its content;
            - an .npy file, or an .npz whose pictures are its only array or named images, x, arr_0
              or x_train, and whose labels, if any, are named labels, y or y_train;
            - a picture (a data set of one), or a folder, searched at every depth and read in the
              order of names.
        size: int or (H, W). Pictures are cropped to this aspect ratio around their centre, then
            resized; without a size all must have the same one. Arrays (IDX, .npy, .npz, the known
            data sets) are never resized: they must have this size.
        channels: 1 (grey) or 3 (RGB). Pictures are converted; by default to 1 if every picture is
            grey, else to 3. Arrays are never converted: they must have these channels.

    Raises:
        DataError: for anything else.
    """
    shape, channels = _request(size, channels)
    if source == "digits":
        return _as_requested(digits(), source, shape, channels)
    if isinstance(source, str) and source in datasets.SOURCES:
        return _known(source, "train", shape, channels)
    if not str(source):
        raise DataError('source: expected "digits" or a path, got an empty string')
    return _from_path(Path(source), shape, channels)


def load_test(source: str | Path, size: Size = None, channels: int | None = None) -> Dataset:
    """Pictures that no training sees, to measure samples against.

    They are the test set of a known data set; of any other, the part that `split` holds out. Only a
    test set is untouched by any decision. (The first 300 held-out pictures give the held-out J,
    which decides when training stops.)
    """
    if isinstance(source, str) and has_test_set(source):
        shape, channels = _request(size, channels)
        return _known(source, "test", shape, channels)
    return split(load(source, size, channels))[1]


def has_test_set(source: str | Path) -> bool:
    """Whether `load_test` gives a real test set, and not the part that `split` holds out."""
    known = datasets.SOURCES.get(source) if isinstance(source, str) else None
    return known is not None and known.has_test_set


def split(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """(train, held_out): every image whose index is divisible by 6 is held out.

    Of the digits, 300 are held out and 1,497 remain to train on. Neither part is ever empty: a data
    set of one picture is both, since a model can train on one picture alone (and learn it).
    """
    held_out = np.arange(len(dataset.images)) % 6 == 0
    if held_out.all():
        return dataset, dataset
    return _select(dataset, ~held_out), _select(dataset, held_out)


def _select(dataset: Dataset, chosen: np.ndarray) -> Dataset:
    labels = None if dataset.labels is None else dataset.labels[chosen]
    return dataclasses.replace(dataset, images=dataset.images[chosen], labels=labels)


# ---- from a name, or from a path -----------------------------------------------------------------


def _known(name: str, part: str, size: Shape | None, channels: int | None) -> Dataset:
    dataset = _from_array(Path(name), *datasets.read(name, part))
    return _as_requested(dataset, name, size, channels)


def _from_path(path: Path, size: Shape | None, channels: int | None) -> Dataset:
    with blaming(path):  # even to look at a path can fail: no permission, too long a name
        if path.is_dir():
            return _from_array(path, read_pictures(find_pictures(path), size, channels))
        if not path.is_file():  # reading a pipe or a device may never end
            problem = "this is neither" if path.exists() else "there is nothing here"
            raise bad(path, f"expected a file or a folder, {problem}")
        if stored := read_file(path):
            return _as_requested(_from_array(path, *stored), path, size, channels)
        return _from_array(path, read_pictures([path], size, channels))


def _from_array(path: Path, array: np.ndarray, labels: np.ndarray | None = None) -> Dataset:
    if array.ndim == 3:
        array = array[:, None]  # (n, H, W) -> (n, 1, H, W)
    elif array.ndim == 4 and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)  # (n, H, W, C) -> (n, C, H, W)
    elif array.ndim != 4 or array.shape[1] not in (1, 3):
        layouts = "(n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3"
        raise bad(path, f"expected shape {layouts}, got {array.shape}")
    if labels is not None:
        if labels.shape != array.shape[:1] or labels.dtype.kind not in "iu":
            got = f"shape {labels.shape} of {labels.dtype}"
            raise bad(path, f"expected {len(array)} integer labels, got {got}")
        labels = labels.astype(np.int64)
    images, grey_levels = _to_unit_range(path, array)
    return Dataset(images, labels, path.name or str(path), grey_levels)


def _to_unit_range(path: Path, array: np.ndarray) -> tuple[np.ndarray, int]:
    """(float32 C-contiguous in [-1, 1], grey levels). The largest integer becomes exactly +1."""
    half: float | None
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())  # NaN if there is any
        if not (low >= -1 and high <= 1):
            got = f"values from {low:g} to {high:g}"
            raise bad(path, f"expected floats in [0, 1] or [-1, 1], got {got}")
        half, grey_levels = (None if low < 0 else 0.5), 0
    elif array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        grey_levels = 256**array.dtype.itemsize
        half = (grey_levels - 1) / 2
    else:
        raise bad(path, f"expected uint8, uint16 or floats, got {array.dtype}")
    images = array.astype(np.float32, order="C")
    if half is not None:
        images /= half
        images -= 1
    return images, grey_levels


def _request(size: Size, channels: int | None) -> tuple[Shape | None, int | None]:
    """((H, W) or None, channels), checked."""
    shape = None if size is None else _height_and_width(size)
    if channels not in (None, 1, 3):
        raise DataError(f"channels: expected 1 (grey) or 3 (RGB), got {channels!r}")
    return shape, channels


def _height_and_width(size: int | Sequence[int]) -> Shape:
    pair = (size, size) if isinstance(size, int) else size
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(map(_is_side, pair)):
        raise DataError(f"size: expected a positive int or a pair (H, W) of them, got {size!r}")
    height, width = pair
    return height, width


def _is_side(value: object) -> bool:
    return type(value) is int and value >= 1  # no bool


def _as_requested(
    dataset: Dataset, path: str | Path, size: Shape | None, channels: int | None
) -> Dataset:
    """The data set, if it has the size and channels asked for: arrays are not resized."""
    _, c, h, w = dataset.images.shape
    if size not in (None, (h, w)):
        held = f"this array holds {h} x {w} pictures and is not resized"
        raise bad(path, f"size: {held}, got a request for {size}")
    if channels not in (None, c):
        held = f"this array holds {c} and is not converted"
        raise bad(path, f"channels: {held}, got a request for {channels}")
    return dataset
