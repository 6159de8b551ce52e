"""What does it take to train a diffusion model? This page, and nothing else: the lecture's algorithm, then samples.

    python examples/05_training_loop.py             # two minutes
    python examples/05_training_loop.py --quick     # seconds: it only begins to learn

    repeat until convergence:
        draw a mini-batch of clean images x_0
        for each, draw t uniformly from {1..T} and noise ε from N(0, I)
        x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε
        x̂_0 = U-Net(x_t, t)
        J = ‖x̂_0 − x_0‖²
        θ ← θ − β ∇_θ J

Everything that is diffusion stands here in NumPy. What is imported: backpropagation (`autograd`), the layers of the U-Net, and the digits.
The picture shows J on the way down, the samples while they come out of noise, and real digits to compare them with.
"""
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from autograd import ops
from tinyddpm import data
from tinyddpm.pictures.images import image_grid
from tinyddpm.pictures.plots import BLUE, GREY, INK, RED, save_figure, tidy
from tinyddpm.nn import UNet, UNetConfig

# ---- the forward process: how much noise at which t ----------------------------------------------

T = 1000
noise_variance = np.concatenate([[0], np.linspace(1e-4, 0.02, T)])  # the literature's β_t, t = 1..T; entry 0 is the clean image
alpha_bar = np.cumprod(1 - noise_variance)                         # ᾱ_t: what remains of the image's variance


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
    J = ops.square(x0_hat - x0).mean()  # the sum of the lecture, divided by the number of values: only β has to know
    unet.grad[...] = 0
    J.backward()                        # ∇_θ J, all of it in one vector
    unet.theta -= beta * unet.grad
    return float(J)


def train(unet, images, held_out, rng, steps, batch_size=64, beta=1.4, warmup=300, look=100, patience=5):
    """Train until held-out J no longer falls, or for `steps` steps. Returns every step's J, [(k, held-out J)], and whether it converged.

    J of a mini-batch jumps about with its t's, so it cannot tell convergence. The same images, t and ε, looked at again and again, can:
    it has converged when `patience` looks in a row found J not even 1 % lower than before.
    """
    x0 = np.repeat(held_out, 5, axis=0)
    t = 1 + np.arange(len(x0)) * 389 % T  # 389 and 1000 have no common factor: these are spread evenly over {1..T}
    xt = q_sample(x0, t, rng.standard_normal(x0.shape, np.float32))

    J, looks, lowest, waited = [], [], np.inf, 0
    for k in range(1, steps + 1):
        x0_batch = images[rng.integers(len(images), size=batch_size)]
        t_batch = rng.integers(1, T + 1, size=batch_size)
        eps = rng.standard_normal(x0_batch.shape, np.float32)
        J.append(training_step(unet, x0_batch, t_batch, eps, beta * min(1, k / warmup)))  # the first steps are small: ∇J is steep there
        if k % look == 0 or k == steps:
            looks.append((k, float(np.square(unet.denoise(xt, t) - x0).mean())))
            print(f"step {k}: held-out J {looks[-1][1]:.4f}")
            if looks[-1][1] < 0.99 * lowest:
                lowest, waited = looks[-1][1], 0
            else:
                waited += 1
            if waited == patience:
                return J, looks, True
    return J, looks, False


# ---- sampling: the same chain backwards ----------------------------------------------------------


def sample(unet, n, rng):
    """Start from noise; at each t ask the U-Net for x̂_0, and draw x_{t−1} as if it were right. Yields (t, x_t)."""
    xt = rng.standard_normal((n, 1, 8, 8), np.float32)
    yield T, xt
    for t in range(T, 0, -1):
        x0_hat = unet.denoise(xt, np.full(n, t)).clip(-1, 1)
        before, now = alpha_bar[t - 1], alpha_bar[t]
        # q(x_{t−1} | x_t, x_0) is normal (Ho et al. 2020, equation 7): a mean between x_0 and x_t, and this variance, 0 at t = 1
        mean = np.sqrt(before) * noise_variance[t] / (1 - now) * x0_hat + np.sqrt(1 - noise_variance[t]) * (1 - before) / (1 - now) * xt
        variance = noise_variance[t] * (1 - before) / (1 - now)
        xt = (mean + np.sqrt(variance) * rng.standard_normal(xt.shape)).astype(np.float32)
        yield t - 1, xt


def distance_to_real(images, real):
    """How far each image is from the nearest real one (RMS of a pixel), averaged."""
    return float(np.mean([np.sqrt(np.square(real - x).mean(axis=(1, 2, 3)).min()) for x in images]))


# ---- and what comes of it ------------------------------------------------------------------------


def draw(path, J, looks, mean_J, chain, real):
    figure = Figure(figsize=(11, 5), dpi=110)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    axes = top.subplots()
    top.subplots_adjust(left=0.07, right=0.97, top=0.9, bottom=0.18)
    axes.plot(range(1, len(J) + 1), J, color=BLUE, alpha=0.3, linewidth=0.7, label="J of each mini-batch")
    axes.plot(*zip(*looks), color=RED, linewidth=2, marker="o", markersize=3, label="J on held-out digits")
    axes.axhline(mean_J, color=GREY, linewidth=1.2, dashes=(5, 3), label="predict the mean digit")
    axes.set(xlabel="step k", xlim=(0, len(J)), ylim=(0.15, 0.5))
    axes.set_title("The objective on the way down", loc="left", color=INK, fontsize=12, fontweight="bold")
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)
    for axes, (title, images) in zip(bottom.subplots(1, len(chain) + 1), [*((f"$x_t$, t = {t}", xt) for t, xt in chain), ("real digits", real)]):
        axes.imshow(image_grid(images, columns=5), cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=11, color=RED if title.endswith("= 0") else INK)
        axes.set_axis_off()
    bottom.subplots_adjust(left=0.02, right=0.98, top=0.9, bottom=0.02, wspace=0.06)
    save_figure(figure, path)


def main(arguments=None):
    """Returns what was found: the mini-batches' J, the looks at held-out J, predict-the-mean's, and the distance to real digits of noise and samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller U-Net and few steps")
    parser.add_argument("--out", type=Path, default=Path("training_loop.png"), help="where the picture goes [training_loop.png]")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    digits, held_out = (part.images for part in data.split(data.digits()))  # float32 (n, 1, 8, 8) in [−1, 1]
    config = UNetConfig(image=(1, 8, 8), blocks=1, **({"base": 8, "groups": 4} if options.quick else {}))
    unet = UNet(config).initialise(seed=0)
    print(f"A U-Net of {unet.theta.size:,} parameters, {len(digits)} digits to train on, {len(held_out)} held out.")

    if options.quick:
        J, looks, converged = train(unet, digits, held_out[:60], rng, steps=100, batch_size=32, beta=0.3, warmup=30, look=25)
    else:
        J, looks, converged = train(unet, digits, held_out, rng, steps=2000)
    mean_J = float(np.square(held_out - digits.mean(axis=0)).mean())
    print(f"{'Converged' if converged else 'Not converged yet, but stopped,'} at step {len(J)}. "
          f"Held-out J is {looks[-1][1] / mean_J:.3f} of what predicting the mean digit scores.")

    shown = (T, 600, 300, 100, 0)
    chain = [(t, xt) for t, xt in sample(unet, 10 if options.quick else 25, rng) if t in shown]
    noise, samples = chain[0][1], chain[-1][1]
    found = {"J": J, "looks": looks, "mean_J": mean_J, "converged": converged,
             "spread": float(samples.std(axis=0).mean()), "real_spread": float(digits.std(axis=0).mean()),  # 0: all are the same
             **{name: distance_to_real(x, digits) for name, x in {"noise": noise.clip(-1, 1), "drawn": samples, "real": held_out}.items()}}
    print(f"The nearest training digit is {found['noise']:.2f} away from noise, {found['drawn']:.2f} from a sample, "
          f"{found['real']:.2f} from a real digit that was held out (RMS of a pixel). "
          f"A pixel's standard deviation is {found['spread']:.2f} among the samples, {found['real_spread']:.2f} among real digits.")
    draw(options.out, J, looks, mean_J, chain, digits[:len(samples)])
    print(f"The picture is {options.out}.")
    return found


if __name__ == "__main__":
    from tinyddpm import fast
    fast.enable()  # the same layers, written for speed instead of reading (docs/speed.md); without this line all is the same, only slower
    main()
