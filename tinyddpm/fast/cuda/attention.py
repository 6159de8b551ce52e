"""Attention as one node of the graph, in 12 launches forward and backward.

The definition is `nn.attention.attention`. Products of many matrices want each in one piece, so one
kernel rearranges all images that a pass needs, turned where a product takes them so. Another makes
the softmax: a warp takes a row of the weights, which are to add up to 1. It holds max and sum in
registers and exchanges them by shuffles.
"""

from collections.abc import Sequence

import numpy as np

from autograd import backend, primitive
from autograd.backend import Forward, array_module

from ...types import Array
from .ops import MOST, Operand, is_fast
from .product import product_on_gpu

THREADS = 256  # in a block: for the softmax 8 warps, a row each
MOST_IMAGES = 5  # that are rearranged at once


def accepts_attention(q: Operand, k: Operand, v: Operand, *, heads: int) -> bool:
    """Images of one shape."""
    if not (is_fast(q, k, v) and q.ndim == 4 and q.shape == k.shape == v.shape):
        return False
    height, width, n, channels = q.shape
    return channels % heads == 0 and n * heads * (height * width) ** 2 < MOST


@primitive
def attention(q: Array, k: Array, v: Array, *, heads: int) -> Forward:
    """As `nn.attention.attention`."""
    shape, scale = q.shape, (q.shape[3] // heads) ** -0.5
    q_h, k_turned, v_h = to_heads_on_gpu((q, k, v), (False, True, False), heads)
    p = product_on_gpu(q_h, k_turned)
    softmax_on_gpu(p, scale)
    (y,) = to_images_on_gpu((product_on_gpu(p, v_h),), (False,), shape)

    def pullback(g: Array) -> tuple[Array, ...]:
        g_h, g_turned, v_turned, k_h, q_turned = to_heads_on_gpu(
            (g, g, v, k, q), (False, True, True, False, True), heads
        )
        g_v = product_on_gpu(g_turned, p)  # turned: (pᵀ g)ᵀ
        g_p = product_on_gpu(g_h, v_turned)
        softmax_backward_on_gpu(p, g_p, scale)
        g_q, g_k = product_on_gpu(g_p, k_h), product_on_gpu(q_turned, g_p)  # g_k is turned too
        return to_images_on_gpu((g_q, g_k, g_v), (False, True, True), shape)

    return y, pullback


def to_heads(images: Sequence[Array], turned: Sequence[bool], heads: int) -> tuple[Array, ...]:
    """Images (H, W, N, C) as matrices (N, heads, H·W, d), or turned: (N, heads, d, H·W)."""
    found = []
    for image, turn in zip(images, turned):
        height, width, n, c = image.shape
        split = image.reshape(height * width, n, heads, c // heads)
        found.append(split.transpose((1, 2, 3, 0) if turn else (1, 2, 0, 3)).copy())
    return tuple(found)


def to_images(
    matrices: Sequence[Array], turned: Sequence[bool], shape: tuple[int, ...]
) -> tuple[Array, ...]:
    """The inverse of `to_heads`, for images of this shape (H, W, N, C)."""
    return tuple(
        matrix.transpose((3, 0, 1, 2) if turn else (2, 0, 1, 3)).reshape(shape)
        for matrix, turn in zip(matrices, turned)
    )


def to_heads_on_gpu(
    images: Sequence[Array], turned: Sequence[bool], heads: int
) -> tuple[Array, ...]:
    """As `to_heads`, by the kernel below, all in one launch: one thread to a number."""
    height, width, n, c = images[0].shape
    pixels, d = height * width, c // heads
    shapes = [(n, heads, d, pixels) if turn else (n, heads, pixels, d) for turn in turned]
    return _rearranged(images, turned, shapes, (0, pixels, n, heads, d))


def to_images_on_gpu(
    matrices: Sequence[Array], turned: Sequence[bool], shape: tuple[int, ...]
) -> tuple[Array, ...]:
    """As `to_images`, by the kernel below, all in one launch: one thread to a number."""
    height, width, n, c = shape
    heads = matrices[0].shape[1]
    sizes = (1, height * width, n, heads, c // heads)
    return _rearranged(matrices, turned, [shape] * len(matrices), sizes)


def _rearranged(
    arrays: Sequence[Array],
    turned: Sequence[bool],
    shapes: Sequence[tuple[int, ...]],
    sizes: tuple[int, ...],
) -> tuple[Array, ...]:
    xp, size = array_module(arrays[0]), arrays[0].size
    found = tuple(xp.empty(shape, arrays[0].dtype) for shape in shapes)
    parts = [
        (xp.ascontiguousarray(a), y, int(turn)) for a, y, turn in zip(arrays, found, turned)
    ] + [(None, None, 0)] * (MOST_IMAGES - len(arrays))
    arguments = [value for part in parts for value in part]
    grid = (-(-size // THREADS), len(arrays))
    backend.kernel("rearrange", SOURCE)(grid, (THREADS,), (*arguments, *sizes))
    return found


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


_IMAGES = ", ".join(
    f"const float* x{i}, float* y{i}, long long turned{i}" for i in range(MOST_IMAGES)
)
_CHOICE = " ".join(
    f"if (blockIdx.y == {i}) x = x{i}, y = y{i}, turned = turned{i};" for i in range(MOST_IMAGES)
)
SOURCE = r"""
// Images (pixels, n, heads, d) to matrices (n, heads, pixels, d), turned (n, heads, d, pixels); or
// `back`. Thread i writes number i of the result.
extern "C" __global__ void rearrange(
    IMAGES, long long back, long long pixels, long long n, long long heads, long long d) {
    const float* x = 0;
    float* y = 0;
    long long turned = 0;
    CHOICE
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned P = pixels, N = n, H = heads, D = d;
    if (i >= P * N * H * D) return;
    if (back) {
        const unsigned channel = i % D, head = i / D % H, sample = i / (D * H) % N;
        const unsigned pixel = i / (D * H * N), matrix = (sample * H + head) * P * D;
        y[i] = x[matrix + (turned ? channel * P + pixel : pixel * D + channel)];
    } else {
        const unsigned within = i % (P * D), head = i / (P * D) % H, sample = i / (P * D * H);
        const unsigned pixel = turned ? within % P : within / D;
        const unsigned channel = turned ? within / P : within % D;
        y[i] = x[((pixel * N + sample) * H + head) * D + channel];
    }
}

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
""".replace("IMAGES", _IMAGES).replace("CHOICE", _CHOICE)
