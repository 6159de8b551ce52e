"""How close a set of samples is to a set of real images, both given as points.

    frechet(real, samples)                # 0 if they are alike as a whole
    precision(real, samples)              # the fraction of samples that lie where real images lie
    coverage(real, samples)               # the fraction of real images with a sample near them
    one_nn_accuracy(real, samples)        # ½ if nobody can tell them apart
    memorisation(samples, test, train)    # near 0 for copies of training images, else about 1

The points are the features of a small classifier (`features.py`). No metric is enough alone. The
Fréchet distance rewards copies of training images. Precision accepts one good sample drawn a
thousand times, and noise where it lies among the real points. Coverage ignores how many bad samples
there are besides.

All depend on the number of points. So report n with every figure, and the same figure for real
images against real images. Points are arrays (n, d), distances are Euclidean, and everything is
computed in float64.
"""

from collections.abc import Iterator

import numpy as np
from scipy.linalg import qr, svdvals
from scipy.spatial.distance import cdist

CHUNK = 2**24  # distances at a time: 128 MB


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The Fréchet distance (squared, as usual) of the Gaussians fitted to two sets of points.

    It is ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½): Heusel et al. 2017, equation 6. Let A be the
    centred points over √(n−1), so that Σ_a = AᵀA. Then tr (Σ_a Σ_b)^½ is the sum of the singular
    values of A Bᵀ. That needs no root of a matrix, which would lose half of the digits if Σ is
    singular.
    """
    a, b = _checked(a=a, b=b)
    difference = a.mean(axis=0) - b.mean(axis=0)
    A, B = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b))
    RA, RB = (qr(x, mode="r")[0][: x.shape[1]] for x in (A, B))  # AᵀA = RAᵀRA, and RA is small
    means, shared = difference @ difference, svdvals(RA @ RB.T).sum()
    return float(means + (A**2).sum() + (B**2).sum() - 2 * shared)


def precision(real: np.ndarray, samples: np.ndarray, k: int = 3) -> float:
    """The fraction of samples that lie in the ball of a real image.

    The radius of a ball is the distance to the k-th nearest other real image. Kynkäänniemi et al.
    2019, "Improved precision and recall metric for assessing generative models", equation 2.
    """
    real, samples = _checked(k, real=real, samples=samples)
    radius = _radii(real, k)
    inside = [(d <= radius).any(axis=1) for _, d in _distances(samples, real)]
    return float(np.concatenate(inside).mean())


def recall(real: np.ndarray, samples: np.ndarray, k: int = 3) -> float:
    """The fraction of real images that lie in the ball of a sample: precision, exchanged."""
    return precision(samples, real, k)


def density(real: np.ndarray, samples: np.ndarray, k: int = 5) -> float:
    """The number of real images' balls that a sample lies in, over k, on average.

    About 1 for real images; it may be more. Naeem et al. 2020, "Reliable fidelity and diversity
    metrics for generative models", equation 3.
    """
    real, samples = _checked(k, real=real, samples=samples)
    radius = _radii(real, k)
    return sum(int((d <= radius).sum()) for _, d in _distances(samples, real)) / (k * len(samples))


def coverage(real: np.ndarray, samples: np.ndarray, k: int = 5) -> float:
    """The fraction of real images with a sample in their ball. Naeem et al. 2020, equation 4."""
    real, samples = _checked(k, real=real, samples=samples)
    radius = _radii(real, k)
    covered = [(d <= radius[rows, None]).any(axis=1) for rows, d in _distances(real, samples)]
    return float(np.concatenate(covered).mean())


def one_nn_accuracy(real: np.ndarray, samples: np.ndarray) -> float:
    """How often the nearest other point is of a point's own kind.

    ½ if both sets come from one distribution, 1 if they lie apart. Less than ½ means that samples
    lie nearer to real images than real images to each other: copies. A tie counts one half.
    Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests", section 3.1.

    Raises:
        ValueError: if the sets differ in size: chance would not give ½ then.
    """
    real, samples = _checked(1, real=real, samples=samples)
    if len(real) != len(samples):
        expected = f"as many as there are real points, {len(real)}"
        raise ValueError(f"samples: expected {expected}, got {len(samples)}")
    right = 0.0
    for own, other in ((real, samples), (samples, real)):
        nearest_own, nearest_other = _radii(own, 1), nearest(own, other)[0]
        nearer, ties = nearest_own < nearest_other, nearest_own == nearest_other
        right += float(nearer.sum() + ties.sum() / 2)
    return right / (2 * len(real))


def memorisation(samples: np.ndarray, test: np.ndarray, train: np.ndarray) -> float | None:
    """The mean distance to the nearest training image: of samples, over that of test images.

    About 1: samples keep the distance to the training set that unseen real images keep. Near 0:
    they are copies. More than 1: they are farther from it than real images are. None: each test
    image is a training image too, so there is no distance to compare with.
    """
    of_test = nearest(test, train)[0].mean()
    return float(nearest(samples, train)[0].mean() / of_test) if of_test else None


def nearest(points: np.ndarray, others: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest others of each point (n, d).

    Returns:
        Their distances and their indices, nearest first: (n,) each for k = 1, else (n, k).
    """
    (points,), (others,) = _checked(0, points=points), _checked(k - 1, others=others)
    distances, indices = np.empty((len(points), k)), np.empty((len(points), k), np.int64)
    for rows, d in _distances(points, others):
        some = _k_smallest(d, k)
        order = np.argsort(np.take_along_axis(d, some, axis=1), axis=1, kind="stable")
        indices[rows] = np.take_along_axis(some, order, axis=1)
        distances[rows] = np.take_along_axis(d, indices[rows], axis=1)
    return (distances[:, 0], indices[:, 0]) if k == 1 else (distances, indices)


def _k_smallest(d: np.ndarray, k: int) -> np.ndarray:
    """The columns (n, k) of the k smallest numbers in each row, in any order."""
    if k < d.shape[1]:
        return np.argpartition(d, k - 1, axis=1)[:, :k]
    return np.tile(np.arange(k), (len(d), 1))


def _radii(points: np.ndarray, k: int) -> np.ndarray:
    """The distance from each point to its k-th nearest other one.

    It is the (k+1)-th smallest: the smallest is the distance to the point itself.
    """
    pieces = [np.partition(d, k, axis=1)[:, k] for _, d in _distances(points, points)]
    return np.concatenate(pieces)


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of the matrix of distances, each with its rows: (rows, (len(rows), len(b)))."""
    step = max(1, CHUNK // len(b))
    for i in range(0, len(a), step):
        rows = np.arange(i, min(i + step, len(a)))
        yield rows, cdist(a[rows], b)


def _checked(k: int = 1, **sets: np.ndarray) -> list[np.ndarray]:
    """The sets as float64.

    ValueError, by name, unless they are (n, d) with one d for all, finite, and more than k points.
    """
    arrays = {name: np.asarray(points, dtype=np.float64) for name, points in sets.items()}
    d = next(iter(arrays.values())).shape[-1:]
    for name, x in arrays.items():
        if x.ndim != 2 or x.shape[1:] != d or len(x) <= k:
            expected = f"more than {k} points (n, {d[0] if d else 'd'})"
            raise ValueError(f"{name}: expected {expected}, got shape {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError(f"{name}: expected finite numbers")
    return list(arrays.values())
