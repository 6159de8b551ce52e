"""The training step (forward, backward and θ ← θ − β∇J) against PyTorch's.

    python -m benchmarks.step

First we compare J and every gradient. Then all run in turn in one process group. The ratio is ours
to PyTorch eager in the faster of its two memory formats.
"""

import argparse
import statistics
import sys

from tinyddpm import fast
from tinyddpm.fast.parallel import Shards
from tinyddpm.more.training.calibration import Measured
from tinyddpm.more.training.optimisers import Adam
from tinyddpm.train import gradient

from .cases import CASES, Case
from .timing import alternate, check_agreement, cores, matrix_peak, median_ratio, peak_memory

BETA = 1e-6  # small, so θ stays where we compared the two


def ours(case, compute):
    """Functions J() and step() of our network; `compute` is `train.gradient` or takes its place."""

    def J():
        return compute(case.unet, case.schedule, case.x0, case.t, case.eps)[0]

    def step():
        case.unet.grad[...] = 0
        J()
        case.unet.theta -= BETA * case.unet.grad

    return J, step


def updates(case, J):
    """name -> step() of our network with another update than θ ← θ − β∇J."""

    def stepper(update):
        def step():
            case.unet.grad[...] = 0
            J()
            update(case.unet, BETA, 1)

        return step

    endless, once = Measured(steps=10**9), Measured(steps=1)
    each = {"multipliers being measured": endless, "multipliers measured": once, "Adam": Adam()}
    return {name: stepper(update) for name, update in each.items()}


def theirs(net, x0, xt, t):
    """The same functions of the peer."""
    import torch
    from torch.nn import functional as F

    sgd = torch.optim.SGD(net.parameters(), lr=BETA)

    def J():
        loss = F.mse_loss(net(xt, t), x0)
        loss.backward()
        return loss

    def step():
        sgd.zero_grad()
        J()
        sgd.step()

    return J, step


def measure(name, options):
    """One row of the table: a dict of figures."""
    from .peer import difference

    case = Case(name)
    shards = options.shards or case.shards
    with Shards(case.unet, case.schedule, options.workers, shards) as processes:
        J, step = ours(case, processes.gradient)
        runs, worst = {"ours": step}, 0.0
        for peer, parts in case.peers(options.compile).items():
            J_peer, runs[peer] = theirs(*parts)
            if peer != "torch.compile":
                worst = max(worst, difference(case.unet, parts[0], J, J_peer))
        check_agreement(f"{name}, gradients", worst)
        others = updates(case, J) if options.updates else {}
        runs |= others
        if options.definition:
            fast.disable()
            runs["the definitions"] = ours(case, gradient)[1]
            fast.enable()
        seconds = alternate(runs, options.repeats)
    medians = {run: statistics.median(s) for run, s in seconds.items()}
    eager = min((run for run in medians if run.startswith("PyTorch eager")), key=medians.get)
    return {
        "case": name,
        "batch": case.batch,
        "difference": worst,
        "ms": {run: 1000 * s for run, s in medians.items()},
        "ratio": median_ratio(seconds["ours"], seconds[eager]),
        "updates": {name: median_ratio(seconds[name], seconds["ours"]) for name in others},
        "GFLOP/s": 3 * case.flops() / medians["ours"] / 1e9,
        "peer": eager,
    }


def one_side(side, name, workers, shards, steps=4):
    """Steps of only one of the two, for `peak_memory`."""
    case = Case(name)
    if side == "ours":
        with Shards(case.unet, case.schedule, workers, shards or case.shards) as processes:
            step = ours(case, processes.gradient)[1]
            for _ in range(steps):
                step()
        return
    import torch

    torch.set_num_threads(workers)
    step = theirs(*case.peers()[side])[1]
    for _ in range(steps):
        step()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=cores(), help="cores for each side [all]")
    parser.add_argument("--shards", type=int, help="parts of the batch [each case's own]")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    parser.add_argument("--definition", action="store_true", help="time our definitions too")
    parser.add_argument("--updates", action="store_true", help="time other updates too")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    fast.enable()
    if options.side:
        one_side(options.side, options.cases[0], options.workers, options.shards)
    else:
        compare(options)


def compare(options):
    import torch

    torch.set_num_threads(options.workers)
    peak = matrix_peak(options.workers)
    print(f"{options.workers} cores, PyTorch {torch.__version__},", end=" ")
    print(f"float32 products at most {peak:.0f} GFLOP/s, median of {options.repeats}", flush=True)
    for name in options.cases:
        row = measure(name, options)
        times = ", ".join(f"{run} {ms:.1f}" for run, ms in row["ms"].items())
        speed = row["GFLOP/s"]
        print(f"{name}, batch {row['batch']}: ratio {row['ratio']:.2f}   [{times} ms]", end="   ")
        print(
            f"{speed:.0f} GFLOP/s as direct convolutions, {speed / peak:.2f} of the peak;", end=" "
        )
        print(f"gradients differ by {row['difference']:.0e}", end="", flush=True)
        for update, ratio in row["updates"].items():
            print(f", {update} {ratio:.3f} of ours", end="")
        for side in ("ours", row["peer"]) if options.memory else ():
            print(f", {side} {memory(side, name, options):.0f} MB", end="")
        print(flush=True)


def memory(side, name, options):
    """The peak memory of training steps of one side, in MB."""
    command = [sys.executable, "-m", "benchmarks.step", "--side", side, "--cases", name]
    command += ["--workers", str(options.workers)]
    if options.shards:
        command += ["--shards", str(options.shards)]
    return peak_memory(command)


if __name__ == "__main__":
    main()
