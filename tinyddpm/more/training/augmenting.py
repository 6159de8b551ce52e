"""Augmentation: images that are changed at random, each time that they are trained on.

    for step in train(unet, images, schedule, beta, seed=0, gradient=flipped(gradient)):
        …

A flipped cat is a cat: with flips, a data set has twice as many images. A flipped 3 is no 3.
Crops of larger images move what they show by a few pixels.

Each change is drawn at the address of the image's dropout: seed, step and place in the mini-batch.
So micro-batches, workers, ranks and a resumed run see the same one.
"""

from collections.abc import Callable
from typing import Any

from autograd.backend import array_module, expect

from ... import noise
from ...train import gradient
from ...types import Array, Draw, Gradient

# change(x0, eps, seed, k, m) -> the images and the noise to train on, at step k, for places m.
Change = Callable[[Array, Array, int, int, noise.Index], tuple[Array, Array]]


def flipped(gradient: Gradient = gradient) -> Gradient:
    """The gradient of the images, each flipped from left to right half of the time.

    Args:
        gradient: computes ∇_θ J of the images, flipped or not.
    """

    def flip(x0: Array, eps: Array, seed: int, k: int, m: noise.Index) -> tuple[Array, Array]:
        flips = noise.uniform(seed, "flip", k, m) < 0.5
        return array_module(x0).where(flips[:, None, None, None], x0[..., ::-1], x0), eps

    return _changed(flip, gradient)


def cropped(size: tuple[int, int], gradient: Gradient = gradient) -> Gradient:
    """The gradient of a part of each image, whose place is drawn each time.

    `train` draws ε of the images' whole size. Of it, as many numbers as the part has are used: any
    of them are independent of each other and of the place.

    Args:
        size: (H, W) of the part.
        gradient: computes ∇_θ J of the parts.
    """

    def crop(x0: Array, eps: Array, seed: int, k: int, m: noise.Index) -> tuple[Array, Array]:
        xp, (n, c, *whole) = array_module(x0), x0.shape
        expect(size[0] <= whole[0] and size[1] <= whole[1], "images", f"at least {size}", whole)
        places = []  # (n, H) of the rows, (n, W) of the columns
        for axis, side, full in zip(("row", "column"), size, whole):
            first = noise.integers(seed, f"crop {axis}", k, m, full - side + 1)
            places.append(first[:, None] + xp.arange(side))
        image, channel = xp.arange(n)[:, None, None, None], xp.arange(c)[:, None, None]
        x0 = x0[image, channel, places[0][:, None, :, None], places[1][:, None, None, :]]
        return x0, xp.ascontiguousarray(eps[..., : size[0], : size[1]])

    return _changed(crop, gradient)


def _changed(change: Change, gradient: Gradient) -> Gradient:
    """The gradient of changed images."""

    def of_changed(
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
        x0, eps = change(x0, eps, *_address(dropout))
        return gradient(unet, schedule, x0, t, eps, form, batch_size, dropout=dropout, cond=cond)

    return of_changed


def _address(dropout: Draw | None) -> tuple[int, int, noise.Index]:
    """(seed, k, m) of the images."""
    if not isinstance(dropout, noise.Stream):
        raise TypeError(f"dropout: expected the Stream that `train` gives, got {dropout!r}")
    return dropout.address
