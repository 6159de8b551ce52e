"""A tiny reverse-mode automatic differentiation engine on NumPy or CuPy arrays.

    >>> import numpy as np
    >>> from autograd import leaf
    >>> x = leaf(np.array([1.0, 2.0, 3.0]))
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    array([2., 4., 6.])

Read `engine.py` first: it is the whole algorithm. `ops.py` holds the ops that a U-Net needs, and
`more_ops.py` the ops that other programs need. `plain.py` is the part of a Tensor that has no
derivative. `check.py` compares a gradient with numerical ones, `testing/` makes a test of an op in
one line, and `draw.py` draws a graph.

Gradients are of first order only. A pullback computes with plain arrays, which leave no graph
behind, so there is nothing to differentiate a second time. That keeps every derivative readable as
ordinary NumPy.
"""

# tensor.py comes first: it imports engine.py itself, once its class is defined.
from .tensor import Tensor  # isort: skip
from .engine import backward, leaf, no_grad, primitive

# `tinyddpm` looks for this, because another package is called `autograd` too: see its __init__.py.
PART_OF = "tinyddpm"

__all__ = ["Tensor", "backward", "leaf", "no_grad", "primitive"]
