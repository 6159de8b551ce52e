"""How time and memory grow, ours and PyTorch's: `python -m benchmarks.scaling --out scaling.png`.

From one setting, 16 images of 32×32 and a network of base 32, one quantity at a time is doubled: the batch, the side of the
images, the channels, and the steps of a sampler. A table is printed, and a picture drawn with logarithmic axes, where
a power law is a straight line and its exponent the slope. Gradients or predictions are compared before anything is timed.

Ours has one shard for each core, and computes it in micro-batches, so its memory need not grow with the batch. Memory is that of the
whole process tree, libraries included, in a process of its own that has loaded only what it needs: ours has no PyTorch.
So this file imports PyTorch, and what imports it, inside functions.
"""
import argparse
import math
import statistics
import sys
from typing import NamedTuple

import numpy as np

from tinyddpm import fast, schedule
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, save_figure, tidy
from tinyddpm.fast.parallel import Shards
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.sampler import ddim

from .timing import alternate, cores, peak_memory

OURS = "ours"
SCHEDULE = schedule.linear(1000)


class Setting(NamedTuple):
    batch: int = 16
    side: int = 32
    base: int = 32
    steps: int = 0  # of the sampler; 0 for a training step

    def config(self):
        return UNetConfig(image=(1, self.side, self.side), base=self.base, levels=(1, 2, 2), attention=(self.side // 4,))

    def shards(self, workers):
        return min(self.batch, workers)


SWEEPS = {"batch": (Setting(), (8, 16, 32, 64, 128)), "side": (Setting(), (8, 16, 32, 64)), "base": (Setting(), (16, 32, 64, 128)),
          "steps": (Setting(), (5, 10, 20))}
QUICK = {"batch": (Setting(side=8, base=16), (8, 16, 32)), "side": (Setting(batch=4, base=16), (8, 16, 32)),
         "base": (Setting(side=8), (16, 32, 64)), "steps": (Setting(side=8, base=16), (2, 4, 8))}
TITLES = {"batch": "training step: images in a batch", "side": "training step: side of an image", "base": "training step: base channels",
          "steps": "sampling: steps of DDIM"}


def last(samples):
    """The image that a sampler ends with."""
    *_, (_, xt, _) = samples
    return xt


def time_both(setting, workers, repeats):
    """Median seconds of each: {"ours": …, and the two of PyTorch eager}."""
    import torch

    from .cases import CASES, Case
    from .peer import difference
    from .step import ours, theirs

    torch.set_num_threads(workers)
    CASES["setting"] = (setting.config(), setting.batch, setting.shards(workers))
    case = Case("setting")
    with Shards(case.unet, case.schedule, workers, case.shards) as shards:
        runs, worst = {}, 0.0
        if setting.steps:
            runs[OURS] = lambda: last(ddim(shards.denoise, case.schedule, case.xt, steps=setting.steps))
            reference = shards.denoise(case.xt, case.t)
        else:
            J, runs[OURS] = ours(case, shards.gradient)
        for name, (net, x0, xt, t) in case.peers().items():
            if setting.steps:
                denoise = denoiser_of_torch(net)
                runs[name] = lambda denoise=denoise: last(ddim(denoise, case.schedule, case.xt, steps=setting.steps))
                worst = max(worst, np.abs(denoise(case.xt, case.t) - reference).max() / np.abs(reference).max())
            else:
                J_peer, runs[name] = theirs(net, x0, xt, t)
                worst = max(worst, difference(case.unet, net, J, J_peer))
        if worst > 1e-4:
            raise RuntimeError(f"{setting}: ours and PyTorch's results differ by {worst:.1e}: nothing to compare")
        return {name: statistics.median(s) for name, s in alternate(runs, repeats).items()}


def denoiser_of_torch(net):
    """PyTorch's network as samplers want it: arrays in, an array out."""
    import torch

    def denoise(xt, t):
        with torch.inference_mode():
            return net(torch.from_numpy(xt), torch.from_numpy(t)).numpy()

    return denoise


def one_side(side, setting, workers, repeats=3):
    """Only one of the two, for `peak_memory`: three training steps, or one sampling. Here the numbers do not matter."""
    unet = UNet(setting.config()).initialise(0)
    x0, t = np.zeros((setting.batch, *unet.config.image), np.float32), np.ones(setting.batch, int)
    if side == OURS:
        if setting.steps:
            unet.bind(unet.theta)
        with Shards(unet, SCHEDULE, workers, setting.shards(workers)) as shards:
            if setting.steps:
                return last(ddim(shards.denoise, SCHEDULE, x0, steps=setting.steps))
            for _ in range(repeats):
                unet.grad[...] = 0
                shards.gradient(unet, SCHEDULE, x0, t, x0)
        return
    import torch

    from .peer import Peer
    from .step import theirs

    torch.set_num_threads(workers)
    form = torch.channels_last if side.endswith("last") else torch.contiguous_format
    net = Peer(unet).to(memory_format=form)
    del unet
    if setting.steps:
        return last(ddim(denoiser_of_torch(net), SCHEDULE, x0, steps=setting.steps))
    x0 = torch.from_numpy(x0).contiguous(memory_format=form)
    _, step = theirs(net, x0, x0, torch.from_numpy(t))
    for _ in range(repeats):
        step()


def measure(setting, workers, repeats):
    """Seconds and MB, [ours, PyTorch's in its faster memory format] each."""
    seconds = time_both(setting, workers, repeats)
    peer = min((name for name in seconds if name != OURS), key=seconds.get)
    command = [sys.executable, "-m", "benchmarks.scaling", "--workers", str(workers), "--setting", ",".join(map(str, setting))]
    return [seconds[side] for side in (OURS, peer)], [peak_memory([*command, "--one-side", side]) for side in (OURS, peer)]


def slope(x, y):
    """Exponent of the power law through the last two points, to two digits."""
    return round(math.log(y[-1] / y[-2]) / math.log(x[-1] / x[-2]), 2) + 0.0  # + 0.0, so that -0.0 is 0


def draw(path, found, title):
    """found: {quantity: (values, seconds, MB)}, seconds and MB arrays (values, 2) of ours and PyTorch's."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(3.6 * len(found) + 0.4, 6.8), dpi=110, layout="constrained")
    rows = figure.subplots(2, len(found), sharex="col", sharey="row", squeeze=False)
    for j, (quantity, (x, *measured)) in enumerate(found.items()):
        room = (x[-1] / x[0]) ** 0.17
        for axes, y, unit in zip(rows[:, j], measured, ("seconds", "peak memory, MB")):
            tidy(axes)
            for side, colour, name in ((1, ORANGE, "PyTorch"), (0, BLUE, "ours")):
                axes.plot(x, y[:, side], color=colour, linewidth=1.9, marker="o", markersize=4.5, label=name, zorder=3)
                axes.annotate(f"{'slope ' * (j == 0)}{slope(x, y[:, side]):.2f}", (x[-1], y[-1, side]), (7, 0), textcoords="offset points",
                              color=colour, fontsize=9.5, va="bottom" if (side == 1) == (y[-1, 1] >= y[-1, 0]) else "top")
            axes.margins(y=0.09)
            axes.set(xscale="log", yscale="log", xlim=(x[0] / room**0.4, x[-1] * room))
            axes.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axes.xaxis.set_major_locator(NullLocator())
            axes.set_xticks(x, list(map(str, x)))
            axes.minorticks_off()
            if j == 0:
                axes.set_ylabel(unit, color=INK)
        rows[0, j].set_title(TITLES[quantity], loc="left", color=INK, fontsize=10.5, fontweight="bold")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    rows[0, 0].legend(loc="upper left", frameon=False, labelcolor="linecolor", fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", color=GREY, fontsize=9.5)
    save_figure(figure, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="scaling.png")
    parser.add_argument("--workers", type=int, default=cores(), help="cores for each side [all]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small network and few points")
    parser.add_argument("--one-side", help=argparse.SUPPRESS)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    options = parser.parse_args()
    fast.enable()
    if options.one_side:
        return one_side(options.one_side, Setting(*map(int, options.setting.split(","))), options.workers)
    print(f"{'':18}{'seconds':>9}{'PyTorch':>9}{'ratio':>7}{'slopes':>14}  {'MB':>6}{'PyTorch':>9}{'ratio':>7}{'slopes':>14}", flush=True)
    found = {}
    for quantity, (start, values) in (QUICK if options.quick else SWEEPS).items():
        seconds, memory = [], []
        for i, value in enumerate(values):
            s, mb = measure(start._replace(**{quantity: value}), options.workers, options.repeats)
            seconds.append(s)
            memory.append(mb)
            slopes = [" / ".join(f"{slope(values[:i + 1], [y[side] for y in ys]):.2f}" for side in (0, 1)) if i else "" for ys in (seconds, memory)]
            print(f"{quantity:>10} {value:5d}  {s[0]:9.3f}{s[1]:9.3f}{s[0] / s[1]:7.2f}{slopes[0]:>14}  "
                  f"{mb[0]:6.0f}{mb[1]:9.0f}{mb[0] / mb[1]:7.2f}{slopes[1]:>14}", flush=True)
        found[quantity] = (values, np.array(seconds), np.array(memory))
    draw(options.out, found, f"{options.workers} cores; slopes of the last doubling at the right ends; PyTorch eager in its faster memory format")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
