"""The residual block, and the two layers that change the resolution."""
from autograd import ops, primitive
from autograd.backend import array_module

from .conv import Conv2d, conv2d
from .equivalents import replaceable
from .linear import Linear
from .module import Module
from .norm import GroupNorm, group_norm


class NormSiLUConv(Module):
    """x (H, W, N, inputs) -> conv(silu(norm(x))) + added, (H, W, N, outputs): half a residual block, and the network's end."""

    def __init__(self, inputs, outputs, groups, c_norm, c, zero=False):
        self.norm = GroupNorm(inputs, groups, c_norm)
        self.conv = Conv2d(inputs, outputs, c=c, zero=zero)

    def forward(self, x, added=0.0, mask=None):
        return norm_silu_conv(x, *self.norm.effective(), *self.conv.effective(), added, mask, groups=self.norm.groups, eps=self.norm.eps)


@replaceable
def norm_silu_conv(x, gain, shift, weight, bias, added, mask, *, groups, eps=1e-5):
    """One function for the three layers, so that faster code can take them on together. `bias` is the convolution's, `shift` the norm's.

    added: (H, W, N, outputs) or what broadcasts to it. kept: None, or dropout's factors for what goes into the convolution.
    """
    h = ops.silu(group_norm(x, gain, shift, groups=groups, eps=eps))
    if mask is not None:
        h = h * mask
    return conv2d(h, weight) + bias + added


class ResidualBlock(Module):
    """x (H, W, N, inputs), temb (N, ·) -> (H, W, N, outputs): x plus a correction that depends on t.

    Its second convolution starts at zero, so a new block is its shortcut alone, and the correction grows as it learns.
    `time` is temb's length, or 0 for a network that is not told t.
    """

    def __init__(self, inputs, outputs, time, groups, dropout, c):
        self.half1 = NormSiLUConv(inputs, outputs, groups, c.norm, c.conv1)
        self.time = Linear(time, outputs, c.time) if time else None
        self.half2 = NormSiLUConv(outputs, outputs, groups, c.norm, c.conv2, zero=True)
        self.shortcut = Conv2d(inputs, outputs, kernel=1) if inputs != outputs else None
        self.dropout = dropout

    def forward(self, x, temb, draw):
        h = self.half1(x, added=self.time(temb) if self.time else 0.0)  # (H, W, N, C) + (N, C)
        x = self.shortcut(x) if self.shortcut else x
        return self.half2(h, added=x, mask=self.dropout_factors(h, draw))  # "x plus" is this `added`

    def dropout_factors(self, h, draw):
        """Factors for h (H, W, N, C): 0 for the dropped share, and for the rest what keeps the mean. None outside training."""
        if not (self.dropout and draw):
            return None
        height, width, _, channels = h.shape
        u = draw((height, width, channels)).transpose(1, 2, 0, 3)  # drawn sample by sample: N H W C
        return (u >= self.dropout).astype(h.dtype) / (1 - self.dropout)


class Downsample(Conv2d):
    """Half the height and width: a 3×3 convolution at every second pixel."""

    def __init__(self, channels):
        super().__init__(channels, channels, stride=2)


class Upsample(Conv2d):
    """Twice the height and width: every pixel becomes 2×2 equal ones, then a 3×3 convolution."""

    def __init__(self, channels):
        super().__init__(channels, channels)

    def forward(self, x):
        return upsample_conv(x, *self.effective())


@replaceable
def upsample_conv(x, weight, bias):
    return conv2d(repeat2(x), weight) + bias


@primitive
def repeat2(x):
    """(H, W, N, C) -> (2H, 2W, N, C), the nearest pixel's value."""
    h, w, n, c = x.shape
    twice = (h, 2, w, 2, n, c)
    out = array_module(x).broadcast_to(x[:, None, :, None], twice)
    return out.reshape(2 * h, 2 * w, n, c), lambda g: (g.reshape(twice).sum((1, 3)),)
