"""Points in the plane in place of images, where everything that a diffusion model does is visible.

    x0 = moons(4000, seed=0)                                  # (4000, 2, 1, 1)
    net = PointNet().initialise(seed=0)
    for step in train(net, x0, schedule, beta=1.0, seed=0, batch_size=256):
        …
    *_, (t, points, _) = ddim(net.denoise, schedule, x_T, clip=None)

A point is an image of two channels and one pixel. So `train`, the samplers and the held-out draws
take it as it is. The network is a few linear layers instead of a U-Net.
"""

import math

import numpy as np

from autograd import Tensor, no_grad, ops
from autograd.backend import Array, array_module, constant

from .. import noise
from ..nn.linear import Linear
from ..nn.module import Module
from ..nn.time import sinusoidal
from ..types import Draw


def roll(n: int, seed: int) -> Array:
    """A spiral of one and a half turns with a little noise, (n, 2, 1, 1) float32.

    It lies about within [−1, 1].
    """
    u = _uniform(n, seed, "roll", 1)[:, 0]
    blur = noise.normal(seed, "roll: blur", 0, np.arange(n), (2,))
    angle = 1.5 * math.pi * (1 + 2 * u)
    x = angle * np.cos(angle) / (4.5 * math.pi)
    y = angle * np.sin(angle) / (4.5 * math.pi)
    return _points(x, y, 0.02 * blur)


def moons(n: int, seed: int) -> Array:
    """Two interlocking half circles with a little noise, (n, 2, 1, 1) float32.

    They lie about within [−1, 1].
    """
    u = _uniform(n, seed, "moons", 2)
    blur = noise.normal(seed, "moons: blur", 0, np.arange(n), (2,))
    side, angle = np.where(u[:, 0] < 0.5, 1, -1), math.pi * u[:, 1]
    x = (np.cos(angle) - 0.5) * side * 0.6
    y = (np.sin(angle) - 0.25) * side * 0.6
    return _points(x, y, 0.03 * blur)


def checkerboard(n: int, seed: int) -> Array:
    """Uniform on the eight dark squares of a 4 × 4 board: (n, 2, 1, 1) float32 within [−1, 1].

    Its density is not a smooth function.
    """
    square = noise.integers(seed, "checkerboard: square", 0, np.arange(n), 8)
    row, column = square // 2, 2 * (square % 2) + square // 2 % 2
    inside = _uniform(n, seed, "checkerboard", 2)
    place = (np.stack([column, row], axis=1) + inside) / 2 - 1
    return _points(place[:, 0], place[:, 1], 0)


SETS = {"roll": roll, "moons": moons, "checkerboard": checkerboard}


def _uniform(n: int, seed: int, purpose: str, numbers: int) -> Array:
    return noise.uniform(seed, purpose, 0, np.arange(n), (numbers,), np.float64)


def _points(x: Array, y: Array, added: Array | float) -> Array:
    return (np.stack([x, y], axis=1) + added).astype(np.float32)[:, :, None, None]


class PointNet(Module):
    """xt (N, 2, 1, 1) array, t (N,) -> x̂_0, a Tensor (N, 2, 1, 1).

    Linear layers with residual connections, each conditioned on t. A new network answers 0.

    The first layer's input is a point's coordinates, and sines and cosines of them. Without these,
    such a network needs very many steps to learn a function that changes from one place to the next
    (Tancik et al. 2020, "Fourier features let networks learn high frequency functions in low
    dimensional domains").
    """

    def __init__(self, width: int = 128, layers: int = 3, waves: int = 4) -> None:
        self.width = width
        # The slowest wave passes through half a period from −1 to 1.
        self.frequencies = math.pi / 2 * 2.0 ** np.arange(waves)
        self.first = Linear(2 + 4 * waves, width)
        self.times = [Linear(width, width) for _ in range(layers)]
        self.inner = [Linear(width, width) for _ in range(layers)]
        self.last = Linear(width, 2, c=0.5, zero=True)

    def forward(
        self,
        xt: Array,
        t: Array,
        dropout: Draw | None = None,
        cond: Array | None = None,
    ) -> Tensor:
        """x̂_0. `train` passes `dropout` and `cond` to every network; this one ignores them."""
        x, temb = xt.reshape(len(xt), 2), sinusoidal(t, self.width, xt.dtype)
        xp = array_module(x)
        angles = (x[:, :, None] * constant(self.frequencies, x)).reshape(len(x), -1)
        h = self.first(xp.concatenate([x, xp.sin(angles), xp.cos(angles)], axis=1))
        for time, inner in zip(self.times, self.inner):
            h = h + inner(ops.silu(h + time(temb)))
        return self.last(ops.silu(h)).reshape(xt.shape)

    def denoise(self, xt: Array, t: Array) -> Array:
        """x̂_0 as an array: the denoiser that samplers take."""
        with no_grad():
            return self(xt, t).data
