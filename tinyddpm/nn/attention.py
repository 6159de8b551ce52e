"""Self-attention: every pixel looks at all pixels and takes over a mixture of what they hold."""

from autograd import Tensor, ops
from autograd.backend import expect

from ..equivalents import replaceable
from .linear import Linear
from .module import Module
from .multipliers import Multipliers
from .norm import GroupNorm


class SelfAttention(Module):
    """x (H, W, N, C) -> the same shape: x plus out(softmax(q kᵀ/√d) v).

    Vaswani et al. 2017, equation 1. q, k and v are linear maps of the normalised x; each head works
    on d = C/heads of their channels. The linear map `out` starts at zero: a new layer returns x.
    """

    def __init__(self, channels: int, heads: int, groups: int, c: Multipliers) -> None:
        expect(channels % heads == 0, "heads", f"a divisor of {channels} channels", heads)
        self.heads = heads
        self.norm = GroupNorm(channels, groups, c.norm)
        self.q = Linear(channels, channels, c.query_key_value)
        self.k = Linear(channels, channels, c.query_key_value)
        self.v = Linear(channels, channels, c.query_key_value)
        self.out = Linear(channels, channels, c.attention_out, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        mixed: Tensor = attention(self.q(h), self.k(h), self.v(h), heads=self.heads)
        return x + self.out(mixed)


@replaceable
def attention(q: Tensor, k: Tensor, v: Tensor, *, heads: int) -> Tensor:
    """softmax(q kᵀ/√d) v for each head, over all pixels of an image; all (H, W, N, C)."""
    height, width, n, channels = q.shape
    d = channels // heads

    def by_head(h: Tensor) -> Tensor:  # (H, W, N, C) -> (N, heads, H·W, d)
        return h.reshape(height * width, n, heads, d).transpose(1, 2, 0, 3)

    # (N, heads, H·W, H·W): each row adds up to 1
    weights = ops.softmax(by_head(q) @ by_head(k).transpose(0, 1, 3, 2) * d**-0.5)
    return (weights @ by_head(v)).transpose(2, 0, 1, 3).reshape(height, width, n, channels)
