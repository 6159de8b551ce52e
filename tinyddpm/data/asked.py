"""What a caller asks for: the size and the channels of the images.

shape, channels = request(32, 1)           # (32, 32), 1
shape, channels = request("48x64", None)   # (48, 64), None: height x width
"""

import re
from collections.abc import Sequence
from pathlib import Path

from .dataset import Dataset
from .image_files import DataError, bad

Size = int | str | Sequence[int] | None  # as a caller gives it: a side, (H, W), or "HxW"
Shape = tuple[int, int]  # (H, W)


def request(size: Size, channels: int | None) -> tuple[Shape | None, int | None]:
    """((H, W) or None, channels), checked."""
    shape = None if size is None else _height_and_width(size)
    if channels not in (None, 1, 3):
        raise DataError(f"channels: expected 1 (grey) or 3 (RGB), got {channels!r}")
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


def as_requested(
    dataset: Dataset, path: str | Path, size: Shape | None, channels: int | None
) -> Dataset:
    """The data set, if it has the size and channels asked for: arrays are not resized."""
    _, c, h, w = dataset.images.shape
    if size not in (None, (h, w)):
        held = f"this array holds {h} x {w} pictures and is not resized"
        raise bad(path, f"size: {held}, got a request for {size}")
    if channels not in (None, c):
        held = f"this array holds {c} and is not converted"
        raise bad(path, f"channels: {held}, got a request for {channels}")
    return dataset
