"""Honest figures: alternated times, the machine's own peak, and the memory of a process tree."""

import os
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits


def alternate(functions, repeats, warm_up=2):
    """Run all functions in turn, `repeats` times: name -> list of seconds.

    They take turns, so a slow moment of the machine hits all alike. Each is called twice, and we
    time the second call. Its own data are then in the caches, as in a loop of its own. The threads
    of the function before are at rest: they wait busily for more work for some milliseconds.
    """
    seconds = {name: [] for name in functions}
    for i in range(warm_up + repeats):
        for name, function in functions.items():
            function()
            start = time.perf_counter()
            function()
            if i >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(a, b):
    """Median over rounds of a/b."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def check_agreement(name, difference, most=1e-4):
    """RuntimeError unless ours and PyTorch's results agree: otherwise there is nothing to time."""
    if not difference <= most:
        raise RuntimeError(f"{name}: expected a difference of at most {most}, got {difference:.1e}")


def matrix_peak(threads, n=2048, repeats=7):
    """GFLOP/s of float32 n×n products: the limit of every direct convolution."""
    a = np.ones((n, n), np.float32)
    with threadpool_limits(threads, user_api="blas"):
        best = min(alternate({"product": lambda: a @ a}, repeats)["product"])
    return 2 * n**3 / best / 1e9


def peak_memory(command):
    """The peak memory of a command's process tree, in MB (Linux).

    We sum proportional set sizes over the tree every 20 ms.
    """
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_pss, _tree(process.pid))))
            time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"{command} ended with status {process.returncode}")
    return peak / 1024


def _tree(pid):
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except OSError:
        return [pid]
    return [pid] + [p for child in children for p in _tree(int(child))]


def _pss(pid):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
