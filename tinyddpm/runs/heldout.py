"""Held-out J: how well a network denoises images that it was not trained on.

The J of a training step is noisy, because each step draws other images, t and ε. So it decides
nothing. The draws for the held-out J are made once: ten t for each held-out image, one from each
tenth of {1..T}. This gives J in ten bands of t, and their mean is *the* held-out J.

    draws = Draws(held_out_images, schedule)
    draws.evaluate(unet.denoise)          # (10,) J per band of t
    draws.evaluate(mean_image(images))    # predict-the-mean, the simplest denoiser there is
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from autograd.backend import alike, to_numpy

from .. import noise
from ..alone import Alone, Comm
from ..diffusion import q_sample
from ..schedule import Schedule
from ..types import Array, Images

BANDS = 10
SEED = 0  # not the run's: runs of different seeds are compared on the same draws


class Draws:
    """Fixed x_0, t, ε and x_t: BANDS draws for each image. They lie in main memory on any device.

    ε, and with it x_t, is drawn when it is first asked for: of large images that takes seconds, and
    a run begins without it.

    Args:
        images: (n, C, H, W); only the first `most` are used.
        schedule: the noise schedule.
        most: how many images to use at most.
        purpose: of the random numbers, for draws that are independent of these.
        labels: the class of each image (n,), for denoisers that are conditioned on it.

    Attributes:
        x0: (n · BANDS, C, H, W).
        t: (n · BANDS,).
        cond: [the classes (n · BANDS,)], or [].
        band: (n · BANDS,), which band t is in, from 0.
        edges: (BANDS + 1,); band i is {edges[i]+1 .. edges[i+1]}.
    """

    def __init__(
        self,
        images: Images,
        schedule: Schedule,
        most: int = 300,
        purpose: str = "held out",
        labels: Array | None = None,
    ) -> None:
        x0 = images[:most]
        self._schedule, self._purpose = schedule, purpose
        self._sample = sample = np.arange(len(x0) * BANDS)
        self.band = band = sample % BANDS
        self.edges = edges = schedule.T * np.arange(BANDS + 1) // BANDS
        place = noise.uniform(SEED, f"{purpose} t", 0, sample, dtype=np.float64)
        within = (place * (edges[band + 1] - edges[band])).astype(np.int64)
        self.t = 1 + np.minimum(edges[band] + within, schedule.T - 1)
        self.x0 = np.repeat(x0, BANDS, axis=0)
        self.cond = [] if labels is None else [np.repeat(labels[:most], BANDS)]

    @cached_property
    def xt(self) -> Array:
        """x_t of each draw, (n · BANDS, C, H, W)."""
        shape, dtype = self.x0.shape[1:], self.x0.dtype
        eps = noise.normal(SEED, f"{self._purpose} eps", 0, self._sample, shape, dtype)
        return q_sample(self._schedule, self.x0, self.t, eps)

    def of_one_answer(self, image: Array) -> float:
        """The held-out J of always answering with `image` (C, H, W). That needs no x_t."""
        errors = [np.square(image - x0).mean(dtype=np.float64) for x0 in self.x0[::BANDS]]
        return float(np.mean(errors))

    def evaluate(
        self, denoiser: Callable[..., Array], chunk: int = 250, comm: Comm = Alone()
    ) -> Array:
        """J in the form "mse" for each band of t: (BANDS,) float64. Its mean is the held-out J.

        Args:
            denoiser: denoiser(xt, t), or denoiser(xt, t, classes) if the draws have labels.
            chunk: how many images it takes at once.
            comm: the ranks that share the chunks, each with a denoiser of its own.
        """
        J = []
        starts = np.array_split(np.arange(0, len(self.xt), chunk), comm.size)
        for i in starts[comm.rank]:
            part = slice(i, i + chunk)
            xt, t, x0, *cond = (a[part] for a in (self.xt, self.t, self.x0, *self.cond))
            x0_hat = alike("x0_hat", denoiser(xt, t, *cond), x0)
            J.append(np.square(x0_hat - x0).mean(axis=(1, 2, 3), dtype=np.float64))
        of_ranks = [J_of_chunk for of_rank in comm.allgather(J) for J_of_chunk in of_rank]
        counts = np.bincount(self.band, minlength=BANDS)
        return np.bincount(self.band, np.concatenate(of_ranks), BANDS) / counts


def mean_image(images: Images) -> Callable[..., Array]:
    """The denoiser that always answers with the mean of `images`, which may lie on any device.

    It is the best denoiser that does not look at x_t.
    """
    mean = mean_of(images)
    return lambda xt, t, *cond: np.broadcast_to(mean, xt.shape)


def mean_of(images: Images) -> Array:
    """The mean of images (n, C, H, W), which may lie on any device: (C, H, W) in main memory."""
    return to_numpy(images.mean(axis=0, dtype=np.float64).astype(images.dtype))
