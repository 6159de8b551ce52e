"""Files that are whole at every moment: written beside their name, brought to the disk, and renamed over it.

with replacing("runs/x/config.toml") as beside:
    beside.write_text("base = 16")      # whoever opens config.toml meanwhile, or after a crash, finds the one before
"""

import os
from contextlib import contextmanager
from pathlib import Path

WRITING = ".writing"  # how the names of unfinished files end


@contextmanager
def replacing(path):
    """A path to write to; at the end of the block that file takes the name `path`. If the block raises, nothing is left of it.

    The bytes are on the disk before the name is (fsync), and the name before this returns: a machine that loses power keeps
    the one file or the other. An OSError names `path`.
    """
    path = Path(path)
    beside = path.with_name(path.name + WRITING)
    beside.unlink(
        missing_ok=True
    )  # left by a crash, it may be one more name of a file that is wanted
    try:
        yield beside
        _sync(beside, os.O_RDWR)
        os.replace(beside, path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _sync(path.parent, os.O_RDONLY)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)
        raise


def in_words(error):
    """An OSError as one would say it: the file, then what happened to it."""
    return (
        f"{error.filename}: {error.strerror}"
        if error.filename and error.strerror
        else error.strerror or str(error)
    )


def _sync(path, flags):
    file = os.open(path, flags)
    try:
        os.fsync(file)
    finally:
        os.close(file)
