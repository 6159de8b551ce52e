"""Files that are complete at every moment: written beside their name, synced, then renamed.

    with replacing("runs/x/config.toml") as beside:
        beside.write_text("base = 16")

Anyone who opens config.toml meanwhile, or after a crash, finds the old file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITING = ".writing"  # how the names of unfinished files end


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to; at the end of the block the file there takes the name `path`.

    If the block raises, nothing is left of it. The bytes reach the disk (fsync) before the name
    changes, and the name reaches it before this returns. So after a power failure the disk holds
    the old file or the new one, complete.

    Args:
        path: the file to replace or to make.

    Yields:
        The path of the unfinished file, in the same folder.

    Raises:
        OSError: if the file cannot be written; it names `path`.
    """
    path = Path(path)
    beside = path.with_name(path.name + WRITING)
    # A crash may have left this name as a hard link to a file that is needed: do not write into it.
    beside.unlink(missing_ok=True)
    try:
        yield beside
        _sync(beside, os.O_RDWR)
        os.replace(beside, path)
        if os.name == "posix":  # other systems cannot open a folder
            _sync(path.parent, os.O_RDONLY)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)
        raise


def in_words(error: OSError) -> str:
    """An OSError as one would say it: the file, then what happened to it."""
    if error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return error.strerror or str(error)


def _sync(path: Path, flags: int) -> None:
    file = os.open(path, flags)
    try:
        os.fsync(file)
    finally:
        os.close(file)
