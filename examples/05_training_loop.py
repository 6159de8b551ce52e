"""What does it take to train a diffusion model? The lecture's algorithm on one page, then samples.

    python examples/05_training_loop.py             # two minutes
    python examples/05_training_loop.py --quick     # seconds: it only begins to learn

    repeat until convergence:
        draw clean images x_0, and for each t uniformly from {1..T} and noise ε from N(0, I)
        x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε
        x̂_0 = U-Net(x_t, t)
        J = ‖x̂_0 − x_0‖²
        θ ← θ − β ∇_θ J

All that is diffusion stands here. Backpropagation, layers, digits and drawing are imported.
"""

import numpy as np

from autograd import ops
from tinyddpm import data, fast
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.pictures import by_hand

T = 1000
noise_variance = np.concatenate([[0], np.linspace(1e-4, 0.02, T)])  # the literature's β_t, t = 0..T
alpha_bar = np.cumprod(1 - noise_variance)  # ᾱ_t: what remains of the image's variance


def q_sample(x0, t, eps):
    of_x0, of_eps = np.float32(np.sqrt([alpha_bar[t], 1 - alpha_bar[t]]))[..., None, None, None]
    return of_x0 * x0 + of_eps * eps


def training_step(unet, x0, t, eps, beta):
    """One step of gradient descent, in place. Returns J."""
    x0_hat = unet(q_sample(x0, t, eps), t)
    J = ops.square(x0_hat - x0).mean()  # the lecture's sum, divided by the number of values
    unet.grad[...] = 0
    J.backward()  # ∇_θ J, all of it in one vector
    unet.theta -= beta * unet.grad
    return float(J)


def train(unet, images, held_out, rng, steps=2500, M=64, beta=1.0, warmup=200, every=100):
    """Train until J on held-out images, with the same t and ε each time, no longer falls."""
    average = UNet(unet.config).initialise(seed=0)  # the same network, with an average of θ (EMA)
    x0 = np.repeat(held_out, 5, axis=0)
    t = 1 + np.arange(len(x0)) * 389 % T  # covers {1..T} evenly: 389 and T have no common factor
    xt = q_sample(x0, t, rng.standard_normal(x0.shape, np.float32))
    J, held_out_J = [], []
    for k in range(1, steps + 1):
        x0_batch, t_batch = images[rng.integers(len(images), size=M)], rng.integers(1, T + 1, M)
        eps = rng.standard_normal(x0_batch.shape, np.float32)
        J.append(training_step(unet, x0_batch, t_batch, eps, beta * min(1, k / warmup)))
        average.theta += max(0.005, 10 / (k + 9)) * (unet.theta - average.theta)
        if k % every == 0:
            held_out_J.append(float(np.square(average.denoise(xt, t) - x0).mean()))
            print(f"step {k}: held-out J {held_out_J[-1]:.4f}")
            if k > 5 * every and min(held_out_J[-5:]) > 0.995 * min(held_out_J[:-5]):
                break  # converged: in five evaluations it has not fallen by 0.5 %
    return average, J, held_out_J


def sample(unet, n, rng):
    """The chain backwards: from noise, draw x_{t−1} as if x̂_0 were x_0. Yields (t, x_t)."""
    xt = rng.standard_normal((n, 1, 8, 8), np.float32)
    yield T, xt
    for t in range(T, 0, -1):
        x0_hat = unet.denoise(xt, np.full(n, t)).clip(-1, 1)
        a, b, before = 1 - noise_variance[t], noise_variance[t], alpha_bar[t - 1]
        # x_{t−1} has two sources: N(√before x_0, 1 − before), and x_t = √a x_{t−1} + √b ε. Bayes:
        # 1/variance = 1/(1 − before) + a/b, mean/variance = √before x_0/(1 − before) + √a x_t/b.
        mean = (np.sqrt(before) * b * x0_hat + np.sqrt(a) * (1 - before) * xt) / (1 - alpha_bar[t])
        variance = b * (1 - before) / (1 - alpha_bar[t])  # 0 at t = 1
        xt = (mean + np.sqrt(variance) * rng.standard_normal(xt.shape)).astype(np.float32)
        yield t - 1, xt


def main(arguments=None):
    options = by_hand.options(__doc__, "training_loop.png", arguments)
    rng, quick = np.random.default_rng(0), options.quick
    images = [part.images for part in data.split(data.digits())]  # to train on, and held out
    unet = UNet(UNetConfig(blocks=1, base=8 if quick else 16)).initialise(seed=0)
    short = {"steps": 100, "M": 32, "beta": 0.3, "warmup": 30, "every": 25}
    average, *J = train(unet, *images, rng, **(short if quick else {}))
    return by_hand.report(options.out, *J, sample(average, 10 if quick else 100, rng), *images)


if __name__ == "__main__":
    fast.enable()  # the same layers, written for speed: without it, this only takes longer
    main()
