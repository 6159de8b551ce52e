"""What several ranks cost: measured on this machine, and what a model says of other networks.

    python -m benchmarks.ranks                             # prints the tables, in Markdown
    python -m benchmarks.ranks --into docs/distributed.md  # and puts them into the page

It needs mpi4py and mpiexec (`pip install '.[mpi]' mpich`), two cores that nothing else uses, and
some five minutes: `mpiexec` starts each rank in a session of its own, and a busy Linux gives each
session as much time, so ranks would look faster than workers. It starts itself on 1, 2 and 4 ranks
in turn. With more ranks than cores only the overhead can be measured.
"""

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyddpm import fast, schedule
from tinyddpm.distributed import links, tree
from tinyddpm.distributed.ranks import Ranks
from tinyddpm.distributed.world import world
from tinyddpm.fast.parallel import Shards
from tinyddpm.nn import UNet

from .cases import TINY_NET, network
from .tables import table
from .timing import cores, median_ratio

SHARDS = 2  # of each rank's part of a mini-batch
REPEATS = 30  # of each exchange
AIM = 0.95  # of 2 ranks × 1 worker, beside 1 process × 2 workers
WORTH = 0.9  # the efficiency at which more ranks are called worth it
BASES = (32, 64, 128)
FAR = 64  # ranks to extrapolate to
# name -> seconds until a message arrives, bytes a second: what such networks usually have
NETWORKS = {"10 Gb/s": (30e-6, 10e9 / 8), "100 Gb/s": (5e-6, 100e9 / 8)}
BEGIN, END = "<!-- python -m benchmarks.ranks -->\n", "<!-- as far as here -->\n"


class Setting(NamedTuple):
    """What a process or each rank does."""

    base: int  # of the network; 0: a tiny one, to see whether this program runs
    images: int  # in the mini-batch of all ranks
    shards: int  # that it is cut into
    workers: int = 1  # of each rank
    steps: int = 10  # of training, to time

    def config(self):
        return network(32, self.base, (1, 2, 2), 8) if self.base else TINY_NET


# ---- the model -----------------------------------------------------------------------------------


class Costs(NamedTuple):
    """What the model knows of machines and their network."""

    latency: float  # α, seconds until a short message arrives
    bandwidth: float  # B, of the network, bytes a second
    memory: float  # M, bytes that are read or written in a second
    meeting: float  # μ, seconds that rank 0 takes for each other rank, when all say their J

    def exchange(self, size, ranks):
        """Seconds in which `ranks` gradients of `size` bytes become one, on all ranks.

        On each of ⌈log₂ R⌉ levels a gradient is sent and added to another: that reads two and
        writes one. The sum comes back over as many.
        """
        sent = self.latency + size / self.bandwidth
        return math.ceil(math.log2(ranks)) * (2 * sent + 3 * size / self.memory)

    def overhead(self, size, ranks):
        """Seconds of a step in which nothing is computed."""
        return self.meeting * (ranks - 1) + self.exchange(size, ranks)


def efficiency(computing, overhead):
    """The fraction of a step in which ranks compute."""
    return computing / (computing + overhead)


# ---- on each rank --------------------------------------------------------------------------------


def measure(setting):
    """On each rank: seconds of each step, and what the model needs. Rank 0 prints it as JSON."""
    fast.enable()
    comm = world()
    unet, noising = UNet(setting.config()).initialise(0), schedule.linear(1000)
    with comm or contextlib.nullcontext():
        found = {"bytes": unet.theta.nbytes, "seconds": step_times(setting, comm, unet, noising)}
        if comm:
            found |= costs(comm, unet.theta.size)
        if not comm or not comm.rank:
            print(json.dumps(found))


def step_times(setting, comm, unet, noising):
    """Seconds of each step of training. The mini-batch is always the same."""
    M = setting.images
    how = setting.workers, setting.shards
    computing = Ranks(comm, unet, noising, M, *how) if comm else Shards(unet, noising, *how)
    samples = computing.samples if comm else slice(None)
    rng = np.random.default_rng(0)
    x0, eps = rng.normal(size=(2, M, *unet.config.image)).astype(np.float32)[:, samples]
    t = rng.integers(1, 1001, M)[samples]
    seconds = []
    with computing:
        for _ in range(2 + setting.steps):
            start = time.perf_counter()
            unet.grad[...] = 0
            computing.gradient(unet, noising, x0, t, eps, "mse", M)
            unet.theta -= 1e-3 * unet.grad
            seconds.append(time.perf_counter() - start)
    return seconds[2:]


def costs(comm, numbers):
    """The exchange of so many numbers, its median seconds, and a `Costs` of this machine."""
    vector, other, short = np.zeros((1, numbers), "f4"), np.zeros(numbers, "f4"), np.zeros(1, "f4")
    given = links.ThroughMemory(comm), comm.rank, vector, range(comm.size)
    copying = timed(comm, lambda: np.copyto(vector[0], other))
    latency = timed(comm, lambda: there_and_back(comm, short)) / 2
    long = timed(comm, lambda: there_and_back(comm, other)) / 2
    return {
        "exchange": timed(comm, lambda: tree.tree_sum(*given), statistics.median),
        "costs": Costs(
            latency,
            vector.nbytes / max(long - latency, 1e-9),
            2 * vector.nbytes / copying,
            timed(comm, lambda: comm.allgather(None)) / (comm.size - 1),
        ),
    }


def timed(comm, do, choose=min):
    """Its seconds on the rank that takes longest. All ranks begin together."""
    seconds = []
    for _ in range(REPEATS):
        comm.allgather(None)
        start = time.perf_counter()
        do()
        seconds.append(time.perf_counter() - start)
    return max(comm.allgather(choose(seconds)))


def there_and_back(comm, array):
    """From rank 0 to rank 1, and back."""
    for source in (0, 1):
        if comm.rank == source:
            comm.Send(array, 1 - source)
        elif comm.rank == 1 - source:
            comm.Recv(array, source)


# ---- starting them -------------------------------------------------------------------------------


def launch(ranks, setting):
    """What `measure` finds on so many ranks; 1: without MPI."""
    command = [sys.executable, "-m", "benchmarks.ranks", "--measure", json.dumps(setting)]
    if ranks > 1:
        beside = Path(sys.executable).with_name("mpiexec")  # where `pip install mpich` puts it
        command = [beside if beside.exists() else "mpiexec", "-n", str(ranks), *command]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    if "costs" in found:
        found["costs"] = Costs(*found["costs"])
    return found


def weak_scaling(options):
    """(ranks, workers) -> the median seconds of a step in each round; and the costs of 2 ranks."""
    seconds = {kind: [] for kind in [(1, 1), (1, 2), (2, 1), (4, 1)]}
    for _ in range(options.rounds):
        for ranks, workers in seconds:
            parts = ranks * workers
            images, shards = options.images * parts, SHARDS * parts
            setting = Setting(options.bases[0], images, shards, workers, options.steps)
            found = launch(ranks, setting)
            seconds[ranks, workers].append(statistics.median(found["seconds"]))
            if ranks == 2:
                two = found
    return seconds, two


# ---- tables --------------------------------------------------------------------------------------


def scaling_table(seconds, two, images):
    """Weak scaling: each rank or worker has as many images."""
    alone, lines = statistics.median(seconds[1, 1]), []
    for (ranks, workers), rounds in seconds.items():
        parts = ranks * workers
        crowd = max(1.0, parts / cores())  # ranks on each core
        cost = two["costs"].overhead(two["bytes"], ranks) if ranks > 1 else 0.0
        found = median_ratio([crowd * s for s in seconds[1, 1]], rounds)
        model = efficiency(crowd * alone, cost)
        name = f"{ranks} × {workers}" + (", overhead only" if crowd > 1 else "")
        figures = f"{1e3 * statistics.median(rounds):.0f}", f"{found:.3f}", f"{model:.3f}"
        lines.append([name, images * parts, *figures])
    return table(["ranks × workers", "images", "ms a step", "efficiency", "model"], lines)


def beside_workers(seconds, two):
    """2 ranks × 1 worker against 1 process × 2 workers, in words."""
    found = median_ratio(seconds[1, 2], seconds[2, 1])
    cost = two["costs"].overhead(two["bytes"], 2)
    model = efficiency(statistics.median(seconds[1, 2]), cost)
    said = f"2 ranks × 1 worker reach {found:.3f} of the speed of 1 × 2"
    return f"{said}. The aim is {AIM}, and the model says {model:.3f}.\n"


def exchange_table(of_bases):
    """The exchange between two ranks, beside the time in which memory moves its bytes."""
    lines = []
    for base, found in of_bases.items():
        size, c = found["bytes"], found["costs"]
        floor = 7 * size / c.memory  # sent: 2, added: 3, sent back: 2
        ms = [f"{1e3 * s:.2f}" for s in (found["exchange"], floor, c.exchange(size, 2))]
        micro, giga = (1e6 * c.latency, 1e6 * c.meeting), (c.bandwidth / 1e9, c.memory / 1e9)
        costs = [f"{x:.0f}" for x in micro] + [f"{x:.1f}" for x in giga]
        lines.append([base, f"{size / 1e6:.1f}", *ms, *costs])
    head = ["base", "MB of θ", "exchange, ms", "floor, ms", "model, ms"]
    return table([*head, "α, µs", "μ, µs", "B, GB/s", "M, GB/s"], lines)


def far_table(of_bases, of_image):
    """What the model says of FAR ranks, each of which is a core of this machine."""
    lines = []
    for base, found in of_bases.items():
        for name, (latency, bandwidth) in NETWORKS.items():
            there = found["costs"]._replace(latency=latency, bandwidth=bandwidth)
            cost = there.overhead(found["bytes"], FAR)
            worth = math.ceil(WORTH / (1 - WORTH) * cost / of_image[base])
            each = [f"{efficiency(n * of_image[base], cost):.2f}" for n in (4, 16, 64)]
            times = [f"{1e3 * seconds:.1f}" for seconds in (cost, of_image[base])]
            lines.append([base, name, *times, *each, worth])
    head = ["base", "network", "exchange, ms", "ms an image", "4 images a rank", "16", "64"]
    return table([*head, f"images a rank for {WORTH:g}"], lines)


def report(options):
    """Yields the tables."""
    seconds, two = weak_scaling(options)
    yield scaling_table(seconds, two, options.images)
    yield beside_workers(seconds, two)
    of_bases, of_image = {}, {}
    for base in options.bases:
        of_bases[base] = launch(2, Setting(base, 4, 2, steps=0))
        alone = launch(1, Setting(base, options.images // 2, 1, steps=max(2, options.steps // 3)))
        of_image[base] = statistics.median(alone["seconds"]) / (options.images // 2)
    yield exchange_table(of_bases)
    yield f"The model, for {FAR} ranks of one core each:\n"
    yield far_table(of_bases, of_image)


def put_into(path, text):
    """Put the text between two marks of the page."""
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path}: expected the lines {BEGIN.strip()} and {END.strip()}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--images", type=int, default=32, help="of each rank or worker [32]")
    parser.add_argument("--bases", type=int, nargs="+", default=BASES, help="the first is trained")
    parser.add_argument("--into", type=Path, help="a page to put the tables into")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(Setting(*json.loads(options.measure)))
        return
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"load {load:.1f}: these are the figures of a busy machine", file=sys.stderr)
    parts = []
    for part in report(options):
        print(part, flush=True)
        parts.append(part)
    if options.into:
        put_into(options.into, "\n".join(parts))


if __name__ == "__main__":
    main()
