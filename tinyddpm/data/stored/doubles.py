"""Images that are equal to another: what is held out may then be trained on too."""

from collections.abc import Callable

import numpy as np

from .mapped import Reader, pieces

MOST = 2**23  # images that are compared: their hashes take 200 MB
AT_ONCE = 2**12


def doubles(images: np.ndarray, name: Callable[[int], str]) -> str:
    """What to say of images (n, …) that are equal to another, "" if none is.

    Args:
        images: as they are stored.
        name: what to call image i.
    """
    first, second = _equal(images[:MOST])
    if not len(second):
        return ""
    count = f"{len(second):,} image{'s are' if len(second) > 1 else ' is'}"
    among = f"among the first {MOST:,}, " if len(images) > MOST else ""
    return (
        f"{among}{count} equal to another, such as {name(int(second[0]))} to "
        f"{name(int(first[0]))}: what is held out may be trained on too"
    )


def _equal(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(i, j): image j is equal to image i, the first of its hash; j in order."""
    hashes = np.empty(len(images), np.int64)
    done = 0
    for piece in pieces(images, "looking for equal images"):
        for image in piece:
            hashes[done] = hash(image.tobytes())
            done += 1
    order = np.argsort(hashes, kind="stable")  # equal hashes: in the order of the images
    group = np.append(0, np.diff(hashes[order]) != 0).cumsum()  # 0, 0, 1, …: which hash it is
    starts = np.flatnonzero(np.append(1, np.diff(group)))
    first = np.empty_like(order)
    first[order] = order[starts][group]  # of each image, the first of the same hash
    second = np.flatnonzero(first != np.arange(len(first)))
    reader = Reader(images)
    same = [
        (reader.read(first[some]) == reader.read(some)).reshape(len(some), -1).all(1)
        for some in np.split(second, range(AT_ONCE, len(second), AT_ONCE))
        if len(some)
    ]
    second = second[np.concatenate(same)] if same else second
    return first[second], second
