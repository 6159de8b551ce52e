"""How bad calls are written down, with arrays that fit or do not: see test_bad_arguments.py."""

import inspect
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from tinyddpm import schedule
from tinyddpm.nn import UNet, UNetConfig

S = schedule.linear(10)
T = np.array([3, 10])
X = np.zeros((2, 1, 4, 4), np.float32)
ONE, OTHER, DOUBLE = X[:1], np.zeros((2, 1, 4, 5), np.float32), X.astype(np.float64)
SMALL = UNetConfig(image=(1, 4, 4), base=4, levels=(1,), attention=(), groups=2, blocks=1)
UNET = UNet(SMALL).initialise(0)

LIKE_X = "expected float32 of shape (2, 1, 4, 4)"
ONE_FOR_TWO = f"{LIKE_X}, got float32 of shape (1, 1, 4, 4)"
TWO_DTYPES = "an argument is float32 but the result would be float64"


class BadCall(NamedTuple):
    function: Any  # the one that must refuse
    call: Callable[[], object]
    says: str  # words that the message must have


def bad(function, *args, says, call=None, **options):
    """A call of a public function that must raise. `call` replaces the plain one."""
    return BadCall(function, call or (lambda: run(function(*args, **options))), says)


def run(result):
    """Many functions are generators, and raise only once they are asked for something."""
    if inspect.isgenerator(result):
        list(islice(result, 20))


def ones(*shape):
    return np.ones(shape, np.float32)


def zeros(*shape):
    return np.zeros(shape, np.float32)


def same(xt, t):
    return xt


def z(t):
    return X
