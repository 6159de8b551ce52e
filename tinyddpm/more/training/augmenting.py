"""Augmentation: images that are changed at random, each time that they are trained on.

    for step in train(unet, images, schedule, beta, seed=0, gradient=flipped(gradient)):
        …

A flipped cat is a cat: with flips, a data set has twice as many images. A flipped 3 is no 3.
"""

from typing import Any

from autograd.backend import array_module

from ... import noise
from ...train import gradient
from ...types import Array, Draw, Gradient


def flipped(gradient: Gradient = gradient) -> Gradient:
    """The gradient of the images, each flipped from left to right half of the time.

    The flip is drawn at the address of the image's dropout: seed, step and place in the mini-batch.
    So micro-batches, workers and a resumed run see the same flips.

    Args:
        gradient: computes ∇_θ J of the images, flipped or not.
    """

    def of_flipped(
        unet: Any,
        schedule: Any,
        x0: Array,
        t: Array,
        eps: Array,
        form: str = "mse",
        batch_size: int | None = None,
        dropout: Draw | None = None,
        cond: Array | None = None,
    ) -> tuple[Array, Array]:
        if not isinstance(dropout, noise.Stream):
            raise TypeError(f"dropout: expected the Stream that `train` gives, got {dropout!r}")
        seed, k, m = dropout.address
        flip = noise.uniform(seed, "flip", k, m) < 0.5
        x0 = array_module(x0).where(flip[:, None, None, None], x0[..., ::-1], x0)
        return gradient(unet, schedule, x0, t, eps, form, batch_size, dropout=dropout, cond=cond)

    return of_flipped
