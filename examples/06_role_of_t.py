"""What is t good for? The same network with and without it, trained alike. (The lecture's question 3.)

    python examples/06_role_of_t.py            # about two minutes
    python examples/06_role_of_t.py --quick    # seconds

"The timestep t informs the network about the level of noise", says the lecture, and that it is necessary. Three looks at that:

  1. a U-Net on digits, told t and not: held-out J in each tenth of {1..T}, and samples
  2. a network on points in the plane, told t and not: the same
  3. one that is told t is lied to: it gets images of t = 400 and is told another t

An image of 64 pixels shows by itself how noisy it is. A point of two numbers does not. So t should matter less in 1 than in 2.
"""
import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import noise, schedule
from tinyddpm import data
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.evaluation.metrics import nearest
from tinyddpm.pictures.images import image_grid
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, RED, save_figure, tidy
from tinyddpm.diffusion import q_sample
from tinyddpm.more.points import PointNet, moons
from tinyddpm.nn.unet import UNet, UNetConfig
from tinyddpm.sampler import ddim
from tinyddpm.train import train

FULL = SimpleNamespace(digits=1500, points=8000, draws=300, samples=100)
QUICK = SimpleNamespace(digits=60, points=500, draws=60, samples=30)
LINEAR = schedule.linear(1000)
TRUE_T, TOLD = 400, (50, 200, 300, 350, 400, 450, 500, 600, 800, 1000)


class BlindPointNet(PointNet):
    """A PointNet that is told t = 1 whatever t is: the same layers and the same θ to start from, but no information."""

    def forward(self, xt, t, *others):
        return super().forward(xt, np.ones_like(t), *others)


def learn(net, images, steps, beta, batch_size):
    """The network, trained by plain gradient descent; β rises at first and falls to nothing at the end. All draws are alike for all networks."""
    net.initialise(seed=0)
    step_size = lambda k: beta * min(1, 10 * k / steps, 2 * (1 - k / (steps + 1)))  # noqa: E731
    for step in train(net, images, LINEAR, step_size, seed=0, batch_size=batch_size):
        if step.k == steps:
            return net


def judge(net, draws, real, n, clip):
    """Held-out J by t, samples (n, C, H, W), and how far a sample is from the nearest real image, on average."""
    x_T = noise.normal(0, "example: x_T", 0, np.arange(n), real.shape[1:])
    *_, (_, samples, _) = ddim(net.denoise, LINEAR, x_T, steps=50, clip=clip)
    away = nearest(samples.reshape(n, -1), real.reshape(len(real), -1))[0].mean()
    return SimpleNamespace(J=draws.evaluate(net.denoise), samples=samples, away=float(away))


def lied_to(net, images):
    """J of images of t = TRUE_T for each t that the network is told instead, and x̂_0 of the first of them."""
    ts = np.full(len(images), TRUE_T)
    xt = q_sample(LINEAR, images, ts, noise.normal(0, "example: eps", 0, np.arange(len(images)), images.shape[1:]))
    answers = [net.denoise(xt, np.full_like(ts, told)) for told in TOLD]
    J = [float(np.square(x0_hat - images).mean()) for x0_hat in answers]
    return J, np.stack([images[0], xt[0], *(x0_hat[0] for x0_hat in answers)])


def compare(name, told, blind, training, held_out, n, clip):
    draws = Draws(held_out, LINEAR)
    both = {"told t": judge(told, draws, training, n, clip), "not told": judge(blind, draws, training, n, clip)}
    mean = draws.evaluate(mean_image(training)).mean()
    for how, found in both.items():
        print(f"   {how:9} J by tenths of t" + "".join(f" {J:.3f}" for J in found.J) + f", all {found.J.mean() / mean:.3f} of predict-the-mean's; "
              f"samples are {found.away:.3f} from the nearest real one")
    loss = both["not told"].J / both["told t"].J - 1
    print(f"   Without t, J on {name} is {100 * (both['not told'].J.sum() / both['told t'].J.sum() - 1):+.1f} % in all, and between "
          f"{100 * loss.min():+.1f} and {100 * loss.max():+.1f} % in a tenth, most in number {loss.argmax() + 1}.")
    return both, mean


def main(arguments=None):
    """Returns what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps, few images")
    parser.add_argument("--out", type=Path, default=Path("."), help="a folder for the picture [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL

    training, held_out = (part.images for part in data.split(data.digits()))
    held_out = held_out[:size.draws]
    config = dict(base=8, blocks=1, attention=(), middle_attention=False)
    unet, blind_unet = (learn(UNet(UNetConfig(**config, time_conditioning=told)), training, size.digits, 1.4, 32) for told in (True, False))
    print("1. Digits, 64 numbers each:")
    digits, mean = compare("digits", unet, blind_unet, training, held_out, size.samples, 1.0)

    x0 = moons(10_000, seed=0)
    net, blind_net = (learn(kind(), x0, size.points, 0.3, 128) for kind in (PointNet, BlindPointNet))
    print("2. Points in the plane, two numbers each:")
    points, _ = compare("points", net, blind_net, x0, moons(300, seed=1), 10 * size.samples, None)

    J, seen = lied_to(unet, held_out)
    best = TOLD[int(np.argmin(J))]
    print(f"3. Of digits of t = {TRUE_T}, the U-Net makes the least J, {min(J):.3f}, when it is told t = {best}. "
          f"Told {TOLD[0]} it makes {J[0]:.3f}, and told {TOLD[-1]}, {J[-1]:.3f}.")

    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "role_of_t.png", digits, points, J, seen)
    print(f"The picture is in {options.out / 'role_of_t.png'}.")
    return SimpleNamespace(digits=digits, points=points, mean=mean, lied_to=dict(zip(TOLD, J)))


def draw(path, digits, points, J, seen):
    figure = Figure(figsize=(13, 9), dpi=100)
    curves, pictures, row = (figure.add_gridspec(1, n, left=left, right=0.985, top=top, bottom=bottom, wspace=space)
                             for n, left, top, bottom, space in ((3, 0.05, 0.95, 0.65, 0.22), (4, 0.02, 0.55, 0.2, 0.1), (len(seen), 0.02, 0.13, 0.01, 0.1)))
    colours, tenths = {"told t": BLUE, "not told": ORANGE}, np.arange(50, 1000, 100)
    for i, (name, found) in enumerate({"digits": digits, "points": points}.items()):
        axes = figure.add_subplot(curves[i])
        for how, colour in colours.items():
            axes.plot(tenths, found[how].J, color=colour, marker="o", markersize=4, label=how)
        finish(axes, f"Held-out J by t: {name}", "t")
        axes.legend(frameon=False, labelcolor="linecolor")
    axes = figure.add_subplot(curves[2])
    axes.plot(TOLD, J, color=RED, marker="o", markersize=4)
    axes.axvline(TRUE_T, color=GREY, linewidth=1, dashes=(4, 3))
    finish(axes, f"J of digits of t = {TRUE_T}, by the t that is told", "told t")

    for i, (how, colour) in enumerate(colours.items()):
        bare(figure.add_subplot(pictures[i]), image_grid(digits[how].samples[:36], 6), f"samples of digits, {how}")
        axes = figure.add_subplot(pictures[2 + i])
        axes.scatter(*points[how].samples[:, :, 0, 0].T, s=3, color=colour, linewidths=0)
        axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
        axes.set_title(f"samples of points, {how}", loc="left", color=INK, fontsize=10)
    for i, (image, name) in enumerate(zip(seen, ["$x_0$", f"$x_t$, t = {TRUE_T}", *(f"told {told}" for told in TOLD)])):
        bare(figure.add_subplot(row[i]), image_grid(image[None]), name)
    save_figure(figure, path)


def finish(axes, title, below):
    axes.set_title(title, loc="left", color=INK)
    axes.set_xlabel(below)
    tidy(axes)


def bare(axes, picture, title):
    axes.imshow(np.asarray(picture), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(title, loc="left", color=INK, fontsize=10)
    axes.set_axis_off()


if __name__ == "__main__":
    main()
