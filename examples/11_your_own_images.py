"""From a folder of pictures to new ones: what has to be done, and how does one see that it went well?

    python examples/11_your_own_images.py FOLDER     # your pictures: PNG, JPEG, … of any size; more is better, some hundreds at least
    python examples/11_your_own_images.py            # without one it paints some first: two minutes
    python examples/11_your_own_images.py --quick    # seconds: far too short for good samples

On the command line the same is

    tinyddpm train --data FOLDER --size 16 --out RUN
    tinyddpm sample RUN

Three numbers say how it went. The held-out J as a share of predict-the-mean's: it falls below 1 as soon as the network looks at what it
is given. How often samples and real pictures are told apart by what lies nearest (1-NN accuracy: ½ if they cannot be, 1 if always).
And how far samples are from the nearest training picture, over how far real ones that were held out are: near 0 they are copies.
"""
import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from tinyddpm.runs import config, training
from tinyddpm import data
from tinyddpm.evaluation.metrics import memorisation, nearest, one_nn_accuracy
from tinyddpm.pictures.images import image_grid
from tinyddpm.pictures.plots import BLUE, GREY, INK, RED, save_figure, tidy
from tinyddpm.pictures.report import read_metrics
from tinyddpm.runs.folder import METRICS
from tinyddpm.runs.opening import Run

FULL = SimpleNamespace(pictures=1200, n=100, options=dict(size=16, base=16, levels=[1, 2, 2], blocks=1, batch_size=32, steps=1200, every=100))
QUICK = SimpleNamespace(pictures=120, n=20, options=dict(size=8, base=8, levels=[1, 2], blocks=1, attention=[], batch_size=16, warmup=30, steps=80, ema_decay=0.9, every=20, workers=1))
SHOWN = 36


def paint(folder, n):
    """n small PNGs, not all of one shape as in life: a disc, a square or a triangle of some colour on a paler ground."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        width, height = rng.integers(40, 72, 2).tolist()
        ground, colour = (tuple(rng.integers(low, high, 3).tolist()) for low, high in ((190, 256), (0, 170)))
        picture = Image.new("RGB", (width, height), ground)
        draw, (x, y), r = ImageDraw.Draw(picture), (width // 2, height // 2), int(rng.integers(9, 17))
        if (kind := i % 3) == 0:
            draw.ellipse((x - r, y - r, x + r, y + r), colour)
        elif kind == 1:
            draw.rectangle((x - r, y - r, x + r, y + r), colour)
        else:
            draw.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], colour)
        picture.save(folder / f"{i:04d}.png")


def main(arguments=None):
    """Returns what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="your pictures [some are painted]")
    parser.add_argument("--quick", action="store_true", help="small pictures, few steps")
    parser.add_argument("--out", type=Path, default=Path("."), help="a folder for the picture and the run [.]")
    options = parser.parse_args(arguments)
    size, folder, run_folder = QUICK if options.quick else FULL, options.folder, options.out / "your_own_images"
    if folder is None:
        paint(folder := options.out / "pictures", size.pictures)
        print(f"Painted {size.pictures} pictures: {folder}")

    # 1. Cropped to a square around the middle, made smaller, and from 0..255 to [−1, 1]. Every sixth is held out.
    side = size.options["size"]
    seen, held_out = (part.images for part in data.split(data.load(folder, size=side)))
    print(f"1. {len(seen)} pictures to train on, {len(held_out)} held out, (C, H, W) = {seen.shape[1:]}, from {seen.min():.2f} to {seen.max():.2f}.")

    # 2. The whole training. Stopped by Ctrl-C it can be resumed: tinyddpm train --out RUN --resume.
    summary = training.run(config.from_dict({"data": str(folder), **size.options}), run_folder)
    print(f"2. {summary}")

    # 3. As many samples as are held out, so that the two can be compared.
    n = min(size.n, len(held_out))
    *_, (_, samples, _) = Run(run_folder).sample(n, sampler="ddim", steps=50)
    flat = lambda images: images.clip(-1, 1).reshape(len(images), -1)  # noqa: E731
    fresh, real, known = flat(samples), flat(held_out[:n]), flat(seen)
    apart, copies = float(one_nn_accuracy(real, fresh)), float(memorisation(fresh, real, known))
    print(f"3. Samples and held-out pictures are told apart {100 * apart:.0f} times in 100 by what lies nearest: "
          + ("about as it should be." if apart < 0.6 else "samples can still be known. Train longer."))
    print(f"   Samples are {copies:.2f} times as far from the nearest training picture as held-out ones are: {'they look like copies' if copies < 0.5 else 'no copies'}.")

    draw(options.out / "your_own_images.png", seen, samples, seen[nearest(fresh, known)[1]], run_folder, summary.mean)
    print(f"The picture is {options.out / 'your_own_images.png'}, the run {run_folder} (tinyddpm plot draws more of it).")
    return SimpleNamespace(share=summary.held_out / summary.mean, apart=apart, copies=copies, shape=seen.shape[1:])


def draw(path, seen, samples, neighbours, run_folder, mean):
    figure = Figure(figsize=(15, 3.9), dpi=110)
    *places, axes = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.15))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.13, wspace=0.16)
    for place, images, title in zip(places, (seen[:len(samples)], samples, neighbours), ("training pictures", "samples", "the training picture nearest to each")):
        place.imshow(np.asarray(image_grid(images[:SHOWN])), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        place.set_title(title, loc="left", color=INK)
        place.set_axis_off()
    steps, evaluations = read_metrics(run_folder / METRICS)
    axes.plot([s["k"] for s in steps], [s["J"] for s in steps], color=BLUE, alpha=0.3, linewidth=0.7, label="J of each step")
    axes.plot([e["k"] for e in evaluations], [e["held_out"] for e in evaluations], color=RED, marker="o", markersize=3, label="held-out J")
    axes.axhline(mean, color=GREY, linewidth=1, dashes=(5, 3), label="predict the mean")
    axes.set_ylim(0, 1.6 * mean)
    axes.set_title("J", loc="left", color=INK)
    axes.set_xlabel("step k")
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)
    save_figure(figure, path)


if __name__ == "__main__":
    main()
