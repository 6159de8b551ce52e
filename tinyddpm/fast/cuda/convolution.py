"""Convolution as a product of matrices that nobody writes, by tensor cores (implicit GEMM).

The matrix of windows, as `columns.py` makes it, has a row for each output pixel and a column for
each tap and channel. Here each tile of it is copied out of the image straight into shared memory:
a tap is an offset there. Where a window reaches over the edge, the copy writes zeros.

The gradient of the input is the same kernel, on the weight turned around, and on a gradient with
gaps between its pixels if the stride is more than 1. The gradient of the weight is a sum over all
pixels. Some blocks take some pixels each, and another kernel adds up what they found, always in the
same order.
"""

from collections.abc import Callable

import numpy as np

from autograd import backend

from ...types import Array
from .matrix_tiles import SIDE, THREADS, TILES

BLOCKS, LEAST = 512, 256  # blocks that a sum over pixels is to occupy, and pixels that pay for one
THREADS_OF_A_SUM = 256

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
    gaps: int = 1,
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
        gaps: from one pixel to the next, gaps - 1 zeros are thought in between.
    """
    y = np.zeros((*size, x.shape[2], w.shape[3]), x.dtype)
    for ky, kx in np.ndindex(w.shape[:2]):
        y += _under_tap(x, (ky, kx), stride, corner, size, gaps) @ w[ky, kx]
    for more in (bias, row, image):
        if more is not None:
            y += more
    return y


def weight_gradient(x: Array, g: Array, kernel: Pair, stride: int, corner: Pair) -> Array:
    """The gradient of w, (kh, kw, C, Cout), for the gradient g (Ho, Wo, N, Cout) of the output.

    kernel is (kh, kw), and the other arguments are those of `convolve`.
    """
    c_in, c_out = x.shape[3], g.shape[3]
    gw = np.empty((*kernel, c_in, c_out), x.dtype)
    for ky, kx in np.ndindex(*kernel):
        pixels = _under_tap(x, (ky, kx), stride, corner, g.shape[:2], 1)
        gw[ky, kx] = pixels.reshape(-1, c_in).T @ g.reshape(-1, c_out)
    return gw


def _under_tap(x: Array, tap: Pair, stride: int, corner: Pair, size: Pair, gaps: int) -> Array:
    """The pixel that each window has under this tap, zeros where there is none."""
    found = np.zeros((*size, *x.shape[2:]), x.dtype)
    at = [np.arange(s) * stride + k - first for s, k, first in zip(size, tap, corner)]
    inside = [(a >= 0) & (a % gaps == 0) & (a // gaps < n) for a, n in zip(at, x.shape)]
    found[np.ix_(*inside)] = x[np.ix_(*(a[i] // gaps for a, i in zip(at, inside)))]
    return found


def convolve_on_gpu(
    x: Array,
    w: Array,
    stride: int,
    corner: Pair,
    size: Pair,
    bias: Array | None = None,
    row: Array | None = None,
    image: Array | None = None,
    gaps: int = 1,
) -> Array:
    """As `convolve`, by the kernel below: one block of threads to 64 pixels and 64 channels."""
    (kh, kw), c_out = w.shape[:2], w.shape[3]
    y: Array = backend.array_module(x).empty((*size, x.shape[2], c_out), x.dtype)
    sizes = (*x.shape, *size, c_out, kh, kw, stride, gaps, *corner)
    grid = (_tiles(y.size // c_out), _tiles(c_out))
    _kernel("convolve")(grid, (THREADS,), (x, w, y, bias, row, image, *sizes))
    return y


def weight_gradient_on_gpu(x: Array, g: Array, kernel: Pair, stride: int, corner: Pair) -> Array:
    """As `weight_gradient`, by the kernels below: a block of threads takes some pixels."""
    xp, c_out, pixels = backend.array_module(x), g.shape[3], g.size // g.shape[3]
    grid = _tiles(kernel[0] * kernel[1] * x.shape[3]), _tiles(c_out)
    parts = max(1, min(-(-BLOCKS // (grid[0] * grid[1])), pixels // LEAST))
    gw: Array = xp.empty((*kernel, x.shape[3], c_out), x.dtype)
    found = xp.empty((parts, *gw.shape), x.dtype) if parts > 1 else gw
    sizes = (*x.shape, *g.shape[:2], c_out, *kernel, stride, *corner, -(-pixels // parts))
    _kernel("convolve_weight")((*grid, parts), (THREADS,), (x, g, found, *sizes))
    if parts > 1:
        blocks = (-(-gw.size // THREADS_OF_A_SUM),)
        _kernel("sum_of_parts")(blocks, (THREADS_OF_A_SUM,), (found, gw, gw.size, parts))
    return gw


def input_gradient_on_gpu(g: Array, w: Array, stride: int, corner: Pair, size: Pair) -> Array:
    """The gradient of x: the convolution of g with the weight turned around.

    Args:
        g: (Ho, Wo, N, Cout), contiguous, the gradient of the output.
        w: (kh, kw, C, Cout).
        stride: of the convolution.
        corner: its (top, left).
        size: (H, W) of x.
    """
    xp, (kh, kw) = backend.array_module(g), w.shape[:2]
    turned = xp.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3))
    other = kh - 1 - corner[0], kw - 1 - corner[1]
    return convolve_on_gpu(g, turned, 1, other, size, gaps=stride)


def _tiles(length: int) -> int:
    return -(-length // SIDE)


def _kernel(name: str) -> Callable[..., None]:
    return backend.kernel(name, SOURCE_TF32 if backend.is_tf32() else SOURCE)


SOURCE = (
    TILES
    + r"""
#define NOWHERE -1000000  // a row of pixels above every image

// y (Ho, Wo, N, Cout) = the convolution of x (H, W, N, C) with w, plus what is to be added.
extern "C" __global__ void convolve(
    const float* x, const float* w, float* y,
    const float* bias, const float* row, const float* image,
    long long height, long long width, long long n, long long c,
    long long out_height, long long out_width, long long c_out,
    long long kh, long long kw, long long stride, long long gaps, long long top, long long left) {
    __shared__ __align__(16) float a[2][SIDE * ROW_OF_16], b[2][DEPTH * ROW_OF_64];
    __shared__ int first_y[SIDE], first_x[SIDE], sample[SIDE];  // the windows: where they begin
    const int pixels = out_height * out_width * n, depth = kh * kw * c;
    const int first_pixel = blockIdx.x * SIDE, first_channel = blockIdx.y * SIDE;
    if (threadIdx.x < SIDE) {
        const int pixel = first_pixel + threadIdx.x, column = pixel / (int)n;
        sample[threadIdx.x] = pixel % (int)n;
        first_x[threadIdx.x] = column % (int)out_width * stride - left;
        const int first = column / (int)out_width * stride - top;
        first_y[threadIdx.x] = pixel < pixels ? first : NOWHERE;
    }
    __syncthreads();

    // Each thread copies numbers under one tap, of one channel or of four, for several windows. The
    // next time it takes those 16 channels further on, which may be under the next tap.
    const bool fours = in_fours(x, c);
    const int numbers = fours ? 4 : 1, lanes = DEPTH / numbers;
    const int lane = threadIdx.x % lanes * numbers;
    int channel = lane, ky = 0, kx = 0;
    float sum[2][4][4] = {};
    const int steps = (depth + DEPTH - 1) / DEPTH;
    for (int step = 0; step <= steps; step++) {
        if (step < steps) {
            while (channel >= c) {
                channel -= c;
                if (++kx == kw) kx = 0, ky++;
            }
            for (int r = threadIdx.x / lanes; r < SIDE; r += THREADS / lanes) {
                int at_y = first_y[r] + ky, at_x = first_x[r] + kx;
                bool inside = ky < kh && at_y >= 0 && at_x >= 0;
                if (gaps > 1) {
                    inside = inside && at_y % (int)gaps == 0 && at_x % (int)gaps == 0;
                    at_y /= (int)gaps, at_x /= (int)gaps;
                }
                inside = inside && at_y < height && at_x < width;
                const float* from = x;
                if (inside) from += ((at_y * (int)width + at_x) * n + sample[r]) * c + channel;
                start_copy(a[step % 2] + r * ROW_OF_16 + lane, from, inside, fours);
            }
            channel += DEPTH;
            copy_rows(b[step % 2], w, step * DEPTH, depth, first_channel, c_out);
        }
        end_of_copies();
        if (step == 0) continue;
        wait_for_all_copies_but_the_last();
        __syncthreads();  // everybody's copies for the step before are there
        multiply_tiles(
            a[(step - 1) % 2], ROW_OF_16, 1, b[(step - 1) % 2], ROW_OF_64, 1,
            pixels - first_pixel, c_out - first_channel, sum);
        __syncthreads();  // nobody reads any more what the next step overwrites
    }

    #pragma unroll
    for (int i = 0; i < 2; i++)
        #pragma unroll
        for (int j = 0; j < 4; j++)
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                const int pixel = first_pixel + row_of(i, e), to = first_channel + column_of(j, e);
                if (pixel >= pixels || to >= c_out) continue;
                const int at = pixel * (int)c_out + to;
                float number = sum[i][j][e];
                if (bias) number += bias[to];
                if (row) number += row[pixel % (int)n * (int)c_out + to];
                if (image) number += image[at];
                y[at] = number;
            }
}

// The part of the weight's gradient, (kh·kw·C, Cout), that comes from so many pixels.
extern "C" __global__ void convolve_weight(
    const float* x, const float* g, float* parts,
    long long height, long long width, long long n, long long c,
    long long out_height, long long out_width, long long c_out,
    long long kh, long long kw, long long stride, long long top, long long left, long long part) {
    __shared__ __align__(16) float a[2][DEPTH * ROW_OF_64], b[2][DEPTH * ROW_OF_64];
    const int pixels = out_height * out_width * n, depth = kh * kw * c;
    const int first_row = blockIdx.x * SIDE, first_channel = blockIdx.y * SIDE;
    const int first_pixel = blockIdx.z * part;
    const int end = first_pixel + part < pixels ? first_pixel + part : pixels;

    // Each thread copies numbers under one tap, of one channel or of four, for several windows.
    const bool fours = in_fours(x, c);
    const int numbers = fours ? 4 : 1, lanes = SIDE / numbers;
    const int lane = threadIdx.x % lanes * numbers, own_row = first_row + lane;
    const int tap = own_row / (int)c, channel = own_row % (int)c;
    const int tap_y = tap / (int)kw - top, tap_x = tap % (int)kw - left;
    float sum[2][4][4] = {};
    const int steps = (end - first_pixel + DEPTH - 1) / DEPTH;
    for (int step = 0; step <= steps; step++) {
        if (step < steps) {
            for (int k = threadIdx.x / lanes; k < DEPTH; k += THREADS / lanes) {
                const int pixel = first_pixel + step * DEPTH + k, column = pixel / (int)n;
                const int at_y = column / (int)out_width * stride + tap_y;
                const int at_x = column % (int)out_width * stride + tap_x;
                const bool inside = pixel < end && own_row < depth && at_y >= 0 && at_x >= 0 &&
                                    at_y < height && at_x < width;
                const float* from = x;
                if (inside) from += ((at_y * (int)width + at_x) * n + pixel % (int)n) * c + channel;
                start_copy(a[step % 2] + k * ROW_OF_64 + lane, from, inside, fours);
            }
            copy_rows(
                b[step % 2], g, first_pixel + step * DEPTH, end, first_channel, c_out);
        }
        end_of_copies();
        if (step == 0) continue;
        wait_for_all_copies_but_the_last();
        __syncthreads();  // everybody's copies for the step before are there
        multiply_tiles(
            a[(step - 1) % 2], 1, ROW_OF_64, b[(step - 1) % 2], ROW_OF_64, 1,
            depth - first_row, c_out - first_channel, sum);
        __syncthreads();  // nobody reads any more what the next step overwrites
    }

    #pragma unroll
    for (int i = 0; i < 2; i++)
        #pragma unroll
        for (int j = 0; j < 4; j++)
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                const int r = first_row + row_of(i, e), to = first_channel + column_of(j, e);
                if (r < depth && to < c_out)
                    parts[(blockIdx.z * depth + r) * (int)c_out + to] = sum[i][j][e];
            }
}

// Adds up the parts, one after the other: one thread to a number of the result.
extern "C" __global__ void sum_of_parts(
    const float* parts, float* sum, long long size, long long count) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float s = 0.0f;
    for (int part = 0; part < count; part++) s += parts[part * size + i];
    sum[i] = s;
}
"""
)
SOURCE_TF32 = "#define TF32\n" + SOURCE
