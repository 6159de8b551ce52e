"""How do you get from a folder of pictures to new ones, and how do you see that it went well?

    python examples/11_your_own_images.py FOLDER     # your pictures: PNG, JPEG, … of any size
    python examples/11_your_own_images.py            # paints some first: two minutes
    python examples/11_your_own_images.py --quick    # seconds: far too short for good samples

More pictures are better: take some hundreds at least. Run it again and it trains anew, in a folder
beside the first run's. On the command line the same is

    tinyddpm train --data FOLDER --size 16 --out RUN
    tinyddpm sample RUN

Three numbers say how it went:

  1. Held-out J as a fraction of predict-the-mean's. It falls below 1 as soon as the network looks
     at its input.
  2. How often the nearest neighbour tells samples from real pictures (1-NN accuracy): half the time
     if nobody can tell them apart, always if everybody can.
  3. How far samples are from the nearest training picture, over how far held-out pictures are. Near
     0 they are copies.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from tinyddpm.evaluation.metrics import memorisation, nearest, one_nn_accuracy
from tinyddpm.pictures.images import image_grid
from tinyddpm.pictures.plots import BLUE, GREY, INK, RED, save_figure, tidy
from tinyddpm.pictures.report import read_metrics
from tinyddpm.runs import config, training
from tinyddpm.runs.folder import METRICS
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training.words import free_name

FULL = SimpleNamespace(
    pictures=1200,
    n=100,
    options={
        "size": 16,
        "base": 16,
        "levels": [1, 2, 2],
        "blocks": 1,
        "batch_size": 32,
        "steps": 1200,
        "every": 100,
    },
)
QUICK = SimpleNamespace(
    pictures=120,
    n=20,
    options={
        "size": 8,
        "base": 8,
        "levels": [1, 2],
        "blocks": 1,
        "attention": [],
        "batch_size": 16,
        "warmup": 30,
        "steps": 80,
        "ema_decay": 0.9,
        "every": 20,
        "workers": 1,
    },
)
SHOWN = 36


def paint(folder, n):
    """Paint n small PNGs of different shapes: a disc, square or triangle on a paler ground."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        width, height = rng.integers(40, 72, 2).tolist()
        ground = tuple(rng.integers(190, 256, 3).tolist())
        colour = tuple(rng.integers(0, 170, 3).tolist())
        picture = Image.new("RGB", (width, height), ground)
        draw, x, y, r = ImageDraw.Draw(picture), width // 2, height // 2, int(rng.integers(9, 17))
        if i % 3 == 0:
            draw.ellipse((x - r, y - r, x + r, y + r), colour)
        elif i % 3 == 1:
            draw.rectangle((x - r, y - r, x + r, y + r), colour)
        else:
            draw.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], colour)
        picture.save(folder / f"{i:04d}.png")


def flat(images):
    """(n, C, H, W), of any range -> (n, D) in [−1, 1]."""
    return images.clip(-1, 1).reshape(len(images), -1)


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, grids, run_folder, mean_J):
    """grids: {title: images}."""
    figure = Figure(figsize=(15, 3.9), dpi=110)
    *places, curves = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.15))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.13, wspace=0.16)
    for axes, (title, images) in zip(places, grids.items()):
        grid = np.asarray(image_grid(images[:SHOWN]))
        axes.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title, loc="left", color=INK)
        axes.set_axis_off()
    draw_J(curves, run_folder, mean_J)
    save_figure(figure, path)


def draw_J(axes, run_folder, mean_J):
    steps, evaluations = read_metrics(run_folder / METRICS)
    k, J = [step["k"] for step in steps], [step["J"] for step in steps]
    axes.plot(k, J, color=BLUE, alpha=0.3, linewidth=0.7, label="J of each step")
    k, J = [e["k"] for e in evaluations], [e["held_out"] for e in evaluations]
    axes.plot(k, J, color=RED, marker="o", markersize=3, label="held-out J")
    axes.axhline(mean_J, color=GREY, linewidth=1, dashes=(5, 3), label="predict the mean")
    axes.set_ylim(0, 1.6 * mean_J)
    axes.set_title("J", loc="left", color=INK)
    axes.set_xlabel("step k")
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)


def main(arguments=None):
    """Return what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="your pictures [painted ones]")
    parser.add_argument("--quick", action="store_true", help="small pictures, few steps")
    parser.add_argument("--out", type=Path, default=Path("."), help="the results' folder [.]")
    options = parser.parse_args(arguments)
    size, folder = QUICK if options.quick else FULL, options.folder
    if folder is None:
        folder = options.out / f"painted_{size.pictures}"
        paint(folder, size.pictures)
        print(f"Painted {size.pictures} pictures: {folder}")

    # 1. Loading crops each picture to a square around the middle, makes it smaller, and maps 0..255
    # to [−1, 1]. A sixth is held out: ask the configuration which ones, as the run does.
    settings = config.from_dict({"data": str(folder), **size.options})
    dataset, _ = settings.load_data()
    seen, held_out = (part.images for part in settings.split_data(dataset))
    print(f"1. {len(seen)} pictures to train on, {len(held_out)} held out.")
    print(f"   (C, H, W) = {seen.shape[1:]}, from {seen.min():.2f} to {seen.max():.2f}.")

    # 2. Train. Ctrl-C stops the run; tinyddpm train --out RUN --resume continues it.
    run_folder = options.out / "your_own_images"
    if run_folder.exists():  # a run is never lost
        run_folder = free_name(run_folder)
    summary = training.run(settings, run_folder)
    print(f"2. {summary}")

    # 3. Draw as many samples as are held out, so that the two can be compared.
    n = min(size.n, len(held_out))
    *_, (_, samples, _) = Run(run_folder).sample(n, sampler="ddim", steps=50)
    fresh, real, known = flat(samples), flat(held_out[:n]), flat(seen)
    told_apart = float(one_nn_accuracy(real, fresh))
    verdict = "as it should be" if told_apart < 0.6 else "they still look wrong, train longer"
    print("3. The nearest neighbour tells samples from held-out pictures")
    print(f"   {100 * told_apart:.0f} times in 100: {verdict}.")
    copies = memorisation(fresh, real, known)
    if copies is None:
        print("   Each held-out picture is a training picture too, so copies are not looked for.")
    else:
        verdict = "they look like copies" if copies < 0.5 else "no copies"
        print("   From the nearest training picture samples are")
        print(f"   {copies:.2f} times as far as held-out ones are: {verdict}.")

    grids = {
        "training pictures": seen[:n],
        "samples": samples,
        "the training picture nearest to each": seen[nearest(fresh, known)[1]],
    }
    draw(options.out / "your_own_images.png", grids, run_folder, summary.mean)
    print(f"The picture is {options.out / 'your_own_images.png'}.")
    print(f"The run is {run_folder}: tinyddpm plot draws more of it.")
    return SimpleNamespace(
        fraction=summary.held_out / summary.mean,
        told_apart=told_apart,
        copies=copies,
        shape=seen.shape[1:],
    )


if __name__ == "__main__":
    main()
