"""A space in which distances between images mean something: the last hidden layer of a small classifier of that very data set.

    features, called = load("digits", dataset)    # shipped for digits and Fashion-MNIST; trained for other data sets with labels
    points = features(images)                     # (n, C, H, W) in [-1, 1] -> (n, 84) float32

The classifier is in the manner of LeNet-5 (LeCun et al. 1998), and our own engine trains it, with plain gradient descent. Distances
in another network's features are other distances, so figures made with one file of features compare with each other and with
nothing else. That is why two files are shipped; they were made by

    python -m tinyddpm.evaluation.features digits fashion-mnist
"""
import sys
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from tqdm import tqdm

from autograd import more_ops, no_grad, ops

from .. import noise
from ..nn.conv import Conv2d
from ..nn.linear import Linear
from ..nn.module import Module
from .. import data
from ..data import datasets
from .baselines import principal
from ..files import replacing
from ..data.image_files import bad

SHIPPED = Path(__file__).parent.parent / "assets"
HIDDEN = 84
STEPS, BATCH, BETA = 6000, 64, 0.1
COMPONENTS = 64  # where there are no labels


class LeNet(Module):
    """x (N, C, H, W) -> scores of each class, a Tensor (N, classes). H and W must be divisible by 4."""

    def __init__(self, image, classes):
        channels, height, width = image
        if height % 4 or width % 4:
            raise ValueError(f"image: the classifier of features.py needs height and width divisible by 4, got {height}×{width}")
        self.conv1 = Conv2d(channels, 16, kernel=5)
        self.conv2 = Conv2d(16, 32, kernel=5)
        self.hidden = Linear(32 * (height // 4) * (width // 4), HIDDEN)
        self.last = Linear(HIDDEN, classes)

    def forward(self, x):
        return self.last(self.features(x))

    def features(self, x):
        h = ops.transpose(x, axes=(2, 3, 0, 1))  # N C H W -> H W N C
        for conv in self.conv1, self.conv2:
            h = halved(more_ops.relu(conv(h)))
        h = ops.transpose(h, axes=(2, 0, 1, 3))  # H W N C -> N H W C
        return more_ops.relu(self.hidden(h.reshape(h.shape[0], -1)))


def halved(x):
    """(H, W, N, C) -> (H/2, W/2, N, C): the largest of each 2×2 pixels. (Their mean sees less of what blurring takes away.)"""
    height, width, n, channels = x.shape
    return more_ops.max(x.reshape(height // 2, 2, width // 2, 2, n, channels), axis=(1, 3))


def train(dataset, steps, seed=0):
    """A LeNet trained on the images and labels of this Dataset, by gradient descent on the cross-entropy with β falling to 0."""
    classes = int(dataset.labels.max()) + 1
    net = LeNet(dataset.images.shape[1:], classes).initialise(seed)
    for k in tqdm(range(steps), unit=" steps", desc=f"a classifier of {dataset.name}", leave=False, disable=None):
        drawn = noise.integers(seed, "classifier", k, np.arange(BATCH), len(dataset.images))
        net.grad[...] = 0
        scores = net(dataset.images[drawn])
        own = np.eye(classes, dtype=np.float32)[dataset.labels[drawn]]
        J = (more_ops.logsumexp(scores, axis=1) - (scores * own).sum(axis=1)).mean()
        J.backward()
        net.theta -= BETA * (1 - k / steps) * net.grad
    return net


def accuracy(net, dataset, chunk=500):
    """The share of images that the net puts into their class."""
    with no_grad():
        right = [(net(dataset.images[i:i + chunk]).data.argmax(axis=1) == dataset.labels[i:i + chunk]).sum()
                 for i in range(0, len(dataset.images), chunk)]
    return float(sum(right) / len(dataset.images))


def load(source, dataset):
    """(a function images -> points, what to call that space) for a data set, what `data.load(source)` gives.

    It is of the file that is shipped, or of one in the user's cache; else a net is trained now, which takes minutes, once for each
    data set. Without labels there is nothing to classify: the points are then the coordinates on the principal components.
    DataError if a file is not what it should be.
    """
    if dataset.labels is None:
        flat = data.split(dataset)[0].images.reshape(-1, dataset.images[0].size)
        mean, axes, _ = principal(flat, min(COMPONENTS, *flat.shape))
        return lambda images: (images.reshape(len(images), -1) - mean) @ axes.T, f"the {len(axes)} first principal components of {dataset.name}"
    known = source == "digits" or source in datasets.SOURCES
    file = f"features-{source}.safetensors" if known else "features.safetensors"
    path = SHIPPED / file
    if not path.exists():
        path = datasets.cache(source if known else dataset.fingerprint()[:16]) / file
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make(dataset, STEPS, path)
    net = read(path)

    def features(images, chunk=500):
        with no_grad():
            return np.concatenate([net.features(images[i:i + chunk]).data for i in range(0, len(images), chunk)])

    return features, f"the features of a classifier of {dataset.name}"


def make(dataset, steps, path):
    """Train a classifier on the part of the data set that is trained on and write it, in half precision, to `path`."""
    net = train(data.split(dataset)[0], steps)
    with replacing(path) as beside:
        beside.write_bytes(save({key: value.astype(np.float16) for key, value in net.state().items()}))


def read(path):
    """The LeNet in this file."""
    try:
        state = load_file(path)
        (_, _, channels, _), (inputs, _), (_, classes) = (state[f"{name}.weight"].shape for name in ("conv1", "hidden", "last"))
        side = 4 * round((inputs / 32) ** 0.5)
        net = LeNet((channels, side, side), classes)
        net.bind(np.zeros(net.theta_size(), np.float32))
        for name, array in net.state().items():
            if state[name].shape != array.shape:
                raise ValueError(f"{name} is of shape {state[name].shape}, not {array.shape}")
            array[...] = state[name]
        return net
    except (SafetensorError, KeyError, ValueError) as error:
        raise bad(path, f"expected a classifier as tinyddpm.evaluation.features writes it: {error}") from error


if __name__ == "__main__":
    for chosen in sys.argv[1:]:
        shipped = SHIPPED / f"features-{chosen}.safetensors"
        make(data.load(chosen), 2000 if chosen == "digits" else STEPS, shipped)
        print(f"{chosen}: {accuracy(read(shipped), data.load_test(chosen)):.2%} of the test images, or of the held-out ones, are classified right")
