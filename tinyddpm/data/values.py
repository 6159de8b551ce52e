"""What stored values mean: the numbers of pixels, and the labels of classes.

reading = pixels(path, array)         # images in [−1, 1], and how they were read
numbers, names = classes(labels, n)   # numbers 0..k−1 of the values that occur, and their names
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .folders import as_seen
from .image_files import bad
from .stored import Facts, Stored
from .stored.images import as_float
from .stored.mapped import pieces

# Floats may leave their range by half a step of 8 bits: that is rounding, and is cut off.
ROUNDING = 1 / 510
DARK = 4  # a brightest value below 1 / DARK of white is worth a word
DIM = 3 / 4  # the same, where the type does not say what white is: 0 to 100 may be percent
MOST_CLASSES = 10_000  # more different labels than this are no classes
BYTES = "uint8", "uint16"  # of their values the largest possible one is white
SHIFTED = "subtract the smallest value and divide by the largest, and save that as floats"


class Reading(NamedTuple):
    """Pixels, and what was made of them.

    Attributes:
        images: float32 in [-1, 1], of the array's shape; it is kept as stored.
        grey_levels: as in Dataset.
        stored: "uint8 from 0 to 255".
        how: "x / 127.5 - 1".
        notes: what the user should know besides.
    """

    images: Stored
    grey_levels: int
    stored: str
    how: str
    notes: tuple[str, ...] = ()


def pixels(path: str | Path, array: np.ndarray, facts: Facts | None = None) -> Reading:
    """The array as float32 in [-1, 1]. The value of white becomes exactly +1.

    Read are bool, and integers that are all 0 or 1; integers from 0 to 255 or 65535; and floats in
    [0, 1], [-1, 1] or [0, 255].

    Args:
        path: what to call the array in an error.
        array: (n, C, H, W), in memory or mapped.
        facts: what is known of it already.

    Raises:
        DataError: the values mean nothing clear.
    """
    if array.dtype.kind not in "fiub":
        raise bad(path, f"expected an array of numbers, got dtype {array.dtype}")
    facts = facts or Facts()
    low, high = facts.get("range", lambda: _range(array))
    white, grey_levels = _white(path, array, low, high)
    stored = f"{array.dtype.name} from {_short(low)} to {_short(high)}"
    how = "x, unchanged"
    if white:
        how = "2x - 1" if white == 1 else f"x / {white / 2:g} - 1"
    notes, outside = [], 0
    # The conversion keeps the order of numbers: if both ends are inside, so are all.
    if (
        array.dtype.kind == "f"
        and (np.abs(as_float(np.array([low, high], array.dtype), white)) > 1).any()
    ):
        outside = facts.get("outside", lambda: _outside(array, white))
    if outside:
        few = "value is" if outside == 1 else "values are"
        notes.append(f"{outside:,} {few} outside the range by a rounding error, and cut off")
    if not white and low > -0.5:
        notes.append(
            f"the smallest value is {_short(low)}, and -1 is black: if 0 is, clip to [0, 1] first"
        )
    if low == high:
        notes.append(f"every value is {_short(low)}")
    elif white > 1 and high < white * (1 / DARK if array.dtype.name in BYTES else DIM):
        notes.append(
            f"the brightest value is {_short(high)} where white is {white}, so the images are "
            f"dark: if {_short(high)} is white, divide by it and save floats"
        )
    if array.itemsize > 4 and not isinstance(array, np.memmap):  # float32 takes less memory
        array, white, outside = as_float(array, white, outside > 0), 0, 0
    images = Stored(array, white, outside > 0, facts=facts)
    return Reading(images, grey_levels, stored, how, tuple(notes))


def _range(array: np.ndarray) -> tuple[float, float]:
    """The smallest and the largest value, both NaN if there is any."""
    ends = [(piece.min(), piece.max()) for piece in pieces(array, "reading values")]
    low, high = zip(*ends)
    return np.min(low).item(), np.max(high).item()


def _outside(array: np.ndarray, white: int) -> int:
    """How many of the values leave [-1, 1]."""
    return sum(int((np.abs(as_float(piece, white)) > 1).sum()) for piece in pieces(array))


def _white(path: str | Path, array: np.ndarray, low: float, high: float) -> tuple[int, int]:
    """(the value that is white, or 0 where [-1, 1] stays as it is; grey levels)."""
    kind, itemsize = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return 1, 2
    if array.dtype.name in BYTES and (low, high) != (0, 1):  # a mask is black and white
        return 256**itemsize - 1, 256**itemsize
    if kind == "f":
        if low >= -ROUNDING and high <= 1 + ROUNDING:
            return 1, 0
        if -1 - 2 * ROUNDING <= low < -ROUNDING and high <= 1 + 2 * ROUNDING:
            return 0, 0
        if low >= -0.5 and 255 / DARK <= high <= 255.5:
            return 255, 0
        expected = "floats in [0, 1], [-1, 1] or [0, 255]"
    else:
        if low >= 0 and high <= 1:
            return 1, 2
        if low >= 0 and 255 / DARK <= high <= 255:
            return 255, 256
        if low >= 0 and 65535 / DARK <= high <= 65535:
            return 65535, 65536
        expected = "uint8, uint16, or integers from 0 to 255 or 65535"
    got = f"{array.dtype.name} values from {_short(low)} to {_short(high)}"
    if math.isfinite(low) and math.isfinite(high):
        dark = low >= 0 and f"if {_short(high)} is white, divide by it and save floats"
        fix = f": {dark or SHIFTED}"
    else:
        fix = f"; {int((~np.isfinite(array)).sum()):,} of {array.size:,} are not finite"
    raise bad(path, f"expected {expected}, got {got}{fix}")


def _short(value: float) -> str:
    """A number in few digits, but never one that rounds to 0 or 1 and is not."""
    if not isinstance(value, float):
        return str(int(value))
    short = f"{value:g}"
    return repr(value) if float(short) in (-1, 0, 1) and float(short) != value else short


def how_to_shape(shape: tuple[int, ...]) -> str:
    """How an array of a shape that we do not read may become one that we do; "" if unknown."""
    side = math.isqrt(shape[-1])
    colour = math.isqrt(shape[-1] // 3)
    if len(shape) == 2 and side > 1 and side**2 == shape[-1] and side != shape[0]:
        return f": if these are flattened images, use x.reshape(-1, {side}, {side})"
    if len(shape) == 2 and colour > 1 and 3 * colour**2 == shape[-1]:
        return f": if these are flattened images, use x.reshape(-1, 3, {colour}, {colour})"
    if len(shape) == 2:
        return ": if this is one image, use x[None]"
    if len(shape) == 4 and shape[3] in (2, 4):
        return f": if the last channel is transparency, use x[..., :{shape[3] - 1}]"
    if len(shape) == 4 and shape[1] in (2, 4):
        return f": if the last channel is transparency, use x[:, :{shape[1] - 1}]"
    if len(shape) == 4 and (shape[2] in (1, 3) or shape[0] in (1, 3)):
        return ": if the last axis numbers the images, use np.moveaxis(x, -1, 0)"
    if len(shape) > 4 and 1 in shape:
        return ": remove axes of length 1 (np.squeeze)"
    return ""


def second_meaning(shape: tuple[int, ...]) -> str:
    """What to say of a shape that is read, but has a second meaning; "" if it has none."""
    if len(shape) == 3 and shape[2] in (1, 3, 4) and shape[1] > 4:
        n, h, w = shape
        return (
            f"shape {tuple(shape)} is read as {n} grey images of {h} x {w}; "
            f"one image of {w} channels has shape (1, {n}, {h}, {w})"
        )
    if len(shape) == 4 and shape[3] in (1, 3) and shape[1] in (1, 3):
        return f"shape {tuple(shape)} is read as (n, H, W, C), not (n, C, H, W)"
    return ""


# ---- labels --------------------------------------------------------------------------------------


def classes(labels: np.ndarray, n: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """The class of each of n images, numbered from 0, and the names of the classes.

    The classes are the values that occur, in their order, and are named by them. Read are n whole
    numbers, bools or texts, of shape (n,), (n, 1) or (1, n), and one-hot rows (n, k).

    Raises:
        ValueError: they are anything else.
    """
    given = f"shape {labels.shape} of {labels.dtype}"
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "U":
        seen = [as_seen(text) for text in labels.flat]
        labels = np.array(seen, dtype=str).reshape(labels.shape)
    if labels.ndim == 2 and labels.shape[0] == n and labels.shape[1] > 1 and _one_hot(labels):
        labels = labels.argmax(axis=1)
    elif labels.size == n and n in labels.shape:
        labels = labels.reshape(n)
    if labels.shape != (n,) or labels.dtype.kind not in "iubUf":
        raise ValueError(f"expected {n} labels, whole numbers or texts, got {given}")
    if labels.dtype.kind == "f":
        if not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
            raise ValueError(f"expected {n} labels, whole numbers or texts, got fractions: {given}")
        labels = labels.astype(np.int64)
    values, numbers = np.unique(labels, return_inverse=True)
    if len(values) > MOST_CLASSES:
        raise ValueError(f"expected at most {MOST_CLASSES} classes, got {len(values)} labels")
    names = tuple(str(value.item()) for value in values)
    if "" in names:
        raise ValueError(
            f"expected {n} labels, got {(numbers == names.index('')).sum()} empty ones"
        )
    return numbers.reshape(n).astype(np.int64), names


def _one_hot(rows: np.ndarray) -> bool:
    if rows.dtype.kind not in "iubf":
        return False
    return bool(((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all())
