"""How close a set of samples is to a set of real images, both given as points: the features of a small classifier (`features.py`).

    frechet(real, samples)                # 0 if they are alike on the whole
    precision(real, samples)              # the share of samples that lie where real images lie
    coverage(real, samples)               # the share of real images that have a sample near them
    one_nn_accuracy(real, samples)        # ½ if nobody can tell them apart
    memorisation(samples, test, train)    # near 0 if samples are copies of training images, about 1 if not

No one of them is enough: the Fréchet distance rewards copies of training images, precision passes a single good sample drawn a
thousand times (and noise, where it lies among the real), coverage says nothing of how many bad samples there are besides. All
depend on how many points there are, so n belongs to every figure, and beside it what real images against real ones come to.
Points are arrays (n, d), distances Euclidean, all computed in float64.
"""
import numpy as np
from scipy.linalg import qr, svdvals
from scipy.spatial.distance import cdist

CHUNK = 2**24  # distances at a time: 128 MB


def frechet(a, b):
    """The Fréchet distance (squared, as usual) of the Gaussians fitted to two sets: ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½).

    Heusel et al. 2017, equation 6. With A the centred points over √(n−1), so that Σ_a = AᵀA, tr (Σ_a Σ_b)^½ is the sum of the
    singular values of A Bᵀ: no root of a matrix, which would lose half of the digits where Σ is singular.
    """
    a, b = _checked(a=a, b=b)
    difference = a.mean(axis=0) - b.mean(axis=0)
    A, B = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (a, b))
    RA, RB = (qr(x, mode="r")[0][:x.shape[1]] for x in (A, B))  # AᵀA = RAᵀRA, and RA is small
    return float(difference @ difference + (A**2).sum() + (B**2).sum() - 2 * svdvals(RA @ RB.T).sum())


def precision(real, samples, k=3):
    """The share of samples that lie in a ball around a real image whose radius is the distance to its k-th nearest other real image.

    Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models", equation 2.
    """
    real, samples = _checked(k, real=real, samples=samples)
    radius = _radii(real, k)
    return float(np.concatenate([(d <= radius).any(axis=1) for _, d in _distances(samples, real)]).mean())


def recall(real, samples, k=3):
    """The share of real images that lie in such a ball around a sample: precision with the two exchanged (equation 2 there)."""
    return precision(samples, real, k)


def density(real, samples, k=5):
    """In how many of those balls around real images a sample lies, over k, on average: about 1 for real images, and it may be more.

    Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", equation 3.
    """
    real, samples = _checked(k, real=real, samples=samples)
    radius = _radii(real, k)
    return sum(int((d <= radius).sum()) for _, d in _distances(samples, real)) / (k * len(samples))


def coverage(real, samples, k=5):
    """The share of real images in whose own ball (to the k-th nearest other real one) a sample lies. Naeem et al. 2020, equation 4."""
    real, samples = _checked(k, real=real, samples=samples)
    radius = _radii(real, k)
    return float(np.concatenate([(d <= radius[rows, None]).any(axis=1) for rows, d in _distances(real, samples)]).mean())


def one_nn_accuracy(real, samples):
    """How often the nearest other point is of a point's own kind: ½ if both sets come of one distribution, 1 if they lie apart.

    Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests", section 3.1. Less than ½ means that samples lie nearer to real
    images than these to each other: copies. Both sets must be equally large, for ½ to be what chance gives. A tie counts one half.
    """
    real, samples = _checked(1, real=real, samples=samples)
    if len(real) != len(samples):
        raise ValueError(f"samples: expected as many as there are real points, {len(real)}, got {len(samples)}")
    right = 0
    for own, other in ((real, samples), (samples, real)):
        nearest_own, nearest_other = _radii(own, 1), nearest(own, other)[0]
        right += float((nearest_own < nearest_other).sum() + (nearest_own == nearest_other).sum() / 2)
    return right / (2 * len(real))


def memorisation(samples, test, train):
    """The mean distance from samples to the nearest training image, over the same mean for test images.

    About 1: samples keep the distance to the training set that unseen real images keep. Near 0: they are copies. More than 1: they
    are farther from it than real images are.
    """
    return float(nearest(samples, train)[0].mean() / nearest(test, train)[0].mean())


def nearest(points, others, k=1):
    """For each point (n, d) the distances to the k nearest others and their numbers, nearest first: (n,) each for k = 1, else (n, k)."""
    (points,), (others,) = _checked(0, points=points), _checked(k - 1, others=others)
    distances, numbers = np.empty((len(points), k)), np.empty((len(points), k), np.int64)
    for rows, d in _distances(points, others):
        some = np.argpartition(d, k - 1, axis=1)[:, :k] if k < d.shape[1] else np.tile(np.arange(k), (len(d), 1))
        order = np.argsort(np.take_along_axis(d, some, axis=1), axis=1, kind="stable")
        numbers[rows] = np.take_along_axis(some, order, axis=1)
        distances[rows] = np.take_along_axis(d, numbers[rows], axis=1)
    return (distances[:, 0], numbers[:, 0]) if k == 1 else (distances, numbers)


def _radii(points, k):
    """The distance from each point to its k-th nearest other one: the (k+1)-th smallest, as the smallest is that to itself."""
    return np.concatenate([np.partition(d, k, axis=1)[:, k] for _, d in _distances(points, points)])


def _distances(a, b):
    """Pieces of the matrix of distances, each with the rows that it holds: (rows, (len(rows), len(b)))."""
    step = max(1, CHUNK // len(b))
    for i in range(0, len(a), step):
        rows = np.arange(i, min(i + step, len(a)))
        yield rows, cdist(a[rows], b)


def _checked(k=1, **sets):
    """The sets as float64. ValueError, by name, unless they are (n, d) of one d, finite, with more than k points each."""
    arrays = {name: np.asarray(points, dtype=np.float64) for name, points in sets.items()}
    d = next(iter(arrays.values())).shape[-1:]
    for name, x in arrays.items():
        if x.ndim != 2 or x.shape[1:] != d or len(x) <= k:
            raise ValueError(f"{name}: expected more than {k} points (n, {d[0] if d else 'd'}), got shape {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError(f"{name}: expected finite numbers")
    return arrays.values()
