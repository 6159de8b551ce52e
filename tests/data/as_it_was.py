"""How data were read when all of them became float32 at once: what today's must equal, bit for bit.

This is the code of that time.
"""

import numpy as np

ROUNDING = 1 / 510


def converted(array):
    """float32 in [−1, 1] of the whole array (n, C, H, W), as `values.pixels` made it."""
    white = value_of_white(array)
    images = array.astype(np.float32, order="C")
    if white:
        images /= white / 2
        images -= 1
    if array.dtype.kind == "f" and (np.abs(images) > 1).any():
        np.clip(images, -1, 1, out=images)
    return images


def value_of_white(array):
    low, high, kind, itemsize = array.min(), array.max(), array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return 1
    if array.dtype.name in ("uint8", "uint16") and (low, high) != (0, 1):
        return 256**itemsize - 1
    if kind == "f":
        if low >= -ROUNDING and high <= 1 + ROUNDING:
            return 1
        if -1 - 2 * ROUNDING <= low < -ROUNDING and high <= 1 + 2 * ROUNDING:
            return 0
        return 255
    return 1 if high <= 1 else 255 if high <= 255 else 65535


def equal_images(images, names):
    """What was said of images that are equal, (n, ...)."""
    first, equal = {}, []
    for i, image in enumerate(images):
        other = first.setdefault(hash(image.tobytes()), i)
        if other != i and (images[other] == image).all():
            equal.append((other, i))
    if not equal:
        return ""
    a, b = equal[0]
    count = f"{len(equal):,} image{'s are' if len(equal) > 1 else ' is'}"
    return (
        f"{count} equal to another, such as {names[b]} to {names[a]}: "
        "what is held out may be trained on too"
    )
