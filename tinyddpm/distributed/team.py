"""The ranks of a run: what they tell each other, and what becomes of them if one fails.

    with world() as team:
        values = team.allgather(value)     # and the rest of `alone.Comm`

MPI itself waits forever for a rank that no longer answers. A Team waits for so many seconds. If a
rank raises an exception within the block, the others learn of it the next time that they meet, and
raise a RankError with its text. So each of them can bring its own work to an end.

    what happens to a rank       what the others do
    it raises an exception       raise a RankError where they next meet, LAST seconds later at most
    it no longer answers         raise a RankError after `seconds`; the block then ends all ranks
    it is killed                 the launcher ends them
"""

import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from ..files import in_words
from ..types import Array
from .cards import own_card
from .cut import cut
from .same import check_same

TIMEOUT = "TINYDDPM_MPI_TIMEOUT"
SECONDS = 300.0
LAST = 7.0  # seconds that a rank which fails waits for the others to hear of it
MEETING = 32767  # the tag of what is no array; shards have lower ones
SAID = 0.5  # seconds that a launcher gets to pass on what was said
LONGEST_NAP = 1e-3  # seconds
STOPPED = 5.0  # seconds between two looks after which this process was not running itself
EXPECTED = (ValueError, OSError, FloatingPointError, MemoryError, RuntimeError, KeyboardInterrupt)


class RankError(RuntimeError):
    """Another rank failed, or does not answer."""


@dataclass
class Failure:
    """What a rank says in place of a value if it fails."""

    text: str


class Team:
    """All ranks of a communicator, within a `with` block; a `Comm`, and with `Ranks` a `Shards`.

    Args:
        comm: an MPI communicator, as mpi4py has it.
        seconds: how long to wait for another rank; None: what the environment's
            TINYDDPM_MPI_TIMEOUT says, or SECONDS. Rank 0 gives up first, so that it can save.

    Attributes:
        lost: a rank does not answer.
        over: the ranks no longer talk to each other.
    """

    def __init__(self, comm: Any, seconds: float | None = None) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self.seconds = (seconds or _timeout()) * (1.5 if self.rank else 1)
        self.lost = self.over = False
        self.names = [f"rank {rank}" for rank in range(self.size)]
        self.stderr = sys.stderr
        self.sent: list[Any] = []  # requests whose buffers must live until they are done

    def __enter__(self) -> Self:
        here = f"process {os.getpid()} on {socket.gethostname()}"
        places = self.allgather(here)
        self.names = [f"rank {rank} ({place})" for rank, place in enumerate(places)]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        if error is None:
            try:  # rank 0 may still have something to do when the others are done
                self._meet(None, float("inf") if self.rank else self.seconds)
            except RankError as failure:
                if self.lost:
                    self._abort(str(failure))
                raise
        elif self.lost:
            self._abort(_in_words(error))
        elif not self.over:
            self._fail(_in_words(error))

    # ---- what a `Comm` can do --------------------------------------------------------------------

    def allgather(self, value: Any) -> list[Any]:
        """The value of each rank, on all ranks.

        Raises:
            RankError: another rank failed, or does not answer.
        """
        return self._meet(value, self.seconds)

    def bcast(self, value: Any) -> Any:
        """The value of rank 0, on all ranks."""
        return self.allgather(None if self.rank else value)[0]

    def check_same(self, **values: Any) -> None:
        """See `same.check_same`."""
        check_same(self, **values)

    def samples(self, batch_size: int, shards: int) -> slice:
        """The places in a mini-batch of the shards that this rank owns."""
        return cut(batch_size, shards, self.rank, self.size).samples

    def device(self, name: str) -> str:
        """The device of this rank: see `cards.own_card`."""
        return own_card(self, name)

    # ---- arrays: mpi4py's methods of these names, with an end ------------------------------------

    def Send(self, array: Array, dest: int, tag: int = 0) -> None:
        """Send an array to the rank `dest`."""
        self._wait(self.comm.Isend(array, dest, tag), self.names[dest])

    def Recv(self, array: Array, source: int, tag: int = 0) -> None:
        """Fill an array with that of the rank `source`."""
        self._wait(self.comm.Irecv(array, source, tag), self.names[source])

    def Bcast(self, array: Array, root: int = 0) -> None:
        """Fill an array with that of the rank `root`, on all ranks."""
        whom = "another rank" if self.rank == root else self.names[root]
        self._wait(self.comm.Ibcast(array, root), whom)

    def Allgatherv(self, part: Array, whole: tuple[Array, Sequence[int]]) -> None:
        """Fill an array with the parts of all ranks, which have so many numbers."""
        self._wait(self.comm.Iallgatherv(part, list(whole)), "another rank")

    def wait(self, done: Callable[[], bool], rank: int) -> None:
        """Look until it is done, which is the rank's business.

        Raises:
            RankError: it is not done in time.
        """
        self._until(done, self.names[rank], self.seconds)

    # ---- how ---------------------------------------------------------------------------------

    def _meet(self, value: Any, seconds: float) -> list[Any]:
        """All ranks tell rank 0, and it tells all. So rank 0 knows who does not come."""
        if self.over:
            raise RankError("the ranks no longer talk to each other")
        self.sent = [request for request in self.sent if not request.Test()]
        if self.rank:
            self._post(value, 0)
            of_ranks = self._next(0, seconds)
        else:
            of_ranks = [value, *(self._next(rank, seconds) for rank in range(1, self.size))]
            for rank in range(1, self.size):
                self._post(of_ranks, rank)
        failures = {r: v.text for r, v in enumerate(of_ranks) if isinstance(v, Failure)}
        if failures:
            self.over = True
            raise RankError(self._who_failed(failures))
        return of_ranks

    def _post(self, value: Any, rank: int) -> None:
        self.sent.append(self.comm.isend(value, rank, MEETING))

    def _next(self, rank: int, seconds: float) -> Any:
        """The next value from a rank."""
        found: list[Any] = []

        def there() -> bool:
            message = self.comm.improbe(rank, MEETING)
            if message is not None:
                found.append(message)
            return bool(found)

        self._until(there, self.names[rank], seconds)
        return found[0].recv()

    def _wait(self, request: Any, whom: str) -> None:
        self._until(request.Test, whom, self.seconds)

    def _until(self, done: Callable[[], bool], whom: str, seconds: float) -> None:
        """Look until it is done; ever less often, because others may need this core.

        Raises:
            RankError: it is not done in time. Time in which this process was stopped too does not
                count: a whole job may be stopped, and go on.
        """
        began = last = time.monotonic()
        while not done():
            now = time.monotonic()
            if now - last > STOPPED:
                began += now - last
            last = now
            if now - began > seconds:
                self.lost = self.over = True
                raise RankError(
                    f"{whom} has not answered for {seconds:g} s: perhaps it is stopped, or its "
                    f"machine is lost. {TIMEOUT} says how many seconds to wait"
                )
            _nap(min(LONGEST_NAP, (now - began) / 50))

    # ---- failing ---------------------------------------------------------------------------------

    def _fail(self, text: str) -> None:
        """Tell the others. If they do not listen, end all ranks."""
        end = time.monotonic() + LAST
        try:
            while True:  # until an answer to this comes: one to an earlier value may come first
                self._meet(Failure(text), max(0.1, end - time.monotonic()))
        except RankError:
            if self.lost:
                self._abort(f"{self.names[self.rank]}: {text}")

    def _abort(self, text: str) -> None:
        """End all ranks at once. Whatever is saved is whole: files are replaced, not rewritten."""
        print(f"tinyddpm: {text}", file=self.stderr, flush=True)
        time.sleep(SAID)
        self.comm.Abort(2)

    def _who_failed(self, failures: dict[int, str]) -> str:
        """Each text, after the ranks that say it."""
        ranks: dict[str, list[str]] = {}
        for rank, text in failures.items():
            ranks.setdefault(text, []).append(self.names[rank])
        return "; ".join(f"{', '.join(names)}: {text}" for text, names in ranks.items())


def _in_words(error: BaseException) -> str:
    """An error that users may see in its own words, any other with its traceback."""
    if isinstance(error, OSError):
        return in_words(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, EXPECTED) and str(error):
        return str(error)
    return "".join(traceback.format_exception(error)).rstrip()


def _timeout() -> float:
    """How many seconds to wait for another rank."""
    text = os.environ.get(TIMEOUT, str(SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"{TIMEOUT}: expected a positive number of seconds, got {text!r}")
    return seconds


def _nap(seconds: float) -> None:
    """Let others have this core, for a very short time at least."""
    if seconds < LONGEST_NAP / 20 and hasattr(os, "sched_yield"):
        os.sched_yield()
    else:
        time.sleep(seconds)
