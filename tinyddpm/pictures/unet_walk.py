"""The lecture's picture of one training step: forward through the U-Net, and the gradient's way back.

    unet_walk("unet_walk.png", unet, schedule, x0, t, eps)

The shapes and gradients are those of a real step, taken by `train.gradient` and overheard at each layer.
"""
import math
from contextlib import contextmanager

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from autograd import primitive
from autograd.backend import array_module, to_numpy

from ..diffusion import q_sample
from ..nn.block import Downsample, Upsample
from ..train import gradient
from .images import pixels, show
from .plots import GREY, INK, RED, save_figure

KINDS = {"convolution": "#cfe2f3", "residual block": "#d9ead3", "residual block + attention": "#fce5b5", "attention": "#f9cb9c",
         "half the resolution": "#d9d2e9", "twice the resolution": "#ead1dc"}
WIDE, HIGH, PITCH, BAR = 1.9, 0.46, 0.72, 1.15  # of a box, from one box to the next, of the longest bar: inches


def unet_walk(path, unet, schedule, x0, t, eps):
    """One training step on x0, eps (N, C, H, W) and t (N,), drawn as a U; the little images are the first of the batch.

    In each box: the layer's name in `UNet` and the shape of its output, C × H × W. Beside it in red: ‖∂J/∂output‖, the
    gradient of this batch's J (form "mse") with respect to that output, as a number and, on a logarithmic scale, a bar. A
    new network's last convolution is zero, so that nothing flows back beyond it: there the norms are 0.
    θ and its gradient are left as they are. Returns J and, by the layer's name, the shapes (C, H, W) and the norms.
    """
    with overheard(unet) as (outputs, gradients):
        J = walk_gradient(unet, schedule, x0, t, eps)
    shapes = {name: (h.shape[3], *h.shape[:2]) for name, h in outputs.items()}
    norms = {name: norm(g) for name, g in gradients.items()}
    xt, x0_hat = q_sample(schedule, x0, t, eps), outputs["last"].transpose(2, 3, 0, 1)
    images = [pixels(to_numpy(x[:1]))[0] for x in (xt, x0_hat, x0)]
    _Drawing(unet, shapes, norms).save(path, images, int(t[0]), J, len(x0))
    return J, shapes, norms


def norm(g):
    """‖g‖, as a Python float."""
    return math.sqrt(float((g * g).sum()))


def walk_gradient(unet, schedule, x0, t, eps, cond=None):
    """J of one step, with the gradients going to a vector that is thrown away, not to `unet.grad`. For `given` see `UNet.forward`."""
    theta, grad = unet.theta, unet.grad
    unet.bind(theta, array_module(theta).zeros_like(theta))
    try:
        return float(gradient(unet, schedule, x0, t, eps, cond=cond)[0])
    finally:
        unet.bind(theta, grad)


def top_layers(unet):
    """The layers that the U-Net's forward calls, by name, in the order of its calls."""
    layers = {"first": unet.first}
    layers |= {f"down.{i}": layer for i, layer in enumerate(unet.down)}
    layers |= {name: getattr(unet, name) for name in ("middle1", "middle2", "middle3") if getattr(unet, name)}
    layers |= {f"up.{i}": layer for i, layer in enumerate(unet.up)}
    return layers | {"last": unet.last}


@primitive
def overhear(x, *, tell):
    """x itself. On the way back, `tell` is handed the gradient that passes."""
    def pullback(g):
        tell(g)
        return (g,)

    return x, pullback


@contextmanager
def overheard(unet):
    """Within it, each top layer's call leaves, by the layer's name, its output (H, W, N, C), and later the gradient with respect to it."""
    outputs, gradients = {}, {}
    layers = top_layers(unet)
    before = {name: vars(layer).get("forward") for name, layer in layers.items()}

    def listen(name, forward):
        def heard(*args):
            h = overhear(forward(*args), tell=lambda g: gradients.update({name: g}))
            outputs[name] = h.data
            return h
        return heard

    for name, layer in layers.items():
        layer.forward = listen(name, layer.forward)  # of this object only: the class stays as it is
    try:
        yield outputs, gradients
    finally:
        for name, layer in layers.items():
            del layer.forward
            if before[name] is not None:
                layer.forward = before[name]


def u_shape(kinds):
    """Where the layers stand in the U, from name -> kind in the order of the calls: rows counted from the top.

    Returns place, name -> (0, row) on the way down or (1, row) on the way up; skips, pairs of names; the number of rows. "last" and the
    layers of the middle have no place: they stand above the way up, and below.
    """
    partners = ["first", *(name for name in kinds if name.startswith("down"))]
    place, skips, row = {}, [], 0
    for name in [name for name in kinds if name.startswith("up")][::-1]:  # from the top
        if kinds[name] != "twice the resolution":  # opposite to each block the output that it gets by a skip; an Upsample is opposite to none
            partner = partners.pop(0)
            place[partner] = (0, row)
            skips.append((partner, name))
        place[name] = (1, row)
        row += 1
    return place, skips, row


def kind_of(layer):
    if isinstance(layer, Downsample):
        return "half the resolution"
    if isinstance(layer, Upsample):
        return "twice the resolution"
    name = type(layer).__name__
    if name == "Stage":
        return "residual block + attention" if layer.attention else "residual block"
    return {"ResidualBlock": "residual block", "SelfAttention": "attention"}.get(name, "convolution")


class _Drawing:
    """The U: the way down in a column at the left, the middle in a row below, the way up at the right, in inches."""

    def __init__(self, unet, shapes, norms):
        self.shapes, self.norms, self.time_conditioning = shapes, norms, unet.time is not None
        self.kinds = {name: kind_of(layer) for name, layer in top_layers(unet).items()}
        self.place, self.skips, self.rows = u_shape(self.kinds)
        left = [name for name, (side, _) in self.place.items() if not side]
        right = [name for name, (side, _) in self.place.items() if side]  # from the top
        middle = [name for name in shapes if name.startswith("middle")]
        self.x = (2.3, 2.3 + WIDE * 3.35 + 0.9)  # centres of the two columns
        self.width, self.height = self.x[1] + self.x[0], (self.rows + 4) * PITCH + 1.95
        self.top = self.height - 2.75  # y of row 0
        self.centre = {name: (self.x[side], self.top - PITCH * row) for name, (side, row) in self.place.items()}
        self.centre["last"] = (self.x[1], self.top + PITCH)
        span = self.x[1] - self.x[0]
        for i, name in enumerate(middle):
            self.centre[name] = (self.x[0] + span * (i + 0.5) / len(middle), self.top - PITCH * (self.rows + 0.35))
        self.order = left + middle + right[::-1] + ["last"]
        positive = [n for n in norms.values() if n > 0]
        self.scale = (min(positive), max(positive)) if positive else (1, 1)

    def save(self, path, images, t, J, batch):
        figure = Figure(figsize=(self.width, self.height), dpi=100)
        self.axes = axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, self.width)
        axes.set_ylim(0, self.height)
        axes.set_axis_off()
        middle = self.width / 2
        axes.text(0.3, self.height - 0.42, "One training step through the U-Net", fontsize=14, fontweight="bold", color=INK)
        for a, b in self.skips:
            self._skip(a, b)
        for a, b in zip(self.order, self.order[1:]):
            self._arrows(a, b)
        for name in self.order:
            self._box(name)

        size, x = 0.95, self.x[0]
        self._image(images[0], x - size / 2, self.top + 0.55, size, f"$x_t$,  t = {t}")
        axes.annotate("", (x, self.top + HIGH / 2), (x, self.top + 0.53), arrowprops=_arrow(INK))
        x, y = self.x[1], self.top + PITCH + 0.6
        self._image(images[1], x - size / 2, y, size, r"$\hat{x}_0$")
        self._image(images[2], x - size / 2 - 2.6, y, size, "$x_0$")
        axes.annotate("", (x - 0.12, y - 0.02), (x - 0.12, self.top + PITCH + HIGH / 2), arrowprops=_arrow(INK))
        axes.annotate("", (x + 0.12, self.top + PITCH + HIGH / 2), (x + 0.12, y - 0.02), arrowprops=_arrow(RED))
        axes.text(x - 1.3, y + size / 2, r"$J = \|\hat{x}_0 - x_0\|^2$" + f"\n= {J:.3f} per value", ha="center", va="center", fontsize=10.5,
                  color=INK, linespacing=1.5)
        if self.time_conditioning:
            axes.text(middle, self.top + 0.5 * PITCH, "t → time embedding → added in every residual block", ha="center", va="center",
                      fontsize=9.5, color=GREY, style="italic")
        axes.text(middle, self.top + 0.22, "skip connections: the output, concatenated to the input of the block opposite",
                  ha="center", va="center", fontsize=8.2, color=GREY)
        self._legend(batch)
        save_figure(figure, path)

    def _box(self, name):
        x, y = self.centre[name]
        self.axes.add_patch(FancyBboxPatch((x - WIDE / 2, y - HIGH / 2), WIDE, HIGH, boxstyle="round,pad=0,rounding_size=0.07",
                                           facecolor=KINDS[self.kinds[name]], edgecolor=GREY, linewidth=0.8, zorder=3))
        self.axes.text(x - WIDE / 2 + 0.1, y, name, ha="left", va="center", fontsize=9.5, fontweight="bold", color=INK, zorder=4)
        self.axes.text(x + WIDE / 2 - 0.1, y, " × ".join(map(str, self.shapes[name])), ha="right", va="center", fontsize=9,
                       color=INK, zorder=4)
        norm = self.norms.get(name, 0.0)
        low, high = (math.log(n) for n in self.scale)
        length = BAR * (0.08 + 0.92 * (math.log(norm) - low) / (high - low) if high > low else 1.0) if norm else 0.0
        text = f"{norm:.2g}" if norm else "0"
        if name.startswith("middle"):  # under the box; elsewhere beside it, away from the skips
            away, start, bar, writing = 1, x - WIDE / 2, y - HIGH / 2 - 0.19, y - HIGH / 2 - 0.39
        else:
            away = -1 if x < self.width / 2 else 1
            start, bar, writing = x + away * (WIDE / 2 + 0.1), y - 0.13, y + 0.02
        self.axes.add_patch(Rectangle((start, bar), away * length, 0.10, color=RED, alpha=0.85, linewidth=0, zorder=3))
        self.axes.text(start, writing, text, fontsize=8.5, color=RED, ha="left" if away > 0 else "right")

    def _arrows(self, a, b):
        """A dark arrow from a to b, the way forward, and beside it a red one back."""
        (xa, ya), (xb, yb) = self.centre[a], self.centre[b]
        if xa == xb:  # in a column
            half = math.copysign(HIGH / 2, yb - ya)
            ends = [((xa + d, ya + half), (xb + d, yb - half)) for d in (-0.12, 0.12)]
        elif abs(ya - yb) < 1e-9:  # in the middle row
            ends = [((xa + WIDE / 2, ya + d), (xb - WIDE / 2, yb + d)) for d in (0.07, -0.07)]
        elif yb < ya:  # into the middle row
            ends = [((xa + d, ya - HIGH / 2), (xb - WIDE / 2, yb - d)) for d in (-0.12, 0.12)]
        else:  # out of it
            ends = [((xa + WIDE / 2, ya + d), (xb + d, yb - HIGH / 2)) for d in (-0.12, 0.12)]
        for (start, end), colour in zip(ends, (INK, RED)):
            if colour == RED:
                start, end = end, start
            style = _arrow(colour)
            if xa != xb and abs(ya - yb) > 1e-9:
                vertical_first = abs(start[1] - ya) < HIGH and yb < ya and colour == INK or colour == RED and yb > ya
                style["connectionstyle"] = f"angle,angleA={90 if vertical_first else 0},angleB={0 if vertical_first else 90},rad=6"
            self.axes.annotate("", end, start, arrowprops=style)

    def _skip(self, a, b):
        (xa, y), (xb, _) = self.centre[a], self.centre[b]
        self.axes.annotate("", (xb - WIDE / 2, y), (xa + WIDE / 2, y), arrowprops=_arrow(GREY) | {"linestyle": (0, (4, 3)), "alpha": 0.8})

    def _image(self, picture, x, y, size, title):
        axes = self.axes.figure.add_axes((x / self.width, y / self.height, size / self.width, size / self.height))
        show(axes, picture)
        axes.set_title(title, fontsize=11, color=INK, pad=5)

    def _legend(self, batch):
        y, x = 0.62, 0.3
        used = [kind for kind in KINDS if kind in self.kinds.values()]
        for kind in used:
            self.axes.add_patch(Rectangle((x, y), 0.2, 0.16, facecolor=KINDS[kind], edgecolor=GREY, linewidth=0.6))
            self.axes.text(x + 0.27, y + 0.08, kind, fontsize=8.5, va="center", color=INK)
            x += 0.55 + 0.078 * len(kind)
        note = (f"In red, the way back: the norm of ∂J/∂output of each layer ({batch} image{'s' * (batch > 1)}); "
                "bars are logarithmic. In each box: C × H × W.")
        if not self.norms.get("first"):
            note += "\n0: the last convolution of a new network is zero, so nothing flows back beyond it yet."
        self.axes.text(0.3, 0.42, note, fontsize=8.5, va="top", color=GREY, linespacing=1.4)


def _arrow(colour):
    return {"arrowstyle": "-|>,head_length=0.28,head_width=0.13", "color": colour, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
