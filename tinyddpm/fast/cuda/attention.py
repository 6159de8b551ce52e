"""Attention as one node of the graph, and its softmax in one kernel each way.

The definition is `nn.attention.attention`. A warp takes a row of the weights, which are to add up
to 1: it holds max and sum in registers and exchanges them by shuffles.
"""

import numpy as np

from autograd import backend, primitive
from autograd.backend import Forward, array_module

from ...types import Array
from .ops import MOST, Operand, is_fast

THREADS = 256  # in a block: 8 warps, a row each


def accepts_attention(q: Operand, k: Operand, v: Operand, *, heads: int) -> bool:
    """Images of one shape."""
    if not (is_fast(q, k, v) and q.ndim == 4 and q.shape == k.shape == v.shape):
        return False
    height, width, n, channels = q.shape
    return channels % heads == 0 and n * heads * (height * width) ** 2 < MOST


@primitive
def attention(q: Array, k: Array, v: Array, *, heads: int) -> Forward:
    """As `nn.attention.attention`."""
    height, width, n, channels = q.shape
    scale = (channels // heads) ** -0.5
    contiguous = array_module(q).ascontiguousarray

    def by_head(h: Array) -> Array:  # (H, W, N, C) -> (N, heads, H·W, d)
        split = h.reshape(height * width, n, heads, channels // heads)
        moved: Array = contiguous(split.transpose(1, 2, 0, 3))
        return moved

    def to_image(h: Array) -> Array:  # and back
        return h.transpose(2, 0, 1, 3).reshape(height, width, n, channels)

    q, k, v = by_head(q), by_head(k), by_head(v)
    p = q @ k.swapaxes(2, 3)
    softmax_on_gpu(p, scale)

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        g = by_head(g)
        g_v = p.swapaxes(2, 3) @ g
        g_p = g @ v.swapaxes(2, 3)
        softmax_backward_on_gpu(p, g_p, scale)
        return to_image(g_p @ k), to_image(g_p.swapaxes(2, 3) @ q), to_image(g_v)

    return to_image(p @ v), pullback


def softmax(s: Array, scale: float) -> None:
    """s ← e^(scale·s), divided by its sum along the last axis, in place."""
    s -= s.max(-1, keepdims=True)
    s *= scale
    np.exp(s, out=s)
    s /= s.sum(-1, keepdims=True)


def softmax_backward(p: Array, g: Array, scale: float) -> None:
    """g, the gradient of what `softmax` made of s, ← the gradient of s, in place."""
    g -= (g * p).sum(-1, keepdims=True)
    g *= p
    g *= scale


def softmax_on_gpu(s: Array, scale: float) -> None:
    """As `softmax`, by the kernel below: one warp to a row."""
    _by_rows("softmax", s.shape[-1], (s,), s.size, scale)


def softmax_backward_on_gpu(p: Array, g: Array, scale: float) -> None:
    """As `softmax_backward`, by the kernel below: one warp to a row."""
    _by_rows("softmax_backward", p.shape[-1], (p, g), p.size, scale)


def _by_rows(name: str, length: int, arrays: tuple[Array, ...], size: int, scale: float) -> None:
    rows = size // length
    grid = (-(-rows * 32 // THREADS),)
    backend.kernel(name, SOURCE)(grid, (THREADS,), (*arrays, rows, length, scale))


SOURCE = r"""
__device__ float warp_sum(float value) {
    for (int offset = 16; offset > 0; offset /= 2)
        value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
    return value;
}

__device__ float warp_max(float value) {
    for (int offset = 16; offset > 0; offset /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, offset));
    return value;
}

// All threads of a warp have the same row, so they return or go on together.
extern "C" __global__ void softmax(float* s, long long rows, long long length, double scale) {
    const long long row = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    const int lane = threadIdx.x % 32;
    if (row >= rows) return;
    float* numbers = s + row * length;
    float most = numbers[0];
    for (long long i = lane; i < length; i += 32) most = fmaxf(most, numbers[i]);
    most = warp_max(most);
    float sum = 0.0f;
    for (long long i = lane; i < length; i += 32) {
        const float e = expf((numbers[i] - most) * (float)scale);
        numbers[i] = e;
        sum += e;
    }
    sum = warp_sum(sum);
    for (long long i = lane; i < length; i += 32) numbers[i] /= sum;
}

extern "C" __global__ void softmax_backward(
    const float* p, float* g, long long rows, long long length, double scale) {
    const long long row = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    const int lane = threadIdx.x % 32;
    if (row >= rows) return;
    const float* weights = p + row * length;
    float* numbers = g + row * length;
    float sum = 0.0f;
    for (long long i = lane; i < length; i += 32) sum += numbers[i] * weights[i];
    sum = warp_sum(sum);
    for (long long i = lane; i < length; i += 32)
        numbers[i] = (numbers[i] - sum) * weights[i] * (float)scale;
}
"""
