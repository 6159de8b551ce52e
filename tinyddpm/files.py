"""Files that are complete at every moment: written beside their name, synced, then renamed.

    with replacing("runs/x/config.toml") as beside:
        beside.write_text("base = 16", encoding="utf-8")

Anyone who opens config.toml meanwhile, or after a crash, finds the old file.

What a file system cannot do is done without: those of networks, of containers and of user space
often lack something. `shortcomings` says what a run there has to do without.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WRITING = ".writing"  # how the names of unfinished files end
LONGEST_NAME = 143  # bytes: that of an encrypted folder; elsewhere 255

# What the system answers where it does not have a thing. An error of the disk (EIO) is none of it.
NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY}
NO_LOCKS = NOT_SUPPORTED | {errno.ENOLCK}
# A folder that may be written to and not be listed cannot be opened; some cannot be synced if open
# for reading.
NO_FOLDER_SYNC = NOT_SUPPORTED | {errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM}
# A single file that is mounted into a container keeps its place.
NO_RENAMING = NOT_SUPPORTED | {errno.EBUSY, errno.EXDEV}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to; at the end of the block the file there takes the name `path`.

    If the block raises, nothing is left of it. The bytes reach the disk (fsync) before the name
    changes, and the name reaches it before this returns. So after a power failure the disk holds
    the old file or the new one, complete; but see `shortcomings`.

    Args:
        path: the file to replace or to make.

    Yields:
        The path of the unfinished file, in the same folder.

    Raises:
        OSError: if the file cannot be written; it names `path`.
    """
    path = Path(path)
    unfinished = beside(path, WRITING)
    # A crash may have left this name as a hard link to a file that is needed: do not write into it.
    unfinished.unlink(missing_ok=True)
    try:
        yield unfinished
        _sync_path(unfinished)
        move(unfinished, path)
        if os.name == "posix":  # other systems cannot open a folder
            _folder_is_synced(path.parent)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)
        raise


def beside(path: Path, ending: str) -> Path:
    """A path in the same folder, for an unfinished file: not too long if `path` is not."""
    if len(os.fsencode(path.name + ending)) <= LONGEST_NAME:
        return path.with_name(path.name + ending)
    return path.with_name(hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16] + ending)


@contextmanager
def for_others_too(path: Path) -> Iterator[None]:
    """Within the block somebody writes this file. Then it has the mode of any new file.

    safetensors makes its files for the user alone, and other people draw with models too.
    """
    path.touch()
    mode = path.stat().st_mode
    yield
    with suppress(OSError):  # some file systems have no modes
        path.chmod(mode)


def move(unfinished: Path, path: Path) -> None:
    """Give the file the name `path`. Where none can be renamed to it, its bytes are copied there.

    Then whoever reads meanwhile may find half a file.
    """
    try:
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno not in NO_RENAMING:
            raise
        shutil.copyfile(unfinished, path)
        _sync_path(path)
        unfinished.unlink(missing_ok=True)


def sync(number: int) -> None:
    """Bring an open file to the disk, where the file system can do that."""
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def shortcomings(folder: Path) -> list[str]:
    """What files in this folder have to do without, in words for the user; usually nothing."""
    if os.name != "posix" or _folder_is_synced(folder):
        return []
    return [
        f"{folder}: this file system does not say when a file has reached the disk: "
        "after a power failure the newest checkpoint may be lost"
    ]


def in_words(error: OSError) -> str:
    """An OSError as one would say it: the file, then what happened to it."""
    if error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return error.strerror or str(error)


def _folder_is_synced(folder: Path) -> bool:
    """Bring the names in a folder to the disk. False if the file system cannot do that."""
    try:
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
        return False
    return True


def _sync_path(path: Path) -> None:
    file = os.open(path, os.O_RDWR)
    try:
        sync(file)
    finally:
        os.close(file)
