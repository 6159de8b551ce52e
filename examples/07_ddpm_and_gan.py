"""Is the training of a DDPM more stable than that of a GAN? (The lecture's question 4.)

    python examples/07_ddpm_and_gan.py            # about two minutes on two cores
    python examples/07_ddpm_and_gan.py --quick    # seconds

We train a DDPM, a GAN and a VAE on the same points: eight small clouds on a ring, the usual test of
whether a generator finds all modes (Metz et al. 2017, "Unrolled generative adversarial networks").
The three have the same engine, the same layers and about as many parameters. Each trains from
several seeds, with every step size, by plain gradient descent and by Adam, the usual choice for
GANs. We tune nothing for one of them alone, and use no method invented to make GANs stable.

A run fails if it diverges or misses a mode. (At first it also failed with less than half of its
points near a mode, and nearly all runs did. That was too much to ask in so few steps, so we only
print this fraction, for the best and the worst step size.)
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
from tinyddpm.more.points import PointNet
from tinyddpm.more.solvers import ddim
from tinyddpm.nn.linear import Linear
from tinyddpm.nn.module import Module
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy
from tinyddpm.train import gradient

RATES = {"SGD": (0.03, 0.1, 0.3), "Adam": (3e-4, 1e-3, 3e-3)}
FULL = SimpleNamespace(steps=2500, seeds=3, rates=RATES, samples=1000)
QUICK = SimpleNamespace(steps=500, seeds=2, rates={"Adam": (3e-3,)}, samples=400)
LINEAR = schedule.linear(1000)
M = 128
WIDTH = 0.04  # the standard deviation of each cloud
ANGLES = np.arange(8) * np.pi / 4
CENTRES = 0.8 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)


def real(seed, k, n):
    """n points of the eight clouds: (n, 2)."""
    index = np.arange(n)
    cloud = noise.integers(seed, "cloud", k, index, 8)
    return CENTRES[cloud] + WIDTH * noise.normal(seed, "in the cloud", k, index, (2,))


# ---- three models (`step` trains, returns losses; `sample` makes points of noise), two updates ---


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
        m = np.arange(M)
        x0 = real(self.seed, k, M)[:, :, None, None]
        t = 1 + noise.integers(self.seed, "t", k, m, LINEAR.T)
        eps = noise.normal(self.seed, "eps", k, m, (2, 1, 1))
        self.net.grad[...] = 0
        J, _ = gradient(self.net, LINEAR, x0, t, eps)
        descend(self.net)
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
        descend(self.discriminator)

        self.generator.grad[...] = 0  # its loss is the one that does not saturate
        g_loss = softplus(-self.discriminator(self.generator(z))).mean()
        g_loss.backward()
        descend(self.generator)
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
        descend(self.encoder)
        descend(self.decoder)
        return (float(loss),)

    def sample(self, z):
        blur = noise.normal(self.seed, "decoded", 0, np.arange(len(z)), (2,))
        with no_grad():
            return self.decoder(z).data + WIDTH * blur


class SGD:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, net):
        net.theta -= self.rate * net.grad


class Adam:  # Kingma & Ba 2015
    def __init__(self, rate):
        self.rate, self.state = rate, {}

    def __call__(self, net, decay1=0.9, decay2=0.999):
        k, mean, square = self.state.get(net, (0, 0 * net.theta, 0 * net.theta))
        k += 1
        mean = decay1 * mean + (1 - decay1) * net.grad
        square = decay2 * square + (1 - decay2) * net.grad**2
        self.state[net] = k, mean, square
        scale = np.sqrt(square / (1 - decay2**k)) + 1e-8
        net.theta -= self.rate * mean / (1 - decay1**k) / scale


MODELS = {"DDPM": DDPM, "GAN": GAN, "VAE": VAE}
UPDATES = {"SGD": SGD, "Adam": Adam}

# ---- the runs ------------------------------------------------------------------------------------


def run(name, method, rate, seed, steps, n):
    """Train one model, sample n points, and count the modes that they cover."""
    model, descend, losses = MODELS[name](seed), UPDATES[method](rate), []
    with np.errstate(all="ignore"):
        while len(losses) < steps and (not losses or np.isfinite(losses[-1]).all()):
            losses.append(model.step(len(losses) + 1, descend))
        points = model.sample(noise.normal(0, "example: z", 0, np.arange(n), (2,)))
    near = np.linalg.norm(points[:, None] - CENTRES, axis=2) < 4 * WIDTH  # (n, modes)
    r = SimpleNamespace(name=name, method=method, rate=rate, seed=seed)
    r.losses, r.points = np.array(losses), points
    r.modes = int((near.mean(axis=0) > 0.02).sum())  # 2 % of the points cover a mode
    r.near = float(near.any(axis=1).mean())  # the fraction of points near a mode
    r.diverges = len(losses) < steps
    r.fails = r.diverges or r.modes < 8
    return r


def smooth(losses):
    """The mean of every 25 steps."""
    return np.convolve(losses, np.ones(25) / 25, "valid")


def swing(r):
    """The range of the first loss, smoothed, over its mean. The first sixth does not count."""
    late = smooth(r.losses[len(r.losses) // 6 :, 0])
    return float((late.max() - late.min()) / late.mean())


def report(runs, size):
    print(f"{size.steps} steps of {M} points. For each step size: modes covered of 8, and the")
    print(f"fraction of points near a mode (both averaged over {size.seeds} seeds); how many fail.")
    near = {name: [] for name in MODELS}  # the fraction near a mode with each step size
    for (method, rates), name in product(size.rates.items(), MODELS):
        cells = []
        for rate in rates:
            own = [r for r in runs if (r.name, r.method, r.rate) == (name, method, rate)]
            modes, fails = np.mean([r.modes for r in own]), sum(r.fails for r in own)
            near[name].append(np.mean([r.near for r in own]))
            cells.append(f"{rate:g}: {modes:.1f}, {near[name][-1]:.2f}, {fails} fail")
        print(f"   {method:4} {name:4} " + "   ".join(cells))

    for name in MODELS:
        own = [r for r in runs if r.name == name]
        fails, diverges = sum(r.fails for r in own), sum(r.diverges for r in own)
        best, worst = max(near[name]), min(near[name])
        percent = np.median([100 * swing(r) for r in own if not r.diverges])
        print(f"{name}: {fails} of {len(own)} runs fail ({diverges} diverge). The fraction near a")
        print(f"   mode is {best:.2f} with the best step size, {worst:.2f} with the worst.")
        print(f"   Where it does not diverge, its loss still moves by {percent:.0f} % (median).")


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, runs):
    """For each model: the losses with its best step size, and the points of three runs."""
    figure = Figure(figsize=(12.5, 8.6), dpi=100)
    grid = figure.subplots(3, 4, width_ratios=(1.7, 1, 1, 1))
    figure.subplots_adjust(left=0.05, right=0.99, top=0.95, bottom=0.05, wspace=0.16, hspace=0.28)
    for (curves, left, middle, right), name in zip(grid, MODELS):
        own = sorted((r for r in runs if r.name == name), key=lambda r: (-r.modes, -r.near))
        draw_losses(curves, own)
        draw_points(left, "best", own[0])
        draw_points(middle, "median", own[len(own) // 2])
        draw_points(right, "worst", own[-1])
    save_figure(figure, path)


def draw_losses(axes, own):
    """The losses of every seed with the method and step size of own[0], the best run."""
    best = own[0]
    alike = [r for r in own if (r.method, r.rate) == (best.method, best.rate)]
    for i, (name, colour) in enumerate(zip(MODELS[best.name].losses, (BLUE, ORANGE))):
        lines = [axes.plot(smooth(r.losses[:, i]), color=colour, linewidth=0.8)[0] for r in alike]
        lines[0].set_label(name)
    title = f"{best.name}: {best.method} {best.rate:g}, every seed"
    axes.set_title(title, loc="left", color=INK)
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)


def draw_points(axes, which, r):
    axes.scatter(*CENTRES.T, s=260, color="none", edgecolors=GREY, linewidths=0.7)
    axes.scatter(*r.points.T, s=2, color=RED if r.fails else PURPLE, linewidths=0)
    axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal", xticks=[], yticks=[])
    title = f"{which}: {r.method} {r.rate:g}, {r.modes} modes{', fails' if r.fails else ''}"
    axes.set_title(title, loc="left", color=INK, fontsize=9)


def main(arguments=None):
    """Return all runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few runs, few steps")
    parser.add_argument("--out", type=Path, default=Path("."), help="the picture's folder [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    todo = [
        (name, method, rate, seed, size.steps, size.samples)
        for method, rates in size.rates.items()
        for name, rate, seed in product(MODELS, rates, range(size.seeds))
    ]
    if options.quick:
        runs = [run(*what) for what in todo]
    else:  # processes share the cores, so each has one thread
        with ProcessPoolExecutor(initializer=threadpool_limits, initargs=(1, "blas")) as pool:
            runs = list(pool.map(run, *zip(*todo)))

    report(runs, size)
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "ddpm_and_gan.png", runs)
    print(f"The picture is in {options.out / 'ddpm_and_gan.png'}.")
    return runs


if __name__ == "__main__":
    main()
