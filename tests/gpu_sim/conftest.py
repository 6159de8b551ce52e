"""Tests of the CuPy backend, for `make test-gpu-sim`: the real CuPy, computing on this CPU (tools/cupy_on_cpu).

Other test runs do not collect them. That target sets TINYDDPM_GPU=simulated; then nothing here is ever skipped: where there is
no simulated GPU, the run ends with an error that says so.
"""
import os
import sys
from pathlib import Path

import pytest

if os.environ.get("TINYDDPM_GPU") == "simulated":
    from tools.cupy_on_cpu import simulator

    simulator.start()
    TESTS = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(TESTS / folder) for folder in ("autograd", "tinyddpm")]  # whose tables and draws are used again here
else:
    collect_ignore_glob = ["*"]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu_sim)
