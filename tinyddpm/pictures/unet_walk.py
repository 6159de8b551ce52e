"""The lecture's picture of one training step: forward through the U-Net, and the gradient back.

    unet_walk("unet_walk.png", unet, schedule, x0, t, eps)

The shapes and gradients are those of a real step, overheard at each layer (`overhearing.py`).
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from autograd.backend import to_numpy

from ..diffusion import q_sample
from ..more import predictions
from ..nn.unet import UNet
from ..schedule import Schedule
from ..types import Array
from .images import pixels, show
from .overhearing import Kind, kinds_of, norm, overheard, u_shape, walk_gradient
from .plots import GREY, INK, RED, Style, save_figure
from .settings import own_settings

# The colour of each kind of layer.
KINDS: dict[Kind, str] = {
    "convolution": "#cfe2f3",
    "residual block": "#d9ead3",
    "residual block + attention": "#fce5b5",
    "attention": "#f9cb9c",
    "half the resolution": "#d9d2e9",
    "twice the resolution": "#ead1dc",
}
# What comes out of the network, where that is not x̂_0 itself.
OUTPUT = {"x0": "", "eps": r"$\hat{\epsilon}$", "v": r"$\hat{v}$"}
# In inches: a box, from one box to the next, the longest bar, an image.
WIDE, HIGH, PITCH, BAR, SIDE = 1.9, 0.46, 0.72, 1.15, 0.95

Shapes = dict[str, tuple[int, int, int]]  # (C, H, W) by the layer's name
Norms = dict[str, float]  # ‖∂J/∂output‖ by the layer's name
Point = tuple[float, float]  # inches from the left and from the bottom


@own_settings()
def unet_walk(
    path: str | Path,
    unet: UNet,
    schedule: Schedule,
    x0: Array,
    t: Array,
    eps: Array,
    predicts: str = "x0",
    weight: str = "none",
) -> tuple[float, Shapes, Norms]:
    """One training step, drawn as a U. The little images are the first of the batch.

    In each box stand the layer's name in `UNet` and the shape of its output, C × H × W. Beside it,
    in red, stands ‖∂J/∂output‖, the gradient of this batch's J (form "mse") with respect to that
    output: as a number and as a bar on a logarithmic scale. A new network's last convolution is
    zero, so nothing flows back beyond it and the norms there are 0.

    Args:
        path: where the PNG goes.
        unet: the network. Its θ and its gradient are left as they are.
        schedule: how much noise there is at each t.
        x0: clean images (N, C, H, W).
        t: timesteps (N,), integers in {1..T}.
        eps: noise (N, C, H, W).
        predicts: what the network predicts: "x0", "eps" or "v".
        weight: of J at each t (more/predictions.py).

    Returns:
        J, and by the layer's name the shapes (C, H, W) of the outputs and the norms of their
        gradients.
    """
    with overheard(unet) as (outputs, gradients):
        of_it = partial(predictions.gradient, predicts=predicts, weight=weight)
        J = walk_gradient(unet, schedule, x0, t, eps, gradient=of_it)
    shapes = {name: (h.shape[3], h.shape[0], h.shape[1]) for name, h in outputs.items()}
    norms = {name: norm(g) for name, g in gradients.items()}
    xt, answer = q_sample(schedule, x0, t, eps), outputs["last"].transpose(2, 3, 0, 1)
    answer = answer[:, : x0.shape[1]]  # without v, if the network learned its variance
    x0_hat = predictions.TO_X0[predicts](schedule, answer, xt, t)
    drawing = _Drawing(kinds_of(unet), shapes, norms)
    drawing.layers()
    firsts = [pixels(to_numpy(x[:1]))[0] for x in (xt, x0_hat, x0)]
    drawing.images(firsts, int(t[0]), J, OUTPUT[predicts], weight != "none")
    drawing.words(unet.time is not None)
    drawing.legend(len(x0))
    save_figure(drawing.figure, path)
    return J, shapes, norms


class _Drawing:
    """The U, in inches: the way down at the left, the middle in a row below, the way up right."""

    def __init__(self, kinds: dict[str, Kind], shapes: Shapes, norms: Norms) -> None:
        self.kinds, self.shapes, self.norms = kinds, shapes, norms
        place, self.skips, rows = u_shape(kinds)
        self.left, self.right = 2.3, 2.3 + WIDE * 3.35 + 0.9  # centres of the two columns
        self.width, self.height = self.right + self.left, (rows + 4) * PITCH + 1.95
        self.top = self.height - 2.75  # y of row 0
        self.centre = self._centres(place, rows)
        positive = [n for n in norms.values() if n > 0]
        self.scale = (min(positive), max(positive)) if positive else (1, 1)
        self.figure = Figure(figsize=(self.width, self.height), dpi=100)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, self.width)
        self.axes.set_ylim(0, self.height)
        self.axes.set_axis_off()

    def _centres(self, place: Mapping[str, tuple[int, int]], rows: int) -> dict[str, Point]:
        """The centre of each layer's box, in the order in which the step passes them."""
        middle = [name for name in self.kinds if name.startswith("middle")]
        centres = {}
        for name in self.kinds:
            if name in place:
                side, row = place[name]
                x, row_from_top = self.right if side else self.left, float(row)
            elif name == "last":
                x, row_from_top = self.right, -1.0
            else:
                part = (middle.index(name) + 0.5) / len(middle)
                x, row_from_top = self.left + (self.right - self.left) * part, rows + 0.35
            centres[name] = x, self.top - PITCH * row_from_top
        return centres

    # ---- the layers and the arrows between them --------------------------------------------------

    def layers(self) -> None:
        """The boxes, the skip connections, and the way forward and back."""
        for a, b in self.skips:
            self._skip(a, b)
        names = list(self.centre)
        for a, b in zip(names, names[1:]):
            self._arrows(a, b)
        for name in names:
            self._box(name)
            self._bar(name)

    def _box(self, name: str) -> None:
        x, y = self.centre[name]
        corner = x - WIDE / 2, y - HIGH / 2
        style: Style = {"boxstyle": "round,pad=0,rounding_size=0.07", "linewidth": 0.8}
        style |= {"facecolor": KINDS[self.kinds[name]], "edgecolor": GREY, "zorder": 3}
        self.axes.add_patch(FancyBboxPatch(corner, WIDE, HIGH, **style))
        style = {"va": "center", "color": INK, "zorder": 4}
        self.axes.text(corner[0] + 0.1, y, name, fontsize=9.5, fontweight="bold", **style)
        shape = " × ".join(map(str, self.shapes[name]))
        self.axes.text(x + WIDE / 2 - 0.1, y, shape, ha="right", fontsize=9, **style)

    def _bar(self, name: str) -> None:
        """The norm of the gradient: under a box of the middle row, at the outer side of others."""
        x, y = self.centre[name]
        norm = self.norms.get(name, 0.0)
        if name.startswith("middle"):
            away, start = 1, x - WIDE / 2
            bar, writing = y - HIGH / 2 - 0.19, y - HIGH / 2 - 0.39
        else:
            away = -1 if x < self.width / 2 else 1
            start = x + away * (WIDE / 2 + 0.1)
            bar, writing = y - 0.13, y + 0.02
        length = away * self._length(norm)
        style: Style = {"color": RED, "alpha": 0.85, "linewidth": 0, "zorder": 3}
        self.axes.add_patch(Rectangle((start, bar), length, 0.10, **style))
        text, ha = f"{norm:.2g}" if norm else "0", "left" if away > 0 else "right"
        self.axes.text(start, writing, text, fontsize=8.5, color=RED, ha=ha)

    def _length(self, norm: float) -> float:
        """Of a bar: logarithmic from the smallest norm to the largest."""
        if not norm:
            return 0.0
        low, high = (math.log(n) for n in self.scale)
        if high <= low:
            return BAR
        return BAR * (0.08 + 0.92 * (math.log(norm) - low) / (high - low))

    def _skip(self, a: str, b: str) -> None:
        (xa, y), (xb, _) = self.centre[a], self.centre[b]
        style = _arrow(GREY) | {"linestyle": (0, (4, 3)), "alpha": 0.8}
        self.axes.annotate("", (xb - WIDE / 2, y), (xa + WIDE / 2, y), arrowprops=style)

    def _arrows(self, a: str, b: str) -> None:
        """A dark arrow from a to b, the way forward, and beside it a red one back."""
        (xa, ya), (xb, yb) = self.centre[a], self.centre[b]
        around_a_corner = xa != xb and abs(ya - yb) > 1e-9
        for (start, end), colour in zip(_ends(self.centre[a], self.centre[b]), (INK, RED)):
            style = _arrow(colour)
            if around_a_corner:
                vertical_first = (colour == INK) == (yb < ya)
                first, then = (90, 0) if vertical_first else (0, 90)
                style["connectionstyle"] = f"angle,angleA={first},angleB={then},rad=6"
            if colour == RED:
                start, end = end, start
            self.axes.annotate("", end, start, arrowprops=style)

    # ---- what stands around them -----------------------------------------------------------------

    def images(
        self, pictures: Sequence[Array], t: int, J: float, output: str = "", weighted: bool = False
    ) -> None:
        """x_t above the way down; x_0 and x̂_0, with J between them, above the way up.

        Args:
            pictures: x_t, x̂_0 and x_0, each (H, W, C) uint8.
            t: the timestep of x_t.
            J: of the whole batch.
            output: the symbol of what the network predicts, if that is not x̂_0.
            weighted: whether J has a weight for each t.
        """
        xt, x0_hat, x0 = pictures
        edge = self.top + HIGH / 2
        self._image(xt, self.left - SIDE / 2, self.top + 0.55, f"$x_t$,  t = {t}")
        self._straight((self.left, self.top + 0.53), (self.left, edge), INK)
        x, y, edge = self.right, self.top + PITCH + 0.6, self.top + PITCH + HIGH / 2
        self._image(x0_hat, x - SIDE / 2, y, r"$\hat{x}_0$")
        self._image(x0, x - SIDE / 2 - 2.6, y, "$x_0$")
        self._straight((x - 0.12, edge), (x - 0.12, y - 0.02), INK)
        self._straight((x + 0.12, y - 0.02), (x + 0.12, edge), RED)
        weight = "w_t " if weighted else ""
        equation = rf"$J = {weight}\|\hat{{x}}_0 - x_0\|^2$" + f"\n= {J:.3f} per value"
        style: Style = {"ha": "center", "va": "center", "linespacing": 1.5}
        if output:
            self.axes.text(x + 0.22, (edge + y) / 2, output, fontsize=10.5, color=INK, va="center")
        self.axes.text(x - 1.3, y + SIDE / 2, equation, fontsize=10.5, color=INK, **style)

    def _image(self, picture: Array, x: float, y: float, title: str) -> None:
        place = x / self.width, y / self.height, SIDE / self.width, SIDE / self.height
        axes = self.figure.add_axes(place)
        show(axes, picture)
        axes.set_title(title, fontsize=11, color=INK, pad=5)

    def _straight(self, start: Point, end: Point, colour: str) -> None:
        self.axes.annotate("", end, start, arrowprops=_arrow(colour))

    def words(self, time_conditioning: bool) -> None:
        """The title, and between the columns what goes into the layers besides."""
        heading: Style = {"fontsize": 14, "fontweight": "bold", "color": INK}
        self.axes.text(0.3, self.height - 0.42, "One training step through the U-Net", **heading)
        small: Style = {"ha": "center", "va": "center", "color": GREY}
        middle = self.width / 2
        if time_conditioning:
            text = "t → time embedding → added in every residual block"
            small |= {"fontsize": 9.5, "style": "italic"}
            self.axes.text(middle, self.top + 0.5 * PITCH, text, **small)
        text = "skip connections: the output, concatenated to the input of the block opposite"
        small |= {"fontsize": 8.2, "style": "normal"}
        self.axes.text(middle, self.top + 0.22, text, **small)

    def legend(self, batch: int) -> None:
        """The kinds of layers that there are, and what the red numbers and the boxes say."""
        x, y = 0.3, 0.62
        for kind, colour in KINDS.items():
            if kind not in self.kinds.values():
                continue
            box = Rectangle((x, y), 0.2, 0.16, facecolor=colour, edgecolor=GREY, linewidth=0.6)
            self.axes.add_patch(box)
            self.axes.text(x + 0.27, y + 0.08, kind, fontsize=8.5, va="center", color=INK)
            x += 0.55 + 0.078 * len(kind)
        images = f"{batch} image{'s' * (batch > 1)}"
        note = (
            f"In red, the way back: the norm of ∂J/∂output of each layer ({images}); "
            "bars are logarithmic. In each box: C × H × W."
        )
        if not self.norms.get("first"):
            note += (
                "\n0: the last convolution of a new network is zero, "
                "so nothing flows back beyond it yet."
            )
        self.axes.text(0.3, 0.42, note, fontsize=8.5, va="top", color=GREY, linespacing=1.4)


def _ends(a: Point, b: Point) -> list[tuple[Point, Point]]:
    """From box a to box b: the two ends of an arrow, and those of a second one beside it."""
    (xa, ya), (xb, yb) = a, b
    if xa == xb:  # in a column
        half = math.copysign(HIGH / 2, yb - ya)
        return [((xa + d, ya + half), (xb + d, yb - half)) for d in (-0.12, 0.12)]
    right_of_a, left_of_b = xa + WIDE / 2, xb - WIDE / 2
    if abs(ya - yb) < 1e-9:  # in the middle row
        return [((right_of_a, ya + d), (left_of_b, yb + d)) for d in (0.07, -0.07)]
    if yb < ya:  # into the middle row
        return [((xa + d, ya - HIGH / 2), (left_of_b, yb - d)) for d in (-0.12, 0.12)]
    return [((right_of_a, ya + d), (xb + d, yb - HIGH / 2)) for d in (-0.12, 0.12)]  # out of it


def _arrow(colour: str) -> Style:
    head = "-|>,head_length=0.28,head_width=0.13"
    return {"arrowstyle": head, "color": colour, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
