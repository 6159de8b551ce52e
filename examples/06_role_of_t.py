"""What is t good for? (The lecture's question 3.)

    python examples/06_role_of_t.py            # about two minutes
    python examples/06_role_of_t.py --quick    # seconds

"The timestep t informs the network about the level of noise", says the lecture, and calls it
necessary. We train the same network with t and without it, and look at three things:

  1. A U-Net on digits, conditioned on t and unconditional in t: held-out J in each tenth of {1..T},
     and samples.
  2. The same for a network on points in the plane.
  3. We lie to the conditioned U-Net: it gets images of t = 400, and another t.

An image of 64 pixels shows by itself how noisy it is. A point of two numbers does not. So t should
matter less in part 1 than in part 2.
"""

import argparse
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import data, noise, schedule
from tinyddpm.diffusion import q_sample
from tinyddpm.evaluation.metrics import nearest
from tinyddpm.more.points import PointNet, moons
from tinyddpm.more.solvers import ddim
from tinyddpm.nn.unet import UNet, UNetConfig
from tinyddpm.pictures.images import image_grid
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, RED, save_figure, tidy
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.train import train

FULL = SimpleNamespace(digit_steps=1500, point_steps=8000, held_out=300, samples=100)
QUICK = SimpleNamespace(digit_steps=60, point_steps=500, held_out=60, samples=30)
LINEAR = schedule.linear(1000)
TRUE_T = 400
CLAIMED = (50, 200, 300, 350, 400, 450, 500, 600, 800, 1000)  # the t that the U-Net gets instead
WITH_T, WITHOUT_T = "conditioned on t", "unconditional in t"

# ---- with t and without it -----------------------------------------------------------------------


class UnconditionalPointNet(PointNet):
    """A PointNet that gets t = 1 whatever t is: the same layers and the same θ at first."""

    def forward(self, xt, t, *others):
        return super().forward(xt, np.ones_like(t), *others)


def learn(net, images, steps, beta, batch_size):
    """The network after `steps` steps of plain gradient descent, with the same draws for all.

    β rises at first, and falls to 0 at the end.
    """
    net.initialise(seed=0)
    step_size = lambda k: beta * min(1, 10 * k / steps, 2 * (1 - k / (steps + 1)))
    for _ in islice(train(net, images, LINEAR, step_size, seed=0, batch_size=batch_size), steps):
        pass
    return net


def judge(net, draws, real, n, clip):
    """Held-out J by t, n samples, and their mean distance from the nearest real image."""
    x_T = noise.normal(0, "example: x_T", 0, np.arange(n), real.shape[1:])
    *_, (_, samples, _) = ddim(net.denoise, LINEAR, x_T, steps=50, clip=clip)
    distances, _ = nearest(samples.reshape(n, -1), real.reshape(len(real), -1))
    J = draws.evaluate(net.denoise)
    return SimpleNamespace(J=J, samples=samples, distance=float(distances.mean()))


def compare(name, nets, training, held_out, n, clip):
    """Judge both networks, {WITH_T: …, WITHOUT_T: …}, and say what t is worth."""
    draws = Draws(held_out, LINEAR)
    mean_J = draws.evaluate(mean_image(training)).mean()
    found = {which: judge(net, draws, training, n, clip) for which, net in nets.items()}
    for which, result in found.items():
        print(f"   {which}: held-out J by tenths of t")
        print("     " + "".join(f" {J:.3f}" for J in result.J))
        print(f"      on average {result.J.mean() / mean_J:.3f} of predict-the-mean's")
        print(f"      samples are {result.distance:.3f} from the nearest real one")

    with_t, without_t = found[WITH_T].J, found[WITHOUT_T].J
    percent = 100 * (without_t.sum() / with_t.sum() - 1)
    by_tenths = 100 * (without_t / with_t - 1)
    worst = 1 + by_tenths.argmax()
    print(f"   Without t, J on {name} changes by {percent:+.1f} %: in the tenths of t by")
    print(f"   {by_tenths.min():+.1f} to {by_tenths.max():+.1f} %.")
    print(f"   The tenth that needs t most is number {worst}.")
    return found, mean_J


# ---- with a wrong t ------------------------------------------------------------------------------


def lie_about_t(net, images):
    """Give the network images of t = TRUE_T and each t of CLAIMED. Returns J for each of these.

    Also returns x_0, x_t and every x̂_0 of the first image.
    """
    ts = np.full(len(images), TRUE_T)
    eps = noise.normal(0, "example: eps", 0, np.arange(len(images)), images.shape[1:])
    xt = q_sample(LINEAR, images, ts, eps)
    answers = [net.denoise(xt, np.full_like(ts, claimed)) for claimed in CLAIMED]
    J = [float(np.square(x0_hat - images).mean()) for x0_hat in answers]
    return J, np.stack([images[0], xt[0], *(x0_hat[0] for x0_hat in answers)])


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, digits, points, J, seen):
    figure = Figure(figsize=(13, 9), dpi=100)

    def row(n, left, top, bottom, space):
        sides = {"left": left, "right": 0.985, "top": top, "bottom": bottom}
        return [
            figure.add_subplot(place) for place in figure.add_gridspec(1, n, wspace=space, **sides)
        ]

    draw_curves(row(3, 0.05, 0.95, 0.65, 0.22), digits, points, J)
    draw_samples(row(4, 0.02, 0.55, 0.2, 0.1), digits, points)
    names = ["$x_0$", f"$x_t$, t = {TRUE_T}", *(f"gets t = {claimed}" for claimed in CLAIMED)]
    for axes, image, name in zip(row(len(seen), 0.02, 0.13, 0.01, 0.1), seen, names):
        show(axes, image_grid(image[None]), name)
    save_figure(figure, path)


COLOURS = {WITH_T: BLUE, WITHOUT_T: ORANGE}


def draw_curves(row, digits, points, J):
    tenths = np.arange(50, 1000, 100)
    for axes, (name, found) in zip(row, {"digits": digits, "points": points}.items()):
        for which, colour in COLOURS.items():
            axes.plot(tenths, found[which].J, color=colour, marker="o", markersize=4, label=which)
        finish(axes, f"Held-out J by t: {name}", "t")
        axes.legend(frameon=False, labelcolor="linecolor")
    axes = row[-1]
    axes.plot(CLAIMED, J, color=RED, marker="o", markersize=4)
    axes.axvline(TRUE_T, color=GREY, linewidth=1, dashes=(4, 3))
    finish(axes, f"J of digits of t = {TRUE_T}, with another t", "the t that the U-Net gets")


def draw_samples(row, digits, points):
    for axes, which in zip(row[:2], COLOURS):
        show(axes, image_grid(digits[which].samples[:36], 6), f"digits, {which}")
    for axes, (which, colour) in zip(row[2:], COLOURS.items()):
        axes.scatter(*points[which].samples[:, :, 0, 0].T, s=3, color=colour, linewidths=0)
        axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
        axes.set_title(f"points, {which}", loc="left", color=INK, fontsize=10)


def finish(axes, title, below):
    axes.set_title(title, loc="left", color=INK)
    axes.set_xlabel(below)
    tidy(axes)


def show(axes, picture, title):
    axes.imshow(np.asarray(picture), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(title, loc="left", color=INK, fontsize=10)
    axes.set_axis_off()


def main(arguments=None):
    """Run all parts and return what each found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps, few images")
    parser.add_argument("--out", type=Path, default=Path("."), help="the picture's folder [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL

    training, held_out = (part.images for part in data.split(data.digits()))
    held_out = held_out[: size.held_out]
    config = {"base": 8, "blocks": 1, "attention": (), "middle_attention": False}
    unets = {
        WITH_T: UNet(UNetConfig(**config)),
        WITHOUT_T: UNet(UNetConfig(**config, time_conditioning=False)),
    }
    for unet in unets.values():
        learn(unet, training, size.digit_steps, beta=1.4, batch_size=32)
    print("1. Digits, 64 numbers each:")
    digits, mean_J = compare("digits", unets, training, held_out, size.samples, clip=1.0)

    x0 = moons(10_000, seed=0)
    point_nets = {WITH_T: PointNet(), WITHOUT_T: UnconditionalPointNet()}
    for net in point_nets.values():
        learn(net, x0, size.point_steps, beta=0.3, batch_size=128)
    print("2. Points in the plane, two numbers each:")
    fresh = moons(300, seed=1)
    points, _ = compare("points", point_nets, x0, fresh, 10 * size.samples, clip=None)

    J, seen = lie_about_t(unets[WITH_T], held_out)
    best = int(np.argmin(J))
    print(f"3. On digits of t = {TRUE_T} the U-Net has its lowest J, {J[best]:.3f}, when it gets")
    print(f"   t = {CLAIMED[best]}. With t = {CLAIMED[0]} its J is {J[0]:.3f}, and with")
    print(f"   t = {CLAIMED[-1]} it is {J[-1]:.3f}.")

    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "role_of_t.png", digits, points, J, seen)
    print(f"The picture is in {options.out / 'role_of_t.png'}.")
    return SimpleNamespace(
        digits=digits, points=points, mean_J=mean_J, lied_to=dict(zip(CLAIMED, J))
    )


if __name__ == "__main__":
    main()
