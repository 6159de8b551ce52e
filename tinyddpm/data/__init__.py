"""What to train on: the embedded digits, known data sets, files and folders of pictures.

    from tinyddpm import data
    data.digits().images                      # (1797, 1, 8, 8), in [−1, 1]
    data.load("pictures/", size=32).images    # (n, C, 32, 32)

This room imports nothing of tinyddpm but `files`.
"""

from .image_files import DataError
from .loading import Dataset, digits, has_test_set, load, load_test, split

__all__ = ["DataError", "Dataset", "digits", "has_test_set", "load", "load_test", "split"]
