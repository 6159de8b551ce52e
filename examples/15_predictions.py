"""What should the network predict: the image x_0, the noise ε, or v, a mixture of both?

    python examples/15_predictions.py            # two minutes on one core
    python examples/15_predictions.py --quick    # seconds

x_t is known, so each of the three gives the others (`tinyddpm/more/predictions.py`). The lecture
predicts x_0, Ho et al. 2020 predict ε, and Salimans & Ho 2022 predict v = √ᾱ_t ε − √(1−ᾱ_t) x_0.
Each minimises the squared error of what it predicts. In units of x̂_0 that is the same error with
three weights: 1, SNR_t and SNR_t + 1.

Everything else is equal: the digits, the U-Net, plain gradient descent, the number of steps, the
draws of x_0, t and ε. Only the step size β is each one's own. We try the same list with all three,
in shorter runs of another seed, and take the β with the least squared error of the prediction on
validation images (3.2 is the largest that we try). Then we train each with three seeds, and ask two
things of test images:

  1. How large is the error of x̂_0 at each t? That is one unit for all.
  2. How far are the samples from real images (Fréchet distance in the features of a classifier)?

We state only what all seeds agree on. The multipliers of the U-Net (`nn/multipliers.py`) were found
with x_0, which may favour it.
"""

import argparse
import math
from functools import partial
from itertools import combinations, islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import data, noise, schedule
from tinyddpm.evaluation import features
from tinyddpm.evaluation.metrics import frechet
from tinyddpm.more.predictions import denoiser, gradient, weights
from tinyddpm.more.solvers import ddim
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.pictures.images import image_grid
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, save_figure, tidy
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.train import train

LINEAR = schedule.linear(1000)
WEIGHT = {"x0": "none", "eps": "snr", "v": "snr_plus_1"}  # of the squared error of x̂_0
SYMBOL = {"x0": "$x_0$", "eps": "$\\varepsilon$", "v": "$v$"}
NAME, COLOUR = {"x0": "x_0", "eps": "ε", "v": "v"}, {"x0": BLUE, "eps": ORANGE, "v": PURPLE}
SEEDS, SEED_OF_TRIALS = (0, 1, 2), 3
FULL = SimpleNamespace(steps=500, trial=150, betas=(0.4, 0.8, 1.6, 3.2), samples=300, images=300)
QUICK = SimpleNamespace(steps=60, trial=20, betas=(0.8, 1.6), samples=40, images=40)


# ---- training ------------------------------------------------------------------------------------


def learn(predicts, images, steps, beta, seed):
    """A U-Net that predicts this, as a denoiser; None if its training diverged.

    β rises at first, and falls to 0 at the end.
    """
    config = UNetConfig(base=8, blocks=1, attention=(), middle_attention=False)
    unet = UNet(config).initialise(seed)
    step_size = lambda k: beta * min(1, 5 * k / steps, 2 * (1 - k / (steps + 1)))
    of_it = partial(gradient, predicts=predicts, weight=WEIGHT[predicts])
    run = train(unet, images, LINEAR, step_size, seed=seed, batch_size=32, gradient=of_it)
    try:
        for _ in islice(run, steps):
            pass
    except FloatingPointError:
        return None
    return denoiser(unet.denoise, LINEAR, predicts)


def own_error(predicts, denoise, draws, chunk=250):
    """The squared error of what is predicted: what this network minimises."""
    if denoise is None:
        return math.inf
    of_x0 = []
    for i in range(0, len(draws.t), chunk):
        xt, t, x0 = (part[i : i + chunk] for part in (draws.xt, draws.t, draws.x0))
        of_x0.append(np.square(denoise(xt, t) - x0).mean(axis=(1, 2, 3)))
    return float((weights(LINEAR, WEIGHT[predicts])[draws.t] * np.concatenate(of_x0)).mean())


def chosen_beta(predicts, images, draws, betas, steps):
    """The β that comes to the least own error."""
    found = {}
    for beta in betas:
        denoise = learn(predicts, images, steps, beta, SEED_OF_TRIALS)
        found[beta] = own_error(predicts, denoise, draws)
    best = min(found, key=found.get)
    tried = ", ".join(f"{error:.4f} with {beta}" for beta, error in found.items())
    print(f"   {NAME[predicts]:3}: {tried}: β = {best}")
    return best


# ---- what it is worth ----------------------------------------------------------------------------


def judge(denoise, draws, real, space, n, seed):
    """The error of x̂_0 in each tenth of {1..T}, the Fréchet distance of n samples, the samples."""
    if denoise is None:
        nothing = np.zeros((n, *real.shape[1:]), np.float32)
        return SimpleNamespace(errors=np.full(10, np.inf), frechet=math.inf, samples=nothing)
    x_T = noise.normal(seed, "example: x_T", 0, np.arange(n), real.shape[1:])
    *_, (_, samples, _) = ddim(denoise, LINEAR, x_T, steps=50)
    distance = frechet(space(real), space(samples))
    return SimpleNamespace(errors=draws.evaluate(denoise), frechet=distance, samples=samples)


def agreed(figures):
    """Which pairs (a, b) have the lower figure at a in every seed. figures: {name: (seeds,)}."""
    both_ways = [pair for a, b in combinations(figures, 2) for pair in ((a, b), (b, a))]
    return [(a, b) for a, b in both_ways if np.all(np.less(figures[a], figures[b]))]


def say(what, figures, form):
    """Print the figures of each seed, and what the seeds agree on. Returns the latter."""
    print(f"   {what}, seed by seed:")
    for name, values in figures.items():
        print(f"      {NAME[name]:3} " + ", ".join(form.format(value) for value in values))
    pairs = agreed(figures)
    for a, b in combinations(figures, 2):
        lower = next((pair for pair in pairs if set(pair) == {a, b}), None)
        if lower:
            print(f"      It is lower for {NAME[lower[0]]} than for {NAME[lower[1]]} in all seeds.")
        else:
            print(f"      The seeds do not agree on {NAME[a]} and {NAME[b]}.")
    return pairs


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, found, mean_errors, real):
    figure = Figure(figsize=(12.6, 6), dpi=100)
    left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1))
    draw_errors(left, found, mean_errors)
    shown = {name: seeds[0].samples for name, seeds in found.items()} | {"real": real}
    for axes, (name, images) in zip(right.subplots(2, 2).flat, shown.items()):
        axes.imshow(image_grid(images[:36], 6), cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        if name == "real":
            axes.set_title("real digits", color=INK, fontsize=11)
        else:
            distances = ", ".join(f"{result.frechet:.1f}" for result in found[name])
            title = f"predicts {SYMBOL[name]}: Fréchet {distances}"
            axes.set_title(title, color=COLOUR[name], fontsize=10)
    right.subplots_adjust(left=0.01, right=0.99, top=0.94, bottom=0.01, wspace=0.04, hspace=0.13)
    save_figure(figure, path)


def draw_errors(figure, found, mean_errors):
    axes, tenths = figure.subplots(), np.arange(50, 1000, 100)
    figure.subplots_adjust(left=0.12, right=0.96, top=0.92, bottom=0.1)
    for name, seeds in found.items():
        errors = np.array([result.errors for result in seeds])
        colour, lowest_and_highest = COLOUR[name], np.quantile(errors, (0, 1), axis=0)
        style = {"color": colour, "marker": "o", "markersize": 4}
        axes.plot(tenths, np.median(errors, axis=0), label=f"predicts {SYMBOL[name]}", **style)
        axes.fill_between(tenths, *lowest_and_highest, color=colour, alpha=0.2)
    axes.plot(tenths, mean_errors, color=GREY, dashes=(5, 3), label="the mean image")
    axes.set_yscale("log")
    axes.set_xlabel("t, by tenths of {1..T}")
    title = "Squared error of $\\hat x_0$: the median of three seeds, and their range"
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.legend(frameon=False, labelcolor="linecolor", fontsize=11)
    tidy(axes)


def main(arguments=None):
    """Train all of them and return what each is worth, and what the seeds agree on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps, few samples")
    parser.add_argument(
        "--out", type=Path, default=Path("predictions.png"), help="the picture's path"
    )
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    digits = data.digits()
    training, test = data.split(digits)
    images, validation = training.images[:-200], training.images[-200:][: size.images]
    test = test.images[: size.images]
    space, called = features.load("digits", digits)

    print(f"β: the error of the prediction after {size.trial} steps, on {len(validation)} images")
    draws = Draws(validation, LINEAR)
    betas = {name: chosen_beta(name, images, draws, size.betas, size.trial) for name in WEIGHT}

    draws, found = Draws(test, LINEAR), {}
    for name in WEIGHT:
        nets = [learn(name, images, size.steps, betas[name], seed) for seed in SEEDS]
        found[name] = [
            judge(net, draws, test, space, size.samples, seed) for net, seed in zip(nets, SEEDS)
        ]
    mean_errors = draws.evaluate(mean_image(images))

    print(f"1. The error of x̂_0 on {len(test)} test images after {size.steps} steps.")
    tenths = {"little noise": 0, "half of the way": 4, "nearly pure noise": -1}
    agreement = {}
    for what, i in tenths.items():
        figures = {name: [result.errors[i] for result in seeds] for name, seeds in found.items()}
        range_of_t = f"t from {draws.edges[i % 10] + 1} to {draws.edges[i % 10 + 1]}"
        agreement[what] = say(f"{what.capitalize()}, {range_of_t}", figures, "{:.4f}")
    print(f"   The mean image's error there is {mean_errors[-1]:.4f}.")
    print(f"2. {size.samples} samples (DDIM, 50 steps), in {called}.")
    figures = {name: [result.frechet for result in seeds] for name, seeds in found.items()}
    agreement["frechet"] = say("Fréchet distance from the test images", figures, "{:.1f}")
    draw(options.out, found, mean_errors, test)
    print(f"The picture is {options.out}.")
    return SimpleNamespace(found=found, betas=betas, agreed=agreement, mean_errors=mean_errors)


if __name__ == "__main__":
    from tinyddpm import fast

    fast.enable()  # the same layers, written for speed
    main()
