"""A worker process of `parallel.Shards`: its `main`, which only Shards has a reason to run.

Standard input brings JSON, one message a line: first what network to make and where the shared memory is, then requests.
Standard output answers each, once done, with the length of an error text (four bytes) and that text: none if all is well.
"""
import importlib
import json
import os
import select
import signal
import struct
import sys
import threading
import traceback
from functools import partial

from ..equivalents import FASTER
from ..nn.multipliers import Multipliers
from ..schedule import Schedule
from .parallel import Part
from .shared import Memory


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # so that a stray print is no answer
    threading.Thread(target=leave_with_parent, daemon=True).start()
    part = None
    for line in sys.stdin.buffer:
        error = b""
        try:
            if part is None:
                part = prepare(**json.loads(line))
            else:
                part.compute(json.loads(line))
        except Exception:
            error = traceback.format_exc().encode(errors="replace")
        answers.write(struct.pack("=I", len(error)) + error)


def prepare(network, config, multipliers, gradient, beta, vectors, fds, faster):
    """The Part that computes here what its namesake computes in the parent, by the same faster equivalents if it has any."""
    if faster:
        from . import enable
        enable()
        if sorted(FASTER) != faster:
            raise RuntimeError(f"fast.enable() gave {sorted(FASTER)} here, but the parent computes with {faster}")
    kind, values = config
    config = find(kind)(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
    shared, exchange = map(Memory, fds)
    function, options = gradient
    unet = find(network)(config, Multipliers(**multipliers))
    return Part(unet, partial(find(function), **options), Schedule(beta), shared.arrays(vectors), exchange)


def find(name):
    """The class or function that `parallel.name_of` named."""
    module, _, name = name.partition(":")
    return getattr(importlib.import_module(module), name)


def leave_with_parent():
    """End this process, whatever it is computing, as soon as nobody holds the other end of standard input: the parent is gone."""
    hung_up = select.poll()
    hung_up.register(0, 0)
    hung_up.poll()
    os._exit(0)
