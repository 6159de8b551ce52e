"""Look at a graph: as DOT text for Graphviz, or as a picture made with matplotlib alone.

    >>> x, w = leaf(np.ones((4, 3))), leaf(np.ones((3, 2)))
    >>> loss = ((x @ w) ** 2).sum()
    >>> picture(loss, "graph.png", {"x": x, "w": w})
    >>> print(dot(loss, {"x": x, "w": w}))

Data flows downwards: boxes are leaves, ovals are ops, each with the shape of what it gives. Numbers and other things
that take no gradient are not in the graph. Draw before `backward`, which frees the graph as it goes.
"""
import numpy as np

LETTER, HEIGHT, LAYER, GAP = 0.085, 0.46, 0.86, 0.25  # inches: of a letter, of a node, from layer to layer, between neighbours


def dot(tensor, names=None):
    """The graph of a Tensor in the DOT language; `names` maps labels to leaves, {"w": w}. The same graph gives the same text."""
    nodes, edges, labels = _graph(tensor, names)
    lines = ["digraph {"]
    for i, (node, label) in enumerate(zip(nodes, labels)):
        text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in label)
        lines.append(f'    n{i} [label="{text}" shape={"box" if node.op == "leaf" else "ellipse"}]')
    lines += [f"    n{i} -> n{j}" for i, j in edges]
    return "\n".join([*lines, "}", ""])


def picture(tensor, path, names=None):
    """Draw the graph of a Tensor, readable up to some 40 nodes, into `path`, a PNG file (or what else its ending says)."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path

    nodes, edges, labels = _graph(tensor, names)
    wide = [LETTER * max(map(len, label)) + 0.28 for label in labels]
    x, y, routes, wide = _layout(len(nodes), edges, wide)
    left, right = min(x - wide / 2) - GAP, max(x + wide / 2) + GAP
    figure = Figure(figsize=(right - left, max(y) + LAYER))
    axes = figure.add_axes([0, 0, 1, 1], xlim=(left, right), ylim=(-LAYER / 2, max(y) + LAYER / 2))
    axes.set_axis_off()

    for k, label in enumerate(labels):
        corner, fill, line = (0.03, "#e8f0fa", "#35506e") if nodes[k].op == "leaf" else (HEIGHT / 2, "#fdf3e1", "#8a6420")
        axes.add_patch(FancyBboxPatch((x[k] - wide[k] / 2, y[k] - HEIGHT / 2), wide[k], HEIGHT, zorder=2, facecolor=fill,
                                      edgecolor=line, boxstyle=f"round,pad=0,rounding_size={corner}"))
        axes.text(x[k], y[k] + 0.085, label[0], ha="center", va="center", fontsize=9, weight="bold", zorder=3)
        axes.text(x[k], y[k] - 0.105, label[1], ha="center", va="center", fontsize=7.5, color="#444444", zorder=3)
    for e, route in enumerate(routes):
        stops = np.stack([x[route], y[route]], axis=1)
        stops[0] += _port(e, routes, x, 0, 1), -HEIGHT / 2
        stops[-1] += _port(e, routes, x, -1, -2), HEIGHT / 2
        bends = [[(xa, (ya + yb) / 2), (xb, (ya + yb) / 2), (xb, yb)] for (xa, ya), (xb, yb) in zip(stops, stops[1:])]
        curve = Path([stops[0], *sum(bends, [])], [Path.MOVETO] + [Path.CURVE4] * 3 * len(bends))  # vertical at each stop
        axes.add_patch(FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=9, color="#555555", linewidth=1, zorder=1))
    figure.savefig(path, dpi=160)


def _graph(tensor, names):
    """The Nodes below a Tensor, arguments before their users; the edges as pairs of places in that list; two lines of text for each Node."""
    if tensor.node is None:
        raise ValueError("draw: nothing this Tensor was computed from is a leaf (or it was made under no_grad)")
    place, stack = {}, [(tensor.node, False)]
    while stack:
        node, finished = stack.pop()
        if finished:
            place.setdefault(node, len(place))
        elif node not in place:
            if node.pullback is None and node.op != "leaf":
                raise RuntimeError(f"draw: {node.op!r} was already differentiated through and its part of the graph freed; draw it before")
            stack.append((node, True))
            stack += [(parent, False) for parent in reversed(node.parents) if parent is not None]
    called = {leaf.node: name for name, leaf in (names or {}).items()}
    labels = [(called.get(node, node.op), " × ".join(map(str, node.shape)) or "number") for node in place]
    return list(place), [(place[parent], j) for j, node in enumerate(place) for parent in node.parents if parent is not None], labels


def _layout(count, edges, wide):
    """Sugiyama et al. 1981: nodes in layers, long edges through a bend in each, everything drawn towards its neighbours' mean.

    Returns x, y and the widths of nodes and bends, and for each edge the nodes and bends on its way."""
    layer = [0] * count
    for i, j in reversed(edges):  # the users of a node come after it: their layers are known
        layer[i] = max(layer[i], layer[j] + 1)
    wide, routes = list(wide), []
    for i, j in edges:
        bends = range(len(layer), len(layer) + layer[i] - layer[j] - 1)
        layer += [layer[i] - 1 - k for k in range(len(bends))]
        wide += [0.1] * len(bends)
        routes.append([i, *bends, j])
    steps = [step for route in routes for step in zip(route, route[1:])]
    above = [[a for a, b in steps if b == k] for k in range(len(layer))]
    below = [[b for a, b in steps if a == k] for k in range(len(layer))]
    rows = [[k for k, at in enumerate(layer) if at == row] for row in range(max(layer) + 1)]
    wide, x = np.array(wide), np.zeros(len(layer))
    for sweep in range(200):
        sorting, down = sweep < 20, sweep % 2 == 0  # first find an order within the rows, then straighten
        for row in reversed(rows) if down else rows:
            near = [above[k] + below[k] if not sorting else above[k] if down else below[k] for k in row]
            wanted = np.array([x[ns].mean() if ns else x[k] for k, ns in zip(row, near)])
            order = wanted.argsort(kind="stable") if sorting else np.arange(len(row))
            row[:], wanted = [row[o] for o in order], wanted[order]
            packed = np.cumsum(wide[row] + GAP) - wide[row] / 2  # as close as may be; from there nothing may go left of
            slack = wanted - packed  # its neighbour: half-way between pushing all to the right and all to the left
            x[row] = packed + (np.maximum.accumulate(slack) + np.minimum.accumulate(slack[::-1])[::-1]) / 2
    return x, LAYER * np.array(layer), routes, wide


def _port(e, routes, x, end, towards):
    """How far from the middle of its node edge `e` begins (end 0) or arrives (end -1), so that no two share a point."""
    here = sorted((x[r[towards]], k) for k, r in enumerate(routes) if r[end] == routes[e][end])
    return 0.16 * ([k for _, k in here].index(e) - (len(here) - 1) / 2)
