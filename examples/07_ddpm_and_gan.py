"""Is the training of a DDPM more stable than that of a GAN? (The lecture's question 4.)

    python examples/07_ddpm_and_gan.py            # about four minutes on two cores
    python examples/07_ddpm_and_gan.py --quick    # seconds

We train a DDPM, a GAN and a VAE on the same points: eight small clouds on a ring, the usual test of
whether a generator finds all modes (Metz et al. 2017, "Unrolled generative adversarial networks").
The three have the same engine, the same layers and about as many parameters. Each trains from
several seeds and with every step size: by plain gradient descent, the same with multipliers that
are measured in the warm-up (docs/sgd.md), and Adam, the usual choice for GANs. We tune nothing for
one of them alone, and use no method invented to make GANs stable.

A run fails if it diverges or misses a mode. Perhaps it was only not finished. So we look at each
run five times on its way. It is *late* if it has not had all modes at any look. It *breaks* if it
diverges, or loses a mode after it had all of them. (A ring without gaps has all modes too. So we
also count the points that lie near a mode.)
"""

import argparse
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from autograd import no_grad, ops, primitive
from autograd.more_ops import exp
from autograd.ops import sigmoid_of
from tinyddpm import noise, schedule
from tinyddpm.more.points import PointNet
from tinyddpm.more.solvers import ddim
from tinyddpm.more.training.calibration import Measured
from tinyddpm.more.training.optimisers import Adam
from tinyddpm.nn.linear import Linear
from tinyddpm.nn.module import Module
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy
from tinyddpm.train import gradient

RATES = {"plain": (0.03, 0.1, 0.3)} | dict.fromkeys(("measured", "Adam"), (3e-4, 1e-3, 3e-3))
FULL = SimpleNamespace(budgets=(300, 600, 1200, 2500, 5000), seeds=3, rates=RATES, samples=1000)
QUICK = SimpleNamespace(budgets=(200, 500), seeds=2, rates={"Adam": (3e-3,)}, samples=400)
WARMUP = 300  # steps in which β rises
LINEAR = schedule.linear(1000)
M, WIDTH = 128, 0.04  # points in a mini-batch; the standard deviation of each cloud
ANGLES = np.arange(8) * np.pi / 4
RING = 16 / np.pi * np.arcsin(2 * WIDTH / 0.8)  # the part of a circle that is near a mode
CENTRES = 0.8 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)


def real(seed, k, n):
    """n points of the eight clouds: (n, 2)."""
    index = np.arange(n)
    cloud = noise.integers(seed, "cloud", k, index, 8)
    return CENTRES[cloud] + WIDTH * noise.normal(seed, "in the cloud", k, index, (2,))


# ---- three models (`step` trains, returns losses; `sample` makes points of noise), three updates -


class MLP(Module):
    """(N, inputs) -> (N, outputs)."""

    def __init__(self, inputs, outputs, width=90):
        self.layers = [Linear(inputs, width), Linear(width, width), Linear(width, outputs)]

    def forward(self, x):
        h = self.layers[0](x)
        for layer in self.layers[1:]:
            h = layer(ops.silu(h))
        return h


class DDPM:
    losses = ("J",)

    def __init__(self, seed):
        self.seed, self.net = seed, PointNet(width=64, layers=2).initialise(seed)

    def step(self, k, descend):
        x0 = real(self.seed, k, M)[:, :, None, None]
        t = 1 + noise.integers(self.seed, "t", k, np.arange(M), LINEAR.T)
        eps = noise.normal(self.seed, "eps", k, np.arange(M), (2, 1, 1))
        self.net.grad[...] = 0
        J, _ = gradient(self.net, LINEAR, x0, t, eps)
        descend(self.net, k)
        return (float(J),)

    def sample(self, z):
        *_, (_, x, _) = ddim(self.net.denoise, LINEAR, z[:, :, None, None], steps=50, clip=None)
        return x[:, :, 0, 0]


class GAN:
    """Goodfellow et al. 2014. Both losses are log 2 = 0.69 where the networks are in balance."""

    losses = ("discriminator", "generator")

    def __init__(self, seed):
        self.seed, self.generator = seed, MLP(2, 2).initialise(seed)
        self.discriminator = MLP(2, 1).initialise(seed + 1000)

    def step(self, k, descend):
        z = noise.normal(self.seed, "z", k, np.arange(M), (2,))
        self.discriminator.grad[...] = 0
        on_real = softplus(-self.discriminator(real(self.seed, k, M))).mean()
        on_generated = softplus(self.discriminator(self.sample(z))).mean()
        d_loss = (on_real + on_generated) / 2
        d_loss.backward()
        descend(self.discriminator, k)

        self.generator.grad[...] = 0  # its loss is the one that does not saturate
        g_loss = softplus(-self.discriminator(self.generator(z))).mean()
        g_loss.backward()
        descend(self.generator, k)
        return float(d_loss), float(g_loss)

    def sample(self, z):
        with no_grad():
            return self.generator(z).data


@primitive
def softplus(x):
    """log(1 + eˣ). So −log sigmoid(x) is softplus(−x)."""
    return np.logaddexp(np.zeros_like(x), x), lambda g: (g * sigmoid_of(x),)


class VAE:
    """Kingma & Welling 2014. The loss is their bound times 2·WIDTH², to have the scale of J."""

    losses = ("bound",)

    def __init__(self, seed):
        self.seed, self.encoder = seed, MLP(2, 4).initialise(seed)
        self.decoder = MLP(2, 2).initialise(seed + 1000)

    def step(self, k, descend):
        x = real(self.seed, k, M)
        eps = noise.normal(self.seed, "z", k, np.arange(M), (2,))
        self.encoder.grad[...] = 0
        self.decoder.grad[...] = 0
        h = self.encoder(x)
        mean, log_variance = h[:, :2], h[:, 2:]
        x_hat = self.decoder(mean + exp(0.5 * log_variance) * eps)
        kl = 0.5 * (ops.square(mean) + exp(log_variance) - log_variance - 1).sum(axis=1)
        loss = (ops.square(x_hat - x).sum(axis=1) + 2 * WIDTH**2 * kl).mean()
        loss.backward()
        descend(self.encoder, k)
        descend(self.decoder, k)
        return (float(loss),)

    def sample(self, z):
        blur = noise.normal(self.seed, "decoded", 0, np.arange(len(z)), (2,))
        with no_grad():
            return self.decoder(z).data + WIDTH * blur


def plain(net, beta, k):
    net.theta -= beta * net.grad


UPDATES = {"plain": lambda: plain, "measured": lambda: Measured(WARMUP), "Adam": Adam}
MODELS = {"DDPM": DDPM, "GAN": GAN, "VAE": VAE}

# ---- the runs ------------------------------------------------------------------------------------


def run(name, method, rate, seed, budgets, n):
    """Train one model. At each budget sample n points, and count the modes that they cover."""
    model, losses, updates = MODELS[name](seed), [], defaultdict(UPDATES[method])

    def descend(net, k):  # each network of a model has an update of its own
        updates[net](net, rate * min(1, k / WARMUP), k)

    z, seconds = noise.normal(0, "example: z", 0, np.arange(n), (2,)), 0.0
    r = SimpleNamespace(name=name, method=method, rate=rate, verdicts=[], diverges=False)
    with np.errstate(all="ignore"):
        for budget in budgets:
            start = time.process_time()
            while len(losses) < budget and not r.diverges:
                losses.append(model.step(len(losses) + 1, descend))
                r.diverges = not np.isfinite(losses[-1]).all()
            seconds += time.process_time() - start
            look(r, model.sample(z))
    r.losses, r.ms, r.fails = np.array(losses), 1000 * seconds / len(losses), not r.fine
    return r


def look(r, points):
    """Note the modes that the points cover, and whether the run is "fine", "late" or "broken"."""
    near = np.linalg.norm(points[:, None] - CENTRES, axis=2) < 4 * WIDTH  # (n, modes)
    r.points, r.near = points, float(near.any(axis=1).mean())  # the fraction of points near a mode
    r.modes = int((near.mean(axis=0) > 0.02).sum())  # 2 % of the points cover a mode
    r.fine = r.modes == 8 and not r.diverges
    broken = r.diverges or "fine" in r.verdicts
    r.verdicts.append("fine" if r.fine else "broken" if broken else "late")


def smooth(losses):
    """The mean of every 25 steps."""
    return np.convolve(losses, np.ones(25) / 25, "valid")


def swing(r):
    """The range of the first loss, smoothed, over its mean. The first sixth does not count."""
    late = smooth(r.losses[len(r.losses) // 6 :, 0])
    return float((late.max() - late.min()) / late.mean())


def report(runs, size):
    print("How many runs are late + broken after this number of steps:")
    print("                    " + "".join(f"{budget:9,}" for budget in size.budgets))
    for method, name in product([*size.rates, "all"], MODELS):
        own = [r for r in runs if r.name == name and method in (r.method, "all")]
        looks = zip(*(r.verdicts for r in own))
        cells = [f"{look.count('late')} + {look.count('broken')}" for look in looks]
        print(f"{method:9}{name:5}of {len(own):2}" + "".join(f"{cell:>9}" for cell in cells))
    print(f"Points near a mode at the end; a thin ring without gaps has {RING:.2f} of them there:")
    print("       worst  median  best  fine, above the ring  ms a step  the loss moves by (median)")
    for name in MODELS:
        own = [r for r in runs if r.name == name]
        worst, median, best = np.quantile([r.near for r in own], (0, 0.5, 1))
        better = sum(r.fine and r.near > RING for r in own)  # a GAN may be at one mode alone
        percent = np.median([100 * swing(r) for r in own if not r.diverges])
        print(f"{name:4}{worst:8.2f}{median:8.2f}{best:6.2f}{better:22}", end="")
        print(f"{np.median([r.ms for r in own]):11.1f}{percent:17.0f} %")


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, runs, size):
    """How many fail, by steps and by time; then losses, and points, of each model."""
    figure = Figure(figsize=(12.5, 11.4), dpi=100)
    grid = figure.subplots(3, 3)
    figure.subplots_adjust(left=0.04, right=0.99, top=0.96, bottom=0.03, wspace=0.14, hspace=0.22)
    grid[0, 2].set_axis_off()
    for column, name, colour in zip(grid[1:].T, MODELS, (BLUE, ORANGE, PURPLE)):
        own = sorted((r for r in runs if r.name == name), key=lambda r: (-r.modes, -r.near))
        for axes, unit, scale in zip(grid[0], ("steps", "seconds"), (1, own[0].ms / 1000)):
            draw_failures(axes, own, scale * np.array(size.budgets), colour)
            axes.set_title(f"runs of {len(own)} that fail, by {unit}", loc="left", color=INK)
        draw_losses(column[0], own[0])
        draw_points(column[1], own[len(own) // 2])
    save_figure(figure, path)


def draw_failures(axes, own, x, colour):
    looks = np.array([r.verdicts for r in own])
    axes.plot(x, (looks != "fine").sum(axis=0), "o-", color=colour, label=own[0].name)
    axes.plot(x, (looks == "broken").sum(axis=0), "--", color=colour, label="   break")
    axes.set(ylim=(-0.5, len(own) + 0.5))
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)


def draw_losses(axes, r):
    for name, losses, colour in zip(MODELS[r.name].losses, r.losses.T, (BLUE, ORANGE)):
        axes.plot(smooth(losses), color=colour, linewidth=0.8, label=name)
    axes.set_title(f"best run of the {r.name}: {r.method}, β = {r.rate:g}", loc="left", color=INK)
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)


def draw_points(axes, r):
    axes.scatter(*CENTRES.T, s=260, color="none", edgecolors=GREY, linewidths=0.7)
    axes.scatter(*r.points.T, s=2, color=RED if r.fails else PURPLE, linewidths=0)
    axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])
    axes.set_title(f"median run: {r.method}, {r.near:.2f} near a mode", loc="left", color=INK)


def main(arguments=None):
    """Return all runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few runs, few steps")
    parser.add_argument("--out", type=Path, default=Path("."), help="the picture's folder [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    todo = [
        (name, method, rate, seed, size.budgets, size.samples)
        for name, method, seed in product(MODELS, size.rates, range(size.seeds))
        for rate in size.rates[method]
    ]
    with ProcessPoolExecutor(initializer=threadpool_limits, initargs=(1, "blas")) as pool:
        runs = list((map if options.quick else pool.map)(run, *zip(*todo)))

    report(runs, size)
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "ddpm_and_gan.png", runs, size)
    print(f"The picture is in {options.out / 'ddpm_and_gan.png'}.")
    return runs


if __name__ == "__main__":
    main()
