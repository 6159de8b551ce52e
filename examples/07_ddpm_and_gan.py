"""Is the training of a DDPM really more stable than that of a GAN? Both on the same points, and a VAE beside them. (Question 4.)

    python examples/07_ddpm_and_gan.py            # about two minutes on two cores
    python examples/07_ddpm_and_gan.py --quick    # seconds

The data are eight small clouds on a ring, the usual test of whether a generator finds all modes (Metz et al. 2017, "Unrolled generative
adversarial networks"). The three models are networks of about as many numbers, of the same layers, on the same engine; each is trained
for as many steps with every step size, by plain gradient descent and by Adam (Kingma & Ba 2015), which is what GANs are
usually trained with, from several seeds. Nothing is tuned for one of them alone, and nothing that was invented to make GANs
stable is used. A run fails if it breaks or misses a mode. (It was first to fail also with less than half of its points near a mode. That
was too much to ask in so few steps: 50 of 54 runs of 3,000 steps failed by it. So that share is told beside, best and worst.)
"""
import argparse
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
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy
from tinyddpm.more.points import PointNet
from tinyddpm.nn.linear import Linear
from tinyddpm.nn.module import Module
from tinyddpm.sampler import ddim
from tinyddpm.train import gradient

RATES = {"SGD": (0.03, 0.1, 0.3), "Adam": (3e-4, 1e-3, 3e-3)}
FULL = SimpleNamespace(steps=2500, seeds=3, rates=RATES, samples=1000)
QUICK = SimpleNamespace(steps=500, seeds=2, rates={"Adam": (3e-3,)}, samples=400)
LINEAR = schedule.linear(1000)
M = 128
WIDTH = 0.04  # the standard deviation of each cloud
CENTRES = 0.8 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1).astype(np.float32)


def real(seed, k, n):
    """n points of the eight clouds: (n, 2)."""
    index = np.arange(n)
    return CENTRES[noise.integers(seed, "cloud", k, index, 8)] + WIDTH * noise.normal(seed, "in the cloud", k, index, (2,))


# ---- three models: each trains, yields its losses at every step, and can be sampled from ---------


class MLP(Module):
    """(N, inputs) -> (N, outputs)."""

    def __init__(self, inputs, outputs, width=90):
        self.layers = [Linear(inputs, width), Linear(width, width), Linear(width, outputs)]

    def forward(self, x):
        first, *others = self.layers
        h = first(x)
        for layer in others:
            h = layer(ops.silu(h))
        return h


class DDPM:
    losses = "J",

    def __init__(self, seed):
        self.seed, self.net = seed, PointNet(width=64, layers=2).initialise(seed)

    def step(self, k, descend):
        m = np.arange(M)
        t, eps = 1 + noise.integers(self.seed, "t", k, m, LINEAR.T), noise.normal(self.seed, "eps", k, m, (2, 1, 1))
        self.net.grad[...] = 0
        J, _ = gradient(self.net, LINEAR, real(self.seed, k, M)[:, :, None, None], t, eps)
        descend(self.net)
        return float(J),

    def sample(self, z):
        *_, (_, x, _) = ddim(self.net.denoise, LINEAR, z[:, :, None, None], steps=50, clip=None)
        return x[:, :, 0, 0]


class GAN:
    """Goodfellow et al. 2014, with the generator's loss that does not saturate: both losses are log 2 = 0.69 where the two are in balance."""
    losses = "discriminator", "generator"

    def __init__(self, seed):
        self.seed, self.generator, self.discriminator = seed, MLP(2, 2).initialise(seed), MLP(2, 1).initialise(seed + 1000)

    def step(self, k, descend):
        z = noise.normal(self.seed, "z", k, np.arange(M), (2,))
        self.discriminator.grad[...] = 0
        d_loss = (softplus(-self.discriminator(real(self.seed, k, M))).mean() + softplus(self.discriminator(self.sample(z))).mean()) / 2
        d_loss.backward()
        descend(self.discriminator)
        self.generator.grad[...] = 0
        g_loss = softplus(-self.discriminator(self.generator(z))).mean()
        g_loss.backward()
        descend(self.generator)
        return float(d_loss), float(g_loss)

    def sample(self, z):
        with no_grad():
            return self.generator(z).data


@primitive
def softplus(x):
    """log(1 + eˣ): −log sigmoid(x) is softplus(−x)."""
    return np.logaddexp(np.zeros_like(x), x), lambda g: (g * sigmoid_of(x),)


class VAE:
    """Kingma & Welling 2014. Its bound times 2·WIDTH², so that what is left of the error has the scale of J."""
    losses = "bound",

    def __init__(self, seed):
        self.seed, self.encoder, self.decoder = seed, MLP(2, 4).initialise(seed), MLP(2, 2).initialise(seed + 1000)

    def step(self, k, descend):
        x, eps = real(self.seed, k, M), noise.normal(self.seed, "z", k, np.arange(M), (2,))
        for net in (self.encoder, self.decoder):
            net.grad[...] = 0
        h = self.encoder(x)
        mean, log_variance = h[:, :2], h[:, 2:]
        x_hat = self.decoder(mean + exp(0.5 * log_variance) * eps)
        kl = 0.5 * (ops.square(mean) + exp(log_variance) - log_variance - 1).sum(axis=1)
        loss = (ops.square(x_hat - x).sum(axis=1) + 2 * WIDTH**2 * kl).mean()
        loss.backward()
        for net in (self.encoder, self.decoder):
            descend(net)
        return float(loss),

    def sample(self, z):
        with no_grad():
            return self.decoder(z).data + WIDTH * noise.normal(self.seed, "decoded", 0, np.arange(len(z)), (2,))


MODELS = {"DDPM": DDPM, "GAN": GAN, "VAE": VAE}


class SGD:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, net):
        net.theta -= self.rate * net.grad


class Adam:
    def __init__(self, rate):
        self.rate, self.of = rate, {}

    def __call__(self, net, decay1=0.9, decay2=0.999):
        k, mean, square = self.of.get(net, (0, 0 * net.theta, 0 * net.theta))
        k, mean, square = k + 1, decay1 * mean + (1 - decay1) * net.grad, decay2 * square + (1 - decay2) * net.grad**2
        self.of[net] = k, mean, square
        net.theta -= self.rate * mean / (1 - decay1**k) / (np.sqrt(square / (1 - decay2**k)) + 1e-8)


# ---- the runs ------------------------------------------------------------------------------------


def run(name, method, rate, seed, steps, n):
    """One training: its losses (steps, ·), points that it makes (n, 2), how many modes they cover, and the share that lie near one."""
    model, descend, losses = MODELS[name](seed), {"SGD": SGD, "Adam": Adam}[method](rate), []
    with np.errstate(all="ignore"):
        while len(losses) < steps and (not losses or np.isfinite(losses[-1]).all()):
            losses.append(model.step(len(losses) + 1, descend))
        points = model.sample(noise.normal(0, "example: z", 0, np.arange(n), (2,)))
    apart = np.linalg.norm(points[:, None] - CENTRES, axis=2)
    near = apart < 4 * WIDTH
    modes = int((near.mean(axis=0) > 0.02).sum())  # covered: a sixth of its fair share
    share = float(near.any(axis=1).mean())
    return SimpleNamespace(name=name, method=method, rate=rate, seed=seed, losses=np.array(losses), points=points, modes=modes, near=share,
                           breaks=len(losses) < steps, fails=len(losses) < steps or modes < 8)


def smooth(losses):
    """The mean of every 25 steps."""
    return np.convolve(losses, np.ones(25) / 25, "valid")


def swing(r):
    """By how much of its mean the first of the losses goes up and down, smoothed, once a sixth of the training is over."""
    late = smooth(r.losses[len(r.losses) // 6:, 0])
    return float((late.max() - late.min()) / late.mean())


def main(arguments=None):
    """Returns all runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few runs, few steps")
    parser.add_argument("--out", type=Path, default=Path("."), help="a folder for the picture [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    todo = [(name, method, rate, seed, size.steps, size.samples)
            for method, rates in size.rates.items() for name, rate, seed in product(MODELS, rates, range(size.seeds))]
    if options.quick:
        runs = [run(*what) for what in todo]
    else:
        with ProcessPoolExecutor(initializer=threadpool_limits, initargs=(1, "blas")) as pool:  # one thread each: the processes share the cores
            runs = list(pool.map(run, *zip(*todo)))

    print(f"{size.steps} steps of {M} points. Modes covered of 8, and the share of points near one, mean of {size.seeds} seeds; how many fail:")
    for method, rates in size.rates.items():
        for name in MODELS:
            found = {rate: [r for r in runs if (r.name, r.method, r.rate) == (name, method, rate)] for rate in rates}
            print(f"   {method:4} {name:4} " + "   ".join(
                f"{rate:g}: {np.mean([r.modes for r in rs]):.1f}, {np.mean([r.near for r in rs]):.2f}, {sum(r.fails for r in rs)} fail" for rate, rs in found.items()))
    for name in MODELS:
        own = [r for r in runs if r.name == name]
        settings = [np.mean([r.near for r in own if (r.method, r.rate) == (method, rate)]) for method, rates in size.rates.items() for rate in rates]
        print(f"{name}: {sum(r.fails for r in own)} of {len(own)} runs fail ({sum(r.breaks for r in own)} break). Near a mode are {max(settings):.2f} of its points with "
              f"the best step size and {min(settings):.2f} with the worst. Where it does not break, its loss still moves by "
              f"{np.median([100 * swing(r) for r in own if not r.breaks]):.0f} % (median).")

    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "ddpm_and_gan.png", runs)
    print(f"The picture is in {options.out / 'ddpm_and_gan.png'}.")
    return runs


def draw(path, runs):
    """For each model: the losses of all seeds with what its best run had, and the points of its best, its median and its worst run."""
    figure = Figure(figsize=(12.5, 8.6), dpi=100)
    grid = figure.subplots(3, 4, width_ratios=(1.7, 1, 1, 1))
    figure.subplots_adjust(left=0.05, right=0.99, top=0.95, bottom=0.05, wspace=0.16, hspace=0.28)
    for (curves, *places), name in zip(grid, MODELS):
        own = sorted((r for r in runs if r.name == name), key=lambda r: (-r.modes, -r.near))
        for r in own:
            if (r.method, r.rate) == (own[0].method, own[0].rate):
                for column, colour, label in zip(r.losses.T, (BLUE, ORANGE), MODELS[name].losses):
                    curves.plot(smooth(column), color=colour, linewidth=0.8, label=label if r is own[0] else None)
        curves.set_title(f"{name}: {own[0].method} {own[0].rate:g}, every seed", loc="left", color=INK)
        curves.legend(frameon=False, labelcolor="linecolor")
        tidy(curves)
        for axes, r, which in zip(places, (own[0], own[len(own) // 2], own[-1]), ("best", "median", "worst")):
            axes.scatter(*CENTRES.T, s=260, color="none", edgecolors=GREY, linewidths=0.7)
            axes.scatter(*r.points.T, s=2, color=RED if r.fails else PURPLE, linewidths=0)
            axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])
            axes.set_title(f"{which}: {r.method} {r.rate:g}, {r.modes} modes{', fails' * r.fails}", loc="left", color=INK, fontsize=9)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
