"""What is the best answer to "which image was this, before the noise", and why is one answer not enough to draw an image?

    python examples/04_denoiser.py        # seconds

No network and no training: for a small data set the best denoiser is known exactly. It asks how likely each image is to have become x_t,
and answers with their mean, weighted by that (`tinyddpm/more/ideal.py`). A U-Net is trained to come near it.

  1. what its x̂_0 looks like at every t
  2. why one cannot jump from x_T to an image in one step
  3. why x̂_0 is clipped
"""
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import noise, schedule
from tinyddpm import data
from tinyddpm.pictures.images import image_grid, pixels, show
from tinyddpm.pictures.plots import BLUE, INK, ORANGE, RED, save_figure, tidy
from tinyddpm.diffusion import predicted_noise, q_sample
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.predictions import x0_from_eps
from tinyddpm.sampler import ddim

LINEAR = schedule.linear(1000)
SHOWN = (1, 50, 100, 200, 300, 400, 600, 1000)
STEPS = (1, 2, 3, 5, 10, 50)
EPS_ERROR, X0_ERROR = 0.1, 0.1


def rms(x):
    return float(np.sqrt(np.square(x).mean()))


def at_every_t(images, ideal):
    """For each t: how far x̂_0 is from the image that it was, and how far from the mean of all images (RMS of a pixel)."""
    mean, of_t, row = images.mean(axis=0), {}, []
    eps = noise.normal(0, "denoiser: eps", 0, np.arange(len(images)), (1, 8, 8))
    for t in SHOWN:
        ts = np.full(len(images), t)
        xt = q_sample(LINEAR, images, ts, eps)
        x0_hat = ideal(xt, ts)
        of_t[t] = rms(x0_hat - images), rms(x0_hat - mean)
        row.append((t, xt[0], x0_hat[0]))
    print(f"1. RMS distance of x̂_0 from the image that it was, and from the mean of all {len(images)}:")
    print("\n".join(f"   t = {t:4}: {own:.3f}, {other:.3f}" for t, (own, other) in of_t.items()))
    return of_t, row


def by_steps(images, ideal, n):
    """For each number of steps: how far what is drawn is from the nearest image, and how different the drawn ones are (a pixel's standard deviation)."""
    x_T, of_steps, drawn = noise.normal(0, "denoiser: x_T", 0, np.arange(n), (1, 8, 8)), {}, {}
    for steps in STEPS:
        *_, (_, x0, _) = ddim(ideal, LINEAR, x_T, steps=steps)
        nearest = np.sqrt(np.square(x0[:, None] - images).mean(axis=(2, 3, 4))).min(axis=1)
        of_steps[steps], drawn[steps] = (float(nearest.mean()), float(x0.std(axis=0).mean())), x0
    print(f"2. Of {n} images drawn in so many steps: distance from the nearest real one, and how different they are (real ones: {images.std(axis=0).mean():.2f}):")
    print("\n".join(f"   {steps:2} step{'s' * (steps > 1)}: {near:.3f}, {spread:.3f}" for steps, (near, spread) in of_steps.items()))
    print("   x_T says next to nothing of x_0, so the best guess is the mean of everything, whatever the noise. Each step back commits a little more.")
    return of_steps, drawn


def clipping(images, ideal):
    """What becomes of an imperfect denoiser's error in x̂_0 at every t, free and clipped: {(kind, clipped): one RMS error for each t of `ts`}."""
    ts = np.array([1, 10, 30, *range(50, 1001, 50)])
    eps, wrong = (noise.normal(0, f"denoiser: {name}", 0, np.arange(len(images)), (1, 8, 8)) for name in ("eps", "error"))
    error, outside = {}, 0.0
    for t in ts:
        t = np.full(len(images), t)
        xt = q_sample(LINEAR, images, t, eps)
        best = ideal(xt, t)
        outside = max(outside, float(abs(best).max()))
        eps_hat = predicted_noise(LINEAR, best, xt, t)
        guesses = {"ε": x0_from_eps(LINEAR, eps_hat + EPS_ERROR * wrong, xt, t), "x_0": best + X0_ERROR * wrong}
        for kind, x0_hat in guesses.items():
            error.setdefault((kind, False), []).append(rms(x0_hat - best))
            error.setdefault((kind, True), []).append(rms(x0_hat.clip(-1, 1) - best))
    print(f"3. The ideal x̂_0 is a mean of images and never leaves [−1, 1] (largest |x̂_0|: {outside:.3f}): clipping changes nothing in it. But give it an error:")
    for kind, size in (("ε", EPS_ERROR), ("x_0", X0_ERROR)):
        free, clipped = error[kind, False], error[kind, True]
        print(f"   of {size} in {kind:3}: x̂_0 is off by {free[0]:.3f} at t = 1 and {free[-1]:.2f} at t = 1000; clipped by {clipped[0]:.3f} and {clipped[-1]:.2f}")
    print("   A network that predicts ε needs the clip: at large t its error is multiplied by √(1−ᾱ_t)/√ᾱ_t. One that predicts x_0 gains little by it.")
    return ts, error, outside


def draw(path, row, drawn, ts, error):
    figure = Figure(figsize=(11.5, 6.6), dpi=110)
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(1.25, 0.85, 1.2))
    for i, (t, xt, x0_hat) in enumerate(row):
        for j, (x, name) in enumerate(((xt, "$x_t$"), (x0_hat, r"$\hat x_0$"))):
            axes = top.add_subplot(2, len(row), j * len(row) + i + 1)
            show(axes, pixels(x[None])[0])
            if i == 0:
                axes.set_ylabel(name, fontsize=12, rotation=0, labelpad=14, va="center", color=INK)
            if j == 0:
                axes.set_title(f"t = {t}", fontsize=10, color=INK)
    top.subplots_adjust(left=0.06, right=0.99, top=0.88, bottom=0.04, hspace=0.08, wspace=0.05)
    for axes, (steps, images) in zip(middle.subplots(1, len(drawn)), drawn.items()):
        axes.imshow(image_grid(images[:8], columns=4), cmap="gray", vmin=0, vmax=255)
        axes.set_title(f"in {steps} step{'s' * (steps > 1)}", fontsize=10, color=RED if steps == 1 else INK)
        axes.set_axis_off()
    middle.subplots_adjust(left=0.01, right=0.99, top=0.84, bottom=0.03, wspace=0.08)
    axes = bottom.subplots()
    bottom.subplots_adjust(left=0.07, right=0.98, top=0.9, bottom=0.2)
    for (kind, clipped), values in error.items():
        axes.semilogy(ts, values, "--" if clipped else "-", color=ORANGE if kind == "ε" else BLUE, linewidth=2,
                      label=f"error of {EPS_ERROR if kind == 'ε' else X0_ERROR} in {'ε' if kind == 'ε' else '$x_0$'}{', clipped' * clipped}")
    axes.set_title(r"What an error of the denoiser does to $\hat x_0$ (RMS of a pixel)", loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set(xlabel="t", xlim=(0, 1000))
    axes.legend(frameon=False, labelcolor="linecolor", fontsize=9)
    tidy(axes)
    save_figure(figure, path)


def main(arguments=None):
    """Returns what was found by each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller data set, fewer images drawn")
    parser.add_argument("--out", type=Path, default=Path("denoiser.png"), help="where the picture goes [denoiser.png]")
    options = parser.parse_args(arguments)
    images = data.digits().images[:50 if options.quick else 200]
    ideal = ideal_denoiser(images, LINEAR)
    of_t, row = at_every_t(images, ideal)
    of_steps, drawn = by_steps(images, ideal, 16 if options.quick else 100)
    ts, error, outside = clipping(images, ideal)
    draw(options.out, row, drawn, ts, error)
    print(f"The picture is {options.out}.")
    return {"of_t": of_t, "of_steps": of_steps, "error": error, "outside": outside, "spread": float(images.std(axis=0).mean())}


if __name__ == "__main__":
    main()
