"""Computes what the page "The whole thing on one page" shows: make one-page.

Nothing on that page is made up. A shipped model takes one training step, and draws images with a
chain of a few strides. This writes every image that the page can show into one sprite per model,
and every number into a script, so that the page needs no server:

    docs/_static/one_page/fashion.png     tiles of one size, numbered row by row
    docs/_static/one_page/digits.png
    docs/_static/one_page/data.js         onePage.data = {…}

It takes half a minute and needs Fashion-MNIST (`tinyddpm data fashion-mnist`), so the files are
committed. `tests/test_one_page.py` computes them again from what they say, and compares.
"""

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from autograd import no_grad
from tinyddpm import fast, noise
from tinyddpm.diffusion import posterior_coefficients, posterior_variance, q_sample
from tinyddpm.more.schedules import from_alpha_bar, spaced_grid
from tinyddpm.objective import objective
from tinyddpm.pictures.images import pixels
from tinyddpm.pictures.overhearing import kinds_of, norm, overheard, top_layers, u_shape
from tinyddpm.runs.opening import Run
from tinyddpm.sampler import ancestral
from tinyddpm.train import gradient

FOLDER = Path(__file__).parents[1] / "_static/one_page"
# The models, and the places m in the mini-batch of the images that the page shows: for them a low,
# a middle and a high t were drawn.
MODELS = {"fashion": (5, 3, 1), "digits": (0, 1, 3)}
SAMPLES, FOLLOWED = 8, 3  # images that the chain draws; those with x̂_0 and z too
STRIDES = 25  # of the chain, even in log-SNR
COLUMNS = 32  # tiles in a row of the sprite
EVERY = 25  # the page shows t = 1, 25, 50, …, T
BETAS = 61  # step sizes at which J after the step is computed


class Sprite:
    """Images of one size, each a tile with a number."""

    def __init__(self):
        self.tiles = []

    def add(self, images):
        """The number of the first of these images (n, 1, H, W) in [−1, 1]."""
        first = len(self.tiles)
        self.tiles += list(pixels(images)[..., 0])
        return first

    def save(self, path):
        side = self.tiles[0].shape[0]
        rows = -(-len(self.tiles) // COLUMNS)
        sheet = np.zeros((rows * side, COLUMNS * side), np.uint8)
        for i, tile in enumerate(self.tiles):
            y, x = i // COLUMNS * side, i % COLUMNS * side
            sheet[y : y + side, x : x + side] = tile
        Image.fromarray(sheet).save(path, optimize=True)


def described(name):
    """What the page shows of a model, and the Sprite of its images."""
    run, sprite = Run(name), Sprite()
    run.unet.bind(run.unet.theta, np.zeros_like(run.unet.theta))
    names = list(run.config.class_names) if run.config.classes else None
    kinds, shapes = kinds_of(run.unet), shapes_of(run)
    batch = mini_batch(run)
    said = {
        "side": run.config.unet.image[1],
        "T": run.schedule.T,
        "step": run.step,
        "parameters": sum(p.data.size for p in run.unet.parameters().values()),
        "classes": names,
        "layers": [[layer, kind, *shapes[layer]] for layer, kind in kinds.items()],
        "skips": [[list(kinds).index(end) for end in skip] for skip in u_shape(kinds)[1]],
        "examples": [example(run, sprite, batch, m) for m in MODELS[name]],
        "update": update(run, batch),
        "chain": chain(run, sprite),
    }
    return said, sprite


# ---- a training step -----------------------------------------------------------------------------


def mini_batch(run):
    """x_0, t, ε and class of the mini-batch that `train` would draw next."""
    training, _ = run.config.split_data(run.config.load_data()[0])
    seed, k, m = run.config.seed, run.step + 1, np.arange(run.config.batch_size)
    i = noise.integers(seed, "data", k, m, len(training.images))
    t = 1 + noise.integers(seed, "t", k, m, run.schedule.T)
    eps = noise.normal(seed, "eps", k, m, run.config.unet.image)
    return training.images[i], t, eps, training.labels[i] if run.config.classes else None


def example(run, sprite, batch, m):
    """One image of the mini-batch, at the t that was drawn for it and at others, with one ε."""
    x0, t, eps, labels = batch
    ts = sorted({1, *range(EVERY, run.schedule.T + 1, EVERY), int(t[m])})
    one, of_m = x0[m : m + 1], slice(m, m + 1)
    x0s, epss = one.repeat(len(ts), 0), eps[of_m].repeat(len(ts), 0)
    cond = None if labels is None else labels[of_m].repeat(len(ts))
    xt = q_sample(run.schedule, x0s, np.array(ts), epss)
    guess = run.unet.denoise(xt, np.array(ts), cond)
    alpha_bar = run.schedule.alpha_bar[ts]
    label = None if cond is None else cond[:1]
    gradients = [gradient_norms(run, one, np.array([t]), eps[of_m], label) for t in ts]
    return {
        "m": m,
        "label": None if labels is None else int(labels[m]),
        "t": ts,
        "drawn": ts.index(t[m]),
        "signal": rounded(np.sqrt(alpha_bar)),
        "noise": rounded(np.sqrt(1 - alpha_bar)),
        "x0": sprite.add(one),
        "eps": sprite.add(eps[of_m]),
        "xt": sprite.add(xt),
        "guess": sprite.add(guess.clip(-1, 1)),
        "J": rounded(np.square(guess - x0s).mean(axis=(1, 2, 3))),
        "apart": rounded(np.square(xt - x0s).mean(axis=(1, 2, 3))),
        "norm": [whole for whole, _ in gradients],
        "gradient": [by_layer for _, by_layer in gradients],
    }


def gradient_norms(run, x0, t, eps, cond):
    """‖∇_θ J‖ for these images, and its part in the parameters of each top layer.

    The embedding of t has parameters too, and is no top layer.
    """
    grad = run.unet.grad
    grad[...] = 0
    gradient(run.unet, run.schedule, x0, t, eps, cond=cond)
    slices = run.unet.slices()

    def part(layer):
        ours = [grad[slices[name]] for name in slices if name.startswith(f"{layer}.")]
        return math.sqrt(sum(norm(g) ** 2 for g in ours))

    return rounded([norm(grad)])[0], rounded(map(part, top_layers(run.unet)))


def update(run, batch):
    """J of the mini-batch before the step and after it, for many step sizes β."""
    (x0, t, eps, labels), unet = batch, run.unet
    unet.grad[...] = 0
    before, _ = gradient(unet, run.schedule, x0, t, eps, cond=labels)
    theta, xt = unet.theta.copy(), q_sample(run.schedule, x0, t, eps)
    beta = run.config.beta
    betas = [round(beta * i / 15, 4) for i in range(BETAS)]  # from 0 to four times the run's β
    after = []
    for step_size in betas:
        unet.theta[...] = theta - np.float32(step_size) * unet.grad
        with no_grad():
            after.append(float(objective(unet(xt, t, cond=labels), x0)[0].data))
    unet.theta[...] = theta
    return {
        "M": len(x0),
        "beta": beta,
        "betas": betas,
        "J": rounded(after, 5),
        "before": rounded([before], 5)[0],
        "norm": rounded([norm(unet.grad)])[0],
    }


# ---- the chain -----------------------------------------------------------------------------------


def chain(run, sprite):
    """The reverse chain: `ancestral` on a few of the noise levels."""
    grid, coarse, frames, z = strides(run)
    c1, c2 = posterior_coefficients(coarse)
    sigma = np.sqrt(posterior_variance(coarse))
    down = range(coarse.T, 0, -1)
    end = frames[-1][1]
    samples = []
    for i in range(SAMPLES):
        xs = np.concatenate([z(coarse.T + 1)[i : i + 1], *(xt[i : i + 1] for _, xt, _ in frames)])
        sample = {"xt": sprite.add(xs)}
        if i < FOLLOWED:
            guesses = np.concatenate([x0_hat[i : i + 1] for _, _, x0_hat in frames])
            # the last stride adds none
            zs = np.concatenate([z(j)[i : i + 1] for j in down if j > 1])
            sample |= {
                "guess": sprite.add(guesses),
                "z": sprite.add(zs),
                "left": rounded(np.square(guesses - end[i]).mean(axis=(1, 2, 3))),
            }
        samples.append(sample)
    return {
        "t": [*grid, 0],
        "c1": rounded(c1[j] for j in down),
        "c2": rounded(c2[j] for j in down),
        "sigma": rounded(sigma[j] if j > 1 else 0.0 for j in down),
        "samples": samples,
    }


def strides(run):
    """The timesteps visited, the schedule of their noise levels, the chain on it, and its noise.

    Stride j of `coarse` leads from one of these noise levels to the next. z(T + 1) is x_T.
    """
    grid = spaced_grid(run.schedule, STRIDES, "log-snr")
    rising = np.array(grid[::-1])
    coarse = from_alpha_bar(run.schedule.alpha_bar[rising])
    labels = np.arange(SAMPLES) if run.config.classes else None

    def denoiser(xt, j):
        return run.unet.denoise(xt, rising[j - 1], labels)

    def z(j):
        index = np.arange(SAMPLES)
        return noise.normal(run.config.seed, "sampling", j, index, run.config.unet.image)

    return grid, coarse, list(ancestral(denoiser, coarse, z(coarse.T + 1), z)), z


# ---- what is written -----------------------------------------------------------------------------


def shapes_of(run):
    """Channels and height of the output of each top layer, by name."""
    image, classes = run.config.unet.image, run.config.classes
    with overheard(run.unet) as (outputs, _):
        cond = np.zeros(1, np.int64) if classes else None
        run.unet.denoise(np.zeros((1, *image), np.float32), np.ones(1, np.int64), cond)
    return {name: (h.shape[3], h.shape[0]) for name, h in outputs.items()}


def rounded(values, digits=4):
    """Python numbers with so many significant digits."""
    return [float(f"{float(value):.{digits}g}") for value in values]


def main():
    FOLDER.mkdir(exist_ok=True)
    data = {}
    with fast.enabled():
        for name in MODELS:
            data[name], sprite = described(name)
            sprite.save(FOLDER / f"{name}.png")
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(data[name])}" for name in data)
    text = f"// python docs/_ext/one_page.py computes this.\nonePage.data = {{\n{lines}\n}};\n"
    (FOLDER / "data.js").write_text(text.replace(", ", ","), encoding="utf-8")
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
