"""The training step, forward, backward and θ ← θ − β∇J, against PyTorch's: `python -m benchmarks.step`.

Before anything is timed, J and every gradient are compared. Then all run in turn in one process group, and the ratio is
that of ours to PyTorch eager in the faster of its two memory formats.
"""
import argparse
import statistics
import sys

from tinyddpm import fast
from tinyddpm.fast.parallel import Shards
from tinyddpm.train import gradient

from .cases import CASES, Case
from .timing import alternate, cores, matrix_peak, median_ratio, peak_memory

BETA = 1e-6  # small: θ stays where the comparison was made


def ours(case, compute):
    def J():
        return compute(case.unet, case.schedule, case.x0, case.t, case.eps)[0]

    def step():
        case.unet.grad[...] = 0
        J()
        case.unet.theta -= BETA * case.unet.grad

    return J, step


def theirs(net, x0, xt, t):
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


def measure(name, workers, shards, repeats, compiled, definition):
    """One row: dict of figures."""
    from .peer import difference
    case = Case(name)
    with Shards(case.unet, case.schedule, workers, shards or case.shards) as processes:
        J, step = ours(case, processes.gradient)
        runs, worst = {"ours": step}, 0.0
        for peer, parts in case.peers(compiled).items():
            J_peer, runs[peer] = theirs(*parts)
            if peer != "torch.compile":
                worst = max(worst, difference(case.unet, parts[0], J, J_peer))
        if worst > 1e-4:
            raise RuntimeError(f"{name}: ours and PyTorch's gradients differ by {worst:.1e}: nothing to compare")
        if definition:
            fast.disable()
            runs["the definitions"] = ours(case, gradient)[1]
            fast.enable()
        seconds = alternate(runs, repeats)
    medians = {run: statistics.median(s) for run, s in seconds.items()}
    eager = min((run for run in medians if run.startswith("PyTorch eager")), key=medians.get)
    return {"case": name, "batch": case.batch, "difference": worst, "ms": {run: 1000 * s for run, s in medians.items()},
            "ratio": median_ratio(seconds["ours"], seconds[eager]), "GFLOP/s": 3 * case.flops() / medians["ours"] / 1e9, "peer": eager}


def one_side(side, name, workers, shards, steps=4):
    """Only one of the two, for `peak_memory`."""
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
    parser.add_argument("--definition", action="store_true", help="time our readable definitions too")
    parser.add_argument("--memory", action="store_true", help="measure peak memory of the process trees too")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    fast.enable()
    if options.side:
        return one_side(options.side, options.cases[0], options.workers, options.shards)
    import torch
    torch.set_num_threads(options.workers)
    peak = matrix_peak(options.workers)
    print(f"{options.workers} cores, PyTorch {torch.__version__}, float32 products at most {peak:.0f} GFLOP/s, median of {options.repeats}", flush=True)
    for name in options.cases:
        row = measure(name, options.workers, options.shards, options.repeats, options.compile, options.definition)
        if options.memory:
            row["MB"] = {side: peak_memory([sys.executable, "-m", "benchmarks.step", "--side", side, "--cases", name,
                                            "--workers", str(options.workers)]
                                           + (["--shards", str(options.shards)] if options.shards else [])) for side in ("ours", row["peer"])}
        times = ", ".join(f"{run} {ms:.1f}" for run, ms in row["ms"].items())
        memory = "".join(f", {side} {mb:.0f} MB" for side, mb in row.get("MB", {}).items())
        print(f"{name}, batch {row['batch']}: ratio {row['ratio']:.2f}   [{times} ms]   {row['GFLOP/s']:.0f} GFLOP/s as direct "
              f"convolutions, {row['GFLOP/s'] / peak:.2f} of the peak; gradients differ by {row['difference']:.0e}{memory}", flush=True)


if __name__ == "__main__":
    main()
