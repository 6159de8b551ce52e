"""draw.py: the DOT text exactly, and a picture without overlaps."""

import numpy as np
import pytest

from autograd import Tensor, leaf, ops
from autograd.draw import GAP, _graph, _layout, dot, picture


def diamond():
    a = leaf(np.ones(3))
    b = a + a
    return a, b * b.sum()


DIAMOND = r"""digraph {
    n0 [label="a\n3" shape=box]
    n1 [label="add\n3" shape=ellipse]
    n2 [label="sum\nnumber" shape=ellipse]
    n3 [label="mul\n3" shape=ellipse]
    n0 -> n1
    n0 -> n1
    n1 -> n2
    n1 -> n3
    n2 -> n3
}
"""


def test_dot_of_a_diamond():
    a, c = diamond()
    assert dot(c, {"a": a}) == DIAMOND


def test_dot_is_deterministic_and_needs_no_names():
    assert dot(diamond()[1]) == dot(diamond()[1])
    assert 'label="leaf\\n3"' in dot(diamond()[1])


def test_dot_escapes_names():
    a = leaf(np.ones((2, 3)))
    assert r'n0 [label="say \"a\" \\ b\n2 × 3" shape=box]' in dot(a * 2, {'say "a" \\ b': a})


def test_constants_are_not_drawn():
    assert dot(leaf(np.ones(2)) * np.ones(2)).count("label") == 2


def test_a_deep_graph():
    y = leaf(np.zeros(1))
    for _ in range(5000):
        y = y + y
    assert dot(y).count("->") == 10_000


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="draw: this Tensor depends on no leaf"):
        dot(Tensor(np.ones(2)))
    _, c = diamond()
    c.backward(np.ones(3))
    with pytest.raises(RuntimeError, match="draw: 'mul' was already differentiated through"):
        dot(c)


def network():
    x, w, b = leaf(np.ones((4, 3))), leaf(np.ones((3, 3))), leaf(np.ones(3))
    h = x
    for _ in range(4):
        h = h + ops.silu(h @ w + b)
    return {"x": x, "w": w, "b": b}, ((h - x) ** 2).sum()


def test_picture(tmp_path):
    names, y = network()
    picture(y, tmp_path / "graph.png", names)
    content = (tmp_path / "graph.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 10_000
    assert y.node.parents  # drawing used nothing up
    picture(names["x"], str(tmp_path / "leaf.png"))
    picture(y, tmp_path / "again.png", names)
    assert (tmp_path / "again.png").read_bytes() == content


def test_nothing_overlaps_and_data_flows_down():
    names, y = network()
    nodes, edges, labels = _graph(y, names)
    x, height, routes, wide = _layout(len(nodes), edges, [1.0] * len(nodes))
    for i in range(len(x)):
        for j in range(i):
            if height[i] == height[j]:
                assert abs(x[i] - x[j]) >= (wide[i] + wide[j]) / 2 + GAP - 1e-9
    for route in routes:
        falls = np.diff(height[route])
        assert (falls < 0).all() and len(set(np.round(falls, 9))) == 1
