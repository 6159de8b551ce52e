"""Reverse-mode differentiation: the whole algorithm, in one file.

An op is a function of plain arrays that returns its output together with its *pullback*, the function that turns the
gradient with respect to the output into the gradients with respect to the arguments:

    @primitive
    def mul(x, y):
        return x * y, lambda g: (g * y, g * x)

Called with Tensors, a primitive also leaves a Node behind: its pullback, and the Nodes of its arguments. Those Nodes
are the graph. What the pullback will need stays alive in its closure (x and y, in `mul`). `backward` walks the graph
from the result to the leaves, the variables such as θ, and hands each Node's gradient to its pullback.

Why in an order, and not just as it comes? Take b = a + a; c = b * b + b. b is used three times, as both factors and as
a summand, so its gradient has three parts: g·b, g·b and g. Passing each on to `a` as it comes would give the right sum,
since a pullback is linear in g, but a Node would be visited once for every path to it: 2ⁿ times after n steps of
b = b + b. So a Node waits until every use of it has reported, and is visited once. `backward` counts the uses first.
(Baydin et al. 2018, "Automatic differentiation in machine learning: a survey", section 3.2.)

Three rules keep it correct and small:
- a pullback never writes into g, its inputs or its output, only into arrays that it allocated itself;
- a pullback need not undo broadcasting: `_fit` sums what that spread;
- each gradient is dropped once used, and each Node is emptied as it is visited: memory falls as `backward` goes.
"""
import inspect
import math
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps

from .backend import alike, array_module, as_array
from .tensor import Tensor

_recording = ContextVar("recording", default=True)  # a global of which every thread has its own


class Node:
    """Where a gradient goes next. In a leaf there is no pullback, and `grad` is where gradients are summed."""

    __slots__ = ("op", "shape", "dtype", "parents", "pullback", "grad")

    def __init__(self, op, out, parents=(), pullback=None, grad=None):
        self.op, self.shape, self.dtype = op, out.shape, out.dtype
        self.parents, self.pullback, self.grad = parents, pullback, grad


def leaf(array, grad=None):
    """A Tensor to differentiate with respect to. `backward` adds to `grad`, an array of the same shape and dtype, if one is given."""
    array = as_array(array)
    if array.dtype.kind not in "fc":
        raise TypeError(f"leaf: expected an array of floats, got {array.dtype}")
    return Tensor(array, Node("leaf", array, grad=None if grad is None else alike("grad", grad, array)))


def primitive(function):
    """Make an op on Tensors of `function(*arrays, **options) -> (output, pullback)`.

    `pullback(g)` returns one gradient per positional argument, None where there is none. An expensive op can take a
    keyword `needs`, one bool per positional argument, and then skip (return None for) what nobody needs.
    """
    takes_needs = "needs" in inspect.signature(function).parameters

    @wraps(function)
    def op(*args, **options):
        record = _recording.get()
        arrays = [a.data if isinstance(a, Tensor) else a for a in args]
        parents = tuple([a.node if record and isinstance(a, Tensor) else None for a in args])
        if takes_needs:
            options["needs"] = tuple([parent is not None for parent in parents])
        out, pullback = function(*arrays, **options)
        out = as_array(out)
        _check_precision(function.__name__, arrays, out)
        if not any(parents):
            return Tensor(out)
        return Tensor(out, Node(function.__name__, out, parents, pullback))

    return op


def backward(tensor, g=None):
    """Add d(tensor)/d(leaf), times `g`, to the `grad` of every leaf that `tensor` was computed from.

    `g` has the Tensor's shape and defaults to 1 for a single number. Raises ValueError if the Tensor depends on no leaf,
    RuntimeError (naming the op) if a part of the graph was already used and freed.
    """
    if tensor.node is None:
        raise ValueError("backward: nothing this Tensor was computed from is a leaf (or it was made under no_grad)")
    if g is None and tensor.size != 1:
        raise ValueError(f"backward: a Tensor of shape {tensor.shape} needs a gradient g of that shape; only a single number has a default")
    g = array_module(tensor.data).ones_like(tensor.data) if g is None else alike("g", as_array(g), tensor)

    waiting = _count_uses(tensor.node)
    gradients = {tensor.node: g}
    # `add` returns the same g twice, and `reshape` a view of g: adding to those in place would change a neighbour's
    # gradient. Only the sums allocated here may be added to; `owned` is the Nodes that have one.
    owned = set()
    ready = [tensor.node]
    while ready:
        node = ready.pop()
        owned.discard(node)
        g = gradients.pop(node)
        if node.op == "leaf":
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


def _count_uses(root):
    """How many times each Node below `root` was used as an argument. Iterative: a graph may be 10,000 ops deep."""
    uses, stack = {root: 0}, [root]
    while stack:
        node = stack.pop()
        if node.pullback is None and node.op != "leaf":
            raise RuntimeError(f"backward: {node.op!r} was already differentiated through and its part of the graph freed; compute it again")
        for parent in node.parents:
            if parent is not None:
                if parent not in uses:
                    uses[parent] = 0
                    stack.append(parent)
                uses[parent] += 1
    return uses


def _accumulate(node, g):
    """Add to a leaf's gradient. The first one is copied: `g` may be an array that others hold too."""
    if node.grad is None:
        node.grad = g.copy()
    else:
        node.grad += g


def _fit(g, node, op):
    """`g` summed over what broadcasting spread, to the shape of the argument that `node` stands for.

    For example g (H, W, N, C), for a bias (C,) that was added to all pixels: the sum over H, W and N.
    """
    if g is None:
        raise TypeError(f"{op}: its pullback returned None for an argument that needs a gradient")
    if g.dtype != node.dtype:
        raise TypeError(f"{op}: expected a gradient of dtype {node.dtype}, got {g.dtype}")
    if g.shape != node.shape:
        extra = g.ndim - len(node.shape)
        if extra < 0 or any(n not in (1, m) for n, m in zip(node.shape, g.shape[extra:])):
            raise ValueError(f"{op}: expected a gradient of shape {node.shape} or broadcast from it, got {g.shape}")
        g = g.reshape(math.prod(g.shape[:extra]), *g.shape[extra:]).sum(axis=0)  # one long axis is summed faster than several short ones
        spread = tuple(i for i, n in enumerate(node.shape) if n == 1)
        g = g.sum(axis=spread, keepdims=True)
    return as_array(g)


def _check_precision(op, arrays, out):
    """float32 in, float32 out: a stray float64 array would make everything after it slow without a word."""
    size = _real_bytes(out)
    for a in arrays:
        if size and _real_bytes(a) not in (0, size):
            raise TypeError(f"{op}: an argument is {a.dtype} but the result would be {out.dtype}; cast the arguments to one dtype first")


def _real_bytes(a):
    """Bytes of one real number of `a`: 4 for float32 and complex64, 8 for float64 and complex128, 0 for other things."""
    kind = a.dtype.kind if hasattr(a, "dtype") else None
    return a.dtype.itemsize if kind == "f" else a.dtype.itemsize // 2 if kind == "c" else 0


@contextmanager
def no_grad():
    """Within `with no_grad():` ops record nothing, so that no array lives longer than its use."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)
