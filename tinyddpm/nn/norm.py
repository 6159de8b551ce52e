"""GroupNorm: make the features of each sample zero-mean and unit-variance, group by group of channels."""
from autograd import primitive
from autograd.backend import array_module

from .equivalents import replaceable
from .module import Module, Parameter


@replaceable
@primitive
def group_norm(x, gain, bias, *, groups, eps=1e-5):
    """x (H, W, N, C) normalised over H, W and the C/groups channels of each group, then gain·x̂ + bias, both (C,).

    Wu & He 2018, "Group normalization", section 3.1.
    """
    shape, c = x.shape, x.shape[3]
    grouped = (shape[0] * shape[1], shape[2], groups, c // groups)

    def mean(a):  # over pixels and the channels of a group; axis 0 first, where memory is one long run
        return a.mean(0, keepdims=True).mean(3, keepdims=True)

    # d, x_hat: (H·W, N, groups, C/groups); r: (1, N, groups, 1)
    d = x.reshape(grouped) - mean(x.reshape(grouped))
    r = 1 / array_module(x).sqrt(mean(d * d) + eps)
    x_hat = d * r

    def pullback(g):
        g_hat = (g * gain).reshape(grouped)
        # dx_hat = r·(dx − mean(dx) − x_hat·mean(x_hat·dx)): a symmetric map, so it takes g back in the same form
        gx = r * (g_hat - mean(g_hat) - x_hat * mean(g_hat * x_hat))
        g_gain = (g * x_hat.reshape(shape)).reshape(-1, c).sum(0)
        return gx.reshape(shape), g_gain, g.reshape(-1, c).sum(0)

    return x_hat.reshape(shape) * gain + bias, pullback


class GroupNorm(Module):
    """`group_norm` with learned gain and bias, (channels,). The effective gain c·gain starts at 1."""

    def __init__(self, channels, groups, c=1.0):
        if channels % groups:
            raise ValueError(f"groups: {channels} channels cannot be divided into {groups} groups of equal size")
        self.c, self.groups, self.eps = c, groups, 1e-5
        self.gain = Parameter(channels, centre=1 / c)
        self.bias = Parameter(channels)

    def effective(self):
        """The gain and the bias that the layer computes with."""
        return self.c * self.gain, self.c * self.bias

    def forward(self, x):
        gain, bias = self.effective()
        return group_norm(x, gain, bias, groups=self.groups, eps=self.eps)
