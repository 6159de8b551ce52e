"""Draw the pictures of the tour, docs/learn/tour/*.png: one for each stop, of the code it shows.

    python docs/_ext/tour.py          # all: half a minute. Needs: tinyddpm data fashion-mnist, once
    python docs/_ext/tour.py 6 11     # these

All numbers and images come from the functions of the stop, or from a model that ships.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import tour_network
from keep import ROOT, few_colours
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sketch import WIDTH, arrow, canvas, heading, node, write

from autograd import leaf
from tinyddpm import data, schedule
from tinyddpm.nn.conv import conv2d, windows
from tinyddpm.nn.time import sinusoidal
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy

OUT = ROOT / "docs/learn/tour"


def stop_2():
    """The tables, and what they make of an image's weight and of the noise's."""
    figure = Figure(figsize=(WIDTH, 2.5), dpi=110)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.87, bottom=0.2, wspace=0.16)
    t, alpha_bar = np.arange(1001), schedule.linear(1000).alpha_bar
    left.plot(t, alpha_bar, color=BLUE, linewidth=1.8)
    left.plot([0], [1], "o", color=BLUE)
    left.text(110, 0.97, r"$\bar\alpha_0 = 1$ is entry 0 of the table", fontsize=9.5, color=BLUE)
    heading(left, r"$\bar\alpha_t = (1-\beta_1)(1-\beta_2)\cdots(1-\beta_t)$", "t")
    right.plot(t, np.sqrt(alpha_bar), color=PURPLE, linewidth=1.8, label="of the image")
    right.plot(t, np.sqrt(1 - alpha_bar), color=ORANGE, linewidth=1.8, label="of the noise")
    right.legend(frameon=False, labelcolor="linecolor", fontsize=9.5, loc="center right")
    heading(right, r"The weights $\sqrt{\bar\alpha_t}$ and $\sqrt{1-\bar\alpha_t}$ in $x_t$", "t")
    tidy(left), tidy(right)
    return figure


def stop_6():
    """Windows become rows of a matrix, and the convolution a product."""
    digit = data.digits().images[0][0]  # (8, 8)
    x = np.pad(digit, 1, constant_values=-1)[:, :, None, None].astype(np.float32)
    rows = windows(x, 3, 3, 1).reshape(64, 9)
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32) / 4  # vertical edges
    result = (rows @ kernel.reshape(9, 1)).reshape(8, 8)
    engine = conv2d(leaf(x), leaf(kernel[:, :, None, None]), padding=0).data[:, :, 0, 0]
    assert np.allclose(result, engine)
    figure, axes = canvas(2.5)
    row = 3 * 8 + 3  # of the window that is shown

    def matrix(values, x, width, height, name, limit=1.0):
        part = figure.add_axes((x / WIDTH, 0.2 / 2.5, width / WIDTH, height / 2.5))
        grey = {"cmap": "gray", "vmin": -limit, "vmax": limit, "aspect": "auto"}
        part.imshow(values, interpolation="nearest", **grey)
        part.set(xticks=[], yticks=[])
        part.set_title(name, fontsize=10, color=INK)
        return part

    box = {"fill": False, "edgecolor": RED, "linewidth": 2}
    image = matrix(x[:, :, 0, 0], 0.25, 1.95, 1.95, "the image, padded")
    image.add_patch(Rectangle((2.5, 2.5), 3, 3, **box))
    table = matrix(rows, 3.25, 1.15, 1.95, "windows, 64 × 9")
    table.add_patch(Rectangle((-0.5, row - 1), 9, 2, **box))
    arrow(axes, (1.7, 1.17), (3.22, 0.2 + 1.95 * (1 - (row + 0.5) / 64)), RED)
    write(axes, 4.68, 1.17, "·", fontsize=18)
    matrix(kernel.reshape(9, 1), 4.95, 0.16, 1.95, "w, 9 × 1", 0.5)
    write(axes, 5.6, 1.17, "=", fontsize=15)
    out = matrix(result, 6.25, 1.95, 1.95, "the output, 8 × 8", 2.0)
    out.add_patch(Rectangle((2.5, 2.5), 1, 1, **box))
    return figure


def stop_7():
    """What the network sees of t: waves from fast to slow."""
    t = np.arange(1, 1001)
    waves = sinusoidal(t, 32, np.float32)
    figure = Figure(figsize=(WIDTH, 2.2), dpi=110)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.09, right=0.965, top=0.87, bottom=0.21)
    axes.imshow(waves.T, aspect="auto", cmap="RdBu_r", extent=(1, 1000, 32, 0))
    axes.set_yticks([8, 24], ["sines", "cosines"], fontsize=9)
    axes.tick_params(axis="x", labelsize=9)
    axes.axhline(16, color="white", linewidth=2)
    heading(axes, "Each column is one t, as 32 numbers: fast waves on top, slow ones below", "t")
    return figure


def stop_10():
    """One multiplication, forward and back, with the numbers of the engine."""
    x, y = leaf(np.array(3.0)), leaf(np.array(2.0))
    out = x * y
    value = float(out.data)
    out.backward()
    figure, axes = canvas(2.1)
    arrow(axes, (2.3, 1.55), (4.0, 1.15), BLUE)
    arrow(axes, (2.3, 0.6), (4.0, 0.95), BLUE)
    arrow(axes, (4.05, 1.3), (2.35, 1.68), RED)
    arrow(axes, (4.05, 0.8), (2.35, 0.47), RED)
    write(axes, 3.4, 1.72, f"g · y = {float(x.grad):g}", color=RED)
    write(axes, 3.4, 0.36, f"g · x = {float(y.grad):g}", color=RED)
    node(axes, 2.0, 1.58, "x", "3")
    node(axes, 2.0, 0.6, "y", "2")
    node(axes, 4.35, 1.05, "x·y", f"{value:g}")
    arrow(axes, (4.65, 1.1), (6.1, 1.1), BLUE)
    arrow(axes, (6.1, 0.98), (4.65, 0.98), RED)
    write(axes, 5.4, 1.28, "the output", color=BLUE, fontsize=10)
    write(axes, 5.4, 0.8, "g = 1", color=RED)
    return figure


def stop_11():
    """b = a + a, c = b + b: each node waits for both of its uses."""
    a = leaf(np.array(1.0))
    b = a + a
    c = b + b
    values = float(b.data), float(c.data)
    c.backward()
    assert float(a.grad) == 4
    figure, axes = canvas(1.9)
    for x in (1.6, 4.3):
        for bend in (-0.28, 0.28):
            arrow(axes, (x + 0.33, 0.95), (x + 2.35, 0.95), BLUE, bend=bend)
    node(axes, 1.6, 0.95, "a", "1", "dc/da = 2 + 2 = 4")
    node(axes, 4.3, 0.95, "b", f"{values[0]:g}", "dc/db = 1 + 1 = 2")
    node(axes, 7.0, 0.95, "c", f"{values[1]:g}", "dc/dc = 1")
    words = "waits for two uses,\nthen passes 2 on, once each way"
    write(axes, 4.3, 0.18, words, fontsize=9, color=GREY)
    write(axes, 1.6, 0.18, "waits for two uses", fontsize=9, color=GREY)
    return figure


STOPS = {
    name: stop
    for name, stop in (vars(tour_network) | globals()).items()
    if name.startswith("stop_")
}


def draw(number, path):
    """Draw the picture of a stop."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        save_figure(STOPS[f"stop_{number}"](), picture)
        few_colours(picture, path)


def main(numbers):
    OUT.mkdir(exist_ok=True)
    for number in [int(text) for text in numbers] or range(1, len(STOPS) + 1):
        draw(number, OUT / f"{number:02d}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
