"""Look at a graph: as DOT text for Graphviz, or as a picture made with matplotlib alone.

    >>> x, w = leaf(np.ones((4, 3))), leaf(np.ones((3, 2)))
    >>> loss = ((x @ w) ** 2).sum()
    >>> picture(loss, "graph.png", {"x": x, "w": w})
    >>> print(dot(loss, {"x": x, "w": w}))

Data flows downwards. Boxes are leaves, ovals are ops, each with the shape of its output. Numbers
and other things that take no gradient are not in the graph. Draw before `backward`, which frees the
graph as it goes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .backend import Array
from .engine import Node
from .tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# In inches: the width of a letter, the height of a node, the distance from layer to layer, and the
# gap between neighbours.
LETTER, HEIGHT, LAYER, GAP = 0.085, 0.46, 0.86, 0.25

# Labels for leaves, {"w": w}.
Names: TypeAlias = Mapping[str, Tensor] | None


def dot(tensor: Tensor, names: Names = None) -> str:
    """The graph of a Tensor in the DOT language. The same graph always gives the same text.

    Args:
        tensor: the result whose graph is drawn.
        names: labels for its leaves, {"w": w}.
    """
    graph = _graph(tensor, names)
    lines = ["digraph {"]
    for i, (node, label) in enumerate(zip(graph.nodes, graph.labels)):
        text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in label)
        shape = "box" if node.op == "leaf" else "ellipse"
        lines.append(f'    n{i} [label="{text}" shape={shape}]')
    lines += [f"    n{i} -> n{j}" for i, j in graph.edges]
    return "\n".join([*lines, "}", ""])


def picture(tensor: Tensor, path: str | Path, names: Names = None) -> None:
    """Draw the graph of a Tensor into a file. It stays readable up to some 40 nodes.

    Args:
        tensor: the result whose graph is drawn.
        path: a PNG file, or another format that matplotlib knows by its ending.
        names: labels for its leaves, {"w": w}.
    """
    import matplotlib
    from matplotlib.figure import Figure

    graph = _graph(tensor, names)
    wide = [LETTER * max(map(len, label)) + 0.28 for label in graph.labels]
    layout = _layout(len(graph.nodes), graph.edges, wide)
    x, y, half = layout.x, layout.y, layout.wide / 2
    left, right = min(x - half) - GAP, max(x + half) + GAP
    bottom, top = -LAYER / 2, max(y) + LAYER / 2
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # nobody's settings change the picture
        figure = Figure(figsize=(right - left, max(y) + LAYER))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(left, right), ylim=(bottom, top))
        axes.set_axis_off()
        for k, (node, label) in enumerate(zip(graph.nodes, graph.labels)):
            _draw_node(axes, node.op == "leaf", label, x[k], y[k], layout.wide[k])
        for e in range(len(layout.routes)):
            _draw_edge(axes, e, layout)
        figure.savefig(path, dpi=160)


def _draw_node(
    axes: "Axes", is_leaf: bool, label: tuple[str, str], x: float, y: float, wide: float
) -> None:
    """A box or an oval in the middle of (x, y), with its two lines of text."""
    from matplotlib.patches import FancyBboxPatch

    name, shape = label
    corner = 0.03 if is_leaf else HEIGHT / 2
    box = FancyBboxPatch(
        (x - wide / 2, y - HEIGHT / 2),
        wide,
        HEIGHT,
        boxstyle=f"round,pad=0,rounding_size={corner}",
        facecolor="#e8f0fa" if is_leaf else "#fdf3e1",
        edgecolor="#35506e" if is_leaf else "#8a6420",
        zorder=2,
    )
    axes.add_patch(box)
    middle: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 3}
    axes.text(x, y + 0.085, name, fontsize=9, weight="bold", **middle)
    axes.text(x, y - 0.105, shape, fontsize=7.5, color="#444444", **middle)


def _draw_edge(axes: "Axes", e: int, layout: "_Layout") -> None:
    """An arrow from node to node, through its bends. It is vertical at each of them."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    route = layout.routes[e]
    stops = np.stack([layout.x[route], layout.y[route]], axis=1)
    stops[0] += _port(e, layout, 0, 1), -HEIGHT / 2
    stops[-1] += _port(e, layout, -1, -2), HEIGHT / 2
    points, codes = [stops[0]], [Curve.MOVETO]
    for (xa, ya), (xb, yb) in zip(stops, stops[1:]):
        half_way = (ya + yb) / 2
        points += [(xa, half_way), (xb, half_way), (xb, yb)]
        codes += [Curve.CURVE4] * 3
    arrow = FancyArrowPatch(
        path=Curve(points, codes),
        arrowstyle="-|>",
        mutation_scale=9,
        color="#555555",
        linewidth=1,
        zorder=1,
    )
    axes.add_patch(arrow)


def _port(e: int, layout: "_Layout", end: int, towards: int) -> float:
    """How far from the middle of its node an edge begins (end 0) or arrives (end -1).

    No two edges share a point.
    """
    routes, node = layout.routes, layout.routes[e][end]
    here = sorted((layout.x[r[towards]], k) for k, r in enumerate(routes) if r[end] == node)
    return 0.16 * ([k for _, k in here].index(e) - (len(here) - 1) / 2)


class _Graph(NamedTuple):
    nodes: list[Node]  # arguments before their users
    edges: list[tuple[int, int]]  # from node to node, by their places in that list
    labels: list[tuple[str, str]]  # two lines of text for each node: its name and its shape


def _graph(tensor: Tensor, names: Names) -> _Graph:
    """Everything that a Tensor was computed from."""
    if tensor.node is None:
        raise ValueError("draw: this Tensor depends on no leaf (or was made under no_grad)")
    place = _places(tensor.node)
    called = {leaf.node: name for name, leaf in (names or {}).items()}
    labels = [
        (called.get(node, node.op), " × ".join(map(str, node.shape)) or "number") for node in place
    ]
    edges = [
        (place[parent], j)
        for j, node in enumerate(place)
        for parent in node.parents
        if parent is not None
    ]
    return _Graph(list(place), edges, labels)


def _places(root: Node) -> dict[Node, int]:
    """The Nodes below a root, arguments before their users, with their places in this order."""
    place: dict[Node, int] = {}
    stack = [(root, False)]
    while stack:
        node, finished = stack.pop()
        if finished:
            place.setdefault(node, len(place))
        elif node not in place:
            if node.pullback is None and node.op != "leaf":
                used = f"{node.op!r} was already differentiated through and its graph freed"
                raise RuntimeError(f"draw: {used}; draw it before")
            stack.append((node, True))
            stack += [(parent, False) for parent in reversed(node.parents) if parent is not None]
    return place


class _Layout(NamedTuple):
    x: Array  # of the middle of each node, then of each bend
    y: Array
    routes: list[list[int]]  # for each edge, the nodes and bends on its way
    wide: Array  # of each node, then of each bend


def _layout(count: int, edges: Sequence[tuple[int, int]], wide: Sequence[float]) -> _Layout:
    """Nodes in layers, as Sugiyama et al. 1981 draw them, with a bend wherever an edge passes one.

    Everything is pulled towards the mean of its neighbours.
    """
    layer, routes = _routes(count, edges)
    widths = np.array([*wide, *[0.1] * (len(layer) - count)])
    return _Layout(_columns(layer, routes, widths), LAYER * np.array(layer), routes, widths)


def _routes(count: int, edges: Sequence[tuple[int, int]]) -> tuple[list[int], list[list[int]]]:
    """The layer of each node and bend, and for each edge the nodes and bends on its way."""
    layer = [0] * count
    for i, j in reversed(edges):  # the users of a node come after it: their layers are known
        layer[i] = max(layer[i], layer[j] + 1)
    routes = []
    for i, j in edges:
        bends = range(len(layer), len(layer) + layer[i] - layer[j] - 1)
        layer += [layer[i] - 1 - k for k in range(len(bends))]
        routes.append([i, *bends, j])
    return layer, routes


def _columns(layer: list[int], routes: list[list[int]], wide: Array) -> Array:
    """Where each node and bend is from left to right."""
    steps = [step for route in routes for step in zip(route, route[1:])]
    above = [[a for a, b in steps if b == k] for k in range(len(layer))]
    below = [[b for a, b in steps if a == k] for k in range(len(layer))]
    around = [a + b for a, b in zip(above, below)]
    rows = [[k for k, at in enumerate(layer) if at == row] for row in range(max(layer) + 1)]
    x = np.zeros(len(layer))
    for sweep in range(200):
        down = sweep % 2 == 0
        sorting = sweep < 20  # first find an order in the rows, then straighten
        near = around if not sorting else above if down else below
        for row in reversed(rows) if down else rows:
            wanted = np.array([x[near[k]].mean() if near[k] else x[k] for k in row])
            if sorting:
                order = wanted.argsort(kind="stable")
                row[:], wanted = [row[o] for o in order], wanted[order]
            x[row] = _without_overlap(wanted, wide[row])
    return x


def _without_overlap(wanted: Array, wide: Array) -> Array:
    """A row's places in its order, near those wanted: half-way between the two extremes.

    One pushes everything to the right until nothing overlaps, the other to the left.
    """
    packed = np.cumsum(wide + GAP) - wide / 2  # side by side, as close as may be
    slack = wanted - packed
    rightmost = np.maximum.accumulate(slack)
    leftmost = np.minimum.accumulate(slack[::-1])[::-1]
    places: Array = packed + (rightmost + leftmost) / 2
    return places
