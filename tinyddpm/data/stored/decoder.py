"""A process that decodes pictures for another one.

Each request is a line of JSON, then the bytes of pictures that lie in an archive. Each answer is a
line of JSON, then the bytes of the pictures decoded. (Pickles could run code, and a picture may be
hostile.)
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..converting import Tally, eight_bits, is_grey
from ..image_files import DataError, File, Packed, opened


class Wanted(NamedTuple):
    """What is made of each picture: see `decoding.read_pictures`."""

    size: tuple[int, int] | None
    channels: int
    megapixels: float


def decode(file: File, wanted: Wanted, tally: Tally) -> np.ndarray | DataError:
    """The picture, uint8 (H, W, C), or why it cannot be used."""
    use = partial(eight_bits, size=wanted.size, channels=wanted.channels, tally=tally)
    try:
        return opened(file, use, wanted.megapixels * 1e6, tally)
    except DataError as error:
        return error


def grey_or_unusable(file: File, megapixels: float) -> bool:
    """Whether the picture is grey; if it cannot be used, that is seen later."""
    try:
        return opened(file, is_grey, megapixels * 1e6)
    except DataError:
        return True


# ---- what they send each other -------------------------------------------------------------------


def ask(to: IO[bytes], files: Sequence[File], wanted: Wanted) -> None:
    """Send a request."""
    names = [
        [str(file.archive), file.place, len(file.content)]
        if isinstance(file, Packed)
        else str(file)
        for file in files
    ]
    to.write(json.dumps([names, wanted]).encode() + b"\n")
    for file in files:
        if isinstance(file, Packed):
            to.write(file.content)
    to.flush()


def answer(source: IO[bytes]) -> tuple[list[np.ndarray | DataError], Tally]:
    """Read an answer. EOFError: there is none."""
    line = source.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    results, kinds, remarks, sixteen = json.loads(line)
    found: list[np.ndarray | DataError] = []
    for result in results:
        if isinstance(result, str):
            found.append(DataError(result))
        else:
            content = source.read(int(np.prod(result)))
            found.append(np.frombuffer(content, np.uint8).reshape(result))
    tally = Tally(sixteen=sixteen)
    tally.kinds.update(kinds)
    tally.remarks.update(remarks)
    return found, tally


def _asked(source: IO[bytes]) -> tuple[list[File], Wanted] | None:
    if not (line := source.readline()):
        return None
    names, (size, channels, megapixels) = json.loads(line)
    files: list[File] = []
    for name in names:
        if isinstance(name, str):
            files.append(name)
        else:
            archive, place, length = name
            files.append(Packed(Path(archive), place, source.read(length)))
    return files, Wanted(size and tuple(size), channels, megapixels)


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks decides what it means
    answers = os.fdopen(os.dup(1), "wb")
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    while asked := _asked(sys.stdin.buffer):
        files, wanted = asked
        tally = Tally()
        found = [decode(file, wanted, tally) for file in files]
        results: list[Any] = [str(r) if isinstance(r, DataError) else r.shape for r in found]
        head = [results, tally.kinds, tally.remarks, tally.sixteen]
        answers.write(json.dumps(head).encode() + b"\n")
        for result in found:
            if not isinstance(result, DataError):
                answers.write(np.ascontiguousarray(result).data)
        answers.flush()
