"""Pictures from files that nobody vouches for, by all cores if there are many.

    found = read_pictures(paths)
    found.array                             # uint8 (n, H, W, C)

What comes out, and what is said of it, does not depend on how many processes decode.

We start the processes ourselves, and not by a ProcessPoolExecutor. It unpickles what they answer,
so a picture that takes one over could run code here. One process that is killed breaks the whole of
it, and no picture is named. And it imports the user's script again, which may have no `__main__`.
"""

import contextlib
import os
import queue
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, NamedTuple, cast

import numpy as np
from tqdm import tqdm

from ..converting import Tally, height_and_width
from ..image_files import (
    MEGAPIXELS,
    DataError,
    DifferentSizes,
    bad,
    opened,
    printable,
    within_limit,
)
from .decoder import File, Wanted, answer, ask, decode, grey_or_unusable
from .mapped import pieces

MOST_UNUSABLE = 20  # pictures: then we give up
ALONE = 1.0  # seconds for which this process decodes alone; another takes half of one to start
CHUNK = 64  # pictures that a process is sent at a time


class Pictures(NamedTuple):
    """What `read_pictures` gives.

    Attributes:
        array: uint8 (n, H, W, C).
        stored: how the files store them, such as "PNG L 3, JPEG RGB 200".
        notes: what the user should know of them.
    """

    array: np.ndarray
    stored: str
    notes: tuple[str, ...]


class InMemory:
    """Room for decoded pictures.

    Args:
        called: one of the pictures, to name in an error.
    """

    array: np.ndarray

    def __init__(self, called: str) -> None:
        self.called = called

    def start(self, shape: tuple[int, ...]) -> None:
        """Make room for pictures (n, H, W, C)."""
        within_limit(self.called, shape, 1)
        self.array = np.empty(shape, np.uint8)

    def put(self, i: int, picture: np.ndarray) -> None:
        """Picture i; the pictures come in their order."""
        self.array[i] = picture

    def done(self) -> np.ndarray:
        """All of them."""
        return self.array

    def close(self) -> None:
        """Whatever happened, nothing is needed any more but what `done` gave."""


def read_pictures(
    files: Sequence[File],
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    megapixels: float = MEGAPIXELS,
    room: InMemory | None = None,
) -> Pictures:
    """The pictures, upright, their first frame, on white where they are transparent.

    Args:
        files: at least one.
        size: (H, W): each picture is cropped to this aspect ratio around its centre, then resized
            (bicubic). None: all must have the same size.
        channels: 1 or 3. None: 1 if every picture is grey, else 3.
        megapixels: larger pictures are refused, before they are unpacked.
        room: where they are written to; None: memory.

    Raises:
        DifferentSizes: they have several, and none was asked for.
        DataError: naming the first pictures that cannot be used.
    """
    tally = Tally()
    if free := channels is None:
        channels = 1 if all(grey_or_unusable(file, megapixels) for file in files) else 3
    room = room or InMemory(str(files[0]))
    if size is not None:  # refuse it before Pillow makes room for the first one
        within_limit(str(files[0]), (1, *size, channels), 1)
    results = decoded(files, Wanted(size, channels, megapixels), tally)
    with contextlib.closing(results), contextlib.closing(room):
        array = _collected(files, results, room, megapixels)
    notes = tally.notes()
    if free and channels == 3 and all((p == p[..., :1]).all() for p in pieces(array)):
        notes += ("every picture is grey, but stored in colour: --channels 1 reads them as grey",)
    stored = ", ".join(f"{kind} {count:,}" for kind, count in tally.kinds.most_common())
    return Pictures(array, stored, notes)


def _collected(
    files: Sequence[File],
    results: Iterable[np.ndarray | DataError],
    room: InMemory,
    megapixels: float,
) -> np.ndarray:
    """All pictures in one array, or the error that says what is wrong with some."""
    shape, unusable = None, []
    bar = tqdm(files, "reading pictures", leave=False, disable=None, delay=2)
    for i, (file, picture) in enumerate(zip(bar, results)):
        if isinstance(picture, DataError):  # one after another would cost as many tries
            unusable.append((file, picture))
            if len(unusable) == MOST_UNUSABLE:
                break
            continue
        if shape is None:
            first, shape = file, picture.shape
            room.start((len(files), *shape))
        if picture.shape != shape:
            raise DifferentSizes(file, first, _sizes(files, megapixels))
        if not unusable:
            room.put(i, picture)
    if unusable:
        raise _of_all(unusable)
    return room.done()


def _of_all(unusable: Sequence[tuple[File, DataError]]) -> DataError:
    """One error for all."""
    (_, first), *others = unusable
    if not others:
        return first
    some = "at least " * (len(unusable) == MOST_UNUSABLE)
    names = ", ".join(str(file) for file, _ in others[:3]) + ", …" * (len(others) > 3)
    return DataError(printable(f"{first}; {some}{len(others)} more cannot be used: {names}"))


def _sizes(files: Sequence[File], megapixels: float) -> dict[File, tuple[int, int]]:
    """(H, W) of each picture that can be opened, upright, without unpacking it."""
    sizes = {}
    for file in files:
        try:
            sizes[file] = opened(file, height_and_width, megapixels * 1e6)
        except DataError:
            continue
    return sizes


# ---- all cores -----------------------------------------------------------------------------------


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def decoded(
    files: Sequence[File], wanted: Wanted, tally: Tally
) -> Generator[np.ndarray | DataError, None, None]:
    """Each picture in turn, or why it cannot be used. If it takes long, all cores help."""
    began = time.monotonic()
    for i, file in enumerate(files):
        seconds = time.monotonic() - began
        if seconds > ALONE and cores() > 1 and seconds * (len(files) - i) > ALONE * i:
            yield from _by_all(files[i:], wanted, tally, min(CHUNK, 1 + i // 10))
            return
        yield decode(file, wanted, tally)


def _by_all(
    files: Sequence[File], wanted: Wanted, tally: Tally, chunk: int
) -> Iterator[np.ndarray | DataError]:
    """The same by as many processes as there are cores, each with `chunk` of them at a time."""
    idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    started = [_start() for _ in range(cores())]
    for process in started:
        idle.put(process)

    def by_another(some: Sequence[File]) -> tuple[list[np.ndarray | DataError], Tally]:
        process = idle.get()
        try:
            ask(cast(IO[bytes], process.stdin), some, wanted)
            return answer(cast(IO[bytes], process.stdout))
        except (OSError, EOFError):
            ended = f"the process that decoded it, or one of the {len(some) - 1} after it, ended"
            raise bad(str(some[0]), f"cannot be read: {ended}") from None
        finally:
            idle.put(process)  # a dead one too: else whoever waits for it would wait for ever

    waiting: deque[Future[tuple[list[np.ndarray | DataError], Tally]]] = deque()
    chunks = (files[i : i + chunk] for i in range(0, len(files), chunk))
    pool = ThreadPoolExecutor(len(started))
    try:
        for some in chunks:
            waiting.append(pool.submit(by_another, some))
            if len(waiting) > 2 * len(started):
                yield from _taken(waiting.popleft().result(), tally)
        while waiting:
            yield from _taken(waiting.popleft().result(), tally)
    finally:
        for process in started:
            process.kill()
        pool.shutdown(cancel_futures=True)
        for process in started:
            process.communicate()


def _taken(
    result: tuple[list[np.ndarray | DataError], Tally], tally: Tally
) -> Iterator[np.ndarray | DataError]:
    found, seen = result
    tally.kinds.update(seen.kinds)
    tally.remarks.update(seen.remarks)
    tally.sixteen = max(tally.sixteen, seen.sixteen)
    yield from found


def _start() -> "subprocess.Popen[bytes]":
    """A process that runs `decoder.main`: a new one, which works from any script and thread."""
    folders = [os.path.abspath(folder) for folder in sys.path]
    code = f"import sys; sys.path[:] = {folders}\nfrom {__package__}.decoder import main\nmain()"
    command = [sys.executable, "-P", "-c", code]
    one = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | one
    )
