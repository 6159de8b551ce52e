"""Simple ways to make images, to see what a metric is worth.

    for name, images in baselines(train_images, n=1000, seed=0):
        ...

A model's score says little until these stand beside it. Real images with added noise, or blurred,
look wrong but miss no kind of image. Copies of a hundred training images look right but miss nearly
all. A Gaussian and a mixture of Gaussians are generative models too, which know nothing of shapes.
"""

from collections.abc import Iterator

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.linalg import cholesky, solve_triangular
from scipy.ndimage import gaussian_filter
from scipy.special import logsumexp

from .. import noise

NOISE = 0.2  # standard deviation, for images in [−1, 1]
BLUR = 0.04  # standard deviation, as a fraction of the image's side
COPIES = 100  # images that are copied
COMPONENTS = 60  # of the mixture
MOST_FITTED = 20_000  # images to fit the mixture to
LARGE = 4096  # values in an image; with more, a covariance matrix would take too long
MOST_LARGE = 2048  # of such images are looked at
RIDGE = 1e-3  # added to every variance of the mixture


def baselines(images: np.ndarray, n: int, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """The baselines, made from the training images (m, C, H, W).

    Yields:
        (name, images (n, C, H, W) in [−1, 1]).
    """
    index, shape = np.arange(n), images.shape[1:]
    real = images[noise.integers(seed, "baseline: images", 0, index, len(images))]

    added = NOISE * noise.normal(seed, "baseline: noise", 0, index, shape)
    yield f"noise added (σ = {NOISE})", np.clip(real + added, -1, 1)

    blur = max(0.5, BLUR * shape[1])  # with less, a pixel's neighbours hardly count
    yield f"blurred (σ = {blur:.2f} pixels)", gaussian_filter(real, (0, 0, blur, blur))

    flat = images.reshape(len(images), -1)
    for name, samples in (("one Gaussian", gaussian(flat, n, seed)), mixture(flat, n, seed)):
        yield name, np.clip(samples, -1, 1).astype(np.float32).reshape(n, *shape)

    copied = noise.integers(seed, "baseline: copies", 0, index, min(COPIES, len(images)))
    yield f"{min(COPIES, len(images))} memorised images", images[copied]


def gaussian(flat: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n draws (n, D) of the Gaussian with the mean and covariance of flat (m, D)."""
    mean, axes, deviations = principal(flat)
    z = noise.normal(seed, "baseline: Gaussian", 0, np.arange(n), deviations.shape, np.float64)
    return mean + (z * deviations) @ axes


def mixture(flat: np.ndarray, n: int, seed: int) -> tuple[str, np.ndarray]:
    """(name, n draws (n, D)) of a mixture of Gaussians fitted to flat (m, D).

    It has 60 components on 60 principal components, or fewer if there are few data.
    """
    components = max(1, min(COMPONENTS, len(flat) // 100))
    dimensions = min(COMPONENTS, flat.shape[1] // 2 or 1)
    mean, axes, _ = principal(flat, dimensions)
    dimensions = len(axes)
    weights, means, roots = fit_mixture((flat[:MOST_FITTED] - mean) @ axes.T, components, seed)

    index = np.arange(n)
    u = noise.uniform(seed, "baseline: component", 0, index, dtype=np.float64)
    which = np.searchsorted(np.cumsum(weights)[:-1], u, side="right")
    z = noise.normal(seed, "baseline: mixture", 0, index, (dimensions,), np.float64)
    points = means[which] + np.einsum("nij,nj->ni", roots[which], z)
    name = f"a mixture of {components} Gaussians on {dimensions} principal components"
    return name, mean + points @ axes


def principal(
    flat: np.ndarray, dimensions: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The directions in which flat (m, D) varies most: of many large points, of some of them.

    Args:
        flat: the points.
        dimensions: d, the number of directions; None for all D, or as many as there are.

    Returns:
        The mean (D,), the directions (d, D) and the standard deviations along them (d,), largest
        first.
    """
    large = flat.shape[1] > LARGE
    if large:
        flat = flat[:: -(-len(flat) // MOST_LARGE)]
    mean = flat.mean(axis=0, dtype=np.float64)
    centred = flat - mean
    if large:
        _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
        return mean, axes[:dimensions], lengths[:dimensions] / (len(flat) - 1) ** 0.5
    variances, axes = np.linalg.eigh(centred.T @ centred / (len(flat) - 1))
    variances, axes = variances[::-1][:dimensions], axes.T[::-1][:dimensions]
    return mean, axes, np.sqrt(np.maximum(variances, 0))


def fit_mixture(
    x: np.ndarray, components: int, seed: int, steps: int = 25
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A mixture of Gaussians fitted to x (m, d) by expectation maximisation, from k-means.

    The algorithm is Dempster et al. 1977.

    Returns:
        The weights (k,), the means (k, d) and the covariances' lower Cholesky roots (k, d, d).
    """
    m, d = x.shape
    _, labels = kmeans2(x, components, minit="++", seed=np.random.default_rng(seed))
    responsibility = np.eye(components)[labels]  # (m, k): how far a point belongs to a component
    for _ in range(steps):
        counts = responsibility.sum(axis=0) + 1e-9
        weights, means = counts / counts.sum(), responsibility.T @ x / counts[:, None]
        roots, log_density = np.empty((components, d, d)), np.empty((m, components))
        for j in range(components):
            centred = x - means[j]
            roots[j] = _covariance_root(centred, responsibility[:, j, None], counts[j])
            z = solve_triangular(roots[j], centred.T, lower=True)
            log_determinant = np.log(np.diag(roots[j])).sum()
            log_density[:, j] = np.log(weights[j]) - log_determinant - (z**2).sum(axis=0) / 2
        evidence = logsumexp(log_density, axis=1, keepdims=True)
        responsibility = np.exp(log_density - evidence)
    return weights, means, roots


def _covariance_root(centred: np.ndarray, weight: np.ndarray, count: float) -> np.ndarray:
    """The lower Cholesky root (d, d) of the weighted covariance of centred (m, d)."""
    covariance = (weight * centred).T @ centred / count + RIDGE * np.eye(centred.shape[1])
    return cholesky(covariance, lower=True)
