"""Images as they are stored, which read like one array of float32 in [−1, 1].

images = Stored(pixels, white=255)    # uint8 (n, C, H, W)
images[[3, 5]]                        # float32 (2, C, H, W): x / 127.5 - 1
np.asarray(images)                    # all of them
"""

import hashlib
import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from tqdm import tqdm

from .chosen import Chosen, name_of
from .facts import Facts
from .mapped import PIECE, Reader


def as_float(stored: np.ndarray, white: int, clip: bool = False) -> np.ndarray:
    """Pixels as float32 in [−1, 1], C-contiguous: a copy.

    Args:
        stored: numbers of any type; on a GPU they stay there.
        white: the number that becomes 1, where 0 becomes −1. 0: they are in [−1, 1] already.
        clip: cut off what is outside by a rounding error.
    """
    images = stored.astype(np.float32, order="C")
    if white:
        images /= white / 2
        images -= 1
    return images.clip(-1, 1, out=images) if clip else images


class Stored(NDArrayOperatorsMixin):
    """Images (n, C, H, W) that are float32 in [−1, 1] for everyone who takes some of them.

    `train` takes it in place of an array. `np.asarray`, operators and NumPy's functions make an
    array of all of them.

    Args:
        array: (n, C, H, W) as stored, in memory or mapped.
        white: as for `as_float`, like clip.
        chosen: the numbers of the images that these are; None: all.
        facts: what is known of these images.
        window: (H, W) of the part around the centre that is taken; None: all of each image.
    """

    dtype, ndim = np.dtype(np.float32), 4

    def __init__(
        self,
        array: np.ndarray,
        white: int,
        clip: bool = False,
        chosen: Chosen | None = None,
        facts: Facts | None = None,
        window: tuple[int, int] | None = None,
    ) -> None:
        self.array, self.white, self.clips = array, white, clip
        self.chosen, self.facts = chosen, facts or Facts()
        self.reader, self.window = Reader(array), window
        n, (channels, *whole) = len(array) if chosen is None else len(chosen), array.shape[1:]
        self.shape = n, channels, *(window or whole)
        self.size = math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Stored(float32 {self.shape}, kept as {self.array.dtype})"

    def part(self, chosen: Chosen) -> "Stored":
        """The images of these numbers, in their order. They are not copied."""
        if self.chosen is not None:
            chosen = self.chosen[chosen[:]]
        return self._view(chosen, self.window)

    def cropped(self, window: tuple[int, int] | None) -> "Stored":
        """The part (H, W) around the centre of each image; None: all of it. It is not copied."""
        return self._view(self.chosen, window)

    def _view(self, chosen: Chosen | None, window: tuple[int, int] | None) -> "Stored":
        facts = Facts()
        if self.facts.path:
            parts = [name_of(chosen)] if chosen is not None else []
            parts += [f"{window[0]} x {window[1]}"] if window else []
            facts = self.facts.of_part(", ".join(parts))
        return Stored(self.array, self.white, self.clips, chosen, facts, window)

    def __getitem__(self, key: Any) -> np.ndarray:
        """What an array would give: float32, a copy."""
        if isinstance(key, tuple):
            first, *rest = key or (slice(None),)
            if first is Ellipsis or first is None:
                return np.asarray(self)[key]
            some = self[first]
            return some[tuple(rest) if some.ndim < self.ndim else (slice(None), *rest)]
        if isinstance(key, slice):
            return self._floats(key)
        try:
            number = range(len(self))[operator.index(key)]  # IndexError ends an iteration
        except TypeError:
            return self._floats(self._numbers(np.asarray(key)))
        return self._floats(slice(number, number + 1))[0]

    def _numbers(self, key: np.ndarray) -> np.ndarray:
        """Numbers from 0 on, from those that NumPy understands."""
        n = len(self)
        if key.dtype == bool:
            if key.shape != (n,):
                raise IndexError(f"images: expected a mask of shape {(n,)}, got {key.shape}")
            return np.flatnonzero(key)
        if key.dtype.kind not in "iu" and key.size:
            raise IndexError(f"images: expected integers, a slice or a mask, got {key.dtype}")
        key = key.astype(np.int64)
        if key.size and not -n <= key.min() <= key.max() < n:
            raise IndexError(f"images: expected numbers below {n}, got {key.min()} to {key.max()}")
        return np.where(key < 0, key + n, key)

    def _floats(self, key: Any) -> np.ndarray:
        return as_float(self.stored(key), self.white, self.clips)

    def stored(self, key: Any) -> np.ndarray:
        """The images of a slice, or of numbers from 0 on, as they are stored."""
        if self.chosen is not None:
            key = self.chosen[key]
        images = self.reader.read(key)
        if self.window is None:
            return images
        (height, width), whole = self.window, images.shape[2:]
        top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
        return images[:, :, top : top + height, left : left + width]

    def pieces(self, title: str = "") -> Iterator[np.ndarray]:
        """All of them in order, float32, a few MB at a time.

        Args:
            title: of a progress bar, if it takes long.
        """
        rows = max(1, PIECE // (4 * math.prod(self.shape[1:])))
        starts = range(0, len(self), rows)
        for i in tqdm(starts, title, leave=False, disable=None if title else True, delay=2):
            yield self[i : i + rows]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("images: expected copy=True or None: they are kept as stored")
        return self[:].astype(dtype or np.float32, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **how: Any) -> Any:
        arrays = [np.asarray(x) if isinstance(x, Stored) else x for x in inputs]
        return getattr(ufunc, method)(*arrays, **how)

    def __getattr__(self, name: str) -> Any:
        """What else an array can do, such as `reshape`, an array of all of them does."""
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"Stored has no attribute {name!r}")
        return getattr(self[:], name)

    def mean(self, axis: Any = None, dtype: Any = None) -> Any:
        """As NumPy's, to the last bit. The mean image (axis 0) takes the memory of a few images."""
        if axis != 0:
            return self[:].mean(axis, dtype)
        dtype = np.dtype(dtype or np.float32)

        def compute() -> str:
            total = np.zeros((0, *self.shape[1:]), dtype)
            for piece in self.pieces("mean image"):
                # One row after the other, as NumPy adds them up.
                total = np.concatenate([total, piece.astype(dtype, copy=False)]).sum(0)[None]
            return bytes(total[0] / len(self)).hex()

        found = self.facts.get(f"mean, {dtype}", compute)
        return np.frombuffer(bytes.fromhex(found), dtype).reshape(self.shape[1:])

    def fingerprint(self) -> str:
        """sha256 (hex) of the shape and of the float32 numbers in little-endian bytes.

        Of cropped images all numbers count: other crops see them.
        """

        def compute() -> str:
            digest = hashlib.sha256(repr(self.shape).encode())
            for piece in self.cropped(None).pieces("fingerprint"):
                digest.update(piece.astype("<f4", copy=False).data)
            return digest.hexdigest()

        return str(self.facts.get("fingerprint", compute))
