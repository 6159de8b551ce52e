"""Tests of the CuPy backend: on a GPU, or with the real CuPy computing on this CPU.

`pytest -m gpu` runs them on a GPU, `make test-gpu-sim` on this CPU (tools/cupy_on_cpu). They are
the same tests, except for the folder simulated/, which tests what only a simulated GPU can tell.
Other test runs do not collect them. Where there is no GPU, `pytest -m gpu` ends with an error that
says what is missing. So does `make test-gpu-sim`, which sets TINYDDPM_GPU=simulated, where there is
no simulated one.
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
# The tables, draws and launchers of these folders' tests are used again here.
FOLDERS = ("autograd", "nn", "core", "more", "cuda", "distributed", "data")
sys.path[:0] = [str(HERE.parent / folder) for folder in FOLDERS]

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
    # Not earlier: what ends a collection from within is reported with a traceback.
    if MISSING in session.config.stash:
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
