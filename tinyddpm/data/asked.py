"""What a caller asks for: the size and the channels of the images, and how they are cropped.

shape, channels = request(32, 1)           # (32, 32), 1
shape, channels = request("48x64", None)   # (48, 64), None: height x width
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from ..types import Images
from .converting import height_and_width
from .dataset import Dataset
from .image_files import DataError, File, bad, opened
from .stored import Stored

Size = int | str | Sequence[int] | None  # as a caller gives it: a side, (H, W), or "HxW"
Shape = tuple[int, int]  # (H, W)
Crop = Literal["centre", "random"]


def request(
    size: Size, channels: int | None, crop: Crop = "centre"
) -> tuple[Shape | None, int | None]:
    """((H, W) or None, channels), checked."""
    shape = None if size is None else _height_and_width(size)
    if channels not in (None, 1, 3):
        raise DataError(f"channels: expected 1 (grey) or 3 (RGB), got {channels!r}")
    if crop not in ("centre", "random"):
        raise DataError(f"crop: expected centre or random, got {crop!r}")
    if crop == "random" and shape is None:
        raise DataError("crop: expected a size (--size) with random, got none")
    return shape, channels


def _height_and_width(size: int | str | Sequence[int]) -> Shape:
    pair: object = (size, size) if isinstance(size, int) else size
    if isinstance(size, str) and (sides := re.fullmatch(r"(\d{1,9})[x×](\d{1,9})", size)):
        pair = tuple(map(int, sides.groups()))
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(map(_is_side, pair)):
        pairs = "a pair (H, W) of them, or a text such as 48x64 (height x width)"
        raise DataError(f"size: expected a positive int or {pairs}, got {size!r}")
    height, width = pair
    return height, width


def _is_side(value: object) -> bool:
    return type(value) is int and value >= 1  # no bool


def decoded_size(size: Shape | None, crop: Crop) -> Shape | None:
    """The size to which pictures are cropped and resized: if crops are random, larger than asked.

    A crop keeps 7/8 of each side, as where torchvision's recipes resize to 256 and crop 224.
    (guided-diffusion draws the fraction of each crop from 0.8 to 1. With one for all, each picture
    is resized once, and the held-out ones, cropped at the centre, have the scale of the others.)
    """
    if size is None or crop == "centre":
        return size
    height, width = (-(-side * 8 // 7) for side in size)
    return height, width


def as_requested(
    dataset: Dataset,
    path: str | Path,
    size: Shape | None,
    channels: int | None,
    crop: Crop = "centre",
) -> Dataset:
    """The data set, if it has the size and channels asked for: arrays are not resized.

    If crops are random, larger images have the size around their centre, and `uncropped` gives all
    of them.
    """
    _, c, h, w = dataset.images.shape
    if crop == "random" and size is not None:
        if min(h - size[0], w - size[1]) < 0 or size == (h, w):
            larger = f"images larger than {size[0]} x {size[1]}"
            raise bad(path, f"crop: expected {larger}, got {h} x {w}: there is nothing to crop")
        images = dataset.images
        stored = images if isinstance(images, Stored) else Stored(images[:], 0)
        dataset = dataclasses.replace(dataset, images=stored.cropped(size))
    elif size not in (None, (h, w)):
        held = f"this array holds {h} x {w} pictures and is not resized"
        raise bad(path, f"size: {held}, got a request for {size}")
    if channels not in (None, c):
        held = f"this array holds {c} and is not converted"
        raise bad(path, f"channels: {held}, got a request for {channels}")
    return dataset


def expect_one_as_large(path: Path, files: Iterable[File], size: Shape, megapixels: float) -> None:
    """DataError if no picture is as large as those that random crops are taken from."""
    small = 0
    for file in files:
        with contextlib.suppress(DataError):  # the reading will say what is wrong
            height, width = opened(file, height_and_width, megapixels * 1e6)
            if height >= size[0] and width >= size[1]:
                return
            small += 1
    if small:
        larger = f"pictures of at least {size[0]} x {size[1]} to take random crops from"
        raise bad(path, f"crop: expected {larger}, got none: there is nothing to crop")


def uncropped(images: Images) -> Images:
    """The images before they were cropped at the centre, to be cropped at random."""
    return images.cropped(None) if isinstance(images, Stored) and images.window else images
