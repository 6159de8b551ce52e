"""Convolution as a product of matrices that nobody writes, by tensor cores (implicit GEMM).

The matrix of windows, as `columns.py` makes it, has a row for each output pixel and a column for
each tap and channel. Here each tile of it is copied out of the image straight into shared memory:
a tap is an offset there. Where a window reaches over the edge, the copy writes zeros.

The gradient of the input is a convolution of the output's gradient, which has gaps between its
pixels if the stride is more than 1. Its weight is this one turned around, and is read so: nobody
writes that down either. For the gradient of the weight see `weight_gradient.py`.
"""

from collections.abc import Callable

import numpy as np

from autograd import backend

from ...types import Array
from .matrix_tiles import SIDE, THREADS, TILES

Pair = tuple[int, int]


def convolve(
    x: Array,
    w: Array,
    stride: int,
    corner: Pair,
    size: Pair,
    bias: Array | None = None,
    row: Array | None = None,
    image: Array | None = None,
) -> Array:
    """The convolution, (Ho, Wo, N, Cout), plus bias, row and image in this order, as `add.add`.

    Args:
        x: (H, W, N, C), contiguous.
        w: (kh, kw, C, Cout), contiguous.
        stride: from one window to the next.
        corner: (top, left), how many zeros stand there around the image. Negative: the first
            window begins within it.
        size: (Ho, Wo) of the output.
        bias: (Cout,), or None for nothing.
        row: (N, Cout), or None for nothing.
        image: (Ho, Wo, N, Cout), or None for nothing.
    """
    y = np.zeros((*size, x.shape[2], w.shape[3]), x.dtype)
    for tap in np.ndindex(w.shape[:2]):
        to, of = under_tap(tap, stride, corner, size, x.shape[:2])
        y[to] += x[of] @ w[tap]
    for more in (bias, row, image):
        if more is not None:
            y += more
    return y


def input_gradient(g: Array, w: Array, stride: int, corner: Pair, size: Pair) -> Array:
    """The gradient of x, (H, W, N, C), for the gradient g (Ho, Wo, N, Cout) of the output.

    size is (H, W), g is contiguous, and the other arguments are those of `convolve`.
    """
    gx = np.zeros((*size, g.shape[2], w.shape[2]), g.dtype)
    for tap in np.ndindex(w.shape[:2]):
        to, of = under_tap(tap, stride, corner, g.shape[:2], size)
        gx[of] += g[to] @ w[tap].T
    return gx


def under_tap(
    tap: Pair, stride: int, corner: Pair, windows: Pair, size: Pair
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Two indices: the windows that have a pixel under this tap, and those pixels of the image.

    windows is (Ho, Wo) and size (H, W).
    """
    at = [np.arange(n) * stride + k - first for n, k, first in zip(windows, tap, corner)]
    inside = [(a >= 0) & (a < n) for a, n in zip(at, size)]
    return np.ix_(*inside), np.ix_(*(a[i] for a, i in zip(at, inside)))


def convolve_on_gpu(
    x: Array,
    w: Array,
    stride: int,
    corner: Pair,
    size: Pair,
    bias: Array | None = None,
    row: Array | None = None,
    image: Array | None = None,
) -> Array:
    """As `convolve`, by the kernel below: one block of threads to 64 pixels and 64 channels."""
    y: Array = backend.array_module(x).empty((*size, x.shape[2], w.shape[3]), x.dtype)
    sizes = (*x.shape, *size, w.shape[3], *w.shape[:2], stride, *corner)
    _kernel("convolve")(_grid(y), (THREADS,), (x, w, y, bias, row, image, *sizes))
    return y


def input_gradient_on_gpu(g: Array, w: Array, stride: int, corner: Pair, size: Pair) -> Array:
    """As `input_gradient`, by the kernel below: one block to 64 pixels and 64 channels."""
    kh, kw, c_in = w.shape[:3]
    gx: Array = backend.array_module(g).empty((*size, g.shape[2], c_in), g.dtype)
    other_corner = kh - 1 - corner[0], kw - 1 - corner[1]
    sizes = (*g.shape, *size, c_in, kh, kw, stride, *other_corner)
    _kernel("convolve_turned")(_grid(gx), (THREADS,), (g, w, gx, *sizes))
    return gx


def _grid(y: Array) -> Pair:
    channels = y.shape[3]
    return -(-y.size // channels // SIDE), -(-channels // SIDE)


def _kernel(name: str) -> Callable[..., None]:
    return backend.kernel(name, SOURCE_TF32 if backend.is_tf32() else SOURCE)


NAMES = ["height", "width", "n", "c", "out_height", "out_width", "c_out"]
NAMES += ["kh", "kw", "stride", "top", "left"]
SOURCE = (
    TILES
    + r"""
#define NOWHERE -1000000  // a row of pixels above every image

struct Sizes { int NAMES; };
struct Windows { int first_y[SIDE], first_x[SIDE], sample[SIDE]; };  // where they begin

// Adds to `sum` the product of 64 rows of the matrix of windows, and 64 columns of the weight. If
// B_LENGTH is 16, the weight is turned around, and has rows where otherwise it has columns. Then
// `stride` is not from window to window but from pixel to pixel, with zeros in between.
template <int B_LENGTH>
__device__ __forceinline__ void multiply_windows(
    const float* x, const float* w, const Sizes& of, Windows& windows, float* a, float* b,
    float sum[2][4][4]) {
    const bool turned = B_LENGTH == 16;
    const int pixels = of.out_height * of.out_width * of.n, depth = of.kh * of.kw * of.c;
    const int first_pixel = blockIdx.x * SIDE, first_channel = blockIdx.y * SIDE;
    if (threadIdx.x < SIDE) {
        const int pixel = first_pixel + threadIdx.x, column = pixel / of.n;
        const int step = turned ? 1 : of.stride, first = column / of.out_width * step - of.top;
        windows.sample[threadIdx.x] = pixel % of.n;
        windows.first_x[threadIdx.x] = column % of.out_width * step - of.left;
        windows.first_y[threadIdx.x] = pixel < pixels ? first : NOWHERE;
    }
    __syncthreads();

    // Each thread copies numbers under one tap, of one channel or of four, for several windows. The
    // next time it takes those 16 channels further on, which may be under the next tap.
    const bool fours = in_fours(x, of.c) && (!turned || in_fours(w, of.c));
    const int numbers = fours ? 4 : 1, lanes = DEPTH / numbers;
    const int lane = threadIdx.x % lanes * numbers;
    int channel = lane, ky = 0, kx = 0;
    multiply_in_steps<16, B_LENGTH>(
        (depth + DEPTH - 1) / DEPTH, a, b,
        [&](int step, float* to_a, float* to_b) {
            while (channel >= of.c) {
                channel -= of.c;
                if (++kx == of.kw) kx = 0, ky++;
            }
            const int other_tap = (of.kh - 1 - ky) * of.kw + of.kw - 1 - kx;
            for (int r = threadIdx.x / lanes; r < SIDE; r += THREADS / lanes) {
                int at_y = windows.first_y[r] + ky, at_x = windows.first_x[r] + kx;
                bool inside = ky < of.kh && at_y >= 0 && at_x >= 0;
                if (turned && of.stride > 1) {
                    inside = inside && at_y % of.stride == 0 && at_x % of.stride == 0;
                    at_y /= of.stride, at_x /= of.stride;
                }
                inside = inside && at_y < of.height && at_x < of.width;
                const float* from = x;
                if (inside)
                    from += ((at_y * of.width + at_x) * of.n + windows.sample[r]) * of.c + channel;
                start_copy(to_a + r * ROW_OF(16) + lane, from, inside, fours);
                if (turned) {
                    const int to = first_channel + r;
                    const bool there = ky < of.kh && to < of.c_out;
                    from = there ? w + (other_tap * of.c_out + to) * of.c + channel : w;
                    start_copy(to_b + r * ROW_OF(16) + lane, from, there, fours);
                }
            }
            channel += DEPTH;
            if (!turned) copy_tile<64>(to_b, w, step * DEPTH, depth, first_channel, of.c_out);
        },
        [&](const float* now_a, const float* now_b) {
            multiply_tiles(
                now_a, ROW_OF(16), 1, now_b, turned ? 1 : ROW_OF(64), turned ? ROW_OF(16) : 1,
                pixels - first_pixel, of.c_out - first_channel, sum);
        });
}

// y (Ho, Wo, N, Cout) = the convolution of x (H, W, N, C) with w, plus what is to be added.
extern "C" __global__ void convolve(
    const float* x, const float* w, float* y,
    const float* bias, const float* row, const float* image, SIZES) {
    __shared__ __align__(16) float a[2 * TILE_OF(16)], b[2 * TILE_OF(64)];
    __shared__ Windows windows;
    const Sizes of = {VALUES};
    float sum[2][4][4] = {};
    multiply_windows<64>(x, w, of, windows, a, b, sum);
    for_each_number(
        sum, blockIdx.x * SIDE, of.out_height * of.out_width * of.n,
        blockIdx.y * SIDE, of.c_out,
        [&](int pixel, int to, float number) {
            const int at = pixel * of.c_out + to;
            if (bias) number += bias[to];
            if (row) number += row[pixel % of.n * of.c_out + to];
            if (image) number += image[at];
            y[at] = number;
        });
}

// y (Ho, Wo, N, Cout) = the convolution of x (H, W, N, C), with gaps between its pixels, with w
// (kh, kw, Cout, C) turned around.
extern "C" __global__ void convolve_turned(
    const float* x, const float* w, float* y, SIZES) {
    __shared__ __align__(16) float a[2 * TILE_OF(16)], b[2 * TILE_OF(16)];
    __shared__ Windows windows;
    const Sizes of = {VALUES};
    float sum[2][4][4] = {};
    multiply_windows<16>(x, w, of, windows, a, b, sum);
    for_each_number(
        sum, blockIdx.x * SIDE, of.out_height * of.out_width * of.n,
        blockIdx.y * SIDE, of.c_out,
        [&](int pixel, int to, float number) { y[pixel * of.c_out + to] = number; });
}
""".replace("NAMES", ", ".join(NAMES))
    .replace("SIZES", ", ".join(f"long long {name}" for name in NAMES))
    .replace("VALUES", ", ".join(f"(int){name}" for name in NAMES))
)
SOURCE_TF32 = "#define TF32\n" + SOURCE
