"""What the tests run under mpiexec: whole runs, as `tinyddpm train` makes them, and harm to them.

Arguments: folder, data, steps, workers, cases ("all", or names with commas), and perhaps harm:
JSON of [{"rank": …, "step": …, "do": …}, …], or "after" so many seconds. Runs go on.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import resource
import signal
import sys
import threading
import time

from tinyddpm.alone import Alone
from tinyddpm.distributed.world import world
from tinyddpm.fast.parallel import part
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import training
from tinyddpm.runs.config import Config

UNET = UNetConfig(base=4, levels=(1,), attention=(), groups=2, blocks=1)
# of the configuration, of the network, numbers in a feature map (which bounds a micro-batch)
CASES = {
    "plain": ({}, {}, None),
    "dropout": ({"batch_size": 7}, {"dropout": 0.1}, None),
    "classes": ({"classes": True, "class_dropout": 0.3}, {}, None),
    "Adam": ({"optimiser": "adam", "beta": 0.01}, {}, None),
    "measured": (
        {"multipliers": "measured", "optimiser": "momentum", "beta": 0.004, "warmup": 7},
        {},
        None,
    ),
    "micro-batches": ({"workers": 1}, {"dropout": 0.1}, 4 * 4 * 4 * 2),  # a worker has its own
}


def config_of(case, data, steps, workers):
    """A run of few small steps, evaluated and saved after every fourth."""
    options, network, _ = CASES[case]
    settings = {
        "data": data,
        "T": 20,
        "batch_size": 12,
        "beta": 0.5,
        "warmup": 3,
        "every": 4,
        "steps": steps,
        "patience": 0,
        "workers": workers,
        "shards": 4,
    }
    return Config(**settings | options, unet=dataclasses.replace(UNET, **network))


def do(what, part_of_run):
    """The harm, in the middle of a step."""
    match what:
        case "bug":
            raise LookupError("what nobody expected")
        case "memory":
            raise MemoryError("no room for this")
        case "full disk":
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        case "busy":
            time.sleep(60)
        case "theta":
            part_of_run.theta[3] += 1
        case _:
            os.kill(os.getpid(), getattr(signal, what))


def harmful(compute, rank, harm):
    """A method of `Part` that does harm first, when this rank calls it for the k-th time."""
    calls = itertools.count(1)

    def harmed(self, *args, **options):
        k = next(calls)
        for one in harm:
            if (one["rank"], one.get("step")) == (rank, k) and one.get("in") in (None, where):
                do(one["do"], self)
        compute(self, *args, **options)

    where = compute.__name__
    return harmed


def run_alone(case, folder, data, steps):
    """Such a run in this process, without MPI and without harm. It goes on."""
    usual = part.LARGEST_MAP
    try:
        part.LARGEST_MAP = CASES[case][2] or 1 << 20
        training.run(config_of(case, data, steps, 1), f"{folder}/{case}", resume="if there")
    finally:
        part.LARGEST_MAP = usual


def main(folder, data, steps, workers, cases="all", harm="[]"):
    comm, harm = world(), json.loads(harm)
    with comm or contextlib.nullcontext(Alone()) as comm:
        of_step = [one for one in harm if one.get("in") != "denoise"]
        part.Part.gradient = harmful(part.Part.gradient, comm.rank, of_step)
        of_evaluation = [one for one in harm if one.get("in") == "denoise"]
        part.Part.denoise = harmful(part.Part.denoise, comm.rank, of_evaluation)
        at_start = [one["do"] for one in harm if one["rank"] == comm.rank and "step" not in one]
        if "other data" in at_start:
            data = "digits"
        if "other version" in at_start:
            training.__version__ = "0"
        for one in harm:
            if "after" in one and one["rank"] == comm.rank:
                threading.Timer(one["after"], do, [one["do"], None]).start()
        for case in CASES if cases == "all" else cases.split(","):
            part.LARGEST_MAP = CASES[case][2] or 1 << 20
            config = config_of(case, data, int(steps), int(workers))
            training.run(config, f"{folder}/{case}", resume="if there", comm=comm)


if __name__ == "__main__":
    main(*sys.argv[1:])
