"""Images that stay as they are stored, and become float32 in [−1, 1] a mini-batch at a time.

    images = load("huge.npy").images     # Stored: (n, C, H, W), nothing is read yet
    images[[3, 5]]                       # float32 (2, C, H, W)

    array_files.py IDX, .npy and .npz: read, or mapped
    images.py      Stored: what `train` takes in place of an array
    decoding.py    pictures, decoded by all cores; decoder.py is one of their processes
    kept.py        decoded pictures, kept in the cache
    chosen.py      a part of them, such as all but the held-out ones
    mapped.py      files that are mapped into memory, and what is done if one changes
    doubles.py     which images are equal to another
    on_device.py   the same images for a GPU
    facts.py       what is computed once for a large file, and kept in the cache
    cached.py      the place of the cache, and how to remove it

Of `data/` it imports `image_files` and `converting` alone.
"""

from .facts import Facts
from .images import Stored

__all__ = ["Facts", "Stored"]
