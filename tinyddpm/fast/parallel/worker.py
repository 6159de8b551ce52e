"""The worker's side: the process that `processes.Worker` starts runs `main`, and nothing else does.

Its standard input and output are as in `protocol.py`.
"""

import os
import select
import sys
import threading
import traceback
from functools import partial
from typing import Any

import numpy as np

from ...equivalents import FASTER
from ...nn.multipliers import Multipliers
from ...schedule import Schedule
from .memory import Memory
from .part import Part
from .protocol import Setup, answer, find, messages


def main() -> None:
    """Do what the parent sends, until it is gone."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # so that a stray print is no answer
    threading.Thread(target=leave_with_parent, daemon=True).start()
    part = None
    for message in messages(sys.stdin.buffer):
        error = ""
        try:
            if part is None:
                part = prepare(Setup(**message))
            else:
                part.compute(message)
        except Exception:
            error = traceback.format_exc()
        answer(answers, error)


def prepare(setup: Setup) -> Part:
    """The Part that computes here what the parent's computes there, by the same equivalents."""
    np.seterr(**setup.errors)
    if setup.faster:
        from .. import enable

        enable()
        if sorted(FASTER) != setup.faster:
            raise RuntimeError(
                f"fast.enable() gave {sorted(FASTER)} here, "
                f"but the parent computes with {setup.faster}"
            )
    config = find(setup.config)(**{name: _tuples(v) for name, v in setup.settings.items()})
    unet = find(setup.network)(config, Multipliers(**setup.multipliers))
    gradient = partial(find(setup.gradient), **setup.options)
    vectors, exchange = map(Memory, setup.fds)
    return Part(unet, gradient, Schedule(setup.beta), vectors.arrays(setup.vectors), exchange)


def _tuples(value: Any) -> Any:
    """JSON has lists only, where a configuration has tuples."""
    return tuple(value) if isinstance(value, list) else value


def leave_with_parent() -> None:
    """End this process as soon as nobody holds the other end of its standard input.

    Then the parent is gone, and it does not matter what this process is computing.
    """
    hung_up = select.poll()
    hung_up.register(0, 0)
    hung_up.poll()
    os._exit(0)
