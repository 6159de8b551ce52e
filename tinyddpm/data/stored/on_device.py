"""Images for a GPU: the stored bytes go there once if there is room, else a mini-batch at a time.

images = on_device(dataset.images, "cuda")
images[i]                             # float32, on the GPU, whatever holds the numbers i
"""

from typing import Any

from autograd.backend import (
    AnswersOnGPU,
    Array,
    array_module,
    memory_of,
    to_device,
    to_numpy,
)

from ...types import Images
from .images import Stored, as_float
from .mapped import PIECE

ROOM = 0.5  # of the GPU's memory; the network needs the rest


def on_device(images: Images, device: str) -> Images:
    """The images for a network on this device. On a CPU they stay what they are."""
    if not isinstance(images, Stored):
        return to_device(images[:], device)
    if device == "cpu":
        return images
    return OnDevice(images, device)


class OnDevice(AnswersOnGPU):
    """Stored images whose mini-batches come on a GPU, the same to the last bit.

    Args:
        images: in main memory, or mapped.
        device: cuda or cuda:1.

    Attributes:
        there: the stored numbers (n, C, H, W) on the GPU, or None if they take too much room.
    """

    def __init__(self, images: Stored, device: str) -> None:
        self.images, self.device = images, device
        self.dtype, self.ndim, self.shape = images.dtype, images.ndim, images.shape
        first = to_device(images.stored(slice(0, 1)), device)
        self.there: Array | None = None
        if len(images) * first.nbytes <= ROOM * memory_of(device):
            self.there = array_module(first).empty(self.shape, first.dtype)
            rows = max(1, PIECE // first.nbytes)
            for i in range(0, len(images), rows):
                some = slice(i, i + rows)
                self.there[some] = to_device(images.stored(some), device)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Any) -> Array:
        """float32 on the GPU, of a number, a slice or an array of numbers from 0 on."""
        one = isinstance(key, int)
        if one:
            number = range(len(self))[key]
            key = slice(number, number + 1)
        if self.there is not None:
            some = self.there[key if isinstance(key, slice) else to_device(key, self.device)]
        else:  # the stored numbers travel, which are fewer bytes, and become floats there
            some = self.images.stored(key if isinstance(key, slice) else to_numpy(key))
            some = to_device(some, self.device)
        found = as_float(some, self.images.white, self.images.clips)
        return found[0] if one else found

    def __array__(self) -> Array:
        return self.images[:]

    def mean(self, axis: Any = None, dtype: Any = None) -> Any:
        """As of the images in main memory, where it is computed."""
        return self.images.mean(axis, dtype)
