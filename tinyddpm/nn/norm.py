"""GroupNorm: zero mean and unit variance for each sample's features, by groups of channels."""

from autograd import Tensor, primitive
from autograd.backend import Array, Forward, array_module, expect

from ..equivalents import replaceable
from .module import Module, Parameter


@replaceable
@primitive
def group_norm(x: Array, gain: Array, bias: Array, *, groups: int, eps: float = 1e-5) -> Forward:
    """x (H, W, N, C) normalised over H, W and the C/groups channels of each group: x̂.

    Then gain·x̂ + bias, both (C,). Wu & He 2018, "Group normalization", section 3.1.
    """
    shape, c = x.shape, x.shape[3]
    grouped = (shape[0] * shape[1], shape[2], groups, c // groups)

    def mean(a: Array) -> Array:
        """Over the pixels and channels of a group; axis 0 first, where memory is one long run."""
        return a.mean(0, keepdims=True).mean(3, keepdims=True)

    # d, x_hat: (H·W, N, groups, C/groups); r: (1, N, groups, 1)
    d = x.reshape(grouped) - mean(x.reshape(grouped))
    r = 1 / array_module(x).sqrt(mean(d * d) + eps)
    x_hat = d * r

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        g_hat = (g * gain).reshape(grouped)
        # dx_hat = r·(dx − mean(dx) − x_hat·mean(x_hat·dx)) is a symmetric map: g returns by it too
        gx = r * (g_hat - mean(g_hat) - x_hat * mean(g_hat * x_hat))
        g_gain = (g * x_hat.reshape(shape)).reshape(-1, c).sum(0)
        return gx.reshape(shape), g_gain, g.reshape(-1, c).sum(0)

    return x_hat.reshape(shape) * gain + bias, pullback


class GroupNorm(Module):
    """`group_norm` with a learned gain and bias (channels,). The effective gain starts at 1."""

    def __init__(self, channels: int, groups: int, c: float = 1.0) -> None:
        expect(channels % groups == 0, "groups", f"a divisor of {channels} channels", groups)
        self.c, self.groups, self.eps = c, groups, 1e-5
        self.gain = Parameter(channels, centre=1 / c)
        self.bias = Parameter(channels)

    def effective(self) -> tuple[Tensor, Tensor]:
        """The gain and the bias that the layer computes with."""
        return self.c * self.gain, self.c * self.bias

    def forward(self, x: Tensor) -> Tensor:
        gain, bias = self.effective()
        return group_norm(x, gain, bias, groups=self.groups, eps=self.eps)
