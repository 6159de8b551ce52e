"""Held-out J: how good a denoiser is on images that it was not trained on, measured with the same draws every time.

The J of a training step is noisy, since each step draws other images, t and ε, so it decides nothing. Here they are drawn once:
each held-out image with ten t's, one from each tenth of {1..T}. Ten bands of t come out, and their mean is *the* held-out J.

    draws = Draws(held_out_images, schedule)
    draws.evaluate(unet.denoise)          # (10,) J per band of t
    draws.evaluate(mean_image(images))    # predict-the-mean, the simplest denoiser there is
"""
import numpy as np

from autograd.backend import alike, to_numpy

from .. import noise
from ..diffusion import q_sample

BANDS = 10
SEED = 0  # not the run's: runs of different seeds are compared on the same draws


class Draws:
    """Fixed x_0, t, ε and x_t: BANDS draws for each of at most `most` images (n, C, H, W). All in main memory, so the same for every device.

    labels  the class of each image (n,), if the denoisers to come shall be told it
    """

    def __init__(self, images, schedule, most=300, purpose="held out", labels=None):
        images = images[:most]
        sample = np.arange(len(images) * BANDS)
        band = sample % BANDS
        edges = schedule.T * np.arange(BANDS + 1) // BANDS  # band i is {edges[i]+1 .. edges[i+1]}
        place = noise.uniform(SEED, f"{purpose} t", 0, sample, dtype=np.float64)
        self.x0 = np.repeat(images, BANDS, axis=0)
        self.cond = [] if labels is None else [np.repeat(labels[:most], BANDS)]
        self.t = 1 + np.minimum(edges[band] + (place * (edges[band + 1] - edges[band])).astype(np.int64), schedule.T - 1)
        self.band, self.edges = band, edges
        self.xt = q_sample(schedule, self.x0, self.t, noise.normal(SEED, f"{purpose} eps", 0, sample, images.shape[1:], images.dtype))

    def evaluate(self, denoiser, chunk=250):
        """J in the form "mse" for each band of t: (BANDS,) float64. Its mean is the held-out J."""
        J = []
        for i in range(0, len(self.xt), chunk):
            xt, t, x0, *cond = (a[i:i + chunk] for a in (self.xt, self.t, self.x0, *self.cond))
            x0_hat = alike("x0_hat", denoiser(xt, t, *cond), x0)
            J.append(np.square(x0_hat - x0).mean(axis=(1, 2, 3), dtype=np.float64))
        return np.bincount(self.band, np.concatenate(J), BANDS) / np.bincount(self.band, minlength=BANDS)


def mean_image(images):
    """The denoiser that answers with the mean of `images`, on any device, whatever it is shown: the best there is without looking."""
    mean = to_numpy(images.mean(axis=0, dtype=np.float64).astype(images.dtype))
    return lambda xt, t, *cond: np.broadcast_to(mean, xt.shape)
