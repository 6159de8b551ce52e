"""TABLE: for every primitive of ops.py and more_ops.py, how to draw arguments, and a reference.

A primitive without a row fails `test_the_table_has_every_primitive`.
"""

from typing import NamedTuple

import numpy as np
import scipy.special
from op_draws import (
    along_an_axis,
    broadcasting,
    choices,
    concats,
    distinct,
    dropouts,
    elementwise,
    indices,
    matrices,
    never_equal,
    pads,
    reductions,
    reshapes,
    spreads,
    stacks,
    takes,
    transposes,
)

from autograd import more_ops, ops


class Row(NamedTuple):
    draw: object  # a hypothesis strategy of (arrays, options)
    reference: object  # the same in NumPy or SciPy
    analytic: bool = True  # can the complex step check it?


def relu(x):
    return np.maximum(x, 0)


def clip(x, low, high):
    return np.clip(x, low, high)


def dropout(x, rate, uniform):
    return np.where(uniform < rate, 0, x / (1 - rate))


def logsumexp(x, **options):
    return np.log(np.sum(np.exp(x), **options))


CLIPPED = elementwise(kinks=(-1, 0.5), options={"low": -1, "high": 0.5})

TABLE = {
    ops.add: Row(broadcasting(), np.add),
    ops.sub: Row(broadcasting(), np.subtract),
    ops.mul: Row(broadcasting(), np.multiply),
    ops.div: Row(broadcasting(low_of_second=0.5), np.divide),
    ops.neg: Row(elementwise(), np.negative),
    ops.square: Row(elementwise(), np.square),
    ops.matmul: Row(matrices(), np.matmul),
    # No primitive itself: it calls the one above.
    more_ops.matmul: Row(matrices(vectors=True), np.matmul),
    ops.sum: Row(reductions(), np.sum),
    ops.mean: Row(reductions(), np.mean),
    ops.reshape: Row(reshapes(), lambda x, shape: x.reshape(shape)),
    ops.transpose: Row(transposes(), np.transpose),
    ops.concat: Row(concats(), lambda *xs, axis: np.concatenate(xs, axis)),
    ops.silu: Row(elementwise(-6, 6), lambda x: x * scipy.special.expit(x)),
    ops.softmax: Row(along_an_axis(), scipy.special.softmax),
    more_ops.abs: Row(elementwise(kinks=(0,)), np.abs, analytic=False),
    more_ops.sqrt: Row(elementwise(low=0.1), np.sqrt),
    more_ops.exp: Row(elementwise(), np.exp),
    more_ops.log: Row(elementwise(low=0.1), np.log),
    more_ops.tanh: Row(elementwise(), np.tanh),
    more_ops.sigmoid: Row(elementwise(-6, 6), scipy.special.expit),
    more_ops.relu: Row(elementwise(kinks=(0,)), relu, analytic=False),
    more_ops.gelu: Row(elementwise(), lambda x: x * scipy.special.ndtr(x)),
    more_ops.clip: Row(CLIPPED, clip, analytic=False),
    more_ops.dropout: Row(dropouts(), dropout),
    more_ops.pow: Row(broadcasting(low=0.3, low_of_second=-2.0), np.power),
    more_ops.maximum: Row(never_equal(), np.maximum, analytic=False),
    more_ops.minimum: Row(never_equal(), np.minimum, analytic=False),
    more_ops.where: Row(choices(), np.where),
    more_ops.max: Row(reductions(distinct), np.max, analytic=False),
    more_ops.logsumexp: Row(reductions(), logsumexp),
    more_ops.broadcast_to: Row(spreads(), np.broadcast_to),
    more_ops.stack: Row(stacks(), lambda *xs, axis: np.stack(xs, axis)),
    more_ops.pad: Row(pads(), lambda x, width: np.pad(x, width)),
    more_ops.index: Row(indices(), lambda x, key: x[key]),
    more_ops.take: Row(takes(), np.take),
}
