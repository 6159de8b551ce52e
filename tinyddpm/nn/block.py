"""The residual block, and the two layers that change the resolution."""
from autograd import ops, primitive
from autograd.backend import array_module
from autograd.more_ops import dropout as drop

from .conv import Conv2d
from .linear import Linear
from .module import Module
from .norm import GroupNorm


class ResidualBlock(Module):
    """x (H, W, N, inputs), temb (N, ·) -> (H, W, N, outputs): x plus a correction that depends on t.

    Its second convolution starts at zero, so a new network passes images straight through, and its correction grows
    as it learns. `time` is temb's length, or 0 for a network that is not told t.
    """

    def __init__(self, inputs, outputs, time, groups, dropout, c):
        self.norm1 = GroupNorm(inputs, groups, c.norm)
        self.conv1 = Conv2d(inputs, outputs, c=c.conv1)
        self.time = Linear(time, outputs, c.time) if time else None
        self.norm2 = GroupNorm(outputs, groups, c.norm)
        self.conv2 = Conv2d(outputs, outputs, c=c.conv2, zero=True)
        self.shortcut = Conv2d(inputs, outputs, kernel=1) if inputs != outputs else None
        self.dropout = dropout

    def forward(self, x, temb, dropout):
        h = self.conv1(ops.silu(self.norm1(x)))
        if self.time:
            h = h + self.time(temb)  # (H, W, N, C) + (N, C)
        h = ops.silu(self.norm2(h))
        if self.dropout and dropout:
            height, width, _, channels = h.shape
            h = drop(h, rate=self.dropout, uniform=dropout((height, width, channels)).transpose(1, 2, 0, 3))
        return self.conv2(h) + (self.shortcut(x) if self.shortcut else x)


class Downsample(Conv2d):
    """Half the height and width: a 3×3 convolution at every second pixel."""

    def __init__(self, channels):
        super().__init__(channels, channels, stride=2)


class Upsample(Conv2d):
    """Twice the height and width: every pixel becomes 2×2 equal ones, then a 3×3 convolution."""

    def __init__(self, channels):
        super().__init__(channels, channels)

    def forward(self, x):
        return super().forward(repeat2(x))


@primitive
def repeat2(x):
    """(H, W, N, C) -> (2H, 2W, N, C), the nearest pixel's value."""
    h, w, n, c = x.shape
    out = array_module(x).empty((h, 2, w, 2, n, c), x.dtype)
    out[...] = x[:, None, :, None]
    return out.reshape(2 * h, 2 * w, n, c), lambda g: (g.reshape(out.shape).sum((1, 3)),)
