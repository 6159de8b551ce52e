"""What does Adam know that gradient descent does not?

    python examples/16_adam.py            # two minutes on one core
    python examples/16_adam.py --quick    # seconds

Gradient descent θ ← θ − β∇J has one step size for every number of θ. Adam divides by the root of a
mean of past (∇J)², so each number gets its own. It also replaces ∇J by a mean of past gradients.
And it goes on adapting to the end. Which of these matters? We add them one by one:

  1. plain: one step size for all.
  2. measured: each number's step size is measured while β rises, and then stays. From there on it
     is gradient descent, in fixed coordinates (`tinyddpm/more/training/calibration.py`).
  3. measured + mean: the same, along m ← .9m + .1∇J in place of ∇J.
  4. Adam: the step sizes also change to the end.

Everything else is equal: the digits, the U-Net, the number of steps, the draws of x_0, t and ε.
Only β is each one's own: the one of a list with the lowest J on validation images, in shorter runs
of another seed. Then each trains with three seeds, and we compare J on test images.
"""

import argparse
import math
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import data, schedule
from tinyddpm.more.training.calibration import Measured, by_kind
from tinyddpm.more.training.optimisers import Adam
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import ONES
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.train import gradient_descent, train

LINEAR = schedule.linear(1000)
RULES = {  # name -> an update for a run whose β rises over so many steps
    "plain": lambda warmup: gradient_descent,
    "measured": lambda warmup: Measured(warmup),
    "measured + mean": lambda warmup: Measured(warmup, momentum=0.9),
    "Adam": lambda warmup: Adam(),
}
COLOUR = {"plain": GREY, "measured": BLUE, "measured + mean": PURPLE, "Adam": RED}
SEEDS, SEED_OF_TRIALS = (0, 1, 2), 3
BETAS = {"plain": (0.2, 0.4, 0.8, 1.6)} | dict.fromkeys([*RULES][1:], (0.005, 0.01, 0.02, 0.04))
FULL = SimpleNamespace(steps=400, trial=120, grid=slice(0, 4), images=300)
QUICK = SimpleNamespace(steps=100, trial=30, grid=slice(0, 2), images=60)


def learn(rule, images, steps, beta, seed):
    """A trained U-Net and the update that trained it. The U-Net is None if the training diverged.

    β rises over the first quarter, and falls to 0 over the second half.
    """
    config = UNetConfig(base=8, blocks=1, attention=(), middle_attention=False)
    unet, update = UNet(config, ONES).initialise(seed), RULES[rule](steps // 4)
    step_size = lambda k: beta * min(1, 4 * k / steps, 2 * (1 - k / (steps + 1)))
    run = train(unet, images, LINEAR, step_size, seed=seed, batch_size=32, update=update)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # β may be too large
            for _ in islice(run, steps):
                pass
    except FloatingPointError:
        return None, update
    return unet, update


def J(unet, draws):
    """J on held-out draws."""
    return math.inf if unet is None else float(draws.evaluate(unet.denoise).mean())


def chosen_beta(rule, images, draws, betas, steps):
    """The β that comes to the lowest J in a short run."""
    found = {b: J(learn(rule, images, steps, b, SEED_OF_TRIALS)[0], draws) for b in betas}
    best = min(found, key=found.get)
    tried = ", ".join(f"{value:.4f} with {beta:g}" for beta, value in found.items())
    print(f"   {rule + ':':16} {tried}: β = {best:g}")
    return best


def draw(path, found, kinds):
    figure = Figure(figsize=(11.6, 4.6), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    for i, (rule, values) in enumerate(found.items()):
        left.plot([i] * len(values), values, "o", color=COLOUR[rule], markersize=7, alpha=0.75)
        text = f"{np.mean(values):.3f}"
        left.annotate(text, (i + 0.12, np.mean(values)), color=COLOUR[rule], va="center")
    left.set_xticks(range(len(found)), [rule.replace(" + ", "\n+ ") for rule in found])
    left.set_xlim(-0.4, len(found) - 0.4)
    left.set_ylabel("J, as a fraction of predict-the-mean's")
    left.set_title("J on test images, three seeds", loc="left", color=INK, fontsize=11)
    names = list(kinds)
    for i, (low, middle, high) in enumerate(kinds.values()):
        right.plot([low, high], [i, i], color=BLUE, linewidth=5, alpha=0.3)
        right.plot(middle, i, "o", color=ORANGE, markersize=7)
    right.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    right.set_xscale("log")
    right.set_xlabel("step size c² of a number of θ, in units of β; bars: 80 % of the numbers")
    title = "What is known: the measured step sizes, by kind of layer"
    right.set_title(title, loc="left", color=INK, fontsize=11)
    for axes in (left, right):
        tidy(axes)
    save_figure(figure, path)


def main(arguments=None):
    """Train all of them and return J of each and the measured step sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps, few images")
    parser.add_argument("--out", type=Path, default=Path("adam.png"), help="the picture's path")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    training, test = data.split(data.digits())
    images, validation = training.images[:-200], training.images[-200:][: size.images]
    test = test.images[: size.images]

    print(f"β: J after {size.trial} steps, on {len(validation)} images")
    draws, betas = Draws(validation, LINEAR), {}
    for rule in RULES:
        betas[rule] = chosen_beta(rule, images, draws, BETAS[rule][size.grid], size.trial)

    draws, found, known = Draws(test, LINEAR), {}, None
    mean = float(draws.evaluate(mean_image(images)).mean())
    print(f"J on {len(test)} test images after {size.steps} steps, of predict-the-mean's:")
    for rule in RULES:
        runs = [learn(rule, images, size.steps, betas[rule], seed) for seed in SEEDS]
        found[rule] = [J(unet, draws) / mean for unet, _ in runs]
        print(f"   {rule + ':':16} " + ", ".join(f"{value:.4f}" for value in found[rule]))
        if rule == "measured":
            unet, update = runs[0]
            known = by_kind(UNet(unet.config, ONES), update.c2)
    average = {rule: np.mean(values) for rule, values in found.items()}
    gap = average["plain"] - average["Adam"]
    closed = {r: (average["plain"] - average[r]) / gap for r in ("measured", "measured + mean")}
    print("How much of the distance from plain to Adam is gone:")
    print(f"   with step sizes measured once: {100 * closed['measured']:.0f} %")
    print(f"   with a mean of gradients besides: {100 * closed['measured + mean']:.0f} %")
    low, high = (f(q[1] for q in known.values()) for f in (min, max))
    print(f"Between kinds of layer the measured step size varies by a factor of {high / low:.0f}.")
    draw(options.out, found, known)
    print(f"The picture is {options.out}.")
    return SimpleNamespace(found=found, betas=betas, closed=closed, known=known)


if __name__ == "__main__":
    from tinyddpm import fast

    fast.enable()  # the same layers, written for speed
    main()
