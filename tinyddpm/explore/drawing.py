"""What the interactive page draws: small PNGs as data URIs, and SVG that takes its colours from the page, light or dark.

    picture(x)                                 # (C, H, W) in [−1, 1] -> "data:image/png;base64,…"
    channels(h)                                # (C, H, W) of any size -> all channels beside each other: orange above 0, blue below
    curves(ts, {"network": errors}, t=300)     # errors over t
    graph(walk, position)                      # the U of the network, and how far the step has come in it

The page enlarges pictures and leaves their pixels squares.
"""
import base64
import io
import math

import numpy as np
from PIL import Image

from ..pictures.images import pixels
from ..pictures.unet_walk import KINDS, u_shape

WIDE, HIGH, PITCH, WIDTH = 150, 26, 36, 360  # of a box, from row to row, of the whole graph: SVG units, which are pixels on a telephone
COLOURS = {"network": "#3b82f6", "ideal": "#f97316", "mean": "#8a8a8a"}


def picture(x):
    """A data URI of an image (C, H, W) in [−1, 1], C 1 or 3, as a PNG of its own size."""
    levels = pixels(x[None])[0]
    return _png(Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels))


def _png(image):
    file = io.BytesIO()
    image.save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def channels(h, most=64):
    """A data URI of up to `most` channels of h (C, H, W), in rows: orange above 0, blue below, the stronger the farther from it, clear at 0.

    All of them to one scale, that of the largest value.
    """
    h = h[:most]
    count, height, width = h.shape
    columns = _columns(count, height, width)
    rows, zoom = -(-count // columns), max(1, round(32 / width))
    strength = np.abs(h) / (np.abs(h).max() or 1.0)
    tiles = np.empty((count, height, width, 4), np.uint8)
    tiles[..., :3] = np.where(h[..., None] > 0, [249, 115, 22], [59, 130, 246])
    tiles[..., 3] = np.rint(255 * np.sqrt(strength))  # the root: small values show, too
    tiles = tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)
    high, wide, gap = height * zoom, width * zoom, 3
    sheet = np.zeros((rows * (high + gap) + gap, columns * (wide + gap) + gap, 4), np.uint8)
    sheet[...] = 128, 128, 128, 70  # the lines between them
    for i, tile in enumerate(tiles):
        y, x = i // columns * (high + gap) + gap, i % columns * (wide + gap) + gap
        sheet[y:y + high, x:x + wide] = tile
    for i in range(count, rows * columns):
        y, x = i // columns * (high + gap), i % columns * (wide + gap) + gap
        sheet[y + gap:y + gap + high, x:x + wide + gap] = 0
    return _png(Image.fromarray(sheet))


def _columns(count, height, width):
    """As many as make the sheet about 1.6 times as wide as high, a divisor of the count if one is near."""
    ideal = max(1, min(count, round(math.sqrt(1.6 * count * height / width))))
    return next((c for c in range(ideal, min(count, 2 * ideal) + 1) if count % c == 0), ideal)


# ---- errors over t -------------------------------------------------------------------------------


def curves(ts, errors, t):
    """SVG: the squared error per value of each guess over t, with a line at the present t."""
    left, right, top, bottom, width, height = 34, 10, 8, 22, 440, 150
    highest = max(float(max(values)) for values in errors.values()) * 1.05 or 1.0
    first, last = float(ts[0]), float(ts[-1])

    def x(value):
        return left + (width - left - right) * (value - first) / ((last - first) or 1.0)

    def y(value):
        return height - bottom - (height - bottom - top) * value / highest

    parts = [f'<line x1="{left}" x2="{width - right}" y1="{y(0):.1f}" y2="{y(0):.1f}" stroke="currentColor" stroke-opacity=".4"/>']
    for value in (0, highest / 2, highest):
        parts.append(f'<text x="{left - 5}" y="{y(value) + 3:.1f}" text-anchor="end">{value:.2f}</text>')
    for value, anchor in ((first, "start"), (last, "end")):
        parts.append(f'<text x="{x(value):.1f}" y="{height - 6}" text-anchor="{anchor}">t = {value:.0f}</text>')
    for name, values in errors.items():
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(ts, np.asarray(values, float)))
        dash = ' stroke-dasharray="3 4"' if name == "mean" else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2.2"{dash}/>')
    parts.append(f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{top}" y2="{y(0):.1f}" stroke="currentColor" stroke-width="1.4"/>')
    return _svg(width, height, parts)


def _svg(width, height, parts):
    return (f'<svg viewBox="0 0 {width} {height}" style="width:100%;display:block" font-size="11" fill="currentColor" role="img">'
            + "".join(parts) + "</svg>")


# ---- the graph of one step -----------------------------------------------------------------------


def positions(walk):
    """Where a step can be: ("forward", name) for each layer in the order of the calls, ("J", ""), and ("back", name) the other way."""
    names = list(walk.layers)
    return [("forward", n) for n in names] + [("J", "")] + [("back", n) for n in reversed(names)]


def graph(walk, position):
    """(width, height, SVG to put into an <svg> of that size): the layers as a U, those that the step has passed filled, and, once it is on
    its way back, a bar for the norm of each gradient that has been computed. The ids of the boxes are "layer-" and their names."""
    steps = positions(walk)
    passed, back = {name for way, name in steps[:position + 1] if way == "forward"}, {name for way, name in steps[:position + 1] if way == "back"}
    kinds = {name: layer.kind for name, layer in walk.layers.items()}
    place, skips, rows = u_shape(kinds)
    middle = [name for name in kinds if name.startswith("middle")]
    columns, top = (WIDE / 2 + 4, WIDTH - WIDE / 2 - 4), 2 * PITCH
    centre = {name: (columns[side], top + PITCH * row) for name, (side, row) in place.items()}
    centre["last"] = (columns[1], top - PITCH)
    centre |= {name: (WIDTH / 2, top + PITCH * (rows + i) + 6) for i, name in enumerate(middle)}
    height = top + PITCH * (rows + len(middle)) - 2
    norms = [layer.norm for layer in walk.layers.values() if layer.norm]
    scale = (math.log(min(norms)), math.log(max(norms))) if norms else (0.0, 0.0)

    parts = [_text(columns[0], top - PITCH * 0.78, f"xₜ, t = {walk.t}", "middle"), _arrow(columns[0], top - PITCH * 0.65, columns[0], top - HIGH / 2),
             _text(columns[1], 14, f"J = {walk.J:.4f}" if position >= len(kinds) else "x̂₀ → J", "middle", bold=True),
             _arrow(columns[1], top - PITCH - HIGH / 2, columns[1], 18)]
    for a, b in skips:
        (xa, y), (xb, _) = centre[a], centre[b]
        parts.append(f'<path d="M{xa + WIDE / 2} {y}H{xb - WIDE / 2}" stroke="currentColor" stroke-opacity=".45" stroke-dasharray="3 3" fill="none"/>')
    order = list(kinds)
    for a, b in zip(order, order[1:]):
        (xa, ya), (xb, yb) = centre[a], centre[b]
        if xa == xb:
            sign = math.copysign(1, yb - ya)
            parts.append(_arrow(xa, ya + sign * HIGH / 2, xb, yb - sign * HIGH / 2))
        elif yb > ya:  # down into the middle
            parts.append(_arrow(xb - WIDE / 3, ya + HIGH / 2, xb - WIDE / 3, yb - HIGH / 2))
        else:  # and up out of it
            parts.append(_bend(xa + WIDE / 2, ya, xb, yb + HIGH / 2))
    for name, (x, y) in centre.items():
        parts.append(_box(name, walk.layers[name], x, y, name in passed, name in back, steps[position][1] == name, scale))
    return WIDTH, height, "".join(parts)


def _box(name, layer, x, y, passed, back, chosen, scale):
    left, top = x - WIDE / 2, y - HIGH / 2
    fill = f'fill="{KINDS[layer.kind]}"' if passed else 'fill="currentColor" fill-opacity=".06"'
    edge = ('stroke="#f97316" stroke-width="3"' if chosen else 'stroke="currentColor" stroke-opacity=".45"')
    colour = "#1f2328" if passed else "currentColor"
    shape = "×".join(map(str, layer.output.shape))
    parts = [f'<rect x="{left}" y="{top}" width="{WIDE}" height="{HIGH}" rx="5" {fill} {edge}/>',
             _text(left + 7, y + 2, name, "start", colour, bold=True), _text(left + WIDE - 7, y + 2, shape, "end", colour)]
    if back:
        share = (math.log(layer.norm) - scale[0]) / ((scale[1] - scale[0]) or 1.0) if layer.norm else -0.05
        parts.append(f'<rect x="{left + 5}" y="{y + HIGH / 2 - 7}" width="{(WIDE - 10) * (0.05 + 0.95 * share):.1f}" height="4" rx="2" fill="#c2362b"/>')
    parts.append(f'<rect id="layer-{name}" x="{left}" y="{top}" width="{WIDE}" height="{HIGH}" fill="transparent" pointer-events="all" style="cursor:pointer"/>')
    return "".join(parts)


def _text(x, y, text, anchor, colour="currentColor", bold=False):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" font-size="11" font-weight="{600 if bold else 400}">{text}</text>'


def _arrow(x1, y1, x2, y2):
    sign = math.copysign(4, y2 - y1)
    return (f'<path d="M{x1} {y1}V{y2 - sign / 2}" stroke="currentColor" stroke-opacity=".6" fill="none"/>'
            f'<path d="M{x2 - 3} {y2 - sign}H{x2 + 3}L{x2} {y2}Z" fill="currentColor" fill-opacity=".6"/>')


def _bend(x1, y1, x2, y2):
    return f'<path d="M{x1} {y1}H{x2}" stroke="currentColor" stroke-opacity=".6" fill="none"/>' + _arrow(x2, y1, x2, y2)
