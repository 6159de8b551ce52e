"""How tests start programs on several ranks, and compare what these write."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BESIDE = Path(sys.executable).with_name("mpiexec")  # where `pip install mpich` puts it
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
ROOT = str(Path(__file__).parents[2])  # where programs find `tools`
needs_mpi = pytest.mark.skipif(
    not (find_spec("mpi4py") and MPIEXEC),
    reason="needs mpi4py and mpiexec: pip install '.[mpi]' mpich",
)


def command(ranks, *program):
    """The command that runs a Python program on so many ranks; 0 ranks: without mpiexec."""
    launcher = [MPIEXEC, "-n", str(ranks)] if ranks else []
    return [*launcher, sys.executable, *map(str, program)]


def launch(ranks, *program, environment=None, timeout=120):
    """Run it to its end."""
    return subprocess.run(
        command(ranks, *program),
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"PYTHONPATH": ROOT} | (environment or {}),
    )


def assert_same(folder, alone, cases):
    """The same bytes, but for the clock."""
    for case in cases:
        for name in ("checkpoint", "best"):
            found = (folder / case / f"{name}.safetensors").read_bytes()
            expected = (alone / case / f"{name}.safetensors").read_bytes()
            assert found == expected, (case, name)
        assert records(folder / case) == records(alone / case)


def records(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{n: v for n, v in json.loads(line).items() if n != "seconds"} for line in lines]
