"""A worker process, as the parent sees it."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any, cast

from ...starting import END_SIGNALS
from .protocol import Setup, encoded, read_answer

# One BLAS thread for a process that is about to start.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "BLIS", "VECLIB")}


def cores() -> int:
    """How many cores this process may use, which can be fewer than the machine has.

    1 on Windows, where no worker could be started.
    """
    if os.name != "posix":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerError(RuntimeError):
    """A worker process failed or was ended."""


class WorkerLost(WorkerError):
    """A worker process has ended before it answered: the others can do its work."""


class Worker:
    """A process that runs `worker.py`.

    It is a new process, not a fork of this one. So it works from any script, notebook or thread,
    and inherits no locks. It has a process group of its own, so a Ctrl-C in the terminal does not
    reach it. A signal that does is blocked from its first moment on: this process decides what the
    signal means, and ends the workers when it is done with them.
    """

    def __init__(self, number: int, setup: Setup) -> None:
        message = encoded(asdict(setup))  # an option that cannot be sent is an error now
        # It must find the packages that are running here. Not by PYTHONPATH: Python looks there
        # while it starts, too, and would find a file beside the user's script, such as
        # encodings.py or types.py, instead of its own.
        folders = [os.path.abspath(folder) for folder in sys.path]
        code = [
            f"import sys; sys.path[:] = {folders}",
            f"from {__package__}.worker import main",
            "main()",
        ]
        with _blocked(END_SIGNALS):  # a new process inherits what is blocked
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", "\n".join(code)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=setup.fds,
                process_group=0,
                env=os.environ | ONE_THREAD,
            )
        # They are pipes, and never None.
        self.requests = cast(IO[bytes], self.process.stdin)
        self.answers = cast(IO[bytes], self.process.stdout)
        self.name = f"worker {number} (process {self.process.pid})"
        # It may be more than the pipe holds, and a worker that hangs does not read it. So another
        # thread sends it, and `wait` has an end.
        threading.Thread(target=self._send, args=(message,), daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message. If the process has ended, `wait` says so."""
        self._send(encoded(message))

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.requests.write(message)
            self.requests.flush()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it has done what it was sent.

        Args:
            seconds: how long to wait at most for the answer; None for as long as it takes.

        Raises:
            WorkerLost: it has ended. The message says how.
            WorkerError: with the text of its exception.
        """
        if seconds is not None and not select.select([self.answers], [], [], seconds)[0]:
            raise WorkerError(
                f"{self.name} has not started within {seconds} s. Does a file in one of these "
                f"folders have the name of a module that it imports? {sys.path}"
            )
        error = read_answer(self.answers)
        if error is None:
            raise WorkerLost(f"{self.name} {self._how_it_ended()}")
        if error:
            raise WorkerError(f"{self.name} failed:\n{error}")

    def _how_it_ended(self) -> str:
        status = self.process.wait()
        if status >= 0:
            return f"ended with status {status}; its message is on standard error"
        found = f"was ended by {signal.Signals(-status).name}"
        if status == -signal.SIGKILL:
            found += "; perhaps the machine ran out of memory"
        return found

    def end(self) -> None:
        """End it at once: it has nothing to save."""
        self.process.kill()
        self.process.wait()
        self.answers.close()
        with contextlib.suppress(BrokenPipeError):  # from what was not sent yet
            self.requests.close()


@contextlib.contextmanager
def _blocked(signals: list[signal.Signals]) -> Iterator[None]:
    """Within the block no such signal reaches this thread; those that came reach it at its end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
