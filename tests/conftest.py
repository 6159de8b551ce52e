"""What all tests share: one hypothesis profile, the same draws in every run, matplotlib without a screen, and layers by their definitions."""
import os

os.environ["MPLBACKEND"] = "Agg"

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from tinyddpm.equivalents import FASTER  # noqa: E402

settings.register_profile("tests", deadline=None, max_examples=25, derandomize=True, print_blob=True, database=None)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def definitions():
    """Each test begins with the definitions of the layers: a run that another test began leaves their faster equivalents enabled."""
    FASTER.clear()
