"""im2col and col2im for some rows of the output at a time.

So the matrix of windows need never exist as a whole. The definitions are `nn.conv.windows` and
`add_windows`. Here the zeros around the image are not stored: the kernels put zeros where a window
reaches over the edge. Each thread writes one number, which no other thread writes.
"""

import numpy as np

from autograd import backend

from ...nn.conv import add_windows, windows
from ...types import Array

THREADS = 256  # in a block

Pair = tuple[int, int]


def im2col(x: Array, kernel: Pair, stride: int, corner: Pair, size: Pair, rows: Pair) -> Array:
    """The windows under some rows of output pixels, (rows·Wo·N, kh·kw·C).

    Args:
        x: (H, W, N, C), contiguous.
        kernel: (kh, kw).
        stride: from one window to the next.
        corner: (top, left), how many zeros stand there around the image.
        size: (Ho, Wo) of the output.
        rows: (from, to), the rows of the output.
    """
    (kh, kw), (start, stop) = kernel, rows
    found = windows(_pad(x, kernel, stride, corner, size), kh, kw, stride)[start:stop, : size[1]]
    return found.reshape(-1, kh * kw * x.shape[3])


def col2im(
    columns: Array, gx: Array, kernel: Pair, stride: int, corner: Pair, size: Pair, rows: Pair
) -> None:
    """The adjoint of `im2col`: adds to each pixel of gx, in place, what `columns` has of it.

    columns is (rows·Wo·N, kh·kw·C) and gx (H, W, N, C), both contiguous. The other arguments are
    those of `im2col`.
    """
    (height, width, n, _), (kh, kw), (top, left) = gx.shape, kernel, corner
    padded = _pad(gx, kernel, stride, corner, size)
    g = np.zeros((*size, n, columns.shape[1]), columns.dtype)
    g[rows[0] : rows[1]] = columns.reshape(-1, *g.shape[1:])
    total = add_windows(g, padded.shape, kh, kw, stride)
    gx += total[top : top + height, left : left + width]


def _pad(x: Array, kernel: Pair, stride: int, corner: Pair, size: Pair) -> Array:
    """The image x with zeros around it, as many as the windows of an output of this size reach."""
    reach = [stride * (s - 1) + k for s, k in zip(size, kernel)]
    after = [max(0, r - corner[i] - x.shape[i]) for i, r in enumerate(reach)]
    return np.pad(x, [(corner[0], after[0]), (corner[1], after[1]), (0, 0), (0, 0)])


def im2col_on_gpu(
    x: Array, kernel: Pair, stride: int, corner: Pair, size: Pair, rows: Pair
) -> Array:
    """As `im2col`, by the kernel below: one thread to a number of the result."""
    kh, kw, c = *kernel, x.shape[3]
    shape = ((rows[1] - rows[0]) * size[1] * x.shape[2], kh * kw * c)
    columns: Array = backend.array_module(x).empty(shape, x.dtype)
    sizes = (columns.size, *x.shape, *kernel, stride, *corner, size[1], rows[0])
    grid = (-(-columns.size // THREADS),)
    backend.kernel("im2col", SOURCE)(grid, (THREADS,), (x, columns, *sizes))
    return columns


def col2im_on_gpu(
    columns: Array, gx: Array, kernel: Pair, stride: int, corner: Pair, size: Pair, rows: Pair
) -> None:
    """As `col2im`, by the kernel below: one thread to a number of gx."""
    sizes = (gx.size, *gx.shape, *kernel, stride, *corner, size[1], *rows)
    grid = (-(-gx.size // THREADS),)
    backend.kernel("col2im", SOURCE)(grid, (THREADS,), (columns, gx, *sizes))


SOURCE = r"""
extern "C" __global__ void im2col(
    const float* x, float* columns,
    long long size, long long height, long long width, long long n, long long c,
    long long kh, long long kw, long long stride, long long top, long long left,
    long long out_width, long long from) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const unsigned channel = i % (unsigned)c;
    const unsigned tap = i / (unsigned)c % (unsigned)(kh * kw);
    const unsigned pixel = i / (unsigned)(c * kh * kw);
    const unsigned sample = pixel % (unsigned)n;
    const unsigned out_x = pixel / (unsigned)n % (unsigned)out_width;
    const unsigned out_y = from + pixel / (unsigned)(n * out_width);
    const int y = (int)(out_y * stride + tap / (unsigned)kw - top);
    const int xx = (int)(out_x * stride + tap % (unsigned)kw - left);
    const bool inside = y >= 0 && y < height && xx >= 0 && xx < width;
    columns[i] = inside ? x[((y * width + xx) * n + sample) * c + channel] : 0.0f;
}

extern "C" __global__ void col2im(
    const float* columns, float* gx,
    long long size, long long height, long long width, long long n, long long c,
    long long kh, long long kw, long long stride, long long top, long long left,
    long long out_width, long long from, long long to) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const unsigned channel = i % (unsigned)c, sample = i / (unsigned)c % (unsigned)n;
    const int x = i / (unsigned)(c * n) % (unsigned)width, y = i / (unsigned)(c * n * width);
    float sum = 0.0f;
    for (int ky = 0; ky < kh; ky++)
        for (int kx = 0; kx < kw; kx++) {
            const int from_y = y + top - ky, from_x = x + left - kx;
            const int out_y = from_y / (int)stride, out_x = from_x / (int)stride;
            if (from_y < 0 || from_x < 0 || from_y % stride || from_x % stride) continue;
            if (out_y < from || out_y >= to || out_x >= out_width) continue;
            const long long window = ((out_y - from) * out_width + out_x) * n + sample;
            sum += columns[(window * kh * kw + ky * kw + kx) * c + channel];
        }
    gx[i] += sum;
}
"""
