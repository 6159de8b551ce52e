"""What all tests share: a hypothesis profile, no terminal's width, plain layers."""

import os

import pytest
from hypothesis import settings

from tinyddpm.equivalents import FASTER

os.environ.pop("COLUMNS", None)  # xdist sets it; without a terminal lines are not wrapped

# Derandomized: every run draws the same examples.
settings.register_profile(
    "tests", deadline=None, max_examples=25, derandomize=True, print_blob=True, database=None
)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def definitions(monkeypatch):
    """Each test begins with the layers as they are defined, and with no terminal's width.

    A run that another test started may have left their faster equivalents enabled.
    """
    FASTER.clear()
    monkeypatch.delenv("COLUMNS", raising=False)
