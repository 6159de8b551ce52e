"""Runs on one process, to compare with."""

import numpy as np
import pytest
import trains

from tinyddpm import data as datasets


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """30 pictures of 4×4 with labels."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    digits = datasets.digits()
    np.savez(path, images=digits.images[:30, 0, ::2, ::2], labels=digits.labels[:30] % 3)
    return str(path)


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    for case in trains.CASES:
        trains.run_alone(case, folder, images, 9)
    return folder
