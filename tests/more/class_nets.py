"""What the tests of classes share: small networks conditioned on the class, and a batch."""

from dataclasses import replace

import numpy as np
from oracles import SMALL, perturb

from tinyddpm.more.classes import ClassConfig, ClassUNet
from tinyddpm.schedule import linear

SCHEDULE = linear(50)
CONFIG = ClassConfig(**{**vars(SMALL), "classes": 3})
NULL = 3


def new(dtype=np.float64, **changes):
    return ClassUNet(replace(CONFIG, **changes)).initialise(0, dtype)


def shaken(dtype=np.float64, **changes):
    """Away from its start, so that every class makes a difference."""
    return perturb(new(dtype, **changes), np.random.default_rng(7), 0.3)


def batch(n=7, dtype=np.float64, seed=0):
    """x0, t, eps and a class for each image: all of them, the null class too."""
    rng = np.random.default_rng(seed)
    x0, eps = rng.standard_normal((2, n, *CONFIG.image)).astype(dtype)
    return x0, rng.integers(1, SCHEDULE.T + 1, n), eps, np.arange(n) % 4
