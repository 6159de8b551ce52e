"""θ in few launches: all multipliers at once, and all gradients added up a few dozen at a time.

Two ops in three of a small network's step multiply one parameter by its constant, or its gradient,
or add to its gradient: a launch each, for 200 parameters. Here a twin of the network computes
instead, as on a CPU (`fast/premultiplied.py`): its parameters are the effective weights c·θ, made
by one launch. And its parameters' gradients are kept as they come, until `add_parts` adds them to
∇_θ J, each times its c.
"""

from typing import Any

from autograd import backend
from autograd.backend import Pullback, array_module
from autograd.engine import Node

from ... import train
from ...nn.unet import UNet
from ...schedule import Schedule
from ...types import Array, Draw
from ..premultiplied import factors, twin

THREADS = 256  # in a block
PARTS = 64  # gradients to a launch: its arguments must fit into 4 KB
NUMBERS, MOST_BLOCKS = 4 * THREADS, 64  # of a gradient, to a block, and blocks for each


class Premultiplied:
    """`train.gradient` and `UNet.denoise` on one device, by a twin of the network.

    Args:
        unet: the network to train, bound to arrays on the device.
        ema: the network to denoise with; it may be `unet` itself.
        gradient: the function to compute with the twin, if it is another.
    """

    def __init__(self, unet: UNet, ema: UNet, gradient: Any = train.gradient) -> None:
        self.gradient_of_twin = gradient
        xp, theta = array_module(unet.theta), unet.theta
        self.ema, self.c = ema, xp.ones_like(theta)
        for where, c in factors(unet):
            self.c[where] = c
        self.effective = xp.empty_like(theta)  # c·θ or c·EMA: whichever is asked for
        self.net = twin(unet).bind(self.effective)
        self.starts = {name: where.start for name, where in self.net.slices().items()}

    def gradient(
        self,
        unet: UNet,
        schedule: Schedule,
        x0: Array,
        t: Array,
        eps: Array,
        form: str = "mse",
        batch_size: int | None = None,
        dropout: Draw | None = None,
        cond: Array | None = None,
        **options: Any,
    ) -> tuple[Array, Array]:
        """As `train.gradient`, for the network that this object was made with.

        `options` are further arguments of another function.
        """
        self._multiply(unet.theta)
        found: list[tuple[int, Array]] = []
        parameters = self.net.parameters()
        for name, p in parameters.items():
            p.node = Node("parameter", p.data, (None,), _keeper(found, self.starts[name]))
        try:
            batch = x0, t, eps, form, batch_size, dropout, cond
            J, errors = self.gradient_of_twin(self.net, schedule, *batch, **options)
        finally:
            for p in parameters.values():
                p.node = None
        add_parts_on_gpu(unet.grad, self.c, found)
        return J, errors

    def denoise(self, xt: Array, t: Array, cond: Array | None = None) -> Array:
        """As `UNet.denoise` of `ema`."""
        self._multiply(self.ema.theta)
        return self.net.denoise(xt, t, cond)

    def _multiply(self, theta: Array) -> None:
        array_module(theta).multiply(self.c, theta, out=self.effective)


def _keeper(found: list[tuple[int, Array]], start: int) -> Pullback:
    """The pullback of a parameter: it hands its gradient to no other Node, but keeps it."""

    def pullback(g: Array) -> tuple[None]:
        found.append((start, g))
        return (None,)

    return pullback


def add_parts(total: Array, c: Array, parts: list[tuple[int, Array]]) -> None:
    """Add c·g to the vector `total`, in place, for each (start, g): where g begins in it."""
    for start, g in parts:
        where = slice(start, start + g.size)
        total[where] += c[where] * g.ravel()


def add_parts_on_gpu(total: Array, c: Array, parts: list[tuple[int, Array]]) -> None:
    """As `add_parts`, by the kernel below: PARTS of them to a launch, those of like size."""
    contiguous = array_module(total).ascontiguousarray
    parts = sorted(parts, key=lambda part: part[1].size)
    for i in range(0, len(parts), PARTS):
        some = [(contiguous(g), start, g.size) for start, g in parts[i : i + PARTS]]
        grid = (min(MOST_BLOCKS, -(-some[-1][2] // NUMBERS)), len(some))
        some += [(None, 0, 0)] * (PARTS - len(some))
        arguments = [value for part in some for value in part]
        backend.kernel("add_parts", SOURCE)(grid, (THREADS,), (total, c, *arguments))


_PARAMETERS = ", ".join(
    f"const float* g{i}, long long start{i}, long long size{i}" for i in range(PARTS)
)
_CHOICE = " ".join(
    f"if (blockIdx.y == {i}) g = g{i}, start = start{i}, size = size{i};" for i in range(PARTS)
)
SOURCE = r"""
extern "C" __global__ void add_parts(float* total, const float* c, PARAMETERS) {
    const float* g = 0;
    long long start = 0, size = 0;
    CHOICE
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        total[start + i] += c[start + i] * g[i];
}
""".replace("PARAMETERS", _PARAMETERS).replace("CHOICE", _CHOICE)
