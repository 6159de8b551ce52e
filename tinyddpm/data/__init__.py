"""What to train on: the embedded digits, known data sets, files and folders of pictures.

    from tinyddpm import data
    data.digits().images                      # (1797, 1, 8, 8), in [−1, 1]
    data.load("pictures/", size=32).images    # (n, C, 32, 32)

    data.report(data.load("pictures/"), "pictures/").text()   # what was found, and how it was read

This room imports nothing of tinyddpm but `files`, `noise` and `types`.
"""

from .dataset import Dataset, at_most, report, split
from .image_files import DataError
from .loading import digits, has_test_set, is_there, load, load_test, meant

__all__ = [
    "DataError",
    "Dataset",
    "at_most",
    "digits",
    "has_test_set",
    "is_there",
    "load",
    "load_test",
    "meant",
    "report",
    "split",
]
