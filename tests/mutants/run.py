"""Plant each bug of the two galleries in a copy of the project, and see that its test fails.

    python tests/mutants/run.py

First every named test must pass on the copy as it is: a test that fails anyway proves nothing.
Prints a table; ends with status 1 if a bug lives.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gallery
import gallery_of_rooms

ROOT = Path(__file__).resolve().parents[2]
BUGS = [*gallery.BUGS, *gallery_of_rooms.BUGS]
PARTS = "autograd", "tinyddpm", "tests", "pyproject.toml", "README.md"


def copy_to(folder):
    """The parts of the project that the tests need."""
    for part in PARTS:
        source, target = ROOT / part, Path(folder) / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return Path(folder)


def fails(folder, *tests):
    """Does pytest find that one of the tests fails?

    An error of another kind, such as a test that is not there, is raised.
    """
    settings = {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, "PYTHONPATH": str(folder), **settings}
    command = [sys.executable, "-m", "pytest", "-x", *tests]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode not in (0, 1):
        output = result.stdout + result.stderr
        raise RuntimeError(f"pytest ended with status {result.returncode}:\n{output}")
    return result.returncode == 1


def planted(bug, folder):
    """A copy of the project in the folder, with the bug in it."""
    path = copy_to(folder) / bug.file
    source = path.read_text(encoding="utf-8")
    count = source.count(bug.right)
    if count != 1:
        raise RuntimeError(
            f"{bug.name}: expected {bug.right!r} once in {bug.file}, found it {count} times"
        )
    path.write_text(source.replace(bug.right, bug.wrong), encoding="utf-8")
    return Path(folder)


def killed(bug):
    """Is the test for this bug red once the bug is planted?"""
    with tempfile.TemporaryDirectory() as folder:
        return fails(planted(bug, folder), bug.test)


def main():
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if fails(copy_to(folder), *(bug.test for bug in BUGS)):
            raise RuntimeError("a test of the gallery fails without any bug")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(killed, BUGS))
    width = max(len(bug.name) for bug in BUGS)
    for bug, dead in zip(BUGS, results):
        verdict = "killed" if dead else "LIVES "
        print(f"{verdict}  {bug.name:{width}}  {bug.file:28}  {bug.test}")
    print(f"{sum(results)} of {len(BUGS)} bugs killed, in {time.monotonic() - began:.0f} s")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
