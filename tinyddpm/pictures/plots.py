"""Curves of a run as PNG files: J against steps, and J against t.

    loss("loss.png", steps, J, held_steps, held_J, mean_J=0.29, floor_J=0.19, ideal_J=0.21)
    loss_by_t("loss_by_t.png", bands, model_J, mean_J, ideal_J)

Everything comes in as arrays or numbers. Figures are made without pyplot, so there is no global
state and no window. A file appears under its name only when it is complete. `images.py` makes the
pictures of images.
"""

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..files import beside, move
from ..types import Array
from .settings import own_settings

# One palette for all pictures: Okabe and Ito's, which the colour-blind can tell apart, softened.
INK, GREY, LIGHT = "#24292f", "#6e7781", "#d0d7de"
BLUE, ORANGE, RED, PURPLE = "#2a6fb0", "#d98a1f", "#c4472f", "#8c5fa8"

Points = Sequence[float] | Array  # (n,) numbers
Style = dict[str, Any]  # options of a matplotlib call
Label = tuple[float, str, str]  # (y, colour, text) of a line or a curve's end, to be written there


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to: renamed over `path` on success, removed on failure."""
    path = Path(path)
    part = beside(path, ".part")
    try:
        yield part
        move(part, path)
    finally:
        part.unlink(missing_ok=True)


@own_settings()
def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a matplotlib figure as a PNG, whole or not at all."""
    canvas = FigureCanvasAgg(figure)  # whatever the backend is
    with written_whole(path) as part:
        canvas.print_figure(part, format="png", dpi=figure.dpi, facecolor="white")


# ---- J against steps -----------------------------------------------------------------------------


class _Curve(NamedTuple):
    """What `loss` draws over steps, and writes beside its end."""

    name: str
    x: Points
    y: Points
    colour: str
    width: float
    dashes: tuple[float, ...] = ()


@own_settings()
def loss(
    path: str | Path,
    steps: Points,
    J: Points,
    held_steps: Points,
    held_J: Points,
    *,
    mean_J: float,
    floor_J: float | None,
    ideal_J: float,
    expected: tuple[Points, Points] = ((), ()),
    note: str = "",
) -> None:
    """Training and held-out J against steps, with three lines that say what these numbers mean.

    Args:
        path: where the PNG goes.
        steps: (n,) every training step.
        J: (n,) training J of each.
        held_steps: (m,) the steps that were evaluated.
        held_J: (m,) J of the EMA on the held-out draws, at each of them.
        mean_J: J of predicting the training images' mean, on the held-out draws.
        floor_J: J of the ideal denoiser of the training set (`more.ideal`), on training draws; None
            where there is no training J to compare with it.
        ideal_J: J of the same denoiser on the held-out draws.
        expected: steps and held-out J, (l,) each, of the recipe's own run. Only the part up to
            the last step of this run is drawn.
        note: text to add to the title.
    """
    steps, J = np.asarray(steps), np.asarray(J, dtype=np.float64)
    figure, axes = _figure(9.5, 5.2, right=0.70)
    floor = "ideal denoiser of the training set on training draws: the floor of training J"
    same = "ideal denoiser of the training set" if floor_J is None else "the same ideal denoiser"
    to_beat = f"{same} on held-out draws: the J to beat"
    labels: list[Label] = [
        (mean_J, GREY, "predict the mean"),
        *([] if floor_J is None else [(floor_J, PURPLE, floor)]),
        (ideal_J, ORANGE, to_beat),
    ]
    for y, colour, _ in labels:
        axes.axhline(y, color=colour, linewidth=1.2, dashes=(5, 3), zorder=1)

    axes.plot(steps, J, color=BLUE, alpha=0.22, linewidth=0.7, zorder=2)
    last = max([0, *steps[-1:], *held_steps[-1:]])
    for curve in (
        _Curve("training J, smoothed", steps, _smoothed(J), BLUE, 1.6),
        _Curve("held-out J of the EMA", held_steps, held_J, RED, 1.8),
        _expected_curve(expected, last),
    ):
        if len(curve.x):
            labels.append(_draw(axes, curve))

    axes.set_ylim(*_interesting_range([y for y, _, _ in labels], mean_J))
    axes.set_xlim(0, max(1, last))
    axes.set_xlabel("step k")
    axes.set_ylabel("J  (mean squared error of each value)")
    title(axes, f"The objective on the way down{note}")
    _margin_labels(figure, axes, labels)
    save_figure(figure, path)


def _expected_curve(expected: tuple[Points, Points], last: int) -> _Curve:
    """The recipe's own held-out J, as far as this run came."""
    known = [(x, y) for x, y in zip(*expected) if x <= last]
    x, y = zip(*known) if known else ((), ())
    return _Curve("held-out J expected of this recipe", x, y, INK, 1.1, (1.5, 2))


def _draw(axes: Axes, curve: _Curve) -> Label:
    """Draw the curve and return the label of its end. A curve of one or two points gets dots."""
    axes.plot(
        curve.x,
        curve.y,
        color=curve.colour,
        linewidth=curve.width,
        dashes=curve.dashes,
        marker="o" if len(curve.x) < 3 else None,
        markersize=4,
        zorder=3,
    )
    return float(curve.y[-1]), curve.colour, curve.name


def _interesting_range(ends: list[float], mean_J: float) -> tuple[float, float]:
    """From below the floor to above the mean: the first steps, far above, may leave the picture."""
    low, high = min(ends), max([mean_J, *(y for y in ends if y < 2 * mean_J)])
    high = high if high > low else max(ends)  # the mean of equal images leaves no error
    room = high - low or 1.0
    return low - 0.12 * room, high + 0.22 * room


def _smoothed(y: Array) -> Array:
    """The mean over a window of a twenty-fifth of the run around each step, cut off at the ends."""
    half = len(y) // 50
    total = np.concatenate([[0.0], np.cumsum(y)])
    k = np.arange(len(y))
    first, last = np.maximum(k - half, 0), np.minimum(k + half + 1, len(y))
    return (total[last] - total[first]) / (last - first)


def _margin_labels(figure: Figure, axes: Axes, labels: list[Label]) -> None:
    """Write the labels to the right of the axes, each as near to its y as there is room."""
    low, high = axes.get_ylim()
    height = figure.get_figheight() * axes.get_position().height  # inches
    line = 0.17 * (high - low) / height  # a line of text, in units of y
    labels = sorted(labels, key=lambda label: label[0])
    texts = [textwrap.wrap(f"{y:.3f}  {text}", 34, break_on_hyphens=False) for y, _, text in labels]
    wanted = [min(y, high) for y, _, _ in labels]
    places = _pushed_apart(wanted, [line * (len(text) + 0.6) for text in texts], low, high)
    for (_, colour, _), text, y, place in zip(labels, texts, wanted, places):
        where: Style = {"transform": axes.get_yaxis_transform(), "color": colour, "clip_on": False}
        axes.plot([1, 1.045], [y, place], linewidth=0.9, **where)
        where |= {"va": "center", "fontsize": 9.5, "linespacing": 1.2}
        axes.text(1.055, place, "\n".join(text), **where)


def _pushed_apart(wanted: list[float], sizes: list[float], low: float, high: float) -> Array:
    """Places near the wanted ones, in their order, where things of these sizes do not overlap."""
    places = np.array(wanted, dtype=np.float64)
    size = np.array(sizes)
    for _ in range(500):  # neighbours that overlap push each other apart, and the ends push back
        too_near = np.maximum((size[1:] + size[:-1]) / 2 - np.diff(places), 0)
        places[1:] += too_near / 2
        places[:-1] -= too_near / 2
        places = np.clip(places, low + size / 2, high - size / 2)
    return places


# ---- J against t ---------------------------------------------------------------------------------


@own_settings()
def loss_by_t(
    path: str | Path,
    bands: Sequence[tuple[int, int]],
    model_J: Points,
    mean_J: Points,
    ideal_J: Points,
    note: str = "",
) -> None:
    """Held-out J in each band of t of three denoisers, and how far the model leads the ideal one.

    Args:
        path: where the PNG goes.
        bands: (first t, last t) of each, in order, together {1..T}.
        model_J: held-out J of the model in each band.
        mean_J: held-out J of predicting the training images' mean.
        ideal_J: held-out J of the ideal denoiser of the training set.
        note: text to add to the title.
    """
    model_J, mean_J, ideal_J = (np.asarray(y, dtype=np.float64) for y in (model_J, mean_J, ideal_J))
    centre = [(first + last) / 2 for first, last in bands]
    width = 0.82 * np.asarray([last - first + 1 for first, last in bands])
    figure = Figure(figsize=(8.4, 6.2), dpi=110)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    figure.subplots_adjust(left=0.10, right=0.975, top=0.93, bottom=0.09, hspace=0.10)
    for y, colour, dashes, name in (
        (mean_J, GREY, (5, 3), "predict the mean"),
        (ideal_J, ORANGE, (5, 3), "ideal denoiser of the training set"),
        (model_J, RED, (), "the model"),
    ):
        style: Style = {"color": colour, "dashes": dashes, "linewidth": 1.8, "markersize": 4.5}
        top.plot(centre, y, marker="o", label=name, **style)
    top.set_ylim(0, 1.12 * max(mean_J.max(), model_J.max(), ideal_J.max()))
    top.set_ylabel("held-out J")
    top.legend(loc="lower right", frameon=False, labelcolor="linecolor", fontsize=10)
    title(top, f"Held-out J in each band of t{note}")

    _lead(bottom, centre, width, model_J - ideal_J)
    bottom.set_xlabel("t: little noise at the left, pure noise at the right")
    ticks = [f"{first}–{last}" if last > first else f"{first}" for first, last in bands]
    bottom.set_xticks(centre, ticks)
    for axes in (top, bottom):
        tidy(axes)
    bottom.tick_params(axis="x", labelsize=8)
    save_figure(figure, path)


def _lead(axes: Axes, centre: list[float], width: Array, difference: Array) -> None:
    """Bars of the difference between the model's J and the ideal denoiser's."""
    axes.bar(centre, difference, width=width, color=[RED if d < 0 else ORANGE for d in difference])
    axes.axhline(0, color=GREY, linewidth=1)
    reach = 1.5 * max(abs(difference).max(), 1e-9)
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("model − ideal")
    for y, text, colour in (
        (0.93, "above 0: the ideal denoiser is better", ORANGE),
        (0.07, "below 0: the model is better", RED),
    ):
        where: Style = {"ha": "right", "va": "center", "transform": axes.transAxes}
        axes.text(0.99, y, text, color=colour, fontsize=9, **where)


# ---- what all plots share ------------------------------------------------------------------------


def tidy(axes: Axes) -> None:
    """Axes with a light grid, without the box around them."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LIGHT)
    axes.tick_params(color=LIGHT, labelcolor=INK, labelsize=9)
    axes.grid(axis="y", color=LIGHT, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)


def title(axes: Axes, text: str) -> None:
    """The title of axes, bold, above their left end."""
    axes.set_title(text, loc="left", color=INK, fontsize=12, fontweight="bold")


def _figure(width: float, height: float, right: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=110)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.08, right=right, top=0.92, bottom=0.11)
    tidy(axes)
    return figure, axes
