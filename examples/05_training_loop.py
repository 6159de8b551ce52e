"""What does it take to train a diffusion model? The lecture's algorithm on one page, then samples.

    python examples/05_training_loop.py             # two minutes
    python examples/05_training_loop.py --quick     # seconds: it only begins to learn

    repeat until convergence:
        draw a mini-batch of clean images x_0
        for each, draw t uniformly from {1..T} and noise ε from N(0, I)
        x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε
        x̂_0 = U-Net(x_t, t)
        J = ‖x̂_0 − x_0‖²
        θ ← θ − β ∇_θ J

Everything that is diffusion stands on this page, in NumPy. We import backpropagation (`autograd`),
the layers of the U-Net, and the digits. The picture shows J on the way down, samples as they emerge
from noise, and real digits to compare them with.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from autograd import ops
from tinyddpm import data
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.pictures.images import image_grid
from tinyddpm.pictures.plots import BLUE, GREY, INK, RED, save_figure, tidy

# ---- the forward process: how much noise at which t ----------------------------------------------

# Tables for t = 0..T; entry 0 is the clean image. ᾱ_t is what remains of the image's variance.
T = 1000
noise_variance = np.concatenate([[0], np.linspace(1e-4, 0.02, T)])  # the literature's β_t
alpha_bar = np.cumprod(1 - noise_variance)  # ᾱ_t


def per_image(table, t):
    """table[t] for each image, ready to multiply a batch (M, 1, 8, 8)."""
    return table[t].astype(np.float32)[:, None, None, None]


def q_sample(x0, t, eps):
    return per_image(np.sqrt(alpha_bar), t) * x0 + per_image(np.sqrt(1 - alpha_bar), t) * eps


# ---- training ------------------------------------------------------------------------------------


def training_step(unet, x0, t, eps, beta):
    """One step of gradient descent, in place. Returns J."""
    xt = q_sample(x0, t, eps)
    x0_hat = unet(xt, t)
    J = ops.square(x0_hat - x0).mean()  # the lecture's sum, divided by the number of values
    unet.grad[...] = 0
    J.backward()  # ∇_θ J, all of it in one vector
    unet.theta -= beta * unet.grad
    return float(J)


def train(
    unet,
    images,
    held_out,
    rng,
    steps,
    batch_size=64,
    beta=1.4,
    warmup=300,
    every=100,
    patience=5,
):
    """Train until held-out J no longer falls, or for `steps` steps.

    A mini-batch's J jumps about with its t, so it cannot tell convergence. J on the same held-out
    images, t and ε can. Training has converged when J fails to fall by 1 % in `patience`
    evaluations in a row.

    Returns the J of every step, the evaluations [(k, held-out J)], and whether training converged.
    """
    x0 = np.repeat(held_out, 5, axis=0)
    t = 1 + np.arange(len(x0)) * 389 % T  # 389 and T have no common factor: t covers {1..T} evenly
    xt = q_sample(x0, t, rng.standard_normal(x0.shape, np.float32))

    J, evaluations = [], []
    lowest, waited = np.inf, 0
    for k in range(1, steps + 1):
        x0_batch = images[rng.integers(len(images), size=batch_size)]
        t_batch = rng.integers(1, T + 1, size=batch_size)
        eps = rng.standard_normal(x0_batch.shape, np.float32)
        step_size = beta * min(1, k / warmup)  # the first steps are small: ∇J is steep there
        J.append(training_step(unet, x0_batch, t_batch, eps, step_size))

        if k % every == 0 or k == steps:
            held_out_J = float(np.square(unet.denoise(xt, t) - x0).mean())
            evaluations.append((k, held_out_J))
            print(f"step {k}: held-out J {held_out_J:.4f}")
            if held_out_J < 0.99 * lowest:
                lowest, waited = held_out_J, 0
            else:
                waited += 1
            if waited == patience:
                return J, evaluations, True
    return J, evaluations, False


# ---- sampling: the same chain backwards ----------------------------------------------------------


def posterior(t, x0_hat, xt):
    """Mean and variance of x_{t−1}, given x_t and x_0 (Ho et al. 2020, equation 7)."""
    before, now = alpha_bar[t - 1], alpha_bar[t]
    of_x0 = np.sqrt(before) * noise_variance[t] / (1 - now)
    of_xt = np.sqrt(1 - noise_variance[t]) * (1 - before) / (1 - now)
    variance = noise_variance[t] * (1 - before) / (1 - now)  # 0 at t = 1
    return of_x0 * x0_hat + of_xt * xt, variance


def sample(unet, n, rng):
    """Start from noise; at each t predict x̂_0 and draw x_{t−1} as if it were x_0.

    Yields (t, x_t), the last with t = 0: the images.
    """
    xt = rng.standard_normal((n, 1, 8, 8), np.float32)
    yield T, xt
    for t in range(T, 0, -1):
        x0_hat = unet.denoise(xt, np.full(n, t)).clip(-1, 1)
        mean, variance = posterior(t, x0_hat, xt)
        xt = mean + np.sqrt(variance) * rng.standard_normal(xt.shape)
        xt = xt.astype(np.float32)
        yield t - 1, xt


def distance_to_real(images, real):
    """The distance of an image from the nearest real one (RMS over pixels), averaged."""
    nearest = [np.sqrt(np.square(real - x).mean(axis=(1, 2, 3)).min()) for x in images]
    return float(np.mean(nearest))


def judge(noise, samples, held_out, digits):
    """Compare samples with noise and with real digits, held out ones and those to train on."""
    found = {
        "noise": distance_to_real(noise, digits),
        "samples": distance_to_real(samples, digits),
        "real": distance_to_real(held_out, digits),
        "spread": float(samples.std(axis=0).mean()),  # 0 if all samples are the same
        "real_spread": float(digits.std(axis=0).mean()),
    }
    print("Distance to the nearest training digit (RMS over pixels):")
    print("   noise {noise:.2f}, samples {samples:.2f}, held-out {real:.2f}".format(**found))
    print("Standard deviation of a pixel:")
    print("   samples {spread:.2f}, real digits {real_spread:.2f}".format(**found))
    return found


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, J, evaluations, mean_J, chain, real):
    figure = Figure(figsize=(11, 5), dpi=110)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    draw_curves(top, J, evaluations, mean_J)
    draw_chain(bottom, chain, real)
    save_figure(figure, path)


def draw_curves(figure, J, evaluations, mean_J):
    axes = figure.subplots()
    figure.subplots_adjust(left=0.07, right=0.97, top=0.9, bottom=0.18)
    k = range(1, len(J) + 1)
    axes.plot(k, J, color=BLUE, alpha=0.3, linewidth=0.7, label="J of each mini-batch")
    style = {"color": RED, "linewidth": 2, "marker": "o", "markersize": 3}
    axes.plot(*zip(*evaluations), label="J on held-out digits", **style)
    axes.axhline(mean_J, color=GREY, linewidth=1.2, dashes=(5, 3), label="predict the mean digit")
    axes.set(xlabel="step k", xlim=(0, len(J)), ylim=(0.15, 0.5))
    title = "The objective on the way down"
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)


def draw_chain(figure, chain, real):
    grids = [(f"$x_t$, t = {t}", xt, RED if t == 0 else INK) for t, xt in chain]
    grids.append(("real digits", real, INK))
    for axes, (title, images, colour) in zip(figure.subplots(1, len(grids)), grids):
        axes.imshow(image_grid(images, columns=5), cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=11, color=colour)
        axes.set_axis_off()
    figure.subplots_adjust(left=0.02, right=0.98, top=0.9, bottom=0.02, wspace=0.06)


def main(arguments=None):
    """Train, sample, and return what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller U-Net and few steps")
    parser.add_argument(
        "--out", type=Path, default=Path("training_loop.png"), help="the picture's path"
    )
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    training_set, held_out = data.split(data.digits())
    digits, held_out = training_set.images, held_out.images  # float32 (n, 1, 8, 8) in [−1, 1]
    size = {"base": 8, "groups": 4} if options.quick else {}
    unet = UNet(UNetConfig(image=(1, 8, 8), blocks=1, **size)).initialise(seed=0)
    print(f"A U-Net of {unet.theta.size:,} parameters.")
    print(f"{len(digits)} digits to train on, {len(held_out)} held out.")

    if options.quick:
        quick = {"batch_size": 32, "beta": 0.3, "warmup": 30, "every": 25}
        result = train(unet, digits, held_out[:60], rng, steps=100, **quick)
    else:
        result = train(unet, digits, held_out, rng, steps=2000)
    J, evaluations, converged = result
    mean_J = float(np.square(held_out - digits.mean(axis=0)).mean())
    fraction = evaluations[-1][1] / mean_J
    print(f"{'Converged' if converged else 'Stopped before convergence'} at step {len(J)}.")
    print(f"Held-out J is {fraction:.3f} of what predicting the mean digit scores.")

    shown = (T, 600, 300, 100, 0)
    chain = [(t, xt) for t, xt in sample(unet, 10 if options.quick else 25, rng) if t in shown]
    noise, samples = chain[0][1], chain[-1][1]
    quality = judge(noise.clip(-1, 1), samples, held_out, digits)
    draw(options.out, J, evaluations, mean_J, chain, digits[: len(samples)])
    print(f"The picture is {options.out}.")
    training = {"J": J, "evaluations": evaluations, "mean_J": mean_J, "converged": converged}
    return training | quality


if __name__ == "__main__":
    from tinyddpm import fast

    # The same layers, written for speed (docs/speed.md). Without this line it only takes longer.
    fast.enable()
    main()
