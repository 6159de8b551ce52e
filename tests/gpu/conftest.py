"""Tests of the CuPy backend: on a GPU (`pytest -m gpu`), or with the real CuPy computing on this CPU (`make test-gpu-sim`, tools/cupy_on_cpu).

They are the same tests but for the folder simulated/, which is about what only a simulated GPU can tell. Other test runs do not
collect them. Where there is no GPU, `pytest -m gpu` ends with an error that says what is missing; so does the other, which sets
TINYDDPM_GPU=simulated, where there is no simulated one.
"""
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from autograd import backend
from tinyddpm import fast

HERE = Path(__file__).resolve().parent
MISSING = pytest.StashKey[str]()
SIMULATED = os.environ.get("TINYDDPM_GPU") == "simulated"
sys.path[:0] = [str(HERE.parent / folder) for folder in ("autograd", "nn", "core", "more", "cuda")]  # whose tables and draws are used again here

if SIMULATED:
    from tools.cupy_on_cpu import simulator
    simulator.start()


def pytest_ignore_collect(collection_path, config):
    if SIMULATED:
        return None
    if not re.search(r"(?<!not )\bgpu\b", config.option.markexpr):
        return True
    try:
        backend.to_device(np.zeros(1), "cuda")
    except RuntimeError as error:
        config.stash[MISSING] = f"pytest -m gpu: {error}. Without a GPU: make test-gpu-sim"
        return True
    return True if collection_path.name == "simulated" else None


def pytest_collection_finish(session):
    if MISSING in session.config.stash:  # not earlier: what ends a collection from within is reported with a traceback
        pytest.exit(session.config.stash[MISSING], returncode=4)


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu_sim if SIMULATED else pytest.mark.gpu)


@pytest.fixture(autouse=True)
def with_definitions():
    """Each test begins with the definitions, whatever the one before has enabled."""
    fast.disable()


@pytest.fixture
def two_gpus():
    import cupy
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("this machine has one GPU")
    yield
    cupy.cuda.Device(0).use()
