"""A run folder: one process at a time, and files that are whole at every moment."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest
from small_runs import at_step

from tinyddpm import cli
from tinyddpm.files import replacing
from tinyddpm.runs.folder import CONFIG, LOCK, METRICS, InUse, RunFolder
from tinyddpm.runs.training import run

HOLD = """
import sys, time
from tinyddpm.runs.folder import RunFolder
with RunFolder(sys.argv[1]).locked():
    print("held", flush=True)
    time.sleep(60)
"""
SINCE = r"started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def test_a_second_process_is_told_which_is_the_first_and_a_dead_one_is_no_obstacle(
    config, tmp_path, capsys
):
    folder, command = tmp_path / "x", [sys.executable, "-c", HOLD, tmp_path / "x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        problem = f"x: process {first.pid} on .*, {SINCE} is training here"
        for resume in (False, "if there"):
            with pytest.raises(InUse, match=problem):
                run(config, folder, resume)
        options = ["--out", str(folder), "--data", config.data, "--levels", "1"]
        assert cli.main(["train", *options]) == 2
        assert f"process {first.pid} " in capsys.readouterr().err
        assert [p.name for p in folder.iterdir()] == [LOCK]
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert str(first.pid) in (folder / LOCK).read_text()  # it is left, and means nothing
    assert run(dataclasses.replace(config, steps=1), folder).step == 1
    assert str(os.getpid()) in (folder / LOCK).read_text()


def test_the_lock_is_released_however_a_run_ends(config, tmp_path, monkeypatch):
    folder = tmp_path / "x"
    at_step(monkeypatch, 2, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(config, folder)
    with RunFolder(folder).locked(), pytest.raises(InUse), RunFolder(folder).locked():
        pass
    run(config, folder)


def test_lines_of_steps_that_will_be_done_again_are_cut_and_others_stay(tmp_path):
    lines = [
        b'{"k": 1}\n',
        b'{"k": 2, "J": NaN}\n',
        b"not ours\n",
        b"[" * 9999 + b"\n",
        b'{"k": "x"}\n',
        b'{"k": 2}\n',
        b'{"k": 3}\n',
        b'{"k": 2',
    ]
    (tmp_path / METRICS).write_bytes(b"".join(lines))
    with RunFolder(tmp_path).metrics(2) as record:
        assert (tmp_path / METRICS).read_bytes() == b"".join([*lines[:2], lines[5]])
        record({"k": 3})
    assert (tmp_path / METRICS).read_bytes().endswith(b'{"k": 2}\n{"k": 3}\n')


def test_the_configuration_is_whole_or_absent(config, tmp_path, monkeypatch):
    monkeypatch.setattr("tomli_w.dumps", lambda values: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        RunFolder(tmp_path).write_config(config)
    assert not (tmp_path / CONFIG).exists() and not list(tmp_path.iterdir())


def test_what_a_killed_process_left_unfinished_is_removed_and_never_written_through(tmp_path):
    """It may be a second name of a file that is wanted, and to write to it would spoil that one."""
    wanted, name = tmp_path / "wanted", tmp_path / "name"
    wanted.write_text("precious")
    for _ in range(2):
        os.link(wanted, tmp_path / "name.writing")
        with replacing(name) as beside:
            beside.write_text("new")
        assert (wanted.read_text(), name.read_text()) == ("precious", "new")
    os.link(wanted, tmp_path / "other.writing")
    with RunFolder(tmp_path).locked():
        assert not list(tmp_path.glob("*.writing")) and wanted.read_text() == "precious"
