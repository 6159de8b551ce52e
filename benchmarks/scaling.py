"""How time and memory grow, ours and PyTorch's.

    python -m benchmarks.scaling --out scaling.png

We start from one setting, 16 images of 32×32 and a network of base 32, and double one quantity at a
time: the batch, the side of the images, the channels, the steps of a sampler. It prints a table and
draws a picture with logarithmic axes, where a power law is a straight line and its exponent the
slope. First we compare gradients or predictions.

Ours has one shard for each core, and computes it in micro-batches, so its memory need not grow with
the batch. Memory is that of the whole process tree, libraries included, in a process of its own
that has loaded only what it needs: ours has no PyTorch. So this file imports PyTorch, and what
imports it, inside functions.
"""

import argparse
import math
import statistics
import sys
from typing import NamedTuple

import numpy as np

from tinyddpm import fast, schedule
from tinyddpm.fast.parallel import Shards
from tinyddpm.more.solvers import ddim
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import ONES, Multipliers
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, save_figure, tidy

from .timing import alternate, check_agreement, cores, peak_memory

OURS = "ours"
SCHEDULE = schedule.linear(1000)


class Setting(NamedTuple):
    batch: int = 16
    side: int = 32
    base: int = 32
    steps: int = 0  # of the sampler; 0 for a training step

    def config(self):
        image, attention = (1, self.side, self.side), (self.side // 4,)
        return UNetConfig(image=image, base=self.base, levels=(1, 2, 2), attention=attention)

    def shards(self, workers):
        return min(self.batch, workers)


SWEEPS = {  # quantity -> (where it starts from, its values)
    "batch": (Setting(), (8, 16, 32, 64, 128)),
    "side": (Setting(), (8, 16, 32, 64)),
    "base": (Setting(), (16, 32, 64, 128)),
    "steps": (Setting(), (5, 10, 20)),
}
QUICK = {
    "batch": (Setting(side=8, base=16), (8, 16, 32)),
    "side": (Setting(batch=4, base=16), (8, 16, 32)),
    "base": (Setting(side=8), (16, 32, 64)),
    "steps": (Setting(side=8, base=16), (2, 4, 8)),
}
TITLES = {
    "batch": "training step: images in a batch",
    "side": "training step: side of an image",
    "base": "training step: base channels",
    "steps": "sampling: steps of DDIM",
}


def last(samples):
    """The image that a sampler ends with."""
    *_, (_, xt, _) = samples
    return xt


def time_both(setting, workers, repeats):
    """Median seconds of ours and of PyTorch eager in both formats: {"ours": …, …}."""
    import torch

    from .cases import CASES, Case

    torch.set_num_threads(workers)
    CASES["setting"] = (setting.config(), setting.batch, setting.shards(workers))
    case = Case("setting")
    with Shards(case.unet, case.schedule, workers, case.shards) as shards:
        runs, worst = (sampling_runs if setting.steps else training_runs)(case, shards, setting)
        check_agreement(f"{setting}", worst)
        return {name: statistics.median(s) for name, s in alternate(runs, repeats).items()}


def training_runs(case, shards, setting):
    """A training step of each, and the worst difference of a gradient."""
    from .peer import difference
    from .step import ours, theirs

    runs, worst = {}, 0.0
    J, runs[OURS] = ours(case, shards.gradient)
    for name, (net, x0, xt, t) in case.peers().items():
        J_peer, runs[name] = theirs(net, x0, xt, t)
        worst = max(worst, difference(case.unet, net, J, J_peer))
    return runs, worst


def sampling_runs(case, shards, setting):
    """A chain of DDIM with each denoiser, and the worst difference of x̂_0."""
    denoisers = {OURS: shards.denoise}
    denoisers |= {name: denoiser_of_torch(net) for name, (net, *_) in case.peers().items()}
    reference = shards.denoise(case.xt, case.t)
    runs, worst = {}, 0.0
    for name, denoise in denoisers.items():
        runs[name] = sampling(denoise, case, setting.steps)
        off = np.abs(denoise(case.xt, case.t) - reference).max()
        worst = max(worst, off / np.abs(reference).max())
    return runs, worst


def sampling(denoise, case, steps):
    return lambda: last(ddim(denoise, case.schedule, case.xt, steps=steps))


def denoiser_of_torch(net):
    """PyTorch's network as samplers take it: arrays in, an array out."""
    import torch

    def denoise(xt, t):
        with torch.inference_mode():
            return net(torch.from_numpy(xt), torch.from_numpy(t)).numpy()

    return denoise


def one_side(side, setting, workers, c):
    """Run only one of the two, for `peak_memory`. Here the numbers do not matter."""
    config = setting.config()
    x0 = np.zeros((setting.batch, *config.image), np.float32)
    if side == OURS:
        run_ours(config, x0, setting, workers, c=c)
    else:
        run_theirs(config, x0, setting, workers, channels_last=side.endswith("last"))


def run_ours(config, x0, setting, workers, repeats=3, c=Multipliers()):
    """Three training steps, or one sampling."""
    unet, t = UNet(config, c).initialise(0), np.ones(setting.batch, int)
    if setting.steps:
        unet.bind(unet.theta)
    with Shards(unet, SCHEDULE, workers, setting.shards(workers)) as shards:
        if setting.steps:
            last(ddim(shards.denoise, SCHEDULE, x0, steps=setting.steps))
            return
        for _ in range(repeats):
            unet.grad[...] = 0
            shards.gradient(unet, SCHEDULE, x0, t, x0)


def run_theirs(config, x0, setting, workers, channels_last, repeats=3):
    """The same in PyTorch."""
    import torch

    from .peer import Peer
    from .step import theirs

    torch.set_num_threads(workers)
    form = torch.channels_last if channels_last else torch.contiguous_format
    net = Peer(UNet(config).initialise(0)).to(memory_format=form)
    if setting.steps:
        last(ddim(denoiser_of_torch(net), SCHEDULE, x0, steps=setting.steps))
        return
    x0 = torch.from_numpy(x0).contiguous(memory_format=form)
    _, step = theirs(net, x0, x0, torch.ones(setting.batch, dtype=torch.int64))
    for _ in range(repeats):
        step()


def measure(setting, workers, repeats):
    """Seconds and MB, each [ours, PyTorch's in its faster memory format]."""
    seconds = time_both(setting, workers, repeats)
    peer = min((name for name in seconds if name != OURS), key=seconds.get)
    command = [sys.executable, "-m", "benchmarks.scaling", "--workers", str(workers)]
    command += ["--setting", ",".join(map(str, setting))]
    memory = [peak_memory([*command, "--one-side", side]) for side in (OURS, peer)]
    return [seconds[side] for side in (OURS, peer)], memory


def slope(x, y):
    """Exponent of the power law through the last two points, to two digits."""
    return (
        round(math.log(y[-1] / y[-2]) / math.log(x[-1] / x[-2]), 2) + 0.0
    )  # + 0.0, so that -0.0 is 0


def draw(path, found, title):
    """found: {quantity: (values, seconds, MB)}.

    seconds and MB are arrays (values, 2), of ours and PyTorch's.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(found) + 0.4, 6.8), dpi=110, layout="constrained")
    rows = figure.subplots(2, len(found), sharex="col", sharey="row", squeeze=False)
    for j, (quantity, (x, seconds, MB)) in enumerate(found.items()):
        draw_curves(rows[0, j], x, seconds, first=j == 0)
        draw_curves(rows[1, j], x, MB, first=j == 0)
        style = {"loc": "left", "fontsize": 10.5, "fontweight": "bold"}
        rows[0, j].set_title(TITLES[quantity], color=INK, **style)
    rows[0, 0].set_ylabel("seconds", color=INK)
    rows[1, 0].set_ylabel("peak memory, MB", color=INK)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    rows[0, 0].legend(loc="upper left", frameon=False, labelcolor="linecolor", fontsize=10)
    figure.suptitle(title, x=0.01, ha="left", color=GREY, fontsize=9.5)
    save_figure(figure, path)


def draw_curves(axes, x, y, first):
    """y (values, 2) against x, each curve with its slope at the right end."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    tidy(axes)
    room = (x[-1] / x[0]) ** 0.17  # on a logarithmic axis
    peer_above = y[-1, 1] >= y[-1, 0]
    for side, colour, name in ((1, ORANGE, "PyTorch"), (0, BLUE, "ours")):
        style = {"color": colour, "linewidth": 1.9, "marker": "o", "markersize": 4.5, "zorder": 3}
        axes.plot(x, y[:, side], label=name, **style)
        text = f"{'slope ' if first else ''}{slope(x, y[:, side]):.2f}"
        above = (side == 1) == peer_above
        place = {"textcoords": "offset points", "va": "bottom" if above else "top"}
        end = x[-1], y[-1, side]
        axes.annotate(text, end, (7, 0), color=colour, fontsize=9.5, **place)
    axes.margins(y=0.09)
    axes.set(xscale="log", yscale="log", xlim=(x[0] / room**0.4, x[-1] * room))
    axes.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_major_locator(NullLocator())
    axes.set_xticks(x, list(map(str, x)))
    axes.minorticks_off()


def sweep(quantity, start, values, options):
    """Measure at each value of one quantity and print a line: (seconds, MB), each (values, 2)."""
    seconds, memory = [], []
    for i, value in enumerate(values):
        setting = start._replace(**{quantity: value})
        s, mb = measure(setting, options.workers, options.repeats)
        seconds.append(s)
        memory.append(mb)
        of_time, of_memory = (slopes(values[: i + 1], np.array(ys)) for ys in (seconds, memory))
        print(f"{quantity:>10} {value:5d}", end="  ")
        print(f"{s[0]:9.3f}{s[1]:9.3f}{s[0] / s[1]:7.2f}{of_time:>14}", end="  ")
        print(f"{mb[0]:6.0f}{mb[1]:9.0f}{mb[0] / mb[1]:7.2f}{of_memory:>14}", flush=True)
    return np.array(seconds), np.array(memory)


def slopes(x, y):
    """The slopes of both columns of y (values, 2), in words."""
    return " / ".join(f"{slope(x, y[:, side]):.2f}" for side in (0, 1)) if len(x) > 1 else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="scaling.png")
    parser.add_argument("--workers", type=int, default=cores(), help="cores for each side [all]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small network and few points")
    parser.add_argument("--one-side", help=argparse.SUPPRESS)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    parser.add_argument(
        "--no-multipliers", dest="multipliers", action="store_false", help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    fast.enable()
    if options.one_side:
        setting = Setting(*map(int, options.setting.split(",")))
        c = Multipliers() if options.multipliers else ONES
        one_side(options.one_side, setting, options.workers, c)
        return
    print(f"{'':18}{'seconds':>9}{'PyTorch':>9}{'ratio':>7}{'slopes':>14}", end="  ")
    print(f"{'MB':>6}{'PyTorch':>9}{'ratio':>7}{'slopes':>14}", flush=True)
    found = {}
    for quantity, (start, values) in (QUICK if options.quick else SWEEPS).items():
        found[quantity] = (values, *sweep(quantity, start, values, options))
    title = f"{options.workers} cores; slopes of the last doubling at the right ends"
    draw(options.out, found, f"{title}; PyTorch eager in its faster memory format")
    print(f"The picture is {options.out}.")


if __name__ == "__main__":
    main()
