"""im2col and col2im for some rows of the output at a time, so that the matrix of windows need never be there as a whole.

The definitions are `nn.conv.windows` and `add_windows`. Here the zeros around the image are not stored: a window that reaches over
the edge is given them. Each thread writes one number that no other thread writes.
"""
import numpy as np

from autograd import backend

from ...nn.conv import add_windows, windows

THREADS = 256  # to a block


def im2col(x, kernel, stride, corner, size, rows):
    """The windows under some rows of output pixels, (rows·Wo·N, kh·kw·C), of x (H, W, N, C).

    kernel  (kh, kw);  corner  (top, left): how many zeros stand there around the image;  size  (Ho, Wo) of the output
    rows    (from, to): the rows of the output
    """
    padded = _pad(x, kernel, stride, corner, size)
    return windows(padded, *kernel, stride)[rows[0]:rows[1], :size[1]].reshape(-1, kernel[0] * kernel[1] * x.shape[3])


def col2im(columns, gx, kernel, stride, corner, size, rows):
    """The adjoint of `im2col`: to each pixel of gx (H, W, N, C), in place, is added what stands for it in `columns`."""
    padded = _pad(gx, kernel, stride, corner, size)
    g = np.zeros((*size, gx.shape[2], columns.shape[1]), columns.dtype)
    g[rows[0]:rows[1]] = columns.reshape(-1, *g.shape[1:])
    total = add_windows(g, padded.shape, *kernel, stride)
    gx += total[corner[0]:corner[0] + gx.shape[0], corner[1]:corner[1] + gx.shape[1]]


def _pad(x, kernel, stride, corner, size):
    """x with zeros around it, as many as the windows of an output of this size reach."""
    reach = [stride * (s - 1) + k for s, k in zip(size, kernel)]
    after = [max(0, r - corner[i] - x.shape[i]) for i, r in enumerate(reach)]
    return np.pad(x, [(corner[0], after[0]), (corner[1], after[1]), (0, 0), (0, 0)])


def im2col_on_gpu(x, kernel, stride, corner, size, rows):
    height, width, n, c = x.shape
    shape = ((rows[1] - rows[0]) * size[1] * n, kernel[0] * kernel[1] * c)
    columns = backend.array_module(x).empty(shape, x.dtype)
    backend.kernel("im2col", SOURCE)((-(-columns.size // THREADS),), (THREADS,),
                                     (x, columns, columns.size, height, width, n, c, *kernel, stride, *corner, size[1], rows[0]))
    return columns


def col2im_on_gpu(columns, gx, kernel, stride, corner, size, rows):
    height, width, n, c = gx.shape
    backend.kernel("col2im", SOURCE)((-(-gx.size // THREADS),), (THREADS,),
                                     (columns, gx, gx.size, height, width, n, c, *kernel, stride, *corner, size[1], *rows))


SOURCE = r"""
extern "C" __global__ void im2col(const float* x, float* columns, long long size, long long height, long long width, long long n, long long c,
                                  long long kh, long long kw, long long stride, long long top, long long left, long long out_width, long long from) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const unsigned channel = i % (unsigned)c, tap = i / (unsigned)c % (unsigned)(kh * kw), pixel = i / (unsigned)(c * kh * kw);
    const unsigned sample = pixel % (unsigned)n, out_x = pixel / (unsigned)n % (unsigned)out_width, out_y = from + pixel / (unsigned)(n * out_width);
    const int y = (int)(out_y * stride + tap / (unsigned)kw - top), xx = (int)(out_x * stride + tap % (unsigned)kw - left);
    const bool inside = y >= 0 && y < height && xx >= 0 && xx < width;
    columns[i] = inside ? x[((y * width + xx) * n + sample) * c + channel] : 0.0f;
}

extern "C" __global__ void col2im(const float* columns, float* gx, long long size, long long height, long long width, long long n, long long c,
                                  long long kh, long long kw, long long stride, long long top, long long left, long long out_width, long long from, long long to) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const unsigned channel = i % (unsigned)c, sample = i / (unsigned)c % (unsigned)n;
    const int x = i / (unsigned)(c * n) % (unsigned)width, y = i / (unsigned)(c * n * width);
    float sum = 0.0f;
    for (int ky = 0; ky < kh; ky++)
        for (int kx = 0; kx < kw; kx++) {
            const int from_y = y + top - ky, from_x = x + left - kx, out_y = from_y / (int)stride, out_x = from_x / (int)stride;
            if (from_y < 0 || from_x < 0 || from_y % stride || from_x % stride || out_y < from || out_y >= to || out_x >= out_width) continue;
            sum += columns[((((out_y - from) * out_width + out_x) * n + sample) * kh * kw + ky * kw + kx) * c + channel];
        }
    gx[i] += sum;
}
"""
