"""What is the best x̂_0 at each t, and why is one step not enough to draw an image?

    python examples/04_denoiser.py        # seconds

There is no network here and no training: for a small data set we know the best denoiser exactly.
It asks how likely each image is to have become x_t, and answers with their weighted mean
(`tinyddpm/more/ideal.py`). Training brings a U-Net close to it.

  1. What does its x̂_0 look like at every t?
  2. Why can't we jump from x_T to an image in one step?
  3. Why do we clip x̂_0?
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import data, noise, schedule
from tinyddpm.diffusion import predicted_noise, q_sample
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.predictions import x0_from_eps
from tinyddpm.more.solvers import ddim
from tinyddpm.pictures.images import image_grid, pixels, show
from tinyddpm.pictures.plots import BLUE, INK, ORANGE, RED, save_figure, tidy

LINEAR = schedule.linear(1000)
SHOWN = (1, 50, 100, 200, 300, 400, 600, 1000)
STEPS = (1, 2, 3, 5, 10, 50)
ERROR = 0.1  # of an imperfect denoiser, in ε or in x_0


def rms(x):
    return float(np.sqrt(np.square(x).mean()))


def in_steps(n):
    return f"{n:2} step{'s' if n > 1 else ''}"


# ---- 1. x̂₀ at every t ---------------------------------------------------------------------------


def at_every_t(images, ideal):
    """For each t: how far x̂_0 is from its image and from the mean of all (RMS over pixels).

    Also returns (t, x_t, x̂_0) of the first image.
    """
    mean, distances, row = images.mean(axis=0), {}, []
    eps = noise.normal(0, "denoiser: eps", 0, np.arange(len(images)), (1, 8, 8))
    for t in SHOWN:
        ts = np.full(len(images), t)
        xt = q_sample(LINEAR, images, ts, eps)
        x0_hat = ideal(xt, ts)
        distances[t] = rms(x0_hat - images), rms(x0_hat - mean)
        row.append((t, xt[0], x0_hat[0]))

    print(f"1. RMS distance of x̂_0 from its image, and from the mean of all {len(images)}:")
    for t, (own, other) in distances.items():
        print(f"   t = {t:4}: {own:.3f}, {other:.3f}")
    return distances, row


# ---- 2. one step, and many -----------------------------------------------------------------------


def by_steps(images, ideal, n):
    """Draw n images in each number of steps: their distance from the nearest real one, and spread.

    Spread is the standard deviation of a pixel over the n images. It is 0 if all are the same.
    """
    x_T = noise.normal(0, "denoiser: x_T", 0, np.arange(n), (1, 8, 8))
    found, drawn = {}, {}
    for steps in STEPS:
        *_, (_, x0, _) = ddim(ideal, LINEAR, x_T, steps=steps)
        distances = np.sqrt(np.square(x0[:, None] - images).mean(axis=(2, 3, 4)))
        found[steps] = float(distances.min(axis=1).mean()), float(x0.std(axis=0).mean())
        drawn[steps] = x0

    real_spread = images.std(axis=0).mean()
    print(f"2. {n} images drawn in a few steps: their distance from the nearest real image, and")
    print(f"   their spread (that of real images is {real_spread:.2f}):")
    for steps, (near, spread) in found.items():
        print(f"   {in_steps(steps)}: {near:.3f}, {spread:.3f}")
    print("   x_T says almost nothing about x_0, so the best guess is the mean of everything,")
    print("   whatever the noise. Each step back commits a little more.")
    return found, drawn


# ---- 3. clipping ---------------------------------------------------------------------------------


def clipping(images, ideal):
    """What an imperfect denoiser's error does to x̂_0 at every t, with and without the clip.

    Returns the t's, {(what has the error, clipped?): RMS errors of x̂_0 at these t}, and the
    largest |x̂_0| of the ideal denoiser.
    """
    ts = np.array([1, 10, 30, *range(50, 1001, 50)])
    index = np.arange(len(images))
    eps = noise.normal(0, "denoiser: eps", 0, index, (1, 8, 8))
    wrong = noise.normal(0, "denoiser: error", 0, index, (1, 8, 8))
    errors = {(kind, clipped): [] for kind in ("ε", "x_0") for clipped in (False, True)}
    largest = 0.0
    for t in ts:
        t = np.full(len(images), t)
        xt = q_sample(LINEAR, images, t, eps)
        best = ideal(xt, t)
        largest = max(largest, float(abs(best).max()))
        eps_hat = predicted_noise(LINEAR, best, xt, t) + ERROR * wrong
        guesses = {"ε": x0_from_eps(LINEAR, eps_hat, xt, t), "x_0": best + ERROR * wrong}
        for kind, x0_hat in guesses.items():
            errors[kind, False].append(rms(x0_hat - best))
            errors[kind, True].append(rms(x0_hat.clip(-1, 1) - best))
    return ts, errors, largest


def report_clipping(errors, largest):
    print("3. The ideal x̂_0 is a mean of images, so it never leaves [−1, 1] (its largest |x̂_0|")
    print(f"   is {largest:.3f}), and clipping changes nothing. But give the denoiser an error:")
    for kind in ("ε", "x_0"):
        free, clipped = errors[kind, False], errors[kind, True]
        print(
            f"   of {ERROR} in {kind:3}: x̂_0 is off by {free[0]:.3f} at t = 1 and {free[-1]:.2f}"
            f" at t = 1000; clipped by {clipped[0]:.3f} and {clipped[-1]:.2f}"
        )
    print("   A network that predicts ε needs the clip: at large t its error is multiplied by")
    print("   √(1−ᾱ_t)/√ᾱ_t. One that predicts x_0 gains little from it.")


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, row, drawn, ts, errors):
    figure = Figure(figsize=(11.5, 6.6), dpi=110)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(1.25, 0.85, 1.2))
    draw_guesses(top, row)
    draw_samples(middle, drawn)
    draw_errors(bottom, ts, errors)
    save_figure(figure, path)


def draw_guesses(figure, row):
    axes = figure.subplots(2, len(row))
    figure.subplots_adjust(left=0.06, right=0.99, top=0.88, bottom=0.04, hspace=0.08, wspace=0.05)
    for (above, below), (t, xt, x0_hat) in zip(axes.T, row):
        show(above, pixels(xt[None])[0])
        show(below, pixels(x0_hat[None])[0])
        above.set_title(f"t = {t}", fontsize=10, color=INK)
    for first, name in zip(axes[:, 0], ("$x_t$", r"$\hat x_0$")):
        first.set_ylabel(name, fontsize=12, rotation=0, labelpad=14, va="center", color=INK)


def draw_samples(figure, drawn):
    for axes, (steps, images) in zip(figure.subplots(1, len(drawn)), drawn.items()):
        axes.imshow(image_grid(images[:8], columns=4), cmap="gray", vmin=0, vmax=255)
        colour = RED if steps == 1 else INK
        axes.set_title(f"in {in_steps(steps).strip()}", fontsize=10, color=colour)
        axes.set_axis_off()
    figure.subplots_adjust(left=0.01, right=0.99, top=0.84, bottom=0.03, wspace=0.08)


def draw_errors(figure, ts, errors):
    axes = figure.subplots()
    figure.subplots_adjust(left=0.07, right=0.98, top=0.9, bottom=0.2)
    names, colours = {"ε": "ε", "x_0": "$x_0$"}, {"ε": ORANGE, "x_0": BLUE}
    for (kind, clipped), values in errors.items():
        label = f"error of {ERROR} in {names[kind]}{', clipped' if clipped else ''}"
        dashes = "--" if clipped else "-"
        axes.semilogy(ts, values, dashes, color=colours[kind], linewidth=2, label=label)
    title = r"What an error of the denoiser does to $\hat x_0$ (RMS over pixels)"
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set(xlabel="t", xlim=(0, 1000))
    axes.legend(frameon=False, labelcolor="linecolor", fontsize=9)
    tidy(axes)


def main(arguments=None):
    """Run all parts and return what each found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller data set, fewer samples")
    parser.add_argument("--out", type=Path, default=Path("denoiser.png"), help="the picture's path")
    options = parser.parse_args(arguments)
    images = data.digits().images[: 50 if options.quick else 200]
    ideal = ideal_denoiser(images, LINEAR)

    of_t, row = at_every_t(images, ideal)
    of_steps, drawn = by_steps(images, ideal, 16 if options.quick else 100)
    ts, errors, largest = clipping(images, ideal)
    report_clipping(errors, largest)
    draw(options.out, row, drawn, ts, errors)
    print(f"The picture is {options.out}.")
    return {
        "of_t": of_t,
        "of_steps": of_steps,
        "errors": errors,
        "largest": largest,
        "spread": float(images.std(axis=0).mean()),
    }


if __name__ == "__main__":
    main()
