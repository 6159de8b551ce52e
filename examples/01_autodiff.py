"""What does reverse-mode differentiation do, and why does it need an order?

    python examples/01_autodiff.py        # a second

It starts from two multiplications:

  1. y = (x · w) · v: one walk backwards gives three derivatives
  2. b = a + a; c = b + b: a walk in no particular order gets dc/da wrong, and a walk along every
     path takes forever
  3. the gradient of a larger function, checked against finite differences
  4. the picture: the graph of part 3, and how the three walks of part 2 grow
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
    h = x * w  # each product remembers its factors and its pullback:
    y = h * v  # mul(x, y) returns x·y and the function g -> (g·y, g·x)
    y.backward()
    by_engine = tuple(float(p.grad) for p in (x, w, v))

    g_y = 1.0  # dy/dy
    g_h, g_v = g_y * 5.0, g_y * (2.0 * 3.0)  # the pullback of y = h · v
    g_x, g_w = g_h * 3.0, g_h * 2.0  # the pullback of h = x · w, applied to g_h
    by_hand = (g_x, g_w, g_v)

    print("1. y = (x·w)·v at x = 2, w = 3, v = 5. The derivatives dy/dx, dy/dw and dy/dv are")
    print(f"   {by_hand} by hand and {by_engine} by the engine.")
    return by_hand, by_engine


# ---- 2. why an order is needed -------------------------------------------------------------------


class Number:
    """A leaf, or a sum of two Numbers. A walk back collects its derivative in `grad`."""

    def __init__(self, value, parents=()):
        self.value, self.parents, self.grad = value, parents, 0.0

    def __add__(self, other):
        return Number(self.value + other.value, (self, other))


# Each walk leaves derivatives in `grad`, and returns how many nodes it visited.


def as_it_comes(node, g):
    """Wrong: at each arrival pass on all that has arrived so far, so early parts count twice."""
    node.grad += g
    return 1 + sum(as_it_comes(parent, node.grad) for parent in node.parents)


def along_every_path(node, g):
    """Right but slow: pass on only what has just arrived. Each path costs its own visit."""
    node.grad += g
    return 1 + sum(along_every_path(parent, g) for parent in node.parents)


def in_order(node, g):
    """Right and fast: a node waits for all its users, then passes on once. One visit each."""
    order, seen = [], set()

    def list_parents_first(node):  # topological order: a node comes after its parents
        if node not in seen:
            seen.add(node)
            for parent in node.parents:
                list_parents_first(parent)
            order.append(node)

    list_parents_first(node)
    node.grad = g
    for node in reversed(order):
        for parent in node.parents:
            parent.grad += node.grad
    return len(order)


WALKS = {"as it comes": as_it_comes, "along every path": along_every_path, "in order": in_order}


def doublings(walk, n):
    """Double a number n times. Returns the derivative by this walk (2ⁿ is right) and its visits."""
    a = b = Number(1.0)
    for _ in range(n):
        b = b + b
    visits = walk(b, 1.0)
    return a.grad, visits


def why_an_order(most):
    """Each walk's derivative and visits for 1..most doublings; the engine's derivative for two."""
    found = {name: [doublings(walk, n) for n in range(1, most + 1)] for name, walk in WALKS.items()}
    a = leaf(np.array(1.0))
    b = a + a
    c = b + b
    c.backward()
    by_engine = float(a.grad)

    print("2. b = a + a; c = b + b, so c = 4a and dc/da = 4. Three ways of walking back find:")
    for name, rows in found.items():
        derivative = rows[1][0]  # after two doublings
        visits = rows[-1][1]
        verdict = "right" if derivative == 4 else "WRONG"
        print(f"   {name:17} {derivative:.0f} {verdict}; {most} doublings take {visits:,} visits")
    print(f"   The engine walks in order and finds {by_engine:.0f}.")
    return found, by_engine


# ---- 3. a gradient checked -----------------------------------------------------------------------


def larger_function(x, w):
    """A layer and a loss: h = x·w, then the mean of (h · silu(h))². It uses h twice."""
    h = x @ w
    return ops.square(h * ops.silu(h)).mean()


def gradient_error(x, w):
    """The engine's worst error against finite differences, relative to the largest derivative."""
    variables = leaf(x), leaf(w)
    larger_function(*variables).backward()
    differences = (
        numerical_gradient(lambda x: larger_function(Tensor(x), w), x),
        numerical_gradient(lambda w: larger_function(Tensor(x), w), w),
    )
    error = max(
        float(abs(variable.grad - expected).max() / abs(expected).max())
        for variable, expected in zip(variables, differences)
    )
    n = x.size + w.size
    print(f"3. A larger function has {n} derivatives. The worst is {error:.0e} away from finite")
    print(f"   differences. These took {4 * n} evaluations; backward took one walk.")
    return error


# ---- 4. the picture ------------------------------------------------------------------------------


def draw(path, x, w, found):
    figure = Figure(figsize=(12, 5.2), dpi=110)
    left, middle, right = figure.subplots(1, 3, width_ratios=(0.8, 1, 1))
    figure.subplots_adjust(left=0.01, right=0.98, top=0.9, bottom=0.12, wspace=0.25)
    draw_graph(left, x, w)
    draw_walks(middle, found, column=0, title="The derivative found after n doublings")
    draw_walks(right, found, column=1, title="Nodes visited")
    middle.legend(frameon=False, labelcolor="linecolor")
    corner = {"ha": "right", "transform": middle.transAxes}
    middle.text(0.98, 0.04, "2ⁿ, which is right", color=GREY, fontsize=9, **corner)
    save_figure(figure, path)


def draw_graph(axes, x, w):
    leaves = {"x": leaf(x), "w": leaf(w)}
    graph = io.BytesIO()
    picture(larger_function(*leaves.values()), graph, leaves)
    graph.seek(0)
    axes.imshow(imread(graph))
    axes.set_axis_off()
    axes.set_title("The graph of part 3", color=INK, fontsize=11, fontweight="bold")


def draw_walks(axes, found, column, title):
    styles = {  # colour, dashes, width: two equal curves can both be seen
        "as it comes": (RED, "-", 4),
        "along every path": (ORANGE, "-", 2),
        "in order": (BLUE, "--", 2),
    }
    for name, rows in found.items():
        colour, dashes, width = styles[name]
        n, values = range(1, len(rows) + 1), [row[column] for row in rows]
        axes.semilogy(n, values, dashes, color=colour, linewidth=width, label=name)
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set_xlabel("doublings n")
    tidy(axes)


def main(arguments=None):
    """Run all parts and return what each found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer doublings")
    parser.add_argument("--out", type=Path, default=Path("autodiff.png"), help="the picture's path")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 3)), rng.standard_normal((3, 2))

    by_hand, by_engine = two_multiplications()
    walks, engine = why_an_order(10 if options.quick else 16)
    error = gradient_error(x, w)
    draw(options.out, x, w, walks)
    print(f"The picture is {options.out}.")
    return {
        "by_hand": by_hand,
        "by_engine": by_engine,
        "walks": walks,
        "engine": engine,
        "error": error,
    }


if __name__ == "__main__":
    main()
