"""A tiny reverse-mode automatic differentiation engine on NumPy or CuPy arrays.

    >>> import numpy as np
    >>> from autograd import leaf
    >>> x = leaf(np.array([1.0, 2.0, 3.0]))
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    array([2., 4., 6.])

Read `engine.py` first: it is the whole algorithm. `ops.py` holds the ops that a U-Net needs, `more_ops.py` those
that other programs need, `check.py` compares a gradient with numerical ones, `draw.py` draws a graph.

Gradients are of first order only: a pullback computes with plain arrays, which leave no graph behind, so there is
nothing to differentiate a second time. That keeps every derivative readable as ordinary NumPy.
"""
from .tensor import Tensor
from .engine import backward, leaf, no_grad, primitive

# `tinyddpm` looks for this, because another package of the name `autograd` exists (see tinyddpm/__init__.py).
PART_OF = "tinyddpm"

__all__ = ["Tensor", "backward", "leaf", "no_grad", "primitive"]
