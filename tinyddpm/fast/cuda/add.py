"""What is added to a convolution's output, in one pass.

That is its bias, a row for each sample (the time embedding) and an image (the residual).
"""

from autograd import backend

from ...types import Array

THREADS = 256  # in a block


def add(y: Array, bias: Array, row: Array | None = None, image: Array | None = None) -> None:
    """Add to y (H, W, N, C), in place and in this order.

    Args:
        y: the output, contiguous.
        bias: (C,).
        row: (N, C), or None for nothing.
        image: (H, W, N, C), or None for nothing.
    """
    y += bias
    if row is not None:
        y += row
    if image is not None:
        y += image


def add_on_gpu(y: Array, bias: Array, row: Array | None = None, image: Array | None = None) -> None:
    """As `add`, by the kernel below: one thread to a number."""
    n, c = y.shape[2:]
    grid = (-(-y.size // THREADS),)
    backend.kernel("add", SOURCE)(grid, (THREADS,), (y, bias, row, image, y.size, n, c))


SOURCE = r"""
extern "C" __global__ void add(
    float* y, const float* bias, const float* row, const float* image,
    long long size, long long n, long long c) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float sum = y[i] + bias[i % (unsigned)c];
    if (row) sum += row[i % (unsigned)(n * c)];
    if (image) sum += image[i];
    y[i] = sum;
}
"""
