"""Standard input, output and error as a program may find them: closed, broken, short of letters."""

import codecs
import contextlib
import errno
import os
import sys
import unicodedata
from collections.abc import Iterator
from io import TextIOWrapper
from typing import TextIO

NAMES = "stdin", "stdout", "stderr"
# How letters of our own texts look where they cannot be printed; Greek ones are called by name.
SPELLED = {
    "−": "-",
    "–": "-",
    "←": "<-",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "×": "x",
    "…": "...",
    "∇": " grad ",
    "√": "sqrt ",
    "∞": "infinity",
    "²": "^2",
    "₀": "_0",
    "‖": "||",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",  # x̂_0 is x^_0
    "\N{COMBINING TILDE}": "~",
}


def open_closed() -> None:
    """Give a stream that is closed (`2>&-`) a file that nobody reads.

    Else the next file that is opened gets its number. Workers then inherit the wrong one, and what
    a library writes to standard error lands in a checkpoint.
    """
    for number, name in enumerate(NAMES):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                continue
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            null_stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, null_stream)


@contextlib.contextmanager
def spelling() -> Iterator[None]:
    """In this block a letter that a stream's encoding does not have is spelled, or printed as "?".

    Windows' cp1252 has no β, and a file's name may hold bytes that are no text.
    """
    streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="spelled")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before):
            with contextlib.suppress(ValueError, OSError):  # it was closed, or cannot be flushed
                stream.reconfigure(errors=errors)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(map(_in_ascii, letters)), error.end


codecs.register_error("spelled", _spelled)


def _in_ascii(letter: str) -> str:
    """The letter in ASCII: "beta" for β, "?" if we know of no way."""
    name = unicodedata.name(letter, "")
    greek = name.removeprefix("GREEK SMALL LETTER ")
    return SPELLED.get(letter) or (greek.split()[0].lower() if greek != name else "?")


def flush() -> None:
    """Write what was printed.

    Raises:
        OSError: something of standard output cannot be written. The rest of it is dropped: Python
            would try again at its end, and complain.
    """
    with contextlib.suppress(OSError):
        _flush(sys.stderr)
    _flush(sys.stdout)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
        raise
