"""How many steps does it take to draw an image, and what else can be drawn with a model that is trained already?

    tinyddpm train --recipe digits_classes --out runs/digits_classes       # once: a few minutes
    python examples/09_samplers.py runs/digits_classes --out docs          # the pictures in docs/samplers.md
    python examples/09_samplers.py --quick                                 # no run needed: the digits' ideal denoiser stands in for one

One trained denoiser goes into everything here, by argument, and nothing is trained again:

  1. four samplers at 10 to 1000 steps: the ancestral one, DDIM, DPM-Solver++ and Heun, all from the same noise
  2. classifier-free guidance: the same noise with weight w = 0, 1, 3, 6 for each class
  3. inpainting: the lower half of a digit is hidden and painted anew
  4. interpolation from one digit to another: in pixels, by way of the noise that DDIM makes them from, and at a step t
  5. the variational bound: what it takes, in bits, to write down digits that the model never saw

Pictures are judged by numbers too. `judge`: the class of the nearest real digit. `distance`: the energy distance between two sets of
images (Székely & Rizzo 2013), which is 0 if they come from one distribution, and estimated without bias it may be a little below.
"""
import argparse
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import noise, schedule
from tinyddpm import data
from tinyddpm.pictures.bound_plot import bound_terms
from tinyddpm.pictures.images import image_grid
from tinyddpm.pictures.plots import GREY, INK, save_figure
from tinyddpm.runs.opening import Run
from tinyddpm.more.classes import by_class, guided
from tinyddpm.more.editing import inpaint, interpolate_at, interpolate_latents
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.likelihood import Bound, terms
from tinyddpm.more.reverse import at_timesteps, respaced
from tinyddpm.more.solvers import ddim_inversion, dpm_solver, heun
from tinyddpm.sampler import ancestral, ddim, timestep_grid

FULL = SimpleNamespace(steps=(10, 20, 50, 100, 1000), of_class=5, guided=20, chain=100, bound=300)
QUICK = SimpleNamespace(steps=(5, 20, 100), of_class=4, guided=6, chain=40, bound=20)
WEIGHTS = (0, 1, 3, 6)
CLASSES = np.arange(10)


# ---- what is drawn with, and what judges it ------------------------------------------------------


class StandIn:
    """Draws as a `Run` does, without a network: the ideal denoiser of the digits of each class, and of all of them where none is told."""

    def __init__(self, digits, T=1000):
        self.schedule = schedule.linear(T)
        of_class = [digits.images[digits.labels == c] for c in CLASSES]
        self.denoise = by_class([ideal_denoiser(images, self.schedule) for images in (*of_class, digits.images)])

    @contextmanager
    def denoiser(self, labels=None, guidance=1.0):
        yield self.denoise if labels is None else guided(self.denoise, labels, len(CLASSES), guidance)

def normal(purpose, n, step=0):
    """Standard normal noise for n digits, always the same for the same purpose and step."""
    return noise.normal(0, purpose, step, np.arange(n), (1, 8, 8))


def last(chain):
    """The images that a chain ends with."""
    *_, (_, images, _) = chain
    return images


def judge(images, real):
    """The class of each image: that of the nearest real digit, pixel by pixel."""
    return real.labels[_distances(images, real.images).argmin(axis=1)]


def distance(a, b):
    """Energy distance of two sets of images: 2 E‖A − B‖ − E‖A − A'‖ − E‖B − B'‖, with each pair of different images once."""
    def within(x):
        return _distances(x, x).sum() / (len(x) * (len(x) - 1))
    return float(2 * _distances(a, b).mean() - within(a) - within(b))


def _distances(a, b):
    """‖a_i − b_j‖ of all pairs: (n, m)."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


# ---- 1. samplers and steps -----------------------------------------------------------------------


def strided_ancestral(denoiser, model_schedule, x_T, steps):
    """Algorithm 2 of Ho et al. 2020 on a schedule of fewer steps."""
    visited = timestep_grid(model_schedule.T, steps)
    return ancestral(at_timesteps(denoiser, visited), respaced(model_schedule, visited), x_T, lambda t: normal("ancestral", len(x_T), t))


SAMPLERS = {"ancestral": strided_ancestral, "DDIM": ddim, "DPM-Solver++(2M)": dpm_solver, "Heun": heun}


def samplers(model, real, size, path):
    """How far from real digits each sampler's are at each number of steps, and how far from its own at the most steps (RMS of a pixel)."""
    labels = np.tile(CLASSES, size.of_class)
    x_T, drawn = normal("x_T", len(labels)), {}
    with model.denoiser(labels) as denoiser:
        for name, sampler in SAMPLERS.items():
            for steps in size.steps:
                drawn[name, steps] = last(sampler(denoiser, model.schedule, x_T, steps=steps))
    most = size.steps[-1]
    from_real = {key: distance(images, real.images) for key, images in drawn.items()}
    from_end = {(name, steps): float(np.sqrt(np.square(images - drawn[name, most]).mean())) for (name, steps), images in drawn.items()}

    print(f"1. Energy distance from real digits (left), and RMS distance of a pixel from where the same sampler goes in {most} steps (right).")
    n = len(real.images) // len(labels)
    among_real = [distance(real.images[i::n], np.concatenate([real.images[j::n] for j in range(n) if j != i])) for i in range(min(n, 10))]
    print(f"   {len(labels)} digits of each. Real ones, so many at a time, are {np.mean(among_real):.3f} ± {np.std(among_real):.3f} from the others.")
    for name in SAMPLERS:
        row = "".join(f"{from_real[name, s]:8.3f}" for s in size.steps) + "   |" + "".join(f"{from_end[name, s]:8.3f}" for s in size.steps[:-1])
        print(f"   {name:18}{row if name != 'ancestral' else row.split('|')[0]}")
    print(f"   {'at steps':18}" + "".join(f"{s:8d}" for s in size.steps) + "   |" + "".join(f"{s:8d}" for s in size.steps[:-1]))

    cells = [[drawn[name, steps][:10] for steps in size.steps] for name in SAMPLERS]
    save(path, cells, rows=list(SAMPLERS), columns=[f"{s} steps" for s in size.steps], in_a_row=5)
    return from_real, from_end


# ---- 2. guidance ---------------------------------------------------------------------------------


def guidance(model, real, size, path):
    """For each weight: the share of images that are judged to be of the class asked for, and how far apart images of one class are."""
    labels, x_T = np.repeat(CLASSES, size.guided), np.tile(normal("x_T", size.guided), (len(CLASSES), 1, 1, 1))
    obeyed, spread, cells = {}, {}, []
    for weight in WEIGHTS:
        with model.denoiser(labels, weight) as denoiser:
            images = last(ddim(denoiser, model.schedule, x_T, steps=50))
        of_class = images.reshape(len(CLASSES), size.guided, *images.shape[1:])
        obeyed[weight] = float((judge(images, real) == labels).mean())
        spread[weight] = float(np.mean([_distances(x, x).sum() / (size.guided * (size.guided - 1)) for x in of_class]))
        cells.append([x[:4] for x in of_class])
    real_spread = np.mean([_distances(x, x).sum() / (len(x) * (len(x) - 1)) for c in CLASSES if len(x := real.images[real.labels == c])])
    print(f"2. Of {len(labels)} digits so many are judged to be the digit asked for; so far are two of one class apart (real ones: {real_spread:.2f}):")
    for weight in WEIGHTS:
        print(f"   w = {weight}: {100 * obeyed[weight]:5.1f} %   {spread[weight]:.2f}")
    save(path, cells, rows=[f"w = {w}" for w in WEIGHTS], columns=[str(c) for c in CLASSES], in_a_row=2)
    return obeyed, spread


# ---- 3. inpainting -------------------------------------------------------------------------------


def inpainting(model, held_out, real, size, path):
    """The share of painted digits that are judged to be what the original was: without resampling and with ten times of it."""
    originals, again = held_out.images[:10], 3
    known = np.zeros((8, 8), bool)
    known[:4] = True
    visited = timestep_grid(model.schedule.T, size.chain)
    image = np.tile(originals, (again, 1, 1, 1))
    right, cells = {}, [[originals], [np.where(known, originals, 0)]]
    with model.denoiser() as denoiser:
        for resamplings in (1, 10):
            images = last(inpaint(at_timesteps(denoiser, visited), respaced(model.schedule, visited), image, known, normal("x_T", len(image)),
                                  lambda i: normal("inpainting", len(image), i), resamplings=resamplings, jump=min(10, size.chain // 4)))
            right[resamplings] = float((judge(images, real) == np.tile(held_out.labels[:10], again)).mean())
            kept = np.array_equal(np.where(known, images, 0), np.where(known, image, 0))
            cells += [[images[10 * i:10 * i + 10]] for i in range(again)]
    print(f"3. Known pixels are {'kept to the bit' if kept else 'CHANGED'}. Of {len(image)} painted digits {100 * right[1]:.0f} % are judged to be what the original was "
          f"without resampling, {100 * right[10]:.0f} % with ten times of it.")
    save(path, cells, rows=["original", "what is known", "once", "", "", "ten times", "", ""], columns=[""], in_a_row=10)
    return kept, right


# ---- 4. interpolation ----------------------------------------------------------------------------


def interpolation(model, held_out, size, path):
    """How far the ends of the way through noise are from the digits that they should be, RMS of a pixel."""
    a, b = (held_out.images[held_out.labels == c][0] for c in (1, 0))
    shares, steps, ts = np.linspace(0, 1, 9), size.chain, [model.schedule.T * share // 100 for share in (20, 35, 50)]
    pixels = (1 - shares)[:, None, None, None] * a + shares[:, None, None, None] * b
    with model.denoiser() as denoiser:
        by_noise = last(interpolate_latents(denoiser, model.schedule, a, b, shares, lambda x: last(ddim_inversion(denoiser, model.schedule, x, steps)), steps=steps))
        at_t = [last(interpolate_at(denoiser, model.schedule, a, b, shares, t, normal("blend", 1)[0], sampler=ddim, steps=steps // 2)) for t in ts]
    ends = float(np.sqrt(np.square(by_noise[[0, -1]] - np.stack([a, b])).mean()))
    rows = {"in pixels": pixels, "by way of x_T": by_noise, **{f"at t = {t}": x for t, x in zip(ts, at_t)}}
    contrast = {name: float(abs(x[4]).mean()) for name, x in rows.items()}
    print(f"4. To noise and back the two ends are {ends:.3f} from the digits (RMS). Halfway the mean contrast |x| is "
          + ", ".join(f"{value:.2f} {name}" for name, value in contrast.items()) + f"; that of real digits is {abs(held_out.images).mean():.2f}.")
    save(path, [[x] for x in rows.values()], rows=list(rows), columns=[""], in_a_row=len(shares))
    return ends, contrast


# ---- 5. the bound --------------------------------------------------------------------------------


def bound(model, held_out, size, path):
    """The bound on bits per dimension of held-out digits, as a Bound."""
    images = held_out.images[:size.bound]
    with model.denoiser() as denoiser:
        found = Bound(terms(denoiser, model.schedule, images, lambda t: normal("bound", len(images), t), held_out.grey_levels))
    print(f"5. Bits per dimension of {len(images)} digits that were held out, of {held_out.grey_levels} grey levels ({np.log2(held_out.grey_levels):.2f} bits if all are equally likely):")
    print("   " + str(found).replace("\n", "\n   "))
    bound_terms(path, found)
    return found


# ---- pictures ------------------------------------------------------------------------------------


def save(path, cells, rows, columns, in_a_row):
    """A table of grids of digits, cells[row][column] (n, 1, 8, 8), with a title for each row and each column."""
    zoom, gap, left, top = 5, 3, 24 + 8 * max(map(len, rows)), 24 if any(columns) else 4
    grids = [[np.asarray(image_grid(images, in_a_row, zoom, gap)) for images in row] for row in cells]
    (high, wide), apart = grids[0][0].shape, 10
    width, height = left + len(grids[0]) * (wide + apart), top + len(grids) * (high + apart)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    for i, (row, title) in enumerate(zip(grids, rows)):
        y = top + i * (high + apart)
        figure.text((left - 12) / width, 1 - (y + high / 2) / height, title, ha="right", va="center", fontsize=9, color=INK)
        for j, grid in enumerate(row):
            x = left + j * (wide + apart)
            figure.figimage(np.repeat(grid[:, :, None], 3, axis=2), xo=x, yo=height - y - high, origin="upper")
            if i == 0:
                figure.text((x + wide / 2) / width, 1 - (top - 7) / height, columns[j], ha="center", va="bottom", fontsize=9, color=GREY)
    save_figure(figure, path)


def main(arguments=None):
    """Returns what was found, by the name of each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="a run folder: tinyddpm train --recipe digits_classes --out RUN")
    parser.add_argument("--quick", action="store_true", help="few steps, few images, and without a run: the ideal denoiser of the digits")
    parser.add_argument("--out", type=Path, default=Path("."), help="a folder for the pictures [.]")
    options = parser.parse_args(arguments)
    if not options.run and not options.quick:
        parser.error("expected a run folder (tinyddpm train --recipe digits_classes --out RUN makes one), or --quick")
    size = QUICK if options.quick else FULL
    training, held_out = data.split(data.digits())
    model = Run(options.run) if options.run else StandIn(training)
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"The judge, which knows the training digits, is right about {100 * (judge(held_out.images, training) == held_out.labels).mean():.1f} % of the others.\n")
    found = SimpleNamespace(
        samplers=samplers(model, training, size, options.out / "samplers.png"),
        guidance=guidance(model, training, size, options.out / "guidance.png"),
        inpainting=inpainting(model, held_out, training, size, options.out / "inpainting.png"),
        interpolation=interpolation(model, held_out, size, options.out / "interpolation.png"),
        bound=bound(model, held_out, size, options.out / "bound.png"))
    print(f"\nThe pictures are in {options.out}.")
    return found


if __name__ == "__main__":
    main()
