"""A whole recipe, beside the same training in PyTorch.

    python -m benchmarks.recipe digits
    python -m benchmarks.recipe fashion --steps 300

Both start from the same θ and see the same images, t and ε at every step. So both should reach the
same held-out J at the same step, up to rounding. Each step differs in its last digits, and training
slowly enlarges that. The two take turns: each runs the steps from one evaluation to the next, so a
slow moment of the machine hits both alike.

We time the training: draw the batch, gradient, θ ← θ − β∇J, EMA. PyTorch does not have to draw t
and ε: we do that before its clock starts. Evaluations are outside both clocks. Where our network
writes a weight as c·v, PyTorch has w itself, and takes steps of c²β for it, which is the same
(`tinyddpm/nn/multipliers.py`).
"""

import argparse
import time

import numpy as np
import torch
from torch.nn import functional as F

from tinyddpm import noise
from tinyddpm.fast.premultiplied import layer_of
from tinyddpm.runs import config as configuration, ema, recipes
from tinyddpm.runs.computing import computing
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.train import train

from .peer import Peer, name_in_peer
from .timing import alternate, cores

FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


class Ours:
    """`train.train` and the EMA of θ, as in `runs/training.py`. Counts the seconds of all steps."""

    def __init__(self, config, unet, averaged, images, schedule, gradient, denoise):
        self.config, self.unet, self.averaged, self.denoise = config, unet, averaged, denoise
        self.seconds = 0.0
        options = {"seed": config.seed, "batch_size": config.batch_size, "form": config.objective}
        self.steps = train(unet, images, schedule, config.step_size, gradient=gradient, **options)

    def advance(self, first, last):
        """Take the steps first..last."""
        began = time.perf_counter()
        for _ in range(first, last + 1):
            step = next(self.steps)
            ema.update(self.averaged.theta, self.unet.theta, self.config.ema_decay, step.k)
        self.seconds += time.perf_counter() - began


class Theirs:
    """The same steps as a user of PyTorch would write them, in float32 and one memory format."""

    def __init__(self, config, unet, images, schedule, memory):
        self.config, self.schedule, self.memory, self.seconds = config, schedule, memory, 0.0
        self.net, self.averaged = (Peer(unet).to(memory_format=memory) for _ in range(2))
        self.images = torch.from_numpy(images)
        self.signal = torch.from_numpy(np.sqrt(schedule.alpha_bar).astype(np.float32))
        self.noise = torch.from_numpy(np.sqrt(1 - schedule.alpha_bar).astype(np.float32))
        own, rates = dict(self.net.named_parameters()), {}  # c² -> the parameters with it
        for name in unet.state():
            rates.setdefault(float(layer_of(unet, name).c) ** 2, []).append(own[name_in_peer(name)])
        self.rates = list(rates)
        self.sgd = torch.optim.SGD([{"params": group} for group in rates.values()], lr=1.0)

    def advance(self, first, last):
        """Take the steps first..last. Their random numbers are drawn before the clock starts."""
        draws = [self.draw(k) for k in range(first, last + 1)]
        began = time.perf_counter()
        for k, (drawn, t, eps) in enumerate(draws, first):
            self.step(k, *map(torch.from_numpy, (drawn, t, eps)))
        self.seconds += time.perf_counter() - began

    def draw(self, k):
        """Image numbers, t and ε of step k: those of `train`."""
        seed, m = self.config.seed, np.arange(self.config.batch_size)
        drawn = noise.integers(seed, "data", k, m, len(self.images))
        t = 1 + noise.integers(seed, "t", k, m, self.schedule.T)
        return drawn, t, noise.normal(seed, "eps", k, m, self.images.shape[1:], np.float32)

    def step(self, k, drawn, t, eps):
        x0 = self.images[drawn]
        xt = self.signal[t][:, None, None, None] * x0 + self.noise[t][:, None, None, None] * eps
        x0, xt = (x.contiguous(memory_format=self.memory) for x in (x0, xt))
        for group, rate in zip(self.sgd.param_groups, self.rates):
            group["lr"] = rate * self.config.step_size(k)
        self.sgd.zero_grad()
        F.mse_loss(self.net(xt, t), x0).backward()
        self.sgd.step()
        d = min(self.config.ema_decay, (1 + k) / (10 + k))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.averaged.parameters()), list(self.net.parameters()), 1 - d
            )

    def denoise(self, xt, t):
        xt = torch.from_numpy(xt).contiguous(memory_format=self.memory)
        with torch.no_grad():
            return self.averaged(xt, torch.from_numpy(t)).contiguous().numpy()


def faster_format(make, repeats=5):
    """The memory format in which PyTorch's steps take less time here.

    Each format runs 2 steps at a time, in turn.
    """
    trials = {name: make(memory) for name, memory in FORMATS.items()}
    runs = {name: lambda trial=trial: trial.advance(1, 2) for name, trial in trials.items()}
    seconds = alternate(runs, repeats)
    return min(seconds, key=lambda name: np.median(seconds[name]))


def read_recipe(name):
    """The recipe's configuration. SystemExit if it has something that the peer lacks."""
    config = configuration.from_dict(configuration.read(recipes.path(name)))
    if config.classes or config.unet.dropout or config.objective != "mse" or not config.ema_decay:
        raise SystemExit(
            f"{name}: expected a recipe with objective mse and an EMA, without classes and dropout:"
            " the peer knows no other"
        )
    return config


HEAD = """\
|  step | J, tinyddpm | J, PyTorch | difference | seconds, tinyddpm | seconds, PyTorch | ratio |
|------:|------------:|-----------:|-----------:|------------------:|-----------------:|------:|"""


def compare(name, steps, workers):
    """Print a line for each evaluation; return the largest relative difference of the two J."""
    config = read_recipe(name)
    training, held_out = config.split_data(config.load_data()[0])
    config, images = config.for_images(training.images.shape[1:]), training.images
    schedule, draws = config.make_schedule(), Draws(held_out.images, config.make_schedule())
    mean = draws.evaluate(mean_image(images)).mean()
    unet = config.make_unet().initialise(config.seed)
    averaged = config.make_unet().bind(unet.theta.copy())

    def theirs(memory):
        return Theirs(config, unet, images, schedule, memory)

    torch.set_num_threads(workers)
    chosen = faster_format(theirs)
    print(f"{name}: {workers} cores, PyTorch {torch.__version__}, {chosen},", end=" ")
    print(f"the faster of its memory formats here; predict-the-mean's J {mean:.4f}\n")
    print(HEAD)
    worst, steps = 0.0, steps or config.steps
    peer = theirs(FORMATS[chosen])  # takes over θ before our own first step changes it
    with computing(unet, averaged, schedule, "cpu", workers, config.shards) as functions:
        own = Ours(config, unet, averaged, images, schedule, *functions)
        for first in range(1, steps + 1, config.every):
            last = min(first + config.every - 1, steps)
            J = []
            for side in (own, peer):
                side.advance(first, last)
                J.append(draws.evaluate(side.denoise).mean())
            difference = J[0] / J[1] - 1
            worst = max(worst, abs(difference))
            print(f"| {last:5d} | {J[0]:11.5f} | {J[1]:10.5f} | {difference:+10.1e} |", end=" ")
            print(f"{own.seconds:17.1f} | {peer.seconds:16.1f} |", end=" ")
            print(f"{own.seconds / peer.seconds:5.2f} |", flush=True)
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.epilog = "To get the data of a recipe other than digits: tinyddpm data NAME."
    names = recipes.names()
    parser.add_argument("recipe", nargs="?", default="digits", choices=names, help="[digits]")
    parser.add_argument("--steps", type=int, help="[the recipe's]")
    parser.add_argument("--workers", type=int, default=cores(), help="cores for each side [all]")
    options = parser.parse_args()
    worst = compare(options.recipe, options.steps, options.workers)
    print(f"\nlargest difference of the held-out J at one step: {worst:.1e} of it")


if __name__ == "__main__":
    main()
