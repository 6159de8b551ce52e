"""Twelve well-known mistakes, each beside the right version and the line that tells them apart.

docs/derivatives.md shows them; test_mistakes.py sees each found.
"""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from autograd import primitive
from autograd.testing import gradient_test, one_axis


class Mistake(NamedTuple):
    wrong: object
    right: object
    rule: str  # which one it breaks
    how: dict  # how `gradient_test` is called


MISTAKES = {}


def mistake(name, rule, **how):
    """Enter a function of a switch, `wrong`, that makes the op."""

    def enter(make):
        keys = {key: how[key] for key in how if key != "vjp"}
        if how.get("vjp"):
            (f, wrong), (_, right) = make(True), make(False)
            MISTAKES[name] = Mistake((f, {"vjp": wrong}), (f, {"vjp": right}), rule, keys)
        else:
            MISTAKES[name] = Mistake((make(True), {}), (make(False), {}), rule, keys)
        return make

    return enter


def test_of(version, how, **more):
    function, own = version
    return gradient_test(function, **own, **how, **more)


test_of.__test__ = False  # pytest must not take it for a test


@mistake("forgotten broadcast", "shape", vjp=True)
def add(wrong):
    """A bias (C,) added to images (N, C): its gradient must be summed over N."""

    def unbroadcast(g, shape):
        g = g.sum(axis=tuple(range(g.ndim - len(shape))))
        return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)

    def vjp(g, x, y):
        return (g, g) if wrong else (unbroadcast(g, x.shape), unbroadcast(g, y.shape))

    return (lambda x, y: x + y), vjp


@mistake("written into g", "untouched")
def relu(wrong):
    @primitive
    def relu(x):
        def pullback(g):
            if wrong:
                g[x <= 0] = 0
                return (g,)
            return (np.where(x > 0, g, 0),)

        return np.maximum(x, 0), pullback

    return relu


@mistake(
    "max's ties", "slope", options={"axis": one_axis}, shapes=st.tuples(*[st.integers(1, 4)] * 2)
)
def maximum(wrong):
    @primitive
    def top(x, *, axis):
        out = x.max(axis=axis, keepdims=True)
        ties = x == out
        count = 1 if wrong else ties.sum(axis=axis, keepdims=True, dtype=x.dtype)
        return out, lambda g: (g / count * ties,)

    return top


@mistake("softmax without the sum", "slope", shapes=st.tuples(*[st.integers(1, 4)] * 2))
def softmax(wrong):
    @primitive
    def softmax(x):
        e = np.exp(x - x.real.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        if wrong:
            return p, lambda g: (g * p * (1 - p),)  # the diagonal of the Jacobian alone
        return p, lambda g: (p * (g - (g * p).sum(axis=-1, keepdims=True)),)

    return softmax


@mistake("mean without its factor", "slope")
def mean(wrong):
    @primitive
    def mean(x):
        n = 1 if wrong else max(1, x.size)
        return x.sum() / max(1, x.size), lambda g: (np.broadcast_to(g / n, x.shape),)

    return mean


@mistake("wrong axis", "slope", shapes=st.integers(1, 4).map(lambda n: (n, n)))
def row_sums(wrong):
    """Square inputs hide it from a check of shapes."""

    @primitive
    def row_sums(x):
        axis = 0 if wrong else 1
        return x.sum(axis=1), lambda g: (np.broadcast_to(np.expand_dims(g, axis), x.shape),)

    return row_sums


@mistake("kernel not flipped", "slope", shapes=st.tuples(*[st.tuples(st.integers(1, 4))] * 2))
def convolve(wrong):
    """A full convolution. The gradient of the signal correlates g with the kernel."""

    def correlate(g, kernel, count):
        return np.array([g[i : i + len(kernel)] @ kernel for i in range(count)])

    @primitive
    def convolve(x, w):
        def pullback(g):
            kernel = w[::-1] if wrong else w
            return correlate(g, kernel, len(x)), correlate(g, x, len(w))

        return np.convolve(x, w), pullback

    return convolve


@mistake("a buffer used again", "alias")
def cube(wrong):
    """A workspace saves an allocation, and the next call overwrites this one's gradient."""
    buffers = {}

    @primitive
    def cube(x):
        def pullback(g):
            out = buffers.setdefault((x.shape, x.dtype), np.empty_like(x)) if wrong else None
            return (np.multiply(3 * x * x, g, out=out),)

        return x**3, pullback

    return cube


@mistake("float64 leak", "float32")
def scaled(wrong):
    """NumPy's own square root is a float64 scalar, and float32 times that is float64."""

    @primitive
    def scaled(x):
        c = np.sqrt(2.0) if wrong else float(np.sqrt(2.0))
        return x * c, lambda g: (g * c,)

    return scaled


@mistake("0/0 at a kink", "slope", kinks=[0.0])
def absolute(wrong):
    @primitive
    def absolute(x):
        return np.abs(x), lambda g: (g * x / np.abs(x) if wrong else g * np.sign(x),)

    return absolute


@mistake("wrong sign", "slope")
def sub(wrong):
    @primitive
    def sub(x, y):
        return x - y, lambda g: (g, g if wrong else -g)

    return sub


@mistake("off by the batch size", "slope", shapes="(n,c),(n,c)->()")
def loss(wrong):
    """The loss sums over the batch; the pullback divides by its size."""

    @primitive
    def loss(x, y):
        n = max(1, x.shape[-2]) if wrong else 1
        return ((x - y) ** 2).sum(), lambda g: (2 * g * (x - y) / n, -2 * g * (x - y) / n)

    return loss
