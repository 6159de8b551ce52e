"""What does a diffusion model do, seen whole?

    python examples/14_points.py --out docs/points.png        # a few minutes
    python examples/14_points.py --quick                      # seconds: the picture is rough

The data are three sets of points in the plane. A small network learns each, and each has a row in
the picture. From the left: the data; the same points with noise at two t; x̂_0, where the network
believes that these came from; the paths of a few samples out of the noise; and the samples. A point
is an image of two channels and one pixel, so `train` and the sampler are those of images.

The numbers are worth a thought. In the end J is within a hundredth of the best possible, and still
the samples do not look quite right. Large t make up nearly all of J, and there nobody can tell
where a point came from. Small t decide what is sharp in the samples, and there J is small.
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import noise
from tinyddpm.diffusion import q_sample
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.points import SETS, PointNet
from tinyddpm.more.schedules import SCHEDULES
from tinyddpm.more.solvers import ddim
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, RED, save_figure
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.train import train

COSINE = SCHEDULES["cosine"](1000)  # spends half of its steps on little noise
LITTLE, MUCH = 200, 500  # the t that we show
SHOWN, PATHS = 2000, 25


def learn(x0, steps, beta=2.0, warmup=500):
    """A PointNet, trained on the points x0 by plain gradient descent.

    β rises at first, and falls to 0 at the end.
    """
    net = PointNet().initialise(seed=0)
    step_size = lambda k: beta * min(1, k / warmup, 2 * (1 - k / (steps + 1)))
    for _ in islice(train(net, x0, COSINE, step_size, seed=0, batch_size=256), steps):
        pass
    return net


def report(name, net, x0, held_out):
    draws = Draws(held_out, COSINE)
    denoisers = net.denoise, ideal_denoiser(x0, COSINE), mean_image(x0)
    J, ideal, mean = (draws.evaluate(denoiser).mean() for denoiser in denoisers)
    print(f"{name}: held-out J {J:.4f}")
    print(f"   the ideal denoiser of 20,000 points {ideal:.4f}, predict-the-mean {mean:.4f}")


def draw_row(row, name, x0, net):
    index = np.arange(SHOWN)
    eps = noise.normal(0, "example: eps", 0, index, x0.shape[1:])
    x_T = noise.normal(0, "example: start", 0, index, x0.shape[1:])
    chain = list(ddim(net.denoise, COSINE, x_T, steps=100, clip=None))

    draw_points(row[0], "the data", x0[:SHOWN], INK)
    for (left, right), t in (((row[1], row[2]), LITTLE), ((row[3], row[4]), MUCH)):
        ts = np.full(SHOWN, t)
        xt = q_sample(COSINE, x0[:SHOWN], ts, eps)
        draw_points(left, f"$x_t$, t = {t}", xt, GREY, reach=2.1)
        draw_points(right, "$\\hat x_0$ of these", net.denoise(xt, ts), ORANGE)
    draw_points(row[5], "on the way", x_T, GREY, reach=2.1, alpha=0.25)
    draw_paths(row[5], [x_T, *(xt for _, xt, _ in chain)])
    draw_points(row[6], "samples", chain[-1][1], RED)
    row[0].set_ylabel(name, fontsize=12, color=INK, fontweight="bold")


def draw_points(axes, title, points, colour, reach=1.25, alpha=0.8):
    axes.scatter(*points[:, :, 0, 0].T, s=1.2, color=colour, linewidths=0, alpha=alpha)
    axes.set_title(title, fontsize=10, color=INK)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_color("#d8d8d8")


def draw_paths(axes, chain):
    paths = np.stack(chain)[:, :PATHS, :, 0, 0]  # (steps + 1, PATHS, 2)
    axes.plot(paths[..., 0], paths[..., 1], color=BLUE, linewidth=0.7)
    axes.scatter(*paths[-1].T, s=9, color=RED, zorder=3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps")
    parser.add_argument("--out", type=Path, default=Path("points.png"), help="the picture's path")
    options = parser.parse_args()
    figure = Figure(figsize=(13.4, 6.2), dpi=110)
    grid = figure.subplots(len(SETS), 7)
    figure.subplots_adjust(left=0.03, right=0.995, top=0.95, bottom=0.01, wspace=0.06, hspace=0.14)
    for row, (name, make) in zip(grid, SETS.items()):
        x0 = make(20_000, seed=0)
        net = learn(x0, 300 if options.quick else 20_000)
        report(name, net, x0, held_out=make(300, seed=1))
        draw_row(row, name, x0, net)
    save_figure(figure, options.out)
    print(f"The picture is {options.out}.")


if __name__ == "__main__":
    main()
