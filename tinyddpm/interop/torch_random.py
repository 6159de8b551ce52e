"""PyTorch's random numbers on a CPU, and its initial weights, without PyTorch.

    generator = Generator(0)               # the numbers that follow torch.manual_seed(0)
    generator.normal((1, 3, 8, 8))         # torch.randn
    generator.uniform((4,), -1.0, 1.0)     # torch.empty(4).uniform_(-1, 1)

They reproduce results that others published by seed. The generator is the Mersenne Twister
(Matsumoto & Nishimura 1998), which NumPy has too. PyTorch's own part is how 32-bit words become
numbers (aten/src/ATen/core/TransformationHelper.h and native/cpu/DistributionTemplates.h).

Uniform numbers in [0, 1) are equal bit for bit. Those in other intervals, and normal ones, may
differ in the last digit: PyTorch multiplies and adds with one rounding, and takes log, cos and sin
from vectorised approximations.

The random numbers of tinyddpm itself are addressed, not drawn in order: see `tinyddpm/noise`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BLOCK = 16  # normal numbers are made in blocks of 16 from as many uniform ones


class Generator:
    """torch.Generator().manual_seed(seed) on a CPU. Draws come in order; all are float32.

    Args:
        seed: in {0..2³²−1}.
    """

    def __init__(self, seed: int) -> None:
        if not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ValueError(f"seed: expected a whole number from 0 to 2**32 - 1, got {seed!r}")
        self.words = np.random.MT19937()
        state: Any = np.random.RandomState(seed).get_state(legacy=False)
        self.words.state = state

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform numbers in [low, high): 24 bits of one word each."""
        bits = self.words.random_raw(math.prod(shape)) & 0xFFFFFF
        u = bits.astype(np.float32) * np.float32(2**-24)
        start, end = np.float32(low), np.float32(high)
        return (u * (end - start) + start).reshape(shape)

    def normal(self, shape: Sequence[int]) -> np.ndarray:
        """Standard normal numbers, at least 16 of them: Box & Muller 1958, on blocks of 16.

        If their number is no multiple of 16, the last 16 are drawn again, over those already there.
        """
        size = math.prod(shape)
        if size < BLOCK:
            fewer = f"PyTorch draws fewer than {BLOCK} normal numbers by another method"
            raise ValueError(f"shape: {fewer}, which is not here; got {tuple(shape)}")
        z = self.uniform((size,))
        whole = size - size % BLOCK
        z[:whole] = _box_muller(z[:whole])
        if whole < size:
            z[-BLOCK:] = _box_muller(self.uniform((BLOCK,)))
        return z.reshape(shape)


def _box_muller(u: np.ndarray) -> np.ndarray:
    """Blocks of 16 uniform numbers -> blocks of 8 cosines and 8 sines.

    The first 8 of a block give the radius, the last 8 the angle.
    """
    first, second = np.moveaxis(u.reshape(-1, 2, BLOCK // 2), 1, 0)
    radius = np.sqrt(-2 * np.log(1 - first))  # 1 − u is in (0, 1]
    angle = np.float32(2 * math.pi) * second
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def initial_weights(
    generator: Generator, shapes: Mapping[str, Sequence[int]]
) -> dict[str, np.ndarray]:
    """The initial weights of PyTorch's layers.

    Linear (out, in) and Conv2d (out, in, kh, kw) draw the weight, then the bias, uniform in
    ±1/√fan_in. GroupNorm (channels,) has 1 and 0, and draws nothing.

    Args:
        generator: where the random numbers come from.
        shapes: {"<layer>.weight": shape, "<layer>.bias": shape, …} in the order in which the layers
            are made.
    """
    weights = {}
    for name, shape in shapes.items():
        is_bias = name.endswith("bias")
        weight_shape = shapes[name.removesuffix("bias") + "weight"] if is_bias else shape
        if len(weight_shape) == 1:
            weights[name] = np.full(shape, name.endswith("weight"), np.float32)
        else:
            bound = 1 / math.sqrt(math.prod(weight_shape[1:]))
            weights[name] = generator.uniform(shape, -bound, bound)
    return weights
