"""One step of sampling, the forward pass alone, against PyTorch's.

    python -m benchmarks.sample

See `step.py` for the training step.
"""

import argparse
import statistics

import numpy as np
import torch

from tinyddpm import fast
from tinyddpm.fast.parallel import Shards

from .cases import Case
from .timing import alternate, check_agreement, cores, median_ratio

CASES = [("base 32, 32×32", 16), ("base 32, 32×32", 64), ("base 64, 32×32", 16), ("make train", 64)]


def measure(name, batch, workers, repeats):
    """The ratio of ours to PyTorch, {run: milliseconds}, and the worst difference of x̂_0."""
    case = Case(name, batch)
    case.unet.bind(case.unet.theta)  # without gradients, as in sampling
    with Shards(case.unet, case.schedule, workers, case.shards) as shards:
        runs, worst = {"ours": lambda: shards.denoise(case.xt, case.t)}, 0.0
        reference = runs["ours"]()
        for peer, (net, _, xt, t) in case.peers().items():
            runs[peer] = forward_pass(net, xt, t)
            off = np.abs(runs[peer]().numpy() - reference).max()
            worst = max(worst, off / np.abs(reference).max())
        check_agreement(f"{name}, x̂_0", worst)
        seconds = alternate(runs, repeats)
    ms = {run: 1000 * statistics.median(s) for run, s in seconds.items()}
    eager = min((run for run in ms if run != "ours"), key=ms.get)
    return median_ratio(seconds["ours"], seconds[eager]), ms, worst


def forward_pass(net, xt, t):
    def run():
        with torch.inference_mode():
            return net(xt, t)

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=cores(), help="cores for each side [all]")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.workers)
    fast.enable()
    setting = f"{options.workers} cores, PyTorch {torch.__version__}"
    print(f"{setting}, median of {options.repeats}", flush=True)
    for name, batch in CASES:
        ratio, ms, worst = measure(name, batch, options.workers, options.repeats)
        times = ", ".join(f"{run} {t:.1f}" for run, t in ms.items())
        print(f"{name}, batch {batch}: ratio {ratio:.2f}   [{times} ms]", end="   ")
        print(f"x̂_0 differs by {worst:.0e}", flush=True)


if __name__ == "__main__":
    main()
