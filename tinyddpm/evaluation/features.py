"""A space where distances between images mean something: a layer of a small classifier of the data.

    features, called = load("digits", dataset)    # the function, and the name of the space
    points = features(images)                     # (n, C, H, W) in [-1, 1] -> (n, 84) float32

The points are the last hidden layer of a classifier in the manner of LeNet-5 (LeCun et al. 1998).
Our own engine trains it, with plain gradient descent. For the digits and Fashion-MNIST it ships
with the package; for other data sets with labels it is trained when first needed.

Another network's features give other distances. So scores made with one file of features compare
with each other and with nothing else. That is why these two files ship:

    python -m tinyddpm.evaluation.features digits fashion-mnist
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from tqdm import tqdm

from autograd import Tensor, more_ops, no_grad, ops

from .. import data, noise
from ..data import Dataset, datasets, labels
from ..data.image_files import bad
from ..files import replacing
from ..nn.conv import Conv2d
from ..nn.linear import Linear
from ..nn.module import Module
from .baselines import principal

SHIPPED = Path(__file__).parent.parent / "assets"
HIDDEN = 84
STEPS, BATCH, BETA = 6000, 64, 0.1
COMPONENTS = 64  # where there are no labels
JUDGED = 2**20  # values of held-out images, to say how good the classifier is

# features(images): (n, C, H, W) in [−1, 1] -> points (n, d).
Features = Callable[[np.ndarray], np.ndarray]


class LeNet(Module):
    """x (N, C, H, W) -> scores of each class (N, classes). H and W must be divisible by 4."""

    def __init__(self, image: tuple[int, int, int], classes: int) -> None:
        channels, height, width = image
        if height % 4 or width % 4:
            raise ValueError(
                "image: expected a height and width divisible by 4 for the classifier of "
                f"features.py, got {height}×{width}; --components does without one"
            )
        self.conv1 = Conv2d(channels, 16, kernel=5)
        self.conv2 = Conv2d(16, 32, kernel=5)
        self.hidden = Linear(32 * (height // 4) * (width // 4), HIDDEN)
        self.last = Linear(HIDDEN, classes)

    def forward(self, x: np.ndarray) -> Tensor:
        """The scores, before any softmax (N, classes)."""
        return self.last(self.features(x))

    def features(self, x: np.ndarray) -> Tensor:
        """The last hidden layer (N, 84)."""
        h = ops.transpose(x, axes=(2, 3, 0, 1))  # N C H W -> H W N C
        for conv in self.conv1, self.conv2:
            h = halved(more_ops.relu(conv(h)))
        h = ops.transpose(h, axes=(2, 0, 1, 3))  # H W N C -> N H W C
        return more_ops.relu(self.hidden(h.reshape(h.shape[0], -1)))


def halved(x: Tensor) -> Tensor:
    """(H, W, N, C) -> (H/2, W/2, N, C): the largest of each 2×2 pixels.

    (Their mean would notice less of what blurring takes away.)
    """
    height, width, n, channels = x.shape
    pixels = x.reshape(height // 2, 2, width // 2, 2, n, channels)
    return more_ops.max(pixels, axis=(1, 3))


# ---- training a classifier -----------------------------------------------------------------------


def train(dataset: Dataset, steps: int, seed: int = 0) -> LeNet:
    """A LeNet trained on a data set with labels.

    It minimises the cross-entropy by gradient descent, with β falling to 0.
    """
    assert dataset.labels is not None
    classes = int(dataset.labels.max()) + 1
    net = LeNet(dataset.images.shape[1:], classes).initialise(seed)
    title = f"a classifier of {dataset.name}"
    for k in tqdm(range(steps), unit=" steps", desc=title, leave=False, disable=None):
        drawn = noise.integers(seed, "classifier", k, np.arange(BATCH), len(dataset.images))
        net.grad[...] = 0
        scores = net(dataset.images[drawn])
        own = np.eye(classes, dtype=np.float32)[dataset.labels[drawn]]
        J = (more_ops.logsumexp(scores, axis=1) - (scores * own).sum(axis=1)).mean()
        J.backward()
        net.theta -= BETA * (1 - k / steps) * net.grad
    return net


def accuracy(net: LeNet, dataset: Dataset, chunk: int = 500) -> float:
    """The fraction of images that the classifier puts into their class."""
    assert dataset.labels is not None
    right = 0
    with no_grad():
        for i in range(0, len(dataset.images), chunk):
            found = net(dataset.images[i : i + chunk]).data.argmax(axis=1)
            right += (found == dataset.labels[i : i + chunk]).sum()
    return float(right / len(dataset.images))


def make(dataset: Dataset, steps: int, path: Path) -> None:
    """Train a classifier and write it, in half precision, to `path`.

    It sees what a run with --split every_sixth trains on: the data set alone decides its space.
    """
    net = train(data.split(dataset)[0], steps)
    state = {name: value.astype(np.float16) for name, value in net.state().items()}
    with replacing(path) as beside:
        beside.write_bytes(save(state))


# ---- finding one ---------------------------------------------------------------------------------


def check(dataset: Dataset) -> None:
    """Raise ValueError if `load` would, because the images do not suit a classifier."""
    if _classified(dataset):
        LeNet(dataset.images.shape[1:], classes=1)


def _classified(dataset: Dataset) -> bool:
    """Whether there is something to classify."""
    return dataset.labels is not None and len(np.unique(dataset.labels)) > 1


def load(source: str | Path, dataset: Dataset, components: bool = False) -> tuple[Features, str]:
    """The features of a data set, and the name of their space.

    They come from the file that ships with the package, or from one in the user's cache. If there
    is neither, a classifier is trained now: this takes minutes, once for each data set. With
    fewer than two classes there is nothing to classify, and the points are coordinates on the
    principal components.

    Args:
        source: the name or path of the data set; of what is cut out of one, "".
        dataset: what `data.load(source)` gives.
        components: whether to take the principal components although there are labels.

    Raises:
        DataError: if the file is damaged, or is no classifier.
    """
    if components or not _classified(dataset):
        return _principal_components(dataset)
    net = read(_file(source, dataset), dataset.images.shape[1:])
    right = accuracy(net, data.at_most(data.split(dataset)[1], JUDGED))

    def features(images: np.ndarray, chunk: int = 500) -> np.ndarray:
        pieces = [images[i : i + chunk] for i in range(0, len(images), chunk)]
        with no_grad():
            return np.concatenate([net.features(piece).data for piece in pieces])

    known = f"{right:.0%} of held-out images into their class"
    return features, f"the features of a classifier of {dataset.name}, which puts {known}"


def _principal_components(dataset: Dataset) -> tuple[Features, str]:
    seen = data.at_most(data.split(dataset)[0]).images
    flat = seen[:].reshape(len(seen), -1)
    mean, axes, _ = principal(flat, min(COMPONENTS, *flat.shape))

    def coordinates(images: np.ndarray) -> np.ndarray:
        return (images.reshape(len(images), -1) - mean) @ axes.T

    return coordinates, f"the first {len(axes)} principal components of {dataset.name}"


def _file(source: str | Path, dataset: Dataset) -> Path:
    """The file of the classifier of this data set, made now if there is none."""
    known = source == "digits" or source in datasets.SOURCES
    name = f"features-{source}.safetensors" if known else "features.safetensors"
    shipped = SHIPPED / name
    if shipped.exists():
        return shipped
    folder = datasets.cache(str(source) if known else labels.fingerprint(dataset)[:16])
    if not (folder / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        make(dataset, STEPS, folder / name)
    return folder / name


def read(path: Path, image: tuple[int, int, int]) -> LeNet:
    """The classifier in this file, of images of this shape (C, H, W).

    Raises:
        DataError: if the file is damaged, or is no classifier.
    """
    try:
        return _filled(load_file(path), image)
    except (SafetensorError, KeyError, ValueError) as error:
        expected = "expected a classifier as tinyddpm.evaluation.features writes it"
        raise bad(path, f"{expected}: {error}") from error


def _filled(state: dict[str, np.ndarray], image: tuple[int, int, int]) -> LeNet:
    """A LeNet with these values."""
    _, classes = state["last.weight"].shape
    net = LeNet(image, classes)
    net.bind(np.zeros(net.theta_size(), np.float32))
    for name, array in net.state().items():
        if state[name].shape != array.shape:
            raise ValueError(f"{name} is of shape {state[name].shape}, not {array.shape}")
        array[...] = state[name]
    return net


if __name__ == "__main__":
    for source in sys.argv[1:]:
        path = SHIPPED / f"features-{source}.safetensors"
        dataset = data.load(source)
        make(dataset, 2000 if source == "digits" else STEPS, path)
        right = accuracy(read(path, dataset.images.shape[1:]), data.load_test(source))
        print(f"{source}: {right:.2%} of the test or held-out images are classified correctly")
