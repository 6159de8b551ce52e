"""How many steps does it take to draw an image, and what else can a trained model draw?

    python examples/09_samplers.py digits     # a minute: with the model of the digits that ships
    python examples/09_samplers.py --quick    # seconds: needs no model

One trained denoiser goes into everything here, as an argument. Nothing is trained again. Instead of
`digits` you can name a run of yours: `tinyddpm train --recipe digits_classes` makes one. Without a
model, the ideal denoiser of the digits stands in.

  1. Four samplers at 10 to 1000 steps, all from the same noise.
  2. Classifier-free guidance: the same noise with weight w = 0, 1, 3, 6 for each class.
  3. Inpainting: we hide the lower half of a digit, and the model paints it again.
  4. Interpolation between two digits: in pixels, in the noise of DDIM, and at a step t.
  5. The variational bound: how many bits it takes to write down digits that the model never saw.
"""

import argparse
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import data, noise, schedule
from tinyddpm.more.classes import by_class, guided
from tinyddpm.more.editing import inpaint, interpolate_at, interpolate_latents
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.likelihood import Bound, terms
from tinyddpm.more.reverse import at_timesteps, respaced
from tinyddpm.more.solvers import ddim, ddim_inversion, dpm_solver, heun, timestep_grid
from tinyddpm.pictures.bound_plot import bound_terms
from tinyddpm.pictures.images import image_grid
from tinyddpm.pictures.plots import GREY, INK, save_figure
from tinyddpm.runs.opening import Run
from tinyddpm.sampler import ancestral

FULL = SimpleNamespace(steps=(10, 20, 50, 100, 1000), of_class=5, guided=20, chain=100, bound=300)
QUICK = SimpleNamespace(steps=(5, 20, 100), of_class=4, guided=6, chain=40, bound=20)
WEIGHTS = (0, 1, 3, 6)
CLASSES = np.arange(10)

# ---- the model, and what judges its images -------------------------------------------------------


class StandIn:
    """In place of a `Run`: the ideal denoisers of each class and of all digits."""

    def __init__(self, digits, T=1000):
        self.schedule = schedule.linear(T)
        of_class = [digits.images[digits.labels == c] for c in CLASSES]
        sets = (*of_class, digits.images)
        self.denoise = by_class([ideal_denoiser(images, self.schedule) for images in sets])

    @contextmanager
    def denoiser(self, labels=None, guidance=1.0):
        yield self.denoise if labels is None else guided(self.denoise, labels, 10, guidance)


def normal(purpose, n, step=0):
    """Standard normal noise for n digits, always the same for the same purpose and step."""
    return noise.normal(0, purpose, step, np.arange(n), (1, 8, 8))


def last(chain):
    """The images that a chain ends with."""
    *_, (_, images, _) = chain
    return images


def rms(x):
    return float(np.sqrt(np.square(x).mean()))


def distances(a, b):
    """‖a_i − b_j‖ of all pairs: (n, m)."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def distance_within(x):
    """The mean distance of two different images of x."""
    return distances(x, x).sum() / (len(x) * (len(x) - 1))


def distance(a, b):
    """Energy distance, 2 E‖A − B‖ − E‖A − A'‖ − E‖B − B'‖ (Székely & Rizzo 2013)."""
    # It is 0 if both sets come from one distribution. This unbiased estimate may be slightly below.
    return float(2 * distances(a, b).mean() - distance_within(a) - distance_within(b))


def judge(images, real):
    """The class of each image: that of the nearest real digit, pixel by pixel."""
    return real.labels[distances(images, real.images).argmin(axis=1)]


# ---- 1. samplers and steps -----------------------------------------------------------------------


def strided(denoiser, model_schedule, x_T, steps):
    """The ancestral sampler (Ho et al. 2020, algorithm 2) on a schedule of fewer steps."""
    visited = timestep_grid(model_schedule.T, steps)
    fewer = respaced(model_schedule, visited)
    eps = lambda t: normal("ancestral", len(x_T), t)
    return ancestral(at_timesteps(denoiser, visited), fewer, x_T, eps)


SAMPLERS = {"ancestral": strided, "DDIM": ddim, "DPM-Solver++(2M)": dpm_solver, "Heun": heun}


def samplers(model, real, size, path):
    """At each number of steps: the distance from real digits, and from the sampler's last row."""
    labels = np.tile(CLASSES, size.of_class)
    x_T, drawn = normal("x_T", len(labels)), {}
    with model.denoiser(labels) as denoiser:
        for name, sampler in SAMPLERS.items():
            for steps in size.steps:
                drawn[name, steps] = last(sampler(denoiser, model.schedule, x_T, steps=steps))
    most = size.steps[-1]
    from_real = {key: distance(images, real.images) for key, images in drawn.items()}
    from_end = {key: rms(images - drawn[key[0], most]) for key, images in drawn.items()}
    cells = [[drawn[name, steps][:10] for steps in size.steps] for name in SAMPLERS]
    save(path, cells, list(SAMPLERS), [f"{steps} steps" for steps in size.steps], in_a_row=5)
    print("1. Left: energy distance from real digits. Right: RMS distance over pixels from what")
    print(f"   the same sampler draws in {most} steps.")
    report_real(real, size.of_class)
    for name in SAMPLERS:
        left = "".join(f"{from_real[name, steps]:8.3f}" for steps in size.steps)
        right = "".join(f"{from_end[name, steps]:8.3f}" for steps in size.steps[:-1])
        print(f"   {name:18}{left}   |{right if name != 'ancestral' else ''}")
    left, right = ("".join(f"{s:8d}" for s in steps) for steps in (size.steps, size.steps[:-1]))
    print(f"   {'at steps':18}{left}   |{right}")
    return from_real, from_end


def report_real(real, n):
    """The energy distance of n real digits of each class from the rest: a perfect sampler's."""
    rng = np.random.default_rng(0)  # by chance, because neighbours have one writer
    place = np.empty(len(real.labels), int)  # of a digit in its class
    for c in CLASSES:
        place[real.labels == c] = rng.permutation((real.labels == c).sum())
    own = [place // n == i for i in range(10)]
    found = [distance(real.images[some], real.images[~some]) for some in own]
    mean, deviation = np.mean(found), np.std(found)
    print(f"   {n} digits of each class. For as many real ones the energy distance from the rest")
    print(f"   is {mean:.3f} ± {deviation:.3f}.")


# ---- 2. guidance ---------------------------------------------------------------------------------


def guidance(model, real, size, path):
    """For each weight: the fraction of the class asked for, and the distance within a class."""
    labels = np.repeat(CLASSES, size.guided)
    x_T = np.tile(normal("x_T", size.guided), (len(CLASSES), 1, 1, 1))
    obeyed, variety, cells = {}, {}, []
    for weight in WEIGHTS:
        with model.denoiser(labels, weight) as denoiser:
            images = last(ddim(denoiser, model.schedule, x_T, steps=50))
        of_class = images.reshape(len(CLASSES), size.guided, *images.shape[1:])
        obeyed[weight] = float((judge(images, real) == labels).mean())
        variety[weight] = float(np.mean([distance_within(x) for x in of_class]))
        cells.append([x[:4] for x in of_class])
    of_real = np.mean([distance_within(real.images[real.labels == c]) for c in CLASSES])
    save(path, cells, [f"w = {w}" for w in WEIGHTS], [str(c) for c in CLASSES], in_a_row=2)
    print(f"2. Of {len(labels)} digits, how many are judged to be the digit asked for; and the")
    print(f"   mean distance of two of one class (real ones: {of_real:.2f}):")
    for weight in WEIGHTS:
        print(f"   w = {weight}: {100 * obeyed[weight]:5.1f} %   {variety[weight]:.2f}")
    return obeyed, variety


# ---- 3. inpainting, 4. interpolation -------------------------------------------------------------


def inpainting(model, held_out, real, size, path):
    """Are known pixels unchanged, and {resamplings: the fraction judged to be the original}."""
    originals, tries = held_out.images[:10], 3
    known = np.zeros((8, 8), bool)
    known[:4] = True
    visited = timestep_grid(model.schedule.T, size.chain)
    fewer = respaced(model.schedule, visited)
    image, labels = np.tile(originals, (tries, 1, 1, 1)), np.tile(held_out.labels[:10], tries)
    x_T, eps = normal("x_T", len(image)), lambda i: normal("inpainting", len(image), i)
    unchanged, right, cells = True, {}, [[originals], [np.where(known, originals, 0)]]
    with model.denoiser() as denoiser:
        denoiser = at_timesteps(denoiser, visited)
        for n in (1, 10):
            jumps = {"resamplings": n, "jump": min(10, size.chain // 4)}
            images = last(inpaint(denoiser, fewer, image, known, x_T, eps, **jumps))
            right[n] = float((judge(images, real) == labels).mean())
            unchanged &= np.array_equal(np.where(known, images, 0), np.where(known, image, 0))
            cells += [[x] for x in np.split(images, tries)]
    rows = ["original", "what is known", "once", "", "", "ten times", "", ""]
    save(path, cells, rows, columns=[""], in_a_row=10)
    print(f"3. Known pixels are {'unchanged to the bit' if unchanged else 'CHANGED'}.")
    print(f"   Of {len(image)} painted digits {100 * right[1]:.0f} % are judged to be the original")
    print(f"   without resampling, {100 * right[10]:.0f} % with ten times of it.")
    return unchanged, right


def interpolation(model, held_out, size, path):
    """From a 1 to a 0: how far the way through noise misses the two, and the contrast halfway."""
    a, b = (held_out.images[held_out.labels == c][0] for c in (1, 0))
    fractions = np.linspace(0, 1, 9)
    rows = {"in pixels": np.stack([(1 - f) * a + f * b for f in fractions])}
    s, steps = model.schedule, size.chain
    with model.denoiser() as denoiser:
        encode = lambda x: last(ddim_inversion(denoiser, s, x, steps))
        chain = interpolate_latents(denoiser, s, a, b, fractions, encode, steps=steps)
        rows["by way of x_T"] = last(chain)
        eps, half = normal("blend", 1)[0], {"sampler": ddim, "steps": steps // 2}
        for t in (s.T * percent // 100 for percent in (20, 35, 50)):
            chain = interpolate_at(denoiser, s, a, b, fractions, t, eps, **half)
            rows[f"at t = {t}"] = last(chain)
    ends = rms(rows["by way of x_T"][[0, -1]] - np.stack([a, b]))
    contrast = {name: float(abs(images[4]).mean()) for name, images in rows.items()}
    save(path, [[x] for x in rows.values()], list(rows), columns=[""], in_a_row=len(fractions))
    print(f"4. To noise and back, the two ends are {ends:.3f} from the digits (RMS over pixels).")
    halfway = ", ".join(f"{value:.2f} {name}" for name, value in contrast.items())
    print("   Halfway the mean contrast |x| is")
    print(f"   {halfway}.")
    print(f"   That of real digits is {abs(held_out.images).mean():.2f}.")
    return ends, contrast


# ---- 5. the bound --------------------------------------------------------------------------------


def bound(model, held_out, size, path):
    """The bound on bits per dimension of held-out digits, as a Bound."""
    images, levels = held_out.images[: size.bound], held_out.grey_levels
    with model.denoiser() as denoiser:
        eps = lambda t: normal("bound", len(images), t)
        found = Bound(terms(denoiser, model.schedule, images, eps, levels))
    bound_terms(path, found)
    print(f"5. Bits per dimension of {len(images)} held-out digits of {levels} grey levels")
    print(f"   ({np.log2(levels):.2f} bits if all are equally likely):")
    print("   " + str(found).replace("\n", "\n   "))
    return found


# ---- pictures ------------------------------------------------------------------------------------


def save(path, cells, rows, columns, in_a_row):
    """A table of grids of digits, cells[row][column] (n, 1, 8, 8), with titles."""
    left, top = 24 + 8 * max(map(len, rows)), 24 if any(columns) else 4
    grid = lambda images: np.asarray(image_grid(images, in_a_row, zoom=5, gap=3).convert("RGB"))
    grids = [[grid(images) for images in row] for row in cells]
    (high, wide, _), gap = grids[0][0].shape, 10
    width, height = left + len(columns) * (wide + gap), top + len(rows) * (high + gap)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    tops = [top + i * (high + gap) for i in range(len(rows))]  # in pixels, from the top
    lefts = [left + j * (wide + gap) for j in range(len(columns))]

    def write(x, y, text, **style):
        figure.text(x / width, 1 - y / height, text, fontsize=9, **style)

    for y, row, title in zip(tops, grids, rows):
        write(left - 12, y + high / 2, title, ha="right", va="center", color=INK)
        for x, grid in zip(lefts, row):
            figure.figimage(grid, xo=x, yo=height - y - high, origin="upper")
    for x, title in zip(lefts, columns):
        write(x + wide / 2, top - 7, title, ha="center", va="bottom", color=GREY)
    save_figure(figure, path)


def main(arguments=None):
    """Run all parts and return what each found, by its name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    train = "tinyddpm train --recipe digits_classes --out RUN"
    parser.add_argument("run", nargs="?", help=f"a run folder: {train}")
    parser.add_argument("--quick", action="store_true", help="few steps, few images, no run needed")
    parser.add_argument("--out", type=Path, default=Path("."), help="the pictures' folder [.]")
    options = parser.parse_args(arguments)
    if not options.run and not options.quick:
        parser.error(f"expected a run folder ({train} makes one), or --quick")
    size = QUICK if options.quick else FULL
    real, held_out = data.split(data.digits())
    model = Run(options.run) if options.run else StandIn(real)
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    right = (judge(held_out.images, real) == held_out.labels).mean()
    print(f"The judge knows the training digits. It is right on {100 * right:.1f} % of others.\n")
    found = SimpleNamespace(
        samplers=samplers(model, real, size, out / "samplers.png"),
        guidance=guidance(model, real, size, out / "guidance.png"),
        inpainting=inpainting(model, held_out, real, size, out / "inpainting.png"),
        interpolation=interpolation(model, held_out, size, out / "interpolation.png"),
        bound=bound(model, held_out, size, out / "bound.png"),
    )
    print(f"\nThe pictures are in {out}.")
    return found


if __name__ == "__main__":
    main()
