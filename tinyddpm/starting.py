"""The signals that ask for an end; and Ctrl-C while the command `tinyddpm` is still loading.

Then it ends, and shows no traceback. Loading takes half a second. Python would raise
KeyboardInterrupt in the middle of whatever module is being imported, where no code of ours can
catch it.
"""

import os
import signal
import sys
from types import FrameType

# What a terminal or a batch system sends to ask for an end. Windows has the first two.
END_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
END_SIGNALS = [getattr(signal, name) for name in END_NAMES if hasattr(signal, name)]
INTERRUPTED = 130  # the exit status of what Ctrl-C ends


def is_command() -> bool:
    """Whether this process is `tinyddpm` or `python -m tinyddpm`, and not another program."""
    if not sys.argv:
        return False
    if sys.argv[0] == "-m":  # until the module is found; then it is the module's path
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "tinyddpm"
    return os.path.splitext(os.path.basename(sys.argv[0]))[0] in ("tinyddpm", "tinyddpm-script")


def end_at_ctrl_c() -> None:
    """From now on Ctrl-C ends the process at once. A Ctrl-C that is ignored stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_at_ctrl_c() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, b"tinyddpm: interrupted\n")
    finally:
        os._exit(INTERRUPTED)
