"""A disk that is full, a folder that is read-only or vanishes: no step is lost or done twice."""

import contextlib
import dataclasses
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from small_runs import assert_same_run, at_step, limited, records

from tinyddpm import cli
from tinyddpm.runs.folder import BEST, METRICS, RunFolder
from tinyddpm.runs.record import Record
from tinyddpm.runs.training import run

CAN_MOUNT = sys.platform == "linux" and os.geteuid() == 0


@pytest.mark.parametrize(
    "number, size, what",
    [(1, 50, METRICS), (3, 2000, BEST), (6, 450, METRICS), (7, 2000, "safetensors")],
)
def test_a_full_disk_stops_the_run_and_no_step_is_lost(
    config, unbroken, tmp_path, monkeypatch, number, size, what
):
    folder, before = tmp_path / "x", resource.getrlimit(resource.RLIMIT_FSIZE)
    full = size, before[1]
    at_step(monkeypatch, number, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, full))
    try:
        with pytest.raises(OSError, match="File too large|No space left") as caught:
            run(config, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = str(caught.value)
    assert what in said and "The run stopped at step" in said
    left = "the checkpoint of step 4 is whole" if number > 4 else "no checkpoint was written yet"
    assert left in said
    records(folder)  # raises for half a line
    assert not list(folder.glob("*.writing"))
    run(config, folder, resume=True)
    assert_same_run(folder, unbroken)


@pytest.mark.skipif(not CAN_MOUNT, reason="only root can mount a file system")
@pytest.mark.parametrize("kib", [16, 64, 96])
def test_a_disk_that_is_really_full(config, unbroken, tmp_path, kib):
    disk, folder = tmp_path / "disk", tmp_path / "x"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(OSError, match="No space left on device"):
            run(dataclasses.replace(config, steps=400, keep=9), disk / "x")
        shutil.copytree(disk / "x", folder)
    finally:
        subprocess.run(["umount", disk], check=True)
    found = RunFolder(folder).newest()
    assert found is None or not found.damaged
    assert not list(folder.glob("*.writing"))
    if found is None or found.checkpoint.step <= 22:
        run(dataclasses.replace(config, keep=9), folder, resume=True)
        assert records(folder) == records(unbroken)


def test_a_line_is_written_whole_or_not_at_all(tmp_path):
    with (tmp_path / "m").open("ab", buffering=0) as file:
        record = Record(file)
        record({"k": 1})
        with limited(14), pytest.raises(OSError, match="m"):
            record({"k": 2})
        assert (tmp_path / "m").read_bytes() == b'{"k": 1}\n'
        record({"k": 3})
    assert (tmp_path / "m").read_bytes() == b'{"k": 1}\n{"k": 3}\n'


@contextlib.contextmanager
def unprivileged():
    """As a user whom permissions stop: root may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder_is_named_and_nothing_is_written(config, capsys):
    with tempfile.TemporaryDirectory() as place:  # tmp_path lies where only its owner may look
        folder = Path(place, "runs")
        folder.mkdir()
        np.save(Path(place, "x.npy"), np.load(config.data))
        Path(place).chmod(0o755)
        folder.chmod(0o555)
        for out in (folder / "x", folder):
            options = f"--data {place}/x.npy --levels 1 --workers 1 --no-pictures".split()
            with unprivileged():
                assert cli.main(["train", "--out", str(out), *options]) == 2
            [said] = capsys.readouterr().err.splitlines()
            assert said.startswith(f"tinyddpm: {folder}") and said.endswith("Permission denied")
        assert not list(folder.iterdir())


def test_a_folder_that_turns_read_only_costs_no_step(config, unbroken, monkeypatch):
    with tempfile.TemporaryDirectory() as place:
        np.save(Path(place, "x.npy"), np.load(config.data))
        Path(place).chmod(0o777)
        config, folder = dataclasses.replace(config, data=f"{place}/x.npy"), Path(place, "x")
        problem = "Permission denied.*step 8; the checkpoint of step 4 is whole"
        with unprivileged():
            at_step(monkeypatch, 7, lambda: folder.chmod(0o555))
            with pytest.raises(OSError, match=problem):
                run(config, folder)
            folder.chmod(0o755)
            run(config, folder, resume=True)
        assert records(folder) == records(unbroken)


def test_a_folder_that_vanishes_is_named(config, tmp_path, monkeypatch):
    at_step(monkeypatch, 6, lambda: shutil.rmtree(tmp_path / "x"))
    with pytest.raises(OSError, match="x: the run folder has vanished. The run stopped at step 8"):
        run(config, tmp_path / "x")
    assert not (tmp_path / "x").exists()
