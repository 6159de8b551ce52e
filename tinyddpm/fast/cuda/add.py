"""What is added to a convolution's output: its bias, a row for each sample (the time embedding) and an image (the residual), in one pass."""
from autograd import backend

THREADS = 256  # to a block


def add(y, bias, row=None, image=None):
    """y (H, W, N, C) += bias (C,) + row (N, C) + image (H, W, N, C), in place and in this order; None for nothing."""
    y += bias
    if row is not None:
        y += row
    if image is not None:
        y += image


def add_on_gpu(y, bias, row=None, image=None):
    n, c = y.shape[2:]
    backend.kernel("add", SOURCE)((-(-y.size // THREADS),), (THREADS,), (y, bias, row, image, y.size, n, c))


SOURCE = r"""
extern "C" __global__ void add(float* y, const float* bias, const float* row, const float* image, long long size, long long n, long long c) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    float sum = y[i] + bias[i % (unsigned)c];
    if (row) sum += row[i % (unsigned)(n * c)];
    if (image) sum += image[i];
    y[i] = sum;
}
"""
