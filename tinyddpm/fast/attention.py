"""Attention on plain arrays: in place, and one node of the graph instead of fifteen."""

import numpy as np

from autograd.backend import Forward, underflow_is_zero

from ..types import Array


@underflow_is_zero
def softmax_attention(q: Array, k: Array, v: Array, heads: int) -> Forward:
    """softmax(q kᵀ/√d) v for images (H, W, N, C) of one shape, and its pullback.

    The definition is `nn.attention.attention`.
    """
    height, width, n, channels = q.shape
    scale = (channels // heads) ** -0.5

    def by_head(h: Array) -> Array:  # (H, W, N, C) -> (N, heads, H·W, d), a view
        return h.reshape(height * width, n, heads, -1).transpose(1, 2, 0, 3)

    q, k, v = by_head(q), by_head(k), by_head(v)
    p = q @ k.swapaxes(2, 3)
    p *= scale
    p -= p.max(3, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(3, keepdims=True)
    out = np.empty((height, width, n, channels), p.dtype)
    np.matmul(p, v, out=by_head(out))

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        g_q, g_k, g_v = np.empty((3, *out.shape), g.dtype)
        g = by_head(np.ascontiguousarray(g))
        np.matmul(p.swapaxes(2, 3), g, out=by_head(g_v))
        g_p = g @ v.swapaxes(2, 3)
        g_p -= np.einsum("nhij,nhij->nhi", g_p, p)[..., None]
        g_p *= p
        g_p *= scale
        np.matmul(g_p, k, out=by_head(g_q))
        np.matmul(g_p.swapaxes(2, 3), q, out=by_head(g_k))
        return g_q, g_k, g_v

    return out, pullback
