"""TABLE: for every primitive of ops.py and more_ops.py, what `gradient_test` takes.

A primitive without a row fails `test_the_table_has_every_primitive`.
"""

import numpy as np
import scipy.special
from op_draws import (
    EQUAL,
    MATRICES,
    SHAPES,
    SOME_AXES,
    TWELVE,
    concats,
    keys,
    larger,
    new_axes,
    orders,
    takes,
    uniform,
    vectors,
    widths,
)

from autograd import more_ops, ops
from autograd.testing import one_axis, some_axes

TABLE = {}


def row(op, reference, analytic=True, **how):
    """The reference is the same in NumPy or SciPy. For `analytic` see `gradient_test`."""
    TABLE[op] = how | {"reference": reference, "analytic": analytic}


def relu(x):
    return np.maximum(x, 0)


def clip(x, low, high):
    return np.clip(x, low, high)


def dropout(x, rate, uniform):
    return np.where(uniform < rate, 0, x / (1 - rate))


def logsumexp(x, **options):
    return np.log(np.sum(np.exp(x), **options))


REDUCTION = {"shapes": SHAPES, "options": {"axis": some_axes, "keepdims": [False, True]}}
POSITIVE = (0.1, 2.0)

row(ops.add, np.add)
row(ops.sub, np.subtract)
row(ops.mul, np.multiply)
row(ops.div, np.divide, domains=[(-2.0, 2.0), (0.5, 2.0)])
row(ops.neg, np.negative)
row(ops.square, np.square)
row(ops.matmul, np.matmul, shapes=MATRICES)
# No primitive itself: it calls the one above.
row(more_ops.matmul, np.matmul, shapes=MATRICES | vectors())
row(ops.sum, np.sum, **REDUCTION)
row(ops.mean, np.mean, **REDUCTION)
new_shapes = [(12,), (-1, 3), (2, 1, 6), 12]
row(ops.reshape, lambda x, shape: x.reshape(shape), shapes=TWELVE, options={"shape": new_shapes})
row(ops.transpose, np.transpose, options={"axes": orders})
row(ops.concat, lambda *xs, axis: np.concatenate(xs, axis), draw=concats())
row(ops.silu, lambda x: x * scipy.special.expit(x), domains=(-6.0, 6.0))
row(ops.softmax, scipy.special.softmax, shapes=SOME_AXES, options={"axis": one_axis})
row(more_ops.abs, np.abs, None, kinks=[0])
row(more_ops.sqrt, np.sqrt, domains=POSITIVE)
row(more_ops.exp, np.exp)
row(more_ops.log, np.log, domains=POSITIVE)
row(more_ops.tanh, np.tanh)
row(more_ops.sigmoid, scipy.special.expit, domains=(-6.0, 6.0))
row(more_ops.relu, relu, None, kinks=[0])
row(more_ops.gelu, lambda x: x * scipy.special.ndtr(x))
row(more_ops.clip, clip, None, kinks=[-1, 0.5], options={"low": -1, "high": 0.5})
row(more_ops.dropout, dropout, options={"rate": [0, 0.25, np.float64(0.5)], "uniform": uniform})
row(more_ops.pow, np.power, domains=[(0.3, 2.0), (-2.0, 2.0)])
row(more_ops.maximum, np.maximum, None)
row(more_ops.minimum, np.minimum, None)
row(more_ops.where, np.where, domains=[bool, (-2.0, 2.0), (-2.0, 2.0)])
row(more_ops.max, np.max, None, **REDUCTION)
row(more_ops.logsumexp, logsumexp, **REDUCTION)
row(more_ops.broadcast_to, np.broadcast_to, options={"shape": larger})
row(
    more_ops.stack,
    lambda *xs, axis: np.stack(xs, axis),
    skip=["numbers"],  # np.stack makes float64 of them
    shapes=EQUAL,
    options={"axis": new_axes},
)
row(more_ops.pad, lambda x, width: np.pad(x, width), shapes=SOME_AXES, options={"width": widths})
row(more_ops.index, lambda x, key: x[key], shapes=SOME_AXES, options={"key": keys})
row(more_ops.take, np.take, draw=takes())
