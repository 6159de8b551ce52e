"""The real images that samples are compared with."""

from dataclasses import dataclass

import numpy as np

from .. import data, noise
from ..runs.known_data import compared, has_data
from ..runs.opening import Run
from ..types import Images


@dataclass
class Real:
    """What `real` gives.

    Attributes:
        dataset: all images, and their name.
        train: training images, at most as many as memory may hold.
        test: those to measure against.
        labels: the classes of all training images, if the run is conditioned on them.
        reference: what these are called.
        known_test: whether they are the data set's own test set, and not held-out images.
        remark: what to say if they are not the run's, or not all are looked at.
    """

    dataset: data.Dataset
    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None
    reference: str
    known_test: bool
    remark: str

    def shuffle(self) -> None:
        """Put `train` and `test` into an order that is the same each time, so that runs compare.

        Data sets are often sorted: the digits, by their writer.
        """
        self.train = self.train[_order(len(self.train), "evaluation: training")]
        self.test = self.test[_order(len(self.test), "evaluation: test")]


def real(run: Run) -> Real:
    """The images of a run.

    Raises:
        DataError: there are none, or they have other classes than the run.
    """
    has_data(run.saved, run.called)
    config = run.config
    dataset = data.load(*config.source())
    labelled, names = config.labelled(dataset)
    others = compared(run.saved, labelled, names)
    training, held_out = config.split_data(labelled)
    known_test = data.has_test_set(config.data)
    parts = training, data.load_test(*config.source()) if known_test else held_out
    train, test = (data.at_most(part).images[:] for part in parts)
    reference = "test images" if known_test else "held-out images"
    labels = training.labels if config.classes else None
    remark = f"{others}\n" * bool(others) + _looked_at(train, training.images)
    return Real(dataset, train, test, labels, reference, known_test, remark)


def _looked_at(some: Images, images: Images) -> str:
    """What to say if not all training images are looked at."""
    if len(some) == len(images):
        return ""
    return f"Of the {len(images):,} training images, {len(some):,} are looked at.\n"


def _order(n: int, purpose: str) -> np.ndarray:
    drawn = noise.uniform(0, purpose, 0, np.arange(n), dtype=np.float64)
    return np.argsort(drawn, kind="stable")
