"""What all tests share: a hypothesis profile, no terminal's width, plain layers, one core."""

import os

import pytest
from hypothesis import settings

from tinyddpm.equivalents import FASTER
from tinyddpm.fast import parallel

os.environ.pop("COLUMNS", None)  # xdist sets it; without a terminal lines are not wrapped

# The other cores have tests of their own to run. A run, or a sampler, starts a worker only where a
# test asks for one: starting it takes longer than what these small networks compute.
parallel.cores = parallel.shards.cores = lambda: 1

# No test could see whether bytes have reached the disk, and waiting for it is a fifth of a small
# run. What is not an open file still raises OSError. Commands in processes of their own do wait.
os.fsync = os.fstat

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
