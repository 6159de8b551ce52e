"""Reverse-mode differentiation: the whole algorithm, in one file.

An op is a function of plain arrays. It returns its output together with its *pullback*, the
function that turns the gradient with respect to the output into the gradients with respect to the
arguments:

    @primitive
    def mul(x, y):
        return x * y, lambda g: (g * y, g * x)

Called with Tensors, a primitive also leaves a Node behind: its pullback, and the Nodes of its
arguments. Those Nodes are the graph. What the pullback will need stays alive in its closure (x and
y, in `mul`). `backward` walks the graph from the result to the leaves, the variables such as θ, and
hands each Node's gradient to its pullback.

Why does a Node wait for all its uses? Take b = a + a; c = b * b + b. b is used three times, as
both factors and as a summand, so its gradient has three parts: g·b, g·b and g. Passing on each part
alone would give the right sum, since a pullback is linear in g. But a Node would be visited once
for every path to it: 2ⁿ times after n steps of b = b + b. So a Node waits until every use of it has
reported, and is visited once. `backward` counts the uses first.
(Baydin et al. 2018, "Automatic differentiation in machine learning: a survey", section 3.2.)

Three rules keep it correct and small:
- a pullback never writes into g, its inputs or its output, only into arrays that it allocated;
- a pullback need not undo broadcasting: `_fit` sums what broadcasting spread;
- each gradient is dropped once used, each Node emptied as it is visited: memory falls on the way.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from . import backend
from .backend import Array, Forward, Pullback, alike, array_module, as_array, one_precision
from .tensor import Tensor

_recording = ContextVar("recording", default=True)  # a global that every thread has for itself


class Node:
    """Where a gradient goes next. A leaf has no pullback, and sums its gradients in `grad`."""

    __slots__ = ("dtype", "grad", "op", "parents", "pullback", "shape")

    def __init__(self, op: str, out: Array, parents: Any, pullback: Pullback | None) -> None:
        self.op, self.shape, self.dtype = op, out.shape, out.dtype
        self.parents: tuple[Node | None, ...] = parents
        self.pullback: Pullback | None = pullback
        self.grad: Array | None = None


def leaf(array: Any, grad: Array | None = None) -> Tensor:
    """A Tensor to differentiate by. `backward` adds to `grad`, an array like it, if given."""
    array = as_array(array)
    if array.dtype.kind not in "fc":
        raise TypeError(f"leaf: expected an array of floats, got {array.dtype}")
    node = Node("leaf", array, (), None)
    node.grad = None if grad is None else alike("grad", grad, array)
    return Tensor(array, node)


def primitive(function: Callable[..., Forward]) -> Callable[..., Tensor]:
    """Make an op on Tensors of `function(*arrays, **options) -> (output, pullback)`.

    `pullback(g)` returns one gradient for each positional argument, None where there is none. An
    expensive op can take a keyword `needs`, one bool for each positional argument, and skip (return
    None for) what nobody needs.
    """
    takes_needs = "needs" in inspect.signature(function).parameters
    name = function.__name__

    @wraps(function)
    def op(*args: Any, **options: Any) -> Tensor:
        record = _recording.get()
        arrays = [a.data if isinstance(a, Tensor) else a for a in args]
        parents = tuple([a.node if record and isinstance(a, Tensor) else None for a in args])
        if takes_needs:
            options["needs"] = tuple([parent is not None for parent in parents])
        out, pullback = function(*arrays, **options)
        out = as_array(out)
        one_precision(name, arrays, out)
        if not any(parents):
            return Tensor(out)
        return Tensor(out, Node(name, out, parents, pullback))

    return op


@backend.underflow_is_zero
def backward(tensor: Tensor, g: Array | None = None) -> None:
    """Add d(tensor)/d(leaf), times `g`, to the `grad` of every leaf that `tensor` depends on.

    `g` has the Tensor's shape, and defaults to 1 for a single number.

    Raises:
        ValueError: if the Tensor depends on no leaf, or g does not fit.
        RuntimeError: naming the op, if a part of the graph was already used and freed.
    """
    if tensor.node is None:
        raise ValueError("backward: this Tensor depends on no leaf (or was made under no_grad)")
    if g is None and tensor.size != 1:
        shape = tensor.shape
        raise ValueError(f"backward: a Tensor of shape {shape} needs a gradient g of that shape")
    ones = array_module(tensor.data).ones_like
    g = ones(tensor.data) if g is None else alike("g", as_array(g), tensor)

    waiting = _count_uses(tensor.node)
    gradients = {tensor.node: g}
    # `add` returns the same g twice, and `reshape` a view of g: adding to those in place would
    # change a neighbour's gradient. Only sums made here, of the Nodes in `owned`, are added to.
    owned: set[Node] = set()
    ready = [tensor.node]
    while ready:
        node = ready.pop()
        owned.discard(node)
        g = gradients.pop(node)
        if node.pullback is None:
            _accumulate(node, g)
            continue
        pullback, parents = node.pullback, node.parents
        node.pullback, node.parents = None, ()
        for parent, part in zip(parents, pullback(g), strict=True):
            if parent is None:
                continue
            part = _fit(part, parent, node.op)
            if parent not in gradients:
                gradients[parent] = part
            elif parent in owned:
                gradients[parent] += part
            else:
                gradients[parent] = as_array(gradients[parent] + part)
                owned.add(parent)
            waiting[parent] -= 1
            if not waiting[parent]:
                ready.append(parent)
        del g, part, pullback  # or the last gradient would outlive its use by one step


def _count_uses(root: Node) -> dict[Node, int]:
    """How often each Node below `root` was used. Iterative: a graph may be 10,000 ops deep."""
    uses, stack = {root: 0}, [root]
    while stack:
        node = stack.pop()
        if node.pullback is None and node.op != "leaf":
            used = f"{node.op!r} was already differentiated through and its graph freed"
            raise RuntimeError(f"backward: {used}; compute it again")
        for parent in node.parents:
            if parent is not None:
                if parent not in uses:
                    uses[parent] = 0
                    stack.append(parent)
                uses[parent] += 1
    return uses


def _accumulate(node: Node, g: Array) -> None:
    """Add to a leaf's gradient. The first is copied: `g` may be an array that others hold too."""
    if node.grad is None:
        node.grad = g.copy()
    else:
        node.grad += g


def _fit(g: Array | None, node: Node, op: str) -> Array:
    """`g` summed over what broadcasting spread, to the shape of the argument behind `node`.

    For example g (H, W, N, C), for a bias (C,) that was added to all pixels: summed over H, W, N.
    """
    if g is None:
        raise TypeError(f"{op}: its pullback returned None for an argument that needs a gradient")
    if g.dtype != node.dtype:
        raise TypeError(f"{op}: expected a gradient of dtype {node.dtype}, got {g.dtype}")
    if g.shape != node.shape:
        extra = g.ndim - len(node.shape)
        if extra < 0 or any(n not in (1, m) for n, m in zip(node.shape, g.shape[extra:])):
            expected = f"shape {node.shape} or broadcast from it"
            raise ValueError(f"{op}: expected a gradient of {expected}, got {g.shape}")
        # One long axis is summed faster than several short ones.
        g = g.reshape(math.prod(g.shape[:extra]), *g.shape[extra:]).sum(axis=0)
        spread = tuple(i for i, n in enumerate(node.shape) if n == 1)
        g = g.sum(axis=spread, keepdims=True) if spread else g
    return as_array(g)


@contextmanager
def no_grad() -> Iterator[None]:
    """A context in which ops record nothing, so that no array lives longer than its use."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)
