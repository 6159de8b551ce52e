"""Every primitive keeps every rule of autograd.testing, and its output is NumPy's or SciPy's."""

import inspect

import pytest
from op_table import TABLE

from autograd import more_ops, ops
from autograd.testing import gradient_test


def primitives(module):
    own = {f for f in vars(module).values() if getattr(f, "__module__", None) == module.__name__}
    return {f for f in own if inspect.isfunction(f) and hasattr(f, "__wrapped__")}


def test_the_table_has_every_primitive():
    assert primitives(ops) | primitives(more_ops) == set(TABLE) - {more_ops.matmul}


@pytest.mark.parametrize("op", TABLE, ids=lambda op: op.__name__)
def test_pullback_is_the_derivative(op):
    gradient_test(op, **TABLE[op])()
