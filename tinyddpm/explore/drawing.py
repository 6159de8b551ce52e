"""What the interactive page draws: small PNGs as data URIs, and SVG in the page's own colours.

    picture(x)                                 # (C, H, W) in [−1, 1] -> "data:image/png;base64,…"
    channels(h)                                # (C, H, W) of any size -> its channels side by side
    curves(ts, {"network": errors}, t=300)     # errors over t
    graph(walk, position)                      # the network as a U, and how far the step has come

The page enlarges pictures and leaves their pixels squares.
"""

import base64
import io
import math
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image

from ..pictures.images import pixels
from ..pictures.overhearing import Kind, u_shape
from ..pictures.unet_walk import KINDS
from ..types import Array
from .explorer import Layer, Walk

# Of the graph, in SVG units, which are pixels on a phone: a box, from row to row, all of it.
WIDE, HIGH, PITCH, WIDTH = 150, 26, 36, 360
COLOURS = {"network": "#3b82f6", "ideal": "#f97316", "mean": "#8a8a8a"}
ABOVE, BELOW = (249, 115, 22), (59, 130, 246)  # of channels: orange above 0, blue below
RED = "#c2362b"

Point = tuple[float, float]


# ---- arrays as pictures --------------------------------------------------------------------------


def picture(x: Array) -> str:
    """A data URI of an image (C, H, W) in [−1, 1], C 1 or 3, as a PNG of its own size."""
    levels = pixels(x[None])[0]
    return _png(Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels))


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def channels(h: Array, most: int = 64) -> str:
    """A data URI of up to `most` channels of h (C, H, W), in rows.

    Orange is above 0, blue below, and 0 is clear. The further from 0, the stronger the colour: the
    largest value sets the scale of all channels.
    """
    h = h[:most]
    count, height, width = h.shape
    columns = _columns(count, height, width)
    rows, zoom = -(-count // columns), max(1, round(32 / width))
    strength = np.abs(h) / (np.abs(h).max() or 1.0)
    tiles = np.empty((count, height, width, 4), np.uint8)
    tiles[..., :3] = np.where(h[..., None] > 0, ABOVE, BELOW)
    tiles[..., 3] = np.rint(255 * np.sqrt(strength))  # the root: small values show, too
    tiles = tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)

    gap = 3
    high, wide = height * zoom + gap, width * zoom + gap
    sheet = np.zeros((rows * high + gap, columns * wide + gap, 4), np.uint8)
    sheet[...] = 128, 128, 128, 70  # the lines between them
    for i, tile in enumerate(tiles):
        y, x = i // columns * high + gap, i % columns * wide + gap
        sheet[y : y + high - gap, x : x + wide - gap] = tile
    for i in range(count, rows * columns):  # the places that stay empty
        y, x = i // columns * high + gap, i % columns * wide
        sheet[y : y + high - gap, x : x + wide] = 0
    return _png(Image.fromarray(sheet))


def _columns(count: int, height: int, width: int) -> int:
    """So many that the sheet is about 1.6 times as wide as high; a near divisor of the count."""
    best = max(1, min(count, round(math.sqrt(1.6 * count * height / width))))
    return next((c for c in range(best, min(count, 2 * best) + 1) if count % c == 0), best)


# ---- errors over t -------------------------------------------------------------------------------


def curves(ts: Array, errors: Mapping[str, Array], t: int) -> str:
    """SVG: the squared error per value of each guess over t, with a line at the present t."""
    left, right, top, bottom, width, height = 52, 16, 8, 34, 460, 190
    highest = max(float(max(values)) for values in errors.values()) * 1.05 or 1.0
    first, last = float(ts[0]), float(ts[-1])

    def x(value: float) -> float:
        return left + (width - left - right) * (value - first) / ((last - first) or 1.0)

    def y(value: float) -> float:
        return height - bottom - (height - bottom - top) * value / highest

    def line(x1: str, y1: str, x2: str, y2: str, style: str) -> str:
        return f'<line x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}" stroke="currentColor" {style}/>'

    ground = f"{y(0):.1f}"
    parts = [line(f"{left}", ground, f"{width - right}", ground, 'stroke-opacity=".4"')]
    for value in (0, highest / 2, highest):
        place = f'x="{left - 5}" y="{y(value) + 3:.1f}" text-anchor="end"'
        parts.append(f"<text {place}>{value:.2f}</text>")
    quarters = {round(last * i / 4) for i in (1, 2, 3, 4)}
    for value in sorted({round(first), *(t for t in quarters if t > first)}):
        place = f'x="{x(value):.1f}" y="{height - bottom + 14}" text-anchor="middle"'
        parts.append(f"<text {place}>{value}</text>")
    middle = (top + height - bottom) / 2
    parts.append(_text((left + width - right) / 2, height - 4, "t", "middle"))
    turned = f'<g transform="translate(11 {middle}) rotate(-90)">'
    parts.append(turned + _text(0, 0, "squared error per value", "middle") + "</g>")
    for name, values in errors.items():
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(ts, np.asarray(values, float)))
        style = f'fill="none" stroke="{COLOURS[name]}" stroke-width="2.2"'
        dash = ' stroke-dasharray="3 4"' if name == "mean" else ""
        parts.append(f'<polyline points="{points}" {style}{dash}/>')
    now = f"{x(t):.1f}"
    parts.append(line(now, f"{top}", now, ground, 'stroke-width="1.4"'))
    return _svg(width, height, parts)


def _svg(width: int, height: int, parts: list[str]) -> str:
    style = 'style="width:100%;display:block" font-size="11" fill="currentColor" role="img"'
    return f'<svg viewBox="0 0 {width} {height}" {style}>' + "".join(parts) + "</svg>"


# ---- the graph of one step -----------------------------------------------------------------------


def positions(walk: Walk) -> list[tuple[str, str]]:
    """Where a step can be, in order.

    ("forward", name) for each layer in the order of the calls, then ("J", ""), then ("back", name)
    for each layer in reverse.
    """
    names = list(walk.layers)
    return [("forward", n) for n in names] + [("J", "")] + [("back", n) for n in reversed(names)]


def graph(walk: Walk, position: int) -> tuple[int, int, str]:
    """The layers as a U, filled where the step has passed, with bars for the norms of gradients.

    Args:
        walk: the training step.
        position: how far it has come, an index into `positions`. A layer gets its bar when the
            step has come back to it.

    Returns:
        Width, height, and the content of an <svg> of that size. The ids of the boxes are "layer-"
        and the layers' names.
    """
    steps = positions(walk)
    forward = {name for way, name in steps[: position + 1] if way == "forward"}
    back = {name for way, name in steps[: position + 1] if way == "back"}
    chosen = steps[position][1]
    centre, skips, height = _layout({name: layer.kind for name, layer in walk.layers.items()})
    norms = [layer.norm for layer in walk.layers.values() if layer.norm]
    scale = (math.log(min(norms)), math.log(max(norms))) if norms else (0.0, 0.0)

    parts = [*_ends(walk, centre, J_is_there=position >= len(walk.layers))]
    parts += [_skip(centre[a], centre[b]) for a, b in skips]
    parts += [_way(centre[a], centre[b]) for a, b in zip(walk.layers, list(walk.layers)[1:])]
    for name, at in centre.items():
        layer = walk.layers[name]
        parts.append(_box(name, layer, at, passed=name in forward, chosen=name == chosen))
        if name in back:
            parts.append(_bar(layer, at, scale))
        parts.append(_target(name, at))
    return WIDTH, height, "".join(parts)


def _layout(kinds: Mapping[str, Kind]) -> tuple[dict[str, Point], list[tuple[str, str]], int]:
    """The centre of each box, the skip connections as pairs of names, and the height of it all."""
    place, skips, rows = u_shape(kinds)
    middle = [name for name in kinds if name.startswith("middle")]
    columns, top = (WIDE / 2 + 4, WIDTH - WIDE / 2 - 4), 2 * PITCH
    centre: dict[str, Point] = {
        name: (columns[side], top + PITCH * row) for name, (side, row) in place.items()
    }
    centre["last"] = (columns[1], top - PITCH)
    for i, name in enumerate(middle):
        centre[name] = (WIDTH / 2, top + PITCH * (rows + i) + 6)
    return centre, skips, top + PITCH * (rows + len(middle)) - 2


def _ends(walk: Walk, centre: Mapping[str, Point], J_is_there: bool) -> Iterator[str]:
    """x_t over the first layer, and J over the last."""
    x, y = centre["first"]
    yield _text(x, y - PITCH * 0.78, f"xₜ, t = {walk.t}", "middle")
    yield _arrow(x, y - PITCH * 0.65, x, y - HIGH / 2)
    x, y = centre["last"]
    yield _text(x, 14, "J" if J_is_there else "x̂₀ → J", "middle", bold=True)
    yield _arrow(x, y - HIGH / 2, x, 18)


def _skip(a: Point, b: Point) -> str:
    (xa, y), (xb, _) = a, b
    style = 'stroke="currentColor" stroke-opacity=".45" stroke-dasharray="3 3" fill="none"'
    return f'<path d="M{xa + WIDE / 2} {y}H{xb - WIDE / 2}" {style}/>'


def _way(a: Point, b: Point) -> str:
    """An arrow from box a to box b, the next one."""
    (xa, ya), (xb, yb) = a, b
    if xa == xb:
        sign = math.copysign(1, yb - ya)
        return _arrow(xa, ya + sign * HIGH / 2, xb, yb - sign * HIGH / 2)
    if yb > ya:  # down into the middle
        return _arrow(xb - WIDE / 3, ya + HIGH / 2, xb - WIDE / 3, yb - HIGH / 2)
    return _bend(xa + WIDE / 2, ya, xb, yb + HIGH / 2)  # and up out of it


def _box(name: str, layer: Layer, centre: Point, passed: bool, chosen: bool) -> str:
    """A layer: its name and its output's shape, filled if the step has passed it."""
    left, y = centre[0] - WIDE / 2, centre[1]
    fill, colour = 'fill="currentColor" fill-opacity=".06"', "currentColor"
    if passed:
        fill, colour = f'fill="{KINDS[layer.kind]}"', "#1f2328"
    edge = 'stroke="currentColor" stroke-opacity=".45"'
    if chosen:
        edge = 'stroke="#f97316" stroke-width="3"'
    shape = "×".join(map(str, layer.output.shape))
    box = f'<rect {_bounds(centre)} rx="5" {fill} {edge}/>'
    box += _text(left + 7, y + 2, name, "start", colour, bold=True)
    return box + _text(left + WIDE - 7, y + 2, shape, "end", colour)


def _bar(layer: Layer, centre: Point, scale: tuple[float, float]) -> str:
    """The norm of a layer's gradient, logarithmic between the ends of the scale."""
    x, y = centre
    fraction = -0.05
    if layer.norm:
        fraction = (math.log(layer.norm) - scale[0]) / ((scale[1] - scale[0]) or 1.0)
    length = (WIDE - 10) * (0.05 + 0.95 * fraction)
    place = f'x="{x - WIDE / 2 + 5}" y="{y + HIGH / 2 - 7}"'
    return f'<rect {place} width="{length:.1f}" height="4" rx="2" fill="{RED}"/>'


def _target(name: str, centre: Point) -> str:
    """What a click on a layer meets."""
    style = 'fill="transparent" pointer-events="all" style="cursor:pointer"'
    return f'<rect id="layer-{name}" {_bounds(centre)} {style}/>'


def _bounds(centre: Point) -> str:
    x, y = centre
    return f'x="{x - WIDE / 2}" y="{y - HIGH / 2}" width="{WIDE}" height="{HIGH}"'


def _text(
    x: float, y: float, text: str, anchor: str, colour: str = "currentColor", bold: bool = False
) -> str:
    place = f'x="{x}" y="{y}" text-anchor="{anchor}"'
    style = f'fill="{colour}" font-size="11" font-weight="{600 if bold else 400}"'
    return f"<text {place} {style}>{text}</text>"


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """An arrow that goes up or down."""
    sign = math.copysign(4, y2 - y1)
    line = f'<path d="M{x1} {y1}V{y2 - sign / 2}" stroke="currentColor" stroke-opacity=".6"'
    head = f'<path d="M{x2 - 3} {y2 - sign}H{x2 + 3}L{x2} {y2}Z" fill="currentColor"'
    return f'{line} fill="none"/>{head} fill-opacity=".6"/>'


def _bend(x1: float, y1: float, x2: float, y2: float) -> str:
    """An arrow that goes to the side, then up."""
    style = 'stroke="currentColor" stroke-opacity=".6" fill="none"'
    return f'<path d="M{x1} {y1}H{x2}" {style}/>' + _arrow(x2, y1, x2, y2)
