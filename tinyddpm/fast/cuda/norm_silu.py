"""GroupNorm and SiLU in one, on a GPU.

The definition is `nn.norm.group_norm` followed by `autograd.ops.silu`.

One block of threads takes one group of one sample: H·W pixels of C/groups channels. It goes over
them three times: for the mean, for the squares of what differs from the mean (so that no digits are
lost where the mean is large), and to write. Threads add up their sums by halves: within a warp by
exchanging registers, between warps through shared memory.

Backward keeps nothing but x, mean and r. With h = gain·x̂ + shift and q = g·silu'(h), all it needs
are Σq and Σq·x̂ for each channel. They are the gradients of shift and gain. Weighted with gain and
summed over the group they are what GroupNorm's own gradient takes,
r·(q·gain − E[q·gain] − x̂·E[q·gain·x̂]).
"""

import numpy as np

from autograd import backend

from ...types import Array

THREADS = 256  # in a block; the kernels' THREADS is the same


def forward(
    x: Array, gain: Array, shift: Array, groups: int, eps: float, silu: bool
) -> tuple[Array, Array, Array]:
    """The output silu(gain·x̂ + shift), mean, and r = 1/standard deviation, (N, groups) each.

    Args:
        x: (H, W, N, C), contiguous.
        gain: (C,).
        shift: (C,).
        groups: how many.
        eps: added to the variance.
        silu: False leaves the SiLU out.
    """
    mean = _mean(x, groups)
    r = 1 / np.sqrt(_mean((x - _per_channel(mean, x)) ** 2, groups) + eps)
    h = (x - _per_channel(mean, x)) * _per_channel(r, x) * gain + shift
    return (h / (1 + np.exp(-h)) if silu else h), mean, r


def backward(
    g: Array, x: Array, gain: Array, shift: Array, mean: Array, r: Array, silu: bool
) -> tuple[Array, Array]:
    """The gradient of x, and each sample's gradients of gain and shift: (2, N, C).

    g is the gradient of the output (H, W, N, C), contiguous. `forward` returned mean and r; the
    other arguments are as there.
    """
    groups, r_of_channel = mean.shape[1], _per_channel(r, x)
    x_hat = (x - _per_channel(mean, x)) * r_of_channel
    q = g * _slope(x_hat * gain + shift) if silu else g
    mean_q = _per_channel(_mean(q * gain, groups), x)
    mean_qx = _per_channel(_mean(q * gain * x_hat, groups), x)
    gx = r_of_channel * (q * gain - mean_q - x_hat * mean_qx)
    return gx, np.stack([(q * x_hat).sum((0, 1)), q.sum((0, 1))])


def _slope(h: Array) -> Array:
    """silu'(h)."""
    s = 1 / (1 + np.exp(-h))
    return s * (1 + h * (1 - s))


def _mean(x: Array, groups: int) -> Array:
    """(H, W, N, C) -> (N, groups)."""
    mean: Array = x.reshape(*x.shape[:3], groups, -1).mean((0, 1, 4))
    return mean


def _per_channel(a: Array, x: Array) -> Array:
    """(N, groups) -> (N, C)."""
    return np.repeat(a, x.shape[3] // a.shape[1], axis=1)


def forward_on_gpu(
    x: Array, gain: Array, shift: Array, groups: int, eps: float, silu: bool
) -> tuple[Array, Array, Array]:
    """As `forward`, by the kernel below: one block of threads to a group of a sample."""
    xp, (height, width, n, c) = backend.array_module(x), x.shape
    y, mean, r = xp.empty_like(x), xp.empty((n, groups), x.dtype), xp.empty((n, groups), x.dtype)
    arrays = (x, gain, shift, y, mean, r)
    numbers = (height * width, n, c, groups, eps, int(silu))
    backend.kernel("norm_silu", SOURCE)((n * groups,), (THREADS,), (*arrays, *numbers))
    return y, mean, r


def backward_on_gpu(
    g: Array, x: Array, gain: Array, shift: Array, mean: Array, r: Array, silu: bool
) -> tuple[Array, Array]:
    """As `backward`, by the kernel below: one block of threads to a group of a sample."""
    xp, (height, width, n, c) = backend.array_module(x), x.shape
    gx, g_gain_shift = xp.empty_like(x), xp.empty((2, n, c), x.dtype)
    arrays = (g, x, gain, shift, mean, r, gx, *g_gain_shift)
    numbers = (height * width, n, c, mean.shape[1], int(silu))
    backend.kernel("norm_silu_backward", SOURCE)((mean.size,), (THREADS,), (*arrays, *numbers))
    return gx, g_gain_shift


SOURCE = r"""
#define THREADS 256

// The sum over all threads of the block, given to each of them.
__device__ float block_sum(float value) {
    __shared__ float sum_of_warp[THREADS / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int offset = 16; offset > 0; offset /= 2)
        value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
    __syncthreads();  // nobody still reads the sums of the call before
    if (lane == 0) sum_of_warp[warp] = value;
    __syncthreads();
    value = lane < THREADS / 32 ? sum_of_warp[lane] : 0.0f;
    for (int offset = 16; offset > 0; offset /= 2)
        value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
    return value;
}

extern "C" __global__ void norm_silu(
    const float* x, const float* gain, const float* shift, float* y, float* mean_out, float* r_out,
    long long pixels, long long n, long long c, long long groups, double eps, long long silu) {
    const int width = c / groups, group = blockIdx.x % groups, sample = blockIdx.x / groups;
    const int count = pixels * width;  // numbers in the group
    const int row = n * c;  // from a pixel to the next one
    const int start = sample * c + group * width;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += THREADS)
        sum += x[start + i / width * row + i % width];
    const float mean = block_sum(sum) / count;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < count; i += THREADS) {
        const float d = x[start + i / width * row + i % width] - mean;
        squares += d * d;
    }
    const float r = 1.0f / sqrtf(block_sum(squares) / count + (float)eps);
    for (int i = threadIdx.x; i < count; i += THREADS) {
        const int channel = group * width + i % width, at = start + i / width * row + i % width;
        const float h = (x[at] - mean) * r * gain[channel] + shift[channel];
        y[at] = silu ? h / (1.0f + expf(-h)) : h;
    }
    if (threadIdx.x == 0) mean_out[blockIdx.x] = mean, r_out[blockIdx.x] = r;
}

__device__ float slope(float h) {
    const float s = 1.0f / (1.0f + expf(-h));
    return s * (1.0f + h * (1.0f - s));
}

extern "C" __global__ void norm_silu_backward(
    const float* g, const float* x, const float* gain, const float* shift,
    const float* mean_in, const float* r_in, float* gx, float* g_gain, float* g_shift,
    long long pixels, long long n, long long c, long long groups, long long silu) {
    __shared__ float sum_q[THREADS], sum_qx[THREADS];
    const int width = c / groups, group = blockIdx.x % groups, sample = blockIdx.x / groups;
    const int count = pixels * width, row = n * c, start = sample * c + group * width;
    const float mean = mean_in[blockIdx.x], r = r_in[blockIdx.x];

    // Threads side by side take channels side by side, `lanes` of them at once. Teams of so many
    // threads share the pixels. Only where there is a single team are there more channels than
    // lanes, so the loop over them needs no barrier of its own.
    const int lanes = width < THREADS ? width : THREADS, teams = THREADS / lanes;
    const int lane = threadIdx.x % lanes, team = threadIdx.x / lanes;
    float group_q = 0.0f, group_qx = 0.0f;
    for (int first = 0; first < width; first += lanes) {
        const int channel = group * width + first + lane;
        float q_here = 0.0f, qx_here = 0.0f;
        if (team < teams && first + lane < width)
            for (int pixel = team; pixel < pixels; pixel += teams) {
                const int at = sample * c + pixel * row + channel;
                const float x_hat = (x[at] - mean) * r;
                const float h = x_hat * gain[channel] + shift[channel];
                const float q = silu ? g[at] * slope(h) : g[at];
                q_here += q;
                qx_here += q * x_hat;
            }
        sum_q[threadIdx.x] = q_here;
        sum_qx[threadIdx.x] = qx_here;
        // The later half of the teams is added to the earlier one.
        for (int left = teams; left > 1; left = (left + 1) / 2) {
            const int half = (left + 1) / 2;
            __syncthreads();
            if (team + half < left) {
                sum_q[threadIdx.x] += sum_q[threadIdx.x + half * lanes];
                sum_qx[threadIdx.x] += sum_qx[threadIdx.x + half * lanes];
            }
        }
        if (team == 0 && first + lane < width) {
            g_shift[sample * c + channel] = sum_q[threadIdx.x];
            g_gain[sample * c + channel] = sum_qx[threadIdx.x];
            group_q += gain[channel] * sum_q[threadIdx.x];
            group_qx += gain[channel] * sum_qx[threadIdx.x];
        }
    }
    group_q = block_sum(group_q) / count;
    group_qx = block_sum(group_qx) / count;
    for (int i = threadIdx.x; i < count; i += THREADS) {
        const int channel = group * width + i % width, at = start + i / width * row + i % width;
        const float x_hat = (x[at] - mean) * r;
        const float h = x_hat * gain[channel] + shift[channel];
        const float q = silu ? g[at] * slope(h) : g[at];
        gx[at] = r * (q * gain[channel] - group_q - x_hat * group_qx);
    }
}
"""
