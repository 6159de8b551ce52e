"""Ctrl-C and the signals of batch systems: the step that is being computed is finished first.

    signal            who sends it
    SIGINT            Ctrl-C
    SIGTERM           kill, systemd, scancel, and most batch systems before they kill
    SIGHUP            a terminal that is closed, or a lost connection; under nohup it stays ignored
    SIGUSR1, SIGUSR2  Slurm (--signal), LSF and Grid Engine, some time before the limit
    SIGXCPU           the kernel and Grid Engine, when the CPU time is used up

All mean the same: save and end. A job script can then wait for the end and put the job into the
queue again (docs/runs.md).
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ...starting import END_SIGNALS


@contextmanager
def interruptible() -> Iterator[Callable[[], str]]:
    """Within the block such a signal is only noted. A second Ctrl-C ends the program.

    The other signals often come more than once: to the process, to its group, again each second.

    Yields:
        A function that gives the name of the first one, or an empty text.
    """
    asked: list[str] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    try:
        for number in END_SIGNALS:
            handler = signal.getsignal(number)
            # None: a handler that is not Python's. SIG_IGN: that of nohup. The shell lets jobs in
            # the background of a script ignore Ctrl-C, but who sends SIGINT to one wants its end.
            if handler is None or handler is signal.SIG_IGN and number != signal.SIGINT:
                continue
            try:
                signal.signal(number, note)
            except ValueError:  # not the main thread, where no signal arrives
                break
            before[number] = handler
        yield lambda: asked[0] if asked else ""
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
