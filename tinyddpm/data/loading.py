"""The pictures to train on: the embedded digits, data sets known by name, IDX files, NumPy arrays, or a folder of pictures.

    dataset = load("digits")                       # 1,797 digits of 8 x 8, embedded: no download
    dataset = load("fashion-mnist")                # once `tinyddpm data fashion-mnist` found or downloaded it
    dataset = load("train-images-idx3-ubyte.gz")   # MNIST, Fashion-MNIST
    dataset = load("cifar.npz")                    # an array of pictures, perhaps with labels
    dataset = load("holiday/", size=32)            # every picture under a folder, cropped and resized
    train, held_out = split(dataset)
    test = load_test("fashion-mnist")              # what no training sees

Whatever the source, the pictures come out as float32 (n, C, H, W) in [-1, 1]. A file that cannot be used raises
DataError: one line with the file's name, what was expected and what came. Files are data: nothing in them is run.
"""

import dataclasses
import gzip
import hashlib
from pathlib import Path

import numpy as np

from . import datasets
from .image_files import DataError, bad, blaming, find_pictures, read_file, read_pictures

DIGITS = Path(__file__).parent.parent / "assets" / "digits.csv.gz"  # its README.md says where it comes from


@dataclasses.dataclass(frozen=True, eq=False)  # no ==: comparing arrays gives arrays; compare fingerprints
class Dataset:
    """Pictures with what the rest of the program needs to know about them.

    images       float32 (n, C, H, W) in [-1, 1]; n, H, W >= 1 and C is 1 or 3
    labels       int64 (n,), or None where the source has none
    name         what to call it: "digits", or the last part of the path
    grey_levels  how many values a pixel can take: 17 for the digits, 256 or 65536 for 8 or 16 bits, 0 for floats
    """

    images: np.ndarray
    labels: np.ndarray | None
    name: str
    grey_levels: int

    def fingerprint(self):
        """sha256 (hex) of the images' shape and bytes: the same pictures in the same order, on any machine."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images, dtype="<f4"))
        return digest.hexdigest()


def digits():
    """The 1,797 UCI test digits: images (1797, 1, 8, 8), 0 (paper) -> -1 and 16 (ink) -> +1 exactly; labels 0..9."""
    with gzip.open(DIGITS, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.int64)  # 64 pixels row by row, then the label
    images = (table[:, :64] / 8 - 1).astype(np.float32).reshape(-1, 1, 8, 8)
    return Dataset(images, table[:, 64].copy(), "digits", 17)


def load(source, size=None, channels=None):
    """The data set at `source`; see the top of this file for examples.

    source    "digits" for the embedded ones (a folder of that name is "./digits"), the name of another known data set
              (datasets.SOURCES, of which this is the training set), or the path of
              - an IDX file of unsigned bytes, (n, H, W) or four axes; plain or gzipped; known by content, not by name
              - an .npy file, or an .npz whose pictures are its only array or called images, x, arr_0 or x_train;
                labels called labels, y or y_train are read too
              - a picture (a data set of one), or a folder, searched to its bottom and read in the order of names
    size      int or (H, W): pictures are cropped to this shape around their centre and resized. Without it all must
              have one size. Arrays are never resized: for them (IDX, .npy, .npz, digits) it must be what they have.
    channels  1 (grey) or 3 (RGB). Pictures are converted; without it 1 if every one is grey, else 3. For arrays it
              must be what they have.

    Arrays have axes (n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3; where both fit, C is the last. Values:
    uint8 x / 127.5 - 1; uint16 x / 32767.5 - 1; floats in [0, 1] 2x - 1; floats in [-1, 1], some negative, as they are.
    Raises DataError for everything else.
    """
    size, channels = _request(size, channels)
    if source == "digits":
        return _as_requested(digits(), source, size, channels)
    if source in datasets.SOURCES:
        return _as_requested(_from_array(Path(source), *datasets.read(source, "train")), source, size, channels)
    if not str(source):
        raise DataError('source: expected "digits" or a path, got an empty string')
    path = Path(source)
    with blaming(path):  # even to look at a path can fail: no permission, too long a name
        if path.is_dir():
            return _from_array(path, read_pictures(find_pictures(path), size, channels))
        if not path.is_file():
            what = "this is neither" if path.exists() else "there is nothing here"
            raise bad(path, f"expected a file or a folder, {what}")  # to read a pipe or a device may never end
        if stored := read_file(path):
            return _as_requested(_from_array(path, *stored), path, size, channels)
        return _from_array(path, read_pictures([path], size, channels))


def load_test(source, size=None, channels=None):
    """Pictures that no training sees, to measure samples against: the test set of a known data set; of any other what `split` holds out.

    The held-out J that decides when to stop is measured on held-out pictures (its first 300), so only a test set of its own is
    untouched by any decision.
    """
    if has_test_set(source):
        size, channels = _request(size, channels)
        return _as_requested(_from_array(Path(source), *datasets.read(source, "test")), source, size, channels)
    return split(load(source, size, channels))[1]


def has_test_set(source):
    """Whether `load_test` gives a test set of its own, and not what `split` holds out."""
    return source in datasets.SOURCES and datasets.SOURCES[source].tested


def split(dataset):
    """(train, held_out): every index divisible by 6 is held out; of the digits 300, which leaves 1,497 to train on.

    Neither is ever empty: a data set of one picture is both, for one picture alone can be trained on (and learnt).
    """
    held = np.arange(len(dataset.images)) % 6 == 0
    return (dataset, dataset) if held.all() else (_select(dataset, ~held), _select(dataset, held))


def _select(dataset, chosen):
    labels = None if dataset.labels is None else dataset.labels[chosen]
    return dataclasses.replace(dataset, images=dataset.images[chosen], labels=labels)


def _from_array(path, array, labels=None):
    if array.ndim == 3:
        array = array[:, None]  # (n, H, W) -> (n, 1, H, W)
    elif array.ndim == 4 and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)  # (n, H, W, C) -> (n, C, H, W)
    elif array.ndim != 4 or array.shape[1] not in (1, 3):
        raise bad(path, f"expected shape (n, H, W), (n, H, W, C) or (n, C, H, W) with C 1 or 3, got {array.shape}")
    if labels is not None:
        if labels.shape != array.shape[:1] or labels.dtype.kind not in "iu":
            raise bad(path, f"expected {len(array)} integer labels, got shape {labels.shape} of {labels.dtype}")
        labels = labels.astype(np.int64)
    images, grey_levels = _to_unit_range(path, array)
    return Dataset(images, labels, path.name or str(path), grey_levels)


def _to_unit_range(path, array):
    """(float32 C-contiguous in [-1, 1], grey levels). All the scales below map the largest integer to exactly +1."""
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())  # NaN wins both
        if not (-1 <= low and high <= 1):
            raise bad(path, f"expected floats in [0, 1] or [-1, 1], got values from {low:g} to {high:g}")
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


def _request(size, channels):
    """((H, W) or None, channels), checked."""
    pair = (size, size) if isinstance(size, int) else size
    if pair is not None:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or any(type(k) is not int or k < 1 for k in pair):
            raise DataError(f"size: expected a positive int or a pair (H, W) of them, got {size!r}")
        pair = tuple(pair)
    if channels not in (None, 1, 3):
        raise DataError(f"channels: expected 1 (grey) or 3 (RGB), got {channels!r}")
    return pair, channels


def _as_requested(dataset, path, size, channels):
    """The data set, if it has the size and channels asked for: arrays are not resized."""
    _, c, h, w = dataset.images.shape
    if size not in (None, (h, w)):
        raise bad(path, f"size: this array holds {h} x {w} pictures and is not resized, got a request for {size}")
    if channels not in (None, c):
        raise bad(path, f"channels: this array holds {c} and is not converted, got a request for {channels}")
    return dataset
