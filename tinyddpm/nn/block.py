"""The residual block, and the two layers that change the resolution."""

from autograd import Tensor, ops, primitive
from autograd.backend import Array, Forward, array_module

from ..equivalents import replaceable
from ..types import Draw
from .conv import Conv2d, conv2d, conv2d_bias
from .linear import Linear
from .module import Module
from .multipliers import Multipliers
from .norm import GroupNorm, group_norm


class NormSiLUConv(Module):
    """x (H, W, N, inputs) -> conv(silu(norm(x))) + added, (H, W, N, outputs).

    It is half a residual block, and also the network's end.
    """

    def __init__(
        self, inputs: int, outputs: int, groups: int, c_norm: float, c: float, zero: bool = False
    ) -> None:
        self.norm = GroupNorm(inputs, groups, c_norm)
        self.conv = Conv2d(inputs, outputs, c=c, zero=zero)

    def forward(self, x: Tensor, added: Tensor | float = 0.0, mask: Array | None = None) -> Tensor:
        norm, arrays = self.norm, (*self.norm.effective(), *self.conv.effective())
        return norm_silu_conv(x, *arrays, added, mask, groups=norm.groups, eps=norm.eps)


@replaceable
def norm_silu_conv(
    x: Tensor,
    gain: Tensor,
    shift: Tensor,
    weight: Tensor,
    bias: Tensor,
    added: Tensor | float,
    mask: Array | None,
    *,
    groups: int,
    eps: float = 1e-5,
) -> Tensor:
    """One function for the three layers, so that faster code can take them on together.

    gain and shift are the norm's, weight and bias the convolution's. `added` is (H, W, N, outputs)
    or broadcasts to it. `mask` is dropout's: factors for what goes into the convolution, or None.
    """
    h = ops.silu(group_norm(x, gain, shift, groups=groups, eps=eps))
    if mask is not None:
        h = h * mask
    return conv2d(h, weight) + bias + added


class ResidualBlock(Module):
    """x (H, W, N, inputs), temb (N, ·) -> (H, W, N, outputs): x plus a correction that knows t.

    Its second convolution starts at zero, so a new block is its shortcut alone, and the correction
    grows as it learns. `time` is temb's length, or 0 for a network that is unconditional in t.
    """

    def __init__(
        self, inputs: int, outputs: int, time: int, groups: int, dropout: float, c: Multipliers
    ) -> None:
        self.half1 = NormSiLUConv(inputs, outputs, groups, c.norm, c.conv1)
        self.time = Linear(time, outputs, c.time) if time else None
        self.half2 = NormSiLUConv(outputs, outputs, groups, c.norm, c.conv2, zero=True)
        self.shortcut = Conv2d(inputs, outputs, kernel=1) if inputs != outputs else None
        self.dropout = dropout

    def forward(self, x: Tensor, temb: Tensor | None, draw: Draw | None) -> Tensor:
        h = self.half1(x, added=self.time(temb) if self.time else 0.0)  # (H, W, N, C) + (N, C)
        x = self.shortcut(x) if self.shortcut else x
        return self.half2(h, added=x, mask=self.dropout_mask(h, draw))  # "x plus" is this `added`

    def dropout_mask(self, h: Tensor, draw: Draw | None) -> Array | None:
        """For h (H, W, N, C): 0 or, keeping the mean, 1/(1 − dropout). None outside training."""
        if not (self.dropout and draw):
            return None
        height, width, _, channels = h.shape
        u = draw((height, width, channels)).transpose(1, 2, 0, 3)  # drawn image by image: N H W C
        return (u >= self.dropout).astype(h.dtype) / (1 - self.dropout)


class Downsample(Conv2d):
    """Half the height and width: a 3×3 convolution at every second pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, stride=2)


class Upsample(Conv2d):
    """Twice the height and width: every pixel becomes 2×2 equal ones, then a 3×3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return upsample_conv(x, *self.effective())


@replaceable
def upsample_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution of the image at twice its size."""
    return conv2d_bias(repeat2(x), weight, bias, stride=1, padding=1)


@primitive
def repeat2(x: Array) -> Forward:
    """(H, W, N, C) -> (2H, 2W, N, C), the nearest pixel's value."""
    h, w, n, c = x.shape
    twice = (h, 2, w, 2, n, c)
    out = array_module(x).broadcast_to(x[:, None, :, None], twice)
    return out.reshape(2 * h, 2 * w, n, c), lambda g: (g.reshape(twice).sum((1, 3)),)
