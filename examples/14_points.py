"""What a diffusion model does, seen whole: points in the plane, three sets of them, each learnt by a small network of its own.

    python examples/14_points.py --out docs/points.png        # a few minutes
    python examples/14_points.py --quick                      # seconds: the picture is rough

One row for each set. From the left: the data; the same points with noise at two t's; x̂_0, where the network believes that these
came from; the way of a few samples from noise to where they end; and the samples. The network's place, `train` and the sampler are
those of images: a point is an image of two channels and one pixel.

What it prints is worth a thought: J comes within a hundredth of the best that there is long before the samples look right. Nearly all of J is
owed to large t, where nobody can tell where a point came from; what is sharp in the samples is decided at small t, where J is small.
"""
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import noise
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, RED, save_figure
from tinyddpm.diffusion import q_sample
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.points import SETS, PointNet
from tinyddpm.more.schedules import SCHEDULES
from tinyddpm.sampler import ddim
from tinyddpm.train import train

LITTLE, MUCH = 200, 500  # the t's that are shown
SHOWN, PATHS = 2000, 25


def learn(x0, steps, beta=2.0, warmup=500):
    """A PointNet trained on the points x0 by plain gradient descent, β falling to nothing at the end, and its schedule."""
    net, cosine = PointNet().initialise(seed=0), SCHEDULES["cosine"](1000)  # half of its steps are spent on little noise
    falling = lambda k: beta * min(1, k / warmup, 2 * (1 - k / (steps + 1)))  # noqa: E731
    for step in train(net, x0, cosine, falling, seed=0, batch_size=256):
        if step.k == steps:
            return net, cosine


def draw_row(row, name, x0, net, cosine):
    index = np.arange(SHOWN)
    eps = noise.normal(0, "example: eps", 0, index, x0.shape[1:])
    x_T = noise.normal(0, "example: start", 0, index, x0.shape[1:])
    chain = list(ddim(net.denoise, cosine, x_T, steps=100, clip=None))
    panels = [("the data", x0[:SHOWN], INK)]
    for t in (LITTLE, MUCH):
        ts = np.full(SHOWN, t)
        xt = q_sample(cosine, x0[:SHOWN], ts, eps)
        panels += [(f"$x_t$, t = {t}", xt, GREY), (f"$\\hat x_0$ of these", net.denoise(xt, ts), ORANGE)]
    panels += [("on the way", x_T, GREY), ("samples", chain[-1][1], RED)]
    for axes, (title, points, colour) in zip(row, panels):
        axes.scatter(points[:, 0, 0, 0], points[:, 1, 0, 0], s=1.2, color=colour, linewidths=0, alpha=0.25 if title == "on the way" else 0.8)
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xlim(-2.1, 2.1) if colour == GREY else axes.set_xlim(-1.25, 1.25)
        axes.set_ylim(axes.get_xlim())
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color("#d8d8d8")
    paths = np.stack([x_T, *(xt for _, xt, _ in chain)])[:, :PATHS, :, 0, 0]  # (steps + 1, PATHS, 2)
    row[-2].plot(paths[..., 0], paths[..., 1], color=BLUE, linewidth=0.7)
    row[-2].scatter(*paths[-1].T, s=9, color=RED, zorder=3)
    row[0].set_ylabel(name, fontsize=12, color=INK, fontweight="bold")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("points.png"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    figure = Figure(figsize=(13.4, 6.2), dpi=110)
    grid = figure.subplots(len(SETS), 7)
    figure.subplots_adjust(left=0.03, right=0.995, top=0.95, bottom=0.01, wspace=0.06, hspace=0.14)
    for row, (name, make) in zip(grid, SETS.items()):
        x0 = make(20_000, seed=0)
        net, cosine = learn(x0, 300 if options.quick else 20_000)
        draws = Draws(make(300, seed=1), cosine)
        mean, ideal, J = (draws.evaluate(d).mean() for d in (mean_image(x0), ideal_denoiser(x0, cosine), net.denoise))
        print(f"{name}: held-out J {J:.4f}; the ideal denoiser of 20,000 points {ideal:.4f}, predict-the-mean {mean:.4f}")
        draw_row(row, name, x0, net, cosine)
    save_figure(figure, options.out)
    print(options.out)


if __name__ == "__main__":
    main()
