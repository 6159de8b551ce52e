"""What a training loop that somebody wrote by hand came to: figures and a picture.

    found = report("x.png", J, held_out_J, chain, images, held_out)

`examples/05_training_loop.py` is such a loop. The algorithm fills its page, so its options, its
measures and its picture stand here.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..types import Array
from .images import image_grid
from .plots import BLUE, GREY, INK, RED, Style, save_figure, tidy, title
from .settings import own_settings

ENOUGH = 0.15  # how far the spread of good samples may be from that of real images
SHOWN = 25  # images in each grid

Chain = Mapping[int, Array]  # x_t (n, C, H, W) by t, from the noise at T to the samples at 0


def options(about: str, picture: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of an example: `quick` and `out`.

    Args:
        about: the example's docstring; its first line is the help.
        picture: the name of the picture, unless --out says otherwise.
        arguments: what was typed, or None for `sys.argv`.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller network and few steps")
    parser.add_argument("--out", type=Path, default=Path(picture), help="the picture's path")
    return parser.parse_args(arguments)


def report(
    path: str | Path,
    J: Sequence[float],
    held_out_J: Sequence[float],
    chain: Iterable[tuple[int, Array]],
    images: Array,
    held_out: Array,
) -> dict[str, Any]:
    """Say what came of it, and draw it.

    Args:
        path: where the PNG goes.
        J: of each step's mini-batch.
        held_out_J: at evenly spaced steps, the last one among them.
        chain: (t, x_t), from the noise at T down to the samples at t = 0.
        images: the training images (n, C, H, W) in [−1, 1].
        held_out: and those that are held out.

    Returns:
        What was printed, by name.
    """
    mean_J = float(np.square(held_out - images.mean(axis=0)).mean())
    fraction = held_out_J[-1] / mean_J
    print(f"After {len(J)} steps held-out J is {fraction:.3f} of what predicting the mean scores.")
    found = {"J": J, "held_out_J": held_out_J, "mean_J": mean_J}
    by_t = dict(chain)
    found |= compare(by_t[max(by_t)].clip(-1, 1), by_t[0], images, held_out)
    draw(path, J, held_out_J, mean_J, by_t, images)
    print(f"The picture is {path}.")
    return found


def compare(noise: Array, samples: Array, images: Array, held_out: Array) -> dict[str, float]:
    """Compare samples (n, C, H, W) with noise, and with real images in two ways, and say it.

    The distance to the nearest training image says how much like an image they look. The standard
    deviation of a pixel says how different they are: it is 0 if all samples are the same.
    """
    found = {
        "noise": _distance(noise, images),
        "samples": _distance(samples, images),
        "real": _distance(held_out, images),
        "spread": _spread(samples),
        "real_spread": _spread(held_out),
    }
    print("Distance to the nearest training image (RMS over pixels):")
    print("   noise {noise:.2f}, samples {samples:.2f}, held-out images {real:.2f}".format(**found))
    print(f"Spread (standard deviation of a pixel, over {len(samples)} samples):")
    print("   samples {spread:.3f}, held-out images {real_spread:.3f}".format(**found))
    ratio = found["spread"] / found["real_spread"]
    print(f"   That of the samples is {ratio:.0%} of the real images'. {_verdict(ratio)}")
    return found


def _verdict(ratio: float) -> str:
    if abs(ratio - 1) <= ENOUGH:
        return f"Within {ENOUGH:.0%}: they differ as real ones do."
    how = "too little" if ratio < 1 else "too much"
    return f"They differ {how}: train longer, or with a smaller β at the end."


def _distance(images: Array, real: Array) -> float:
    """The distance of an image from the nearest real one (RMS over pixels), averaged."""
    nearest = [np.sqrt(np.square(real - x).mean(axis=(1, 2, 3)).min()) for x in images]
    return float(np.mean(nearest))


def _spread(images: Array) -> float:
    """The standard deviation over the images, averaged over pixels."""
    return float(images.std(axis=0, dtype=np.float64).mean())


# ---- the picture ---------------------------------------------------------------------------------


@own_settings()
def draw(
    path: str | Path,
    J: Sequence[float],
    held_out_J: Sequence[float],
    mean_J: float,
    chain: Chain,
    images: Array,
) -> None:
    """J on the way down; then samples as they emerge from noise, beside real images.

    `report` explains the arguments. `mean_J` is J of predicting the mean, on held-out images.
    """
    figure = Figure(figsize=(11, 5), dpi=110)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.2, 1))
    top, bottom = parts
    axes = top.subplots()
    top.subplots_adjust(left=0.07, right=0.97, top=0.9, bottom=0.18)
    _curves(axes, J, held_out_J, mean_J)

    T = max(chain)
    ts = [min(chain, key=lambda t: abs(t - fraction * T)) for fraction in (1, 0.6, 0.3, 0.1, 0)]
    grids = [(f"$x_t$, t = {t}", chain[t], INK if t else RED) for t in ts]
    grids.append(("real images", images, INK))
    for axes, (text, some, colour) in zip(bottom.subplots(1, len(grids)), grids):
        axes.imshow(image_grid(some[:SHOWN], columns=5), cmap="gray", vmin=0, vmax=255)
        axes.set_title(text, fontsize=11, color=colour)
        axes.set_axis_off()
    bottom.subplots_adjust(left=0.02, right=0.98, top=0.9, bottom=0.02, wspace=0.06)
    save_figure(figure, path)


def _curves(axes: Axes, J: Sequence[float], held_out_J: Sequence[float], mean_J: float) -> None:
    k = np.arange(1, len(J) + 1)
    evaluated = np.linspace(0, len(J), len(held_out_J) + 1)[1:]
    axes.plot(k, J, color=BLUE, alpha=0.3, linewidth=0.7, label="J of each mini-batch")
    style: Style = {"color": RED, "linewidth": 2, "marker": "o", "markersize": 3}
    axes.plot(evaluated, held_out_J, label="J on held-out images", **style)
    axes.axhline(mean_J, color=GREY, linewidth=1.2, dashes=(5, 3), label="predict the mean")
    axes.set(xlabel="step k", xlim=(0, len(J)), ylim=(0.5 * mean_J, 1.8 * mean_J))
    title(axes, "The objective on the way down")
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)
