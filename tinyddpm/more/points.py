"""Points in the plane in place of images: everything that a diffusion model does can be seen at once.

    x0 = moons(4000, seed=0)                                  # (4000, 2, 1, 1): two channels, one pixel
    net = PointNet().initialise(seed=0)
    for step in train(net, x0, schedule, beta=1.0, seed=0, batch_size=256):
        …
    *_, (t, points, _) = ddim(net.denoise, schedule, x_T, clip=None)

A point is an image of two channels and one pixel, so `train`, the samplers and the held-out draws take it as it is. The network
is given as one more argument too: a few linear layers instead of a U-Net.
"""
import math

import numpy as np

from autograd import no_grad, ops
from autograd.backend import array_module, constant

from .. import noise
from ..nn.linear import Linear
from ..nn.module import Module
from ..nn.time import sinusoidal


def roll(n, seed):
    """A spiral of one and a half turns, with a little noise: (n, 2, 1, 1) float32, about within [−1, 1]."""
    u, blur = _uniform(n, seed, "roll", 1)[:, 0], noise.normal(seed, "roll: blur", 0, np.arange(n), (2,))
    angle = 1.5 * math.pi * (1 + 2 * u)
    return _points(angle * np.cos(angle) / (4.5 * math.pi), angle * np.sin(angle) / (4.5 * math.pi), 0.02 * blur)


def moons(n, seed):
    """Two half circles that reach into each other, with a little noise: (n, 2, 1, 1) float32, about within [−1, 1]."""
    u, blur = _uniform(n, seed, "moons", 2), noise.normal(seed, "moons: blur", 0, np.arange(n), (2,))
    side, angle = np.where(u[:, 0] < 0.5, 1, -1), math.pi * u[:, 1]
    return _points((np.cos(angle) - 0.5) * side * 0.6, (np.sin(angle) - 0.25) * side * 0.6, 0.03 * blur)


def checkerboard(n, seed):
    """Uniform on the eight dark squares of a board of 4 × 4: (n, 2, 1, 1) float32 within [−1, 1]. Its density is no smooth function."""
    square = noise.integers(seed, "checkerboard: square", 0, np.arange(n), 8)
    row, column = square // 2, 2 * (square % 2) + square // 2 % 2
    place = (np.stack([column, row], axis=1) + _uniform(n, seed, "checkerboard", 2)) / 2 - 1
    return _points(place[:, 0], place[:, 1], 0)


SETS = {"roll": roll, "moons": moons, "checkerboard": checkerboard}


def _uniform(n, seed, purpose, numbers):
    return noise.uniform(seed, purpose, 0, np.arange(n), (numbers,), np.float64)


def _points(x, y, added):
    return (np.stack([x, y], axis=1) + added).astype(np.float32)[:, :, None, None]


class PointNet(Module):
    """xt (N, 2, 1, 1) array, t (N,) -> x̂_0, a Tensor (N, 2, 1, 1): linear layers with residual connections, each told t.

    The first layer sees a point's coordinates and sines and cosines of them: without these such a network learns a function that
    changes from one place to the next only after very many steps (Tancik et al. 2020, "Fourier features let networks learn high
    frequency functions in low dimensional domains"). A new network answers 0.
    """

    def __init__(self, width=128, layers=3, waves=4):
        self.width = width
        self.frequencies = math.pi / 2 * 2.0 ** np.arange(waves)  # the slowest goes through half a period from −1 to 1
        self.first = Linear(2 + 4 * waves, width)
        self.times = [Linear(width, width) for _ in range(layers)]
        self.inner = [Linear(width, width) for _ in range(layers)]
        self.last = Linear(width, 2, c=0.5, zero=True)

    def forward(self, xt, t, dropout=None, cond=None):
        x, told = xt.reshape(len(xt), 2), sinusoidal(t, self.width, xt.dtype)
        xp, angles = array_module(x), (x[:, :, None] * constant(self.frequencies, x)).reshape(len(x), -1)
        h = self.first(xp.concatenate([x, xp.sin(angles), xp.cos(angles)], axis=1))
        for time, inner in zip(self.times, self.inner):
            h = h + inner(ops.silu(h + time(told)))
        return self.last(ops.silu(h)).reshape(xt.shape)

    def denoise(self, xt, t):
        """x̂_0 as an array: the denoiser that samplers take."""
        with no_grad():
            return self(xt, t).data
