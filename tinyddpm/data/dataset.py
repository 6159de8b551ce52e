"""A data set, which of its images are held out, and the report of what was found.

    training, held_out = split(dataset, "stratified")
    at_most(training)                  # some of them, if all would fill the memory
    print(report(dataset, "pets/").text())

There are two ways to split. "stratified" is that of new runs. "every_sixth" is the older one, which
the recipes, the models that ship and the runs of older versions keep.
"""

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Literal

import numpy as np

from .. import noise
from ..types import Images
from .origin import Origin, Report
from .stored import Stored
from .stored.chosen import AllBut, Chosen

SplitKind = Literal["stratified", "every_sixth"]
PART, SEED = 6, 0  # one of six is held out; the seed is not the run's, so that runs compare
MOST, SOME = 2**23, 2**20  # of more images than MOST, a sixth of SOME is held out


@dataclasses.dataclass(frozen=True, eq=False)  # no ==: arrays compare by element; use fingerprints
class Dataset:
    """Pictures, with what the rest of the program needs to know about them.

    Attributes:
        images: float32 (n, C, H, W) in [-1, 1]; n, H, W >= 1 and C is 1 or 3. An array, or
            images that become one a few at a time (stored/).
        labels: int64 (n,) from 0 to classes - 1, or None if the source has none.
        name: "digits", or the last part of the path.
        grey_levels: how many values a pixel can take: 17 for the digits, 256 or 65536 for 8 or 16
            bits, 0 for floats.
        class_names: of the classes 0, 1, ...: the labels' values that occur; () without labels.
        origin: which files, and how they were read.
    """

    images: Images
    labels: np.ndarray | None
    name: str
    grey_levels: int
    class_names: tuple[str, ...] = ()
    origin: Origin = Origin()

    def fingerprint(self) -> str:
        """sha256 (hex) of the images' shape and bytes.

        The same pictures in the same order have the same fingerprint, on any machine.
        """
        if isinstance(self.images, Stored):
            return self.images.fingerprint()
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images, dtype="<f4").data)
        return digest.hexdigest()


def held_out_indices(n: int, labels: np.ndarray | None, how: SplitKind) -> np.ndarray:
    """The indices of the held-out images; empty if there is none to spare.

    Args:
        n: the number of images.
        labels: (n,) the class of each, or None.
        how: "every_sixth": those divisible by 6. "stratified": a sixth of each class, drawn at
            addressed random, in random order (the held-out J looks at the first 300 only). A class
            of one image is trained on.
    """
    if how == "every_sixth":
        return np.arange(0, n, PART)
    if how != "stratified":
        raise ValueError(f"split: expected stratified or every_sixth, got {how!r}")
    place = noise.uniform(SEED, "split", 0, np.arange(n), dtype=np.float64)
    order = np.argsort(place, kind="stable")
    spare = order
    if labels is not None and n > 1:
        spare = order[np.bincount(labels)[labels[order]] > 1]
        # Class by class, so that every sixth of the row is a sixth of each class.
        spare = spare[np.argsort(labels[spare], kind="stable")]
    chosen = np.zeros(n, bool)
    chosen[spare[::PART]] = True
    return order[chosen[order]]


def split(dataset: Dataset, how: SplitKind = "every_sixth") -> tuple[Dataset, Dataset]:
    """(train, held_out).

    Neither part is ever empty: where no image can be spared, both are the whole data set, since a
    model can train on one picture alone (and learn it).

    Args:
        dataset: the images, with labels if the network is conditioned on them.
        how: see `held_out_indices`. "every_sixth" (the older way, the one of the recipes)
            holds out 300 of the digits and leaves 1,497; "stratified" is the way of new runs.
    """
    rest, chosen = _parts(dataset, how)
    if len(rest) == len(dataset.images):
        return dataset, dataset
    return _select(dataset, rest), _select(dataset, chosen)


def at_most(dataset: Dataset, values: int = 2**27) -> Dataset:
    """The data set; if it has more than this many values in all, evenly many of its images.

    For what looks at all images at once, as float64. CIFAR-10 has 2^27 values to train on.
    """
    n, per_image = len(dataset.images), math.prod(dataset.images.shape[1:])
    if (most := max(1, values // per_image)) >= n:
        return dataset
    return _select(dataset, np.arange(most) * n // most)


def _parts(dataset: Dataset, how: SplitKind) -> tuple[Chosen, Chosen]:
    """The numbers of the images in both parts; all of them twice where none can be spared."""
    n, labels = len(dataset.images), dataset.labels
    stride = 1 if n <= MOST else -(-n // SOME)  # every so many may be held out
    some = None if labels is None else labels[::stride]
    chosen = stride * held_out_indices(len(range(0, n, stride)), some, how)
    if 0 < len(chosen) < n:
        return AllBut(n, chosen), chosen
    return (np.arange(n),) * 2


def report(dataset: Dataset, source: str | Path, how: SplitKind = "stratified") -> Report:
    """What was found at `source`, how it was read, and what a run makes of it."""
    training, held_out = _parts(dataset, how)
    counts: dict[str, int] = {}
    if dataset.labels is not None:
        number = np.bincount(dataset.labels, minlength=len(dataset.class_names))
        counts = dict(zip(dataset.class_names, number.tolist()))
    return Report(
        source,
        dataset.origin,
        dataset.images.shape,
        counts,
        unused_labels=not counts and bool(dataset.class_names or dataset.origin.sub_folders()),
        training=len(training),
        held_out=len(held_out),
        how=how,
    )


def _select(dataset: Dataset, chosen: Chosen) -> Dataset:
    images, labels = dataset.images, dataset.labels
    some = images.part(chosen) if isinstance(images, Stored) else images[chosen[:]]
    labels = None if labels is None else labels[chosen[:]]
    return dataclasses.replace(dataset, images=some, labels=labels)
