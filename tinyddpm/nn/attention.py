"""Self-attention: every pixel looks at all others and takes over a mixture of what they hold."""
from autograd import ops

from .linear import Linear
from .module import Module
from .norm import GroupNorm


class SelfAttention(Module):
    """x (H, W, N, C) -> the same shape: x plus softmax(q kᵀ/√d) v (Vaswani et al. 2017, equation 1).

    q, k and v are linear maps of the normalised x; each head works on d = C/heads of their channels.
    """

    def __init__(self, channels, heads, groups, c):
        if channels % heads:
            raise ValueError(f"heads: {channels} channels cannot be divided among {heads} heads")
        self.heads = heads
        self.norm = GroupNorm(channels, groups, c.norm)
        self.q = Linear(channels, channels, c.query_key_value)
        self.k = Linear(channels, channels, c.query_key_value)
        self.v = Linear(channels, channels, c.query_key_value)
        self.out = Linear(channels, channels, c.attention_out, zero=True)

    def forward(self, x):
        height, width, n, channels = x.shape
        d = channels // self.heads

        def by_head(h):  # (H, W, N, C) -> (N, heads, H·W, d)
            return h.reshape(height * width, n, self.heads, d).transpose(1, 2, 0, 3)

        h = self.norm(x)
        q, k, v = by_head(self.q(h)), by_head(self.k(h)), by_head(self.v(h))
        weights = ops.softmax(q @ k.transpose(0, 1, 3, 2) * d**-0.5)  # (N, heads, H·W, H·W): rows add up to 1
        h = (weights @ v).transpose(2, 0, 1, 3).reshape(height, width, n, channels)
        return x + self.out(h)
