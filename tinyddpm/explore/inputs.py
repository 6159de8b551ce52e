"""What a browser sends, made safe to compute with.

    rasterised([((1.0,), [(0.2, 0.5), (0.8, 0.5)])], (1, 28, 28))      # a stroke -> (1, 28, 28)
    whole("12", 0, 10, otherwise=0)                                    # -> 10

A browser may send anything, so nothing here trusts its kind or its size.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..types import Array

# The width of a stroke, as a fraction of the image's shorter side: about as in the digits.
PEN = 0.16

Ink = tuple[float, ...]  # (C,) in [−1, 1]
Points = Sequence[tuple[float, float]]  # (x, y) as fractions of width and height


def rasterised(
    strokes: Sequence[tuple[Ink, Points]],
    shape: tuple[int, int, int],
    paper: float = -1.0,
    width: float = PEN,
    zoom: int = 8,
) -> Array:
    """Strokes as an image (C, H, W) in [−1, 1], the later ones over the earlier ones.

    A pixel that ink covers in part is a mixture of ink and what was there before.

    Args:
        strokes: (ink, points) of each. A single point is a dot. A point outside is drawn as far as
            its ink reaches in.
        shape: (C, H, W) of the image.
        paper: the value of an empty sheet.
        width: of the pen, as a fraction of the image's shorter side.
        zoom: pixels drawn across each pixel of the image.
    """
    channels, high, wide = shape
    x = np.full(shape, paper, np.float32)
    pen = max(1, round(width * min(high, wide) * zoom))
    for ink, together in groupby(strokes, key=lambda stroke: stroke[0]):
        sheet = Image.new("L", (wide * zoom, high * zoom), 0)
        for _, points in together:
            _stroke(sheet, points, pen)
        levels = np.asarray(sheet, np.float32).reshape(high, zoom, wide, zoom)
        covered = levels.mean(axis=(1, 3)) / 255  # the fraction of each pixel
        x += covered * (np.float32(ink).reshape(channels, 1, 1) - x)
    return x


def _stroke(sheet: Image.Image, points: Points, pen: int) -> None:
    """A white line with round ends, `pen` pixels wide."""
    draw = ImageDraw.Draw(sheet)
    at = [(_near(x) * sheet.width, _near(y) * sheet.height) for x, y in points]
    if len(at) > 1:
        draw.line(at, fill=255, width=pen, joint="curve")
    for a, b in at[:1] + at[-1:]:
        # The last pixel is one less, as Pillow draws it too.
        draw.ellipse((a - pen / 2, b - pen / 2, a + pen / 2 - 1, b + pen / 2 - 1), fill=255)


def _near(fraction: float) -> float:
    """Held within an image's size of the image: further out no ink reaches in."""
    return min(max(fraction, -1.0), 2.0)


def whole(value: Any, low: int, high: int, otherwise: int) -> int:
    """The nearest whole number from low to high, or `otherwise` if the value is no number."""
    try:
        return min(max(int(value), low), high)
    except (TypeError, ValueError, OverflowError):  # not a number; NaN; infinity
        return otherwise
