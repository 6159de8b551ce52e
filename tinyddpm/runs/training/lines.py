"""Lines to the user, above the progress bar, as wide as the terminal."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import TextIO

from tqdm import tqdm

COMMAND = ": tinyddpm "  # how a command at the end of a line begins


def say(line: str, whole: bool = False) -> None:
    """Write a line to standard output, above the progress bar; a `whole` one is not broken."""
    _write(line if whole else wrapped(line), sys.stdout)


def tell(line: str) -> None:
    """Write a line to standard error, above the progress bar."""
    _write(wrapped(line), sys.stderr)


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block nothing is written to standard output and error, warnings included."""
    with (
        open(os.devnull, "w", encoding="utf-8") as null,
        redirect_stdout(null),
        redirect_stderr(null),
    ):
        yield


def _write(line: str, stream: TextIO | None) -> None:
    """Write it at once: whoever reads a log waits for it, and a process may be killed.

    Nobody may be reading any more: Ctrl-C ends `tee` too, and a terminal can be closed. That ends
    no run. What was for standard output goes to standard error then, if that still works.
    """
    if stream is None:  # closed from the start
        return
    try:
        tqdm.write(line, file=stream)
        stream.flush()
    except OSError:
        _redirect(stream, None)
        with suppress(OSError):
            stream.flush()  # of this line it may hold all, a part or nothing
        if stream is not sys.stderr and sys.stderr is not None:
            _redirect(stream, sys.stderr)
            _write(line, sys.stderr)


def _redirect(stream: TextIO, other: TextIO | None) -> None:
    """Let the file below `stream` be that of another stream, or none that anybody reads."""
    with suppress(OSError, ValueError):  # it is no file: in a notebook, in a test
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null if other is None else other.fileno(), stream.fileno())
        os.close(null)


def wrapped(text: str) -> str:
    """The line as lines that fit the terminal, broken at spaces. Without a terminal: as it is.

    A command at its end, after a colon, has a line of its own that is not broken: it can be copied.
    """
    columns = shutil.get_terminal_size((0, 0)).columns
    if not columns:
        return text
    if len(text) > columns and (at := text.rfind(COMMAND)) >= 0:
        return f"{wrapped(text[: at + 1])}\n {text[at + 1 :]}"
    return textwrap.fill(
        text,
        columns,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
