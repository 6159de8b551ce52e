"""Small networks and batches for the tests of this folder."""

import os

import numpy as np

from tinyddpm import noise
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import Multipliers
from tinyddpm.schedule import linear

SCHEDULE = linear(50)
IMAGE = (1, 4, 6)


def small_net(dtype=np.float32, dropout=0.3, seed=5, c=Multipliers()):
    config = UNetConfig(
        image=IMAGE, base=4, levels=(1, 2), blocks=1, attention=(2,), groups=2, dropout=dropout
    )
    unet = UNet(config, c).initialise(3, dtype)
    rng = np.random.default_rng(seed)
    unet.theta += (0.05 * rng.standard_normal(unet.theta.shape)).astype(dtype)
    return unet


def some_batch(n, dtype=np.float32):
    rng = np.random.default_rng(n)
    x0, eps = rng.standard_normal((2, n, *IMAGE)).astype(dtype)
    return x0, rng.integers(1, SCHEDULE.T + 1, n), eps


def dropout_of(n):
    return noise.Stream(0, "dropout", 9, np.arange(n))


def open_files():
    return len(os.listdir("/dev/fd"))
