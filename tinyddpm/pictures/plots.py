"""Curves of a run as PNG files: J against steps, and J against t.

    loss("loss.png", steps, J, held_steps, held_J, mean_J=.29, floor_J=.19, memoriser_J=.21)
    loss_by_t("loss_by_t.png", bands, model_J, mean_J, memoriser_J)

Everything comes in as arrays or numbers. Figures are made without pyplot, so there is no global state and no window, and
a file appears under its name only when it is complete. Pictures of images are in `pictures.py`.
"""
import contextlib
import os
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

# One palette for all pictures (Okabe and Ito's, which the colour-blind can tell apart, a little softened).
INK, GREY, LIGHT = "#24292f", "#6e7781", "#d0d7de"
BLUE, ORANGE, RED, PURPLE = "#2a6fb0", "#d98a1f", "#c4472f", "#8c5fa8"


@contextlib.contextmanager
def written_whole(path):
    """A path beside `path` to write to. It is renamed over `path` when all went well, and removed when not."""
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_figure(figure, path):
    with written_whole(path) as part:
        figure.savefig(part, format="png", facecolor="white")


def loss(path, steps, J, held_steps, held_J, *, mean_J, floor_J, memoriser_J, expected=((), ()), note=""):
    """Training and held-out J against steps, with three lines that say what these numbers mean.

    steps, J            (n,) each: of every training step
    held_steps, held_J  (m,) each: of the averaged θ on the held-out draws
    mean_J              of predicting the training images' mean, on the held-out draws
    floor_J, memoriser_J  of the training set's ideal denoiser (`more.ideal`) on training draws and on the held-out ones
    expected            steps and held-out J, (l,) each, of the recipe's own run; only as far as this run came is drawn
    note                what the title has to add
    """
    steps, J = np.asarray(steps), np.asarray(J, dtype=np.float64)
    figure, axes = _figure(9.5, 5.2, right=0.70)
    lines = [(mean_J, GREY, "predict the mean"),
             (floor_J, PURPLE, "training set's ideal denoiser on training draws: the floor of training J"),
             (memoriser_J, ORANGE, "the same denoiser on held-out draws: the memoriser to beat")]
    for y, colour, _ in lines:
        axes.axhline(y, color=colour, linewidth=1.2, dashes=(5, 3), zorder=1)

    axes.plot(steps, J, color=BLUE, alpha=0.22, linewidth=0.7, zorder=2)
    last = max([0, *steps[-1:], *held_steps[-1:]])
    known = [(x, y) for x, y in zip(*expected) if x <= last]
    curves = [(steps, _smoothed(J), BLUE, 1.6, "training J, smoothed"), (held_steps, held_J, RED, 1.8, "held-out J, averaged θ"),
              (*(zip(*known) if known else ((), ())), INK, 1.1, "held-out J expected of this recipe")]
    labels = list(lines)
    for x, y, colour, width, name in curves:
        if len(x):
            dashes = (1.5, 2) if colour == INK else ()
            axes.plot(x, y, color=colour, linewidth=width, dashes=dashes, marker="o" if len(x) < 3 else None, markersize=4, zorder=3)
            labels.append((float(y[-1]), colour, name))

    # The interesting range is between the floor and the mean: the first steps, far above, may leave the picture.
    ends = [y for y, _, _ in labels]
    low, high = min(ends), max(mean_J, *(y for y in ends if y < 2 * mean_J))
    axes.set_ylim(low - 0.12 * (high - low), high + 0.22 * (high - low))
    axes.set_xlim(0, max(1, last))
    axes.set_xlabel("step k")
    axes.set_ylabel("J  (mean squared error of each value)")
    axes.set_title(f"The objective on the way down{note}", loc="left", color=INK, fontsize=12, fontweight="bold")
    _margin_labels(axes, labels)
    save_figure(figure, path)


def loss_by_t(path, bands, model_J, mean_J, memoriser_J, note=""):
    """Held-out J in each band of t: of the model, of predicting the mean and of the memoriser, and the model's lead.

    bands  [(first t, last t), …], in order, together {1..T};  model_J, mean_J, memoriser_J  one number for each band
    """
    model_J, mean_J, memoriser_J = (np.asarray(y, dtype=np.float64) for y in (model_J, mean_J, memoriser_J))
    centre = [(first + last) / 2 for first, last in bands]
    width = [last - first + 1 for first, last in bands]
    figure = Figure(figsize=(8.4, 6.2), dpi=110)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    figure.subplots_adjust(left=0.10, right=0.975, top=0.93, bottom=0.09, hspace=0.10)
    for y, colour, dash, name in ((mean_J, GREY, (5, 3), "predict the mean"), (memoriser_J, ORANGE, (5, 3), "the memoriser"),
                                  (model_J, RED, (), "the model")):
        top.plot(centre, y, color=colour, dashes=dash, linewidth=1.8, marker="o", markersize=4.5, label=name)
    top.set_ylim(0, 1.12 * max(mean_J.max(), model_J.max(), memoriser_J.max()))
    top.set_ylabel("held-out J")
    top.legend(loc="lower right", frameon=False, labelcolor="linecolor", fontsize=10)
    top.set_title(f"Held-out J by t: little noise at the left, nothing but noise at the right{note}",
                  loc="left", color=INK, fontsize=12, fontweight="bold")

    lead = model_J - memoriser_J
    bottom.bar(centre, lead, width=0.82 * np.asarray(width), color=[RED if d < 0 else ORANGE for d in lead])
    bottom.axhline(0, color=GREY, linewidth=1)
    reach = 1.5 * max(abs(lead).max(), 1e-9)
    bottom.set_ylim(-reach, reach)
    bottom.set_ylabel("model − memoriser")
    for y, text, colour in ((0.93, "above 0: the memoriser is better", ORANGE), (0.07, "below 0: the model is better", RED)):
        bottom.text(0.99, y, text, color=colour, fontsize=9, ha="right", va="center", transform=bottom.transAxes)
    bottom.set_xlabel("t")
    bottom.set_xticks(centre, [f"{first}–{last}" if last > first else f"{first}" for first, last in bands])
    for axes in (top, bottom):
        tidy(axes)
    bottom.tick_params(axis="x", labelsize=8)
    save_figure(figure, path)


def tidy(axes):
    """Axes with a light grid, without the box around them."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LIGHT)
    axes.tick_params(color=LIGHT, labelcolor=INK, labelsize=9)
    axes.grid(axis="y", color=LIGHT, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)


def _figure(width, height, right):
    figure = Figure(figsize=(width, height), dpi=110)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.08, right=right, top=0.92, bottom=0.11)
    tidy(axes)
    return figure, axes


def _smoothed(y):
    """The mean over a window of a twenty-fifth of the run around each step; at the ends, over the part of it that exists."""
    half = len(y) // 50
    total = np.concatenate([[0.0], np.cumsum(y)])
    k = np.arange(len(y))
    first, last = np.maximum(k - half, 0), np.minimum(k + half + 1, len(y))
    return (total[last] - total[first]) / (last - first)


def _margin_labels(axes, labels):
    """Write (y, colour, text) to the right of the axes, each at its y or, where they would overlap, as near as they fit."""
    low, high = axes.get_ylim()
    height = axes.figure.get_figheight() * axes.get_position().height
    line = 0.17 * (high - low) / height  # a line of text, in units of y
    labels = sorted(labels, key=lambda label: label[0])
    texts = [textwrap.wrap(f"{y:.3f}  {text}", 34, break_on_hyphens=False) for y, _, text in labels]
    places = _spread([min(y, high) for y, _, _ in labels], [line * (len(text) + 0.6) for text in texts], low, high)
    for (y, colour, _), text, place in zip(labels, texts, places):
        where = {"transform": axes.get_yaxis_transform(), "color": colour, "clip_on": False}
        axes.plot([1, 1.045], [min(y, high), place], linewidth=0.9, **where)
        axes.text(1.055, place, "\n".join(text), fontsize=9.5, va="center", linespacing=1.2, **where)


def _spread(wanted, sizes, low, high):
    """Places for things of these sizes, in the order of `wanted` and near to it, of which none overlaps the next."""
    places = np.array(wanted, dtype=np.float64)
    sizes = np.array(sizes)
    for _ in range(500):  # neighbours that overlap push each other apart, and the ends push back
        too_near = np.maximum((sizes[1:] + sizes[:-1]) / 2 - np.diff(places), 0)
        places[1:] += too_near / 2
        places[:-1] -= too_near / 2
        places = np.clip(places, low + sizes / 2, high - sizes / 2)
    return places
