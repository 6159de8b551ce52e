"""Simple ways to make images, to see what a metric is worth: a model's figure says little until these stand beside it.

    for name, images in baselines(train_images, n=1000, seed=0):
        ...

Real images with noise added or blurred look wrong and miss nothing; copies of a hundred training images look right and miss nearly
all; a Gaussian and a mixture of Gaussians are generative models too, which know nothing of shapes.
"""
import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.linalg import cholesky, solve_triangular
from scipy.ndimage import gaussian_filter
from scipy.special import logsumexp

from .. import noise

NOISE, BLUR, COPIES = 0.2, 0.04, 100  # standard deviation on [−1, 1]; as a share of the image's side; images that are copied
COMPONENTS, MOST = 60, 20_000  # of the mixture, which is fitted to at most so many images
RIDGE = 1e-3  # added to every variance of the mixture


def baselines(images, n, seed=0):
    """Yields (name, images (n, C, H, W) in [−1, 1]), made of the training images (m, C, H, W)."""
    index, shape = np.arange(n), images.shape[1:]
    real = images[noise.integers(seed, "baseline: images", 0, index, len(images))]
    yield f"noise added (σ = {NOISE})", np.clip(real + NOISE * noise.normal(seed, "baseline: noise", 0, index, shape), -1, 1)
    blur = max(0.5, BLUR * shape[1])  # with less a pixel's neighbours hardly count
    yield f"blurred (σ = {blur:.2f} pixels)", gaussian_filter(real, (0, 0, blur, blur))
    flat = images.reshape(len(images), -1)
    for name, samples in (("one Gaussian", gaussian(flat, n, seed)), mixture_named(flat, n, seed)):
        yield name, np.clip(samples, -1, 1).astype(np.float32).reshape(n, *shape)
    yield f"{COPIES} memorised images", images[noise.integers(seed, "baseline: copies", 0, index, min(COPIES, len(images)))]


def gaussian(flat, n, seed):
    """n draws (n, D) of the Gaussian with the mean and covariance of flat (m, D), through its principal components."""
    mean, axes, deviations = principal(flat)
    return mean + (noise.normal(seed, "baseline: Gaussian", 0, np.arange(n), deviations.shape, np.float64) * deviations) @ axes


def mixture_named(flat, n, seed):
    """(name, n draws (n, D)) of a mixture of Gaussians on the principal components: 60 on 60, or fewer where the data are few."""
    components = max(1, min(COMPONENTS, len(flat) // 100))
    dimensions = min(COMPONENTS, flat.shape[1] // 2 or 1)
    mean, axes, _ = principal(flat, dimensions)
    weights, means, roots = fit_mixture((flat[:MOST] - mean) @ axes.T, components, seed)
    index = np.arange(n)
    which = np.searchsorted(np.cumsum(weights)[:-1], noise.uniform(seed, "baseline: component", 0, index, dtype=np.float64), side="right")
    z = noise.normal(seed, "baseline: mixture", 0, index, (dimensions,), np.float64)
    points = means[which] + np.einsum("nij,nj->ni", roots[which], z)
    return f"a mixture of {components} Gaussians on {dimensions} principal components", mean + points @ axes


def principal(flat, dimensions=None):
    """(mean (D,), axes (d, D), deviations (d,)) of the d directions of largest variance, largest first; all D if None."""
    mean = flat.mean(axis=0, dtype=np.float64)
    centred = flat - mean
    variances, axes = np.linalg.eigh(centred.T @ centred / (len(flat) - 1))
    variances, axes = variances[::-1][:dimensions], axes.T[::-1][:dimensions]
    return mean, axes, np.sqrt(np.maximum(variances, 0))


def fit_mixture(x, components, seed, steps=25):
    """A mixture of Gaussians fitted to x (m, d) by expectation maximisation from k-means (Dempster et al. 1977).

    Returns weights (k,), means (k, d) and the lower Cholesky roots (k, d, d) of the covariances.
    """
    m, d = x.shape
    _, labels = kmeans2(x, components, minit="++", seed=np.random.default_rng(seed))
    responsibility = np.eye(components)[labels]  # (m, k): which point belongs to which component
    for step in range(steps):
        counts = responsibility.sum(axis=0) + 1e-9
        weights, means = counts / counts.sum(), responsibility.T @ x / counts[:, None]
        roots, log_density = np.empty((components, d, d)), np.empty((m, components))
        for j in range(components):
            centred = x - means[j]
            covariance = (responsibility[:, j, None] * centred).T @ centred / counts[j] + RIDGE * np.eye(d)
            roots[j] = cholesky(covariance, lower=True)
            z = solve_triangular(roots[j], centred.T, lower=True)
            log_density[:, j] = np.log(weights[j]) - np.log(np.diag(roots[j])).sum() - (z**2).sum(axis=0) / 2
        responsibility = np.exp(log_density - logsumexp(log_density, axis=1, keepdims=True))
    return weights, means, roots
