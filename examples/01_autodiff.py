"""What does reverse-mode differentiation do, and why does it need an order?

    python examples/01_autodiff.py        # a second

From two multiplications up:

  1. y = (x · w) · v: three derivatives from one walk backwards
  2. b = a + a; c = b + b: walk backwards without an order, and dc/da comes out wrong; walk along every path, and it takes for ever
  3. the gradient of something larger, checked against finite differences
  4. the picture: the graph of 3, and how the three walks of 2 grow
"""
import argparse
import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from autograd import leaf, ops
from autograd.check import numerical_gradient
from autograd.draw import picture
from autograd.tensor import Tensor
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, RED, save_figure, tidy

# ---- 1. two multiplications ----------------------------------------------------------------------


def two_multiplications():
    """The gradients of y = (x · w) · v by hand and by the engine."""
    x, w, v = leaf(np.array(2.0)), leaf(np.array(3.0)), leaf(np.array(5.0))
    h = x * w  # each product remembers its factors, and how to come back:
    y = h * v  # mul(x, y) returns x·y and, beside it, the pullback g -> (g·y, g·x)
    y.backward()

    g_y = 1.0                                        # dy/dy
    g_h, g_v = g_y * 5.0, g_y * (2.0 * 3.0)          # the pullback of y = h · v
    g_x, g_w = g_h * 3.0, g_h * 2.0                  # the pullback of h = x · w, with what has arrived at h
    by_hand, by_engine = (g_x, g_w, g_v), tuple(float(p.grad) for p in (x, w, v))
    print(f"1. y = (x·w)·v at x = 2, w = 3, v = 5. By hand dy/dx, dy/dw, dy/dv = {by_hand}, by the engine {by_engine}.")
    return by_hand, by_engine


# ---- 2. why an order is needed -------------------------------------------------------------------


class Number:
    """A sum of two Numbers, or a leaf. Its derivative, with respect to the last sum, gathers in `grad`."""

    def __init__(self, value, parents=()):
        self.value, self.parents, self.grad = value, parents, 0.0

    def __add__(self, other):
        return Number(self.value + other.value, (self, other))


def as_it_comes(node, g):
    """Wrong: whenever something arrives, hand on all that has arrived so far. What came before is handed on twice. Returns the visits."""
    node.grad += g
    return 1 + sum(as_it_comes(parent, node.grad) for parent in node.parents)


def along_every_path(node, g):
    """Right, but slow: hand on what has just arrived and nothing else. A node is visited once for each path to it. Returns the visits."""
    node.grad += g
    return 1 + sum(along_every_path(parent, g) for parent in node.parents)


def in_order(node, g):
    """Right and fast: a node hands on only when all who used it have reported, so each is visited once. Returns the visits."""
    order, seen = [], set()

    def users_come_after(node):  # the topological order, arguments first
        if node not in seen:
            seen.add(node)
            for parent in node.parents:
                users_come_after(parent)
            order.append(node)

    users_come_after(node)
    node.grad = g
    for node in reversed(order):
        for parent in node.parents:
            parent.grad += node.grad
    return len(order)


WALKS = {"as it comes": as_it_comes, "along every path": along_every_path, "in order": in_order}


def doublings(walk, n):
    """a doubled n times by b = b + b. Returns what the walk finds for the derivative, which is 2ⁿ, and how many visits it takes."""
    a = b = Number(1.0)
    for _ in range(n):
        b = b + b
    visits = walk(b, 1.0)
    return a.grad, visits


def why_an_order(most):
    """For each walk, the derivative and the visits for n = 1..most doublings; and the engine's derivative for two."""
    found = {name: [doublings(walk, n) for n in range(1, most + 1)] for name, walk in WALKS.items()}
    a = leaf(np.array(1.0))
    b = a + a
    c = b + b
    c.backward()
    print("2. b = a + a; c = b + b, so c = 4a and dc/da = 4. What three ways of walking back find:")
    for name, rows in found.items():
        (derivative, _), (_, visits) = rows[1], rows[-1]
        print(f"   {name:17} {derivative:.0f} {'WRONG' if derivative != 4 else 'right'}; after {most} doublings {visits:,} visits")
    print(f"   The engine, which walks in order, finds {float(a.grad):.0f}.")
    return found, float(a.grad)


# ---- 3. a gradient checked -----------------------------------------------------------------------


def something_larger(x, w):
    """A layer and a loss: h = x·w, then the mean of (h · silu(h))², in which h is used twice."""
    h = x @ w
    return ops.square(h * ops.silu(h)).mean()


def checked(x, w):
    """The largest difference between the engine's gradients and those by finite differences, relative to the largest gradient."""
    leaves = leaf(x), leaf(w)
    something_larger(*leaves).backward()
    by_differences = (numerical_gradient(lambda x: something_larger(Tensor(x), w), x), numerical_gradient(lambda w: something_larger(Tensor(x), w), w))
    error = max(float(abs(p.grad - g).max() / abs(g).max()) for p, g in zip(leaves, by_differences))
    print(f"3. Of {x.size + w.size} derivatives of something larger the worst is {error:.0e} away from finite differences. "
          f"These took {4 * (x.size + w.size)} evaluations, backward took one walk.")
    return error


# ---- 4. the picture ------------------------------------------------------------------------------


def draw(path, x, w, found):
    leaves = {"x": leaf(x), "w": leaf(w)}
    graph = io.BytesIO()
    picture(something_larger(*leaves.values()), graph, leaves)
    graph.seek(0)
    figure = Figure(figsize=(12, 5.2), dpi=110)
    left, middle, right = figure.subplots(1, 3, width_ratios=(0.8, 1, 1))
    figure.subplots_adjust(left=0.01, right=0.98, top=0.9, bottom=0.12, wspace=0.25)
    left.imshow(imread(graph))
    left.set_axis_off()
    left.set_title("The graph of 3", color=INK, fontsize=11, fontweight="bold")
    styles = {"as it comes": (RED, "-", 4), "along every path": (ORANGE, "-", 2), "in order": (BLUE, "--", 2)}  # where two are equal, both can be seen
    for axes, column, title in ((middle, 0, "The derivative found after n doublings"), (right, 1, "Nodes visited")):
        for name, rows in found.items():
            colour, dash, width = styles[name]
            axes.semilogy(range(1, len(rows) + 1), [row[column] for row in rows], dash, color=colour, linewidth=width, label=name)
        axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
        axes.set_xlabel("doublings n")
        tidy(axes)
    middle.legend(frameon=False, labelcolor="linecolor")
    middle.text(0.98, 0.04, "2ⁿ, which is right", color=GREY, fontsize=9, ha="right", transform=middle.transAxes)
    save_figure(figure, path)


def main(arguments=None):
    """Returns what was found by each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer doublings")
    parser.add_argument("--out", type=Path, default=Path("autodiff.png"), help="where the picture goes [autodiff.png]")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 3)), rng.standard_normal((3, 2))
    by_hand, by_engine = two_multiplications()
    walks, engine = why_an_order(10 if options.quick else 16)
    error = checked(x, w)
    draw(options.out, x, w, walks)
    print(f"The picture is {options.out}.")
    return {"by_hand": by_hand, "by_engine": by_engine, "walks": walks, "engine": engine, "error": error}


if __name__ == "__main__":
    main()
