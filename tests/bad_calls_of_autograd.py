"""Bad calls of autograd: see test_bad_arguments.py."""

import numpy as np
from bad_calls import ONE, ONE_FOR_TWO, TWO_DTYPES, X, bad, ones

import autograd
from autograd import backend, backward, check, leaf, more_ops, ops

A = leaf(np.ones(3))
LIKE_A = "expected float64 of shape (3,)"

ROWS = [
    bad(leaf, np.arange(3), says="leaf: expected an array of floats, got int64"),
    bad(leaf, [True], says="got bool"),
    bad(leaf, np.ones(3), np.ones(1), says=f"grad: {LIKE_A}, got float64 of shape (1,)"),
    bad(leaf, np.ones(3), ones(3), says="got float32 of shape (3,)"),
    bad(backward, A * A, says="needs a gradient g"),
    bad(backward, A * A, np.ones((5, 3)), says=f"g: {LIKE_A}, got float64 of shape (5, 3)"),
    bad(backward, A * A, ones(3), says="got float32"),
    bad(backward, autograd.Tensor(1.0), says="depends on no leaf"),
    bad(ops.add, A, np.ones(2), says="could not be broadcast"),
    bad(ops.mul, A, leaf(ones(3)), says=f"mul: {TWO_DTYPES}"),
    bad(ops.sub, call=lambda: A - np.ones((3, 2)), says="could not be broadcast"),
    bad(ops.div, call=lambda: A / np.ones(4), says="could not be broadcast"),
    bad(ops.matmul, A, A, says="matmul: expected at least two axes each"),
    bad(ops.sum, call=lambda: A.sum(axis=1), says="axis 1 is out of bounds"),
    bad(ops.mean, call=lambda: A.mean(axis=1), says="axis 1 is out of bounds"),
    bad(ops.reshape, call=lambda: A.reshape(2, 2), says="cannot reshape array of size 3"),
    bad(ops.transpose, call=lambda: A.transpose(0, 1), says="axes don't match"),
    bad(ops.concat, A, np.ones((2, 2)), says="same number of dimensions"),
    bad(ops.softmax, A, axis=2, says="axis 2 is out of bounds"),
    bad(
        more_ops.matmul,
        call=lambda: A @ np.ones((2, 2)),
        says="matmul: Input operand 1 has a mismatch",
    ),
    bad(more_ops.pow, call=lambda: A ** np.ones(2), says="could not be broadcast"),
    bad(more_ops.maximum, A, np.ones(2), says="could not be broadcast"),
    bad(more_ops.minimum, A, np.ones(2), says="could not be broadcast"),
    bad(more_ops.where, np.ones(2, bool), A, A, says="could not be broadcast"),
    bad(more_ops.max, A, axis=1, says="axis 1 is out of bounds"),
    bad(more_ops.logsumexp, A, axis=1, says="axis 1 is out of bounds"),
    bad(more_ops.broadcast_to, A, shape=(2,), says="could not be broadcast"),
    bad(more_ops.stack, A, np.ones(2), says="same shape"),
    bad(more_ops.pad, A, width=((1, 1), (1, 1)), says="broadcast"),
    bad(more_ops.index, call=lambda: A[5], says="out of bounds"),
    bad(more_ops.index, call=lambda: A[np.array([0.5])], says="must be of integer"),
    bad(more_ops.take, A, indices=[7], says="out of bounds"),
    bad(
        more_ops.dropout,
        A,
        rate=0.5,
        uniform=np.ones(2),
        says="uniform: expected x's shape (3,)",
    ),
    bad(more_ops.dropout, A, rate=1.0, uniform=np.ones(3), says="rate: expected a fraction"),
    bad(check.check_gradient, ops.sum, ones(3), says="float64"),
    bad(check.check_pullback, ops.silu, ones(3), says="float64"),
    bad(check.numerical_gradient, np.sum, ones(3), says="float64"),
    bad(backend.to_device, X, "gpu", says="device: expected cpu, cuda or cuda:INDEX"),
    bad(backend.within, "n", np.array([4]), 0, 3, says="n: expected 0 to 3, got 4 to 4"),
    bad(backend.alike, "a", ONE, X, says=f"a: {ONE_FOR_TWO}"),
]
