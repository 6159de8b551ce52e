"""File systems that cannot sync, lock, link or rename as a disk does: the run does without.

An error of the disk stays an error.
"""

import dataclasses
import errno
import fcntl
import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
from small_runs import assert_same_run, records
from test_failing_disks import unprivileged

from tinyddpm.files import beside, replacing
from tinyddpm.pictures.plots import written_whole
from tinyddpm.runs.folder import CHECKPOINT, RunFolder
from tinyddpm.runs.training import run

NO_SYNC = "does not say when a file has reached the disk"
NO_LOCKS = "this file system has no locks"


def failing(monkeypatch, module, name, number, when=lambda *_: True):
    """From now on this function of the system answers `number`."""
    function = getattr(module, name)

    def fail(*arguments, **more):
        if when(*arguments):
            raise OSError(number, os.strerror(number))
        return function(*arguments, **more)

    monkeypatch.setattr(module, name, fail)


def is_folder(number):
    return stat.S_ISDIR(os.fstat(number).st_mode)


def is_file(number):
    return stat.S_ISREG(os.fstat(number).st_mode)


@pytest.mark.parametrize(
    "module, name, number, when, said",
    [
        (os, "fsync", errno.EINVAL, is_folder, NO_SYNC),  # NFS and SMB of some servers
        (os, "fsync", errno.EBADF, is_folder, NO_SYNC),  # needs a folder that is open for writing
        (os, "fsync", errno.ENOSYS, is_file, ""),  # in user space
        (os, "fsync", errno.ENOTSUP, lambda _: True, NO_SYNC),
        (fcntl, "flock", errno.ENOLCK, lambda *_: True, NO_LOCKS),  # NFS without its lock daemon
        (fcntl, "flock", errno.ENOSYS, lambda *_: True, NO_LOCKS),  # Lustre without -o flock
        (fcntl, "flock", errno.EOPNOTSUPP, lambda *_: True, NO_LOCKS),
        (os, "link", errno.EPERM, lambda *_: True, ""),  # FAT
        (os, "replace", errno.EXDEV, lambda *_: True, ""),
    ],
)
def test_a_run_does_without_what_is_not_there_and_says_what_it_weakens(
    config, unbroken, tmp_path, monkeypatch, capsys, module, name, number, when, said
):
    failing(monkeypatch, module, name, number, when)
    run(config, tmp_path / "x")
    assert_same_run(tmp_path / "x", unbroken)
    warnings = [s for s in capsys.readouterr().err.splitlines() if "this file system" in s]
    assert len(warnings) == bool(said) and all(said in warning for warning in warnings)


@pytest.mark.parametrize(
    "module, name, when",
    [
        (os, "fsync", is_folder),
        (os, "fsync", is_file),
        (fcntl, "flock", lambda *_: True),
        (os, "replace", lambda *_: True),
    ],
)
def test_an_error_of_the_disk_is_an_error(config, tmp_path, monkeypatch, module, name, when):
    failing(monkeypatch, module, name, errno.EIO, when)
    with pytest.raises(OSError, match="Input/output error"):
        run(config, tmp_path / "x")
    assert not (tmp_path / "x" / CHECKPOINT).exists()


def test_a_lock_that_another_holds_is_not_taken_for_one_that_is_missing(tmp_path):
    with RunFolder(tmp_path / "x").locked(), pytest.raises(RuntimeError, match="is training here"):
        with RunFolder(tmp_path / "x").locked():
            pass


def test_a_folder_that_may_be_written_to_and_not_be_listed(config, unbroken, capsys):
    with tempfile.TemporaryDirectory() as place:  # tmp_path lies where only its owner may look
        np.save(Path(place, "x.npy"), np.load(config.data))
        Path(place).chmod(0o777)
        folder = Path(place, "x")
        with unprivileged():
            folder.mkdir()
            folder.chmod(0o300)
            run(dataclasses.replace(config, data=f"{place}/x.npy"), folder)
            folder.chmod(0o700)
        assert NO_SYNC in capsys.readouterr().err
        assert records(folder) == records(unbroken)


@pytest.mark.parametrize("writing", [replacing, written_whole])
def test_a_file_that_keeps_its_place_is_overwritten(tmp_path, monkeypatch, writing):
    """A file that is mounted by itself, as containers do, cannot be renamed over."""
    path = tmp_path / "x.png"
    path.write_bytes(b"old and longer")
    place = path.stat().st_ino
    failing(monkeypatch, os, "replace", errno.EBUSY)
    with writing(path) as unfinished:
        unfinished.write_bytes(b"new")
    assert path.read_bytes() == b"new" and path.stat().st_ino == place
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "猫" * 83 + ".png"])
@pytest.mark.parametrize("writing", [replacing, written_whole])
def test_the_longest_name_that_a_folder_takes_can_be_written(tmp_path, name, writing):
    with writing(tmp_path / name) as unfinished:
        unfinished.write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_long_names_are_written_beside_each_other():
    names = [Path("a" * 250 + end) for end in "bc"]
    assert beside(names[0], ".part") != beside(names[1], ".part")
    assert beside(Path("x/loss.png"), ".part") == Path("x/loss.png.part")
