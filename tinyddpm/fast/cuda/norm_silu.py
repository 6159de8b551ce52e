"""GroupNorm and SiLU in one, on a GPU.

The definition is `nn.norm.group_norm` followed by `autograd.ops.silu`.

A GPU reads memory in sectors of 8 numbers. A group may have 2 or 4 channels, which lie side by
side, so one block of threads takes several groups of one sample: 8 channels or more, and all
pixels. It goes over them three times: for the mean, for the squares of what differs from the mean
(so that no digits are lost where the mean is large), and to write. Threads side by side take
channels side by side, and teams of so many threads take turns at the pixels. The sums of the later
half of the teams are added to the earlier one until one team is left, and those of a group's
channels are added up within a warp.

Backward keeps nothing but x, mean and r. With h = gain·x̂ + shift and q = g·silu'(h), all it needs
are Σq and Σq·x̂ for each channel. They are the gradients of shift and gain. Weighted with gain and
summed over the group they are what GroupNorm's own gradient takes,
r·(q·gain − E[q·gain] − x̂·E[q·gain·x̂]).
"""

import numpy as np

from autograd import backend

from ...types import Array

THREADS = 512  # in a block; the kernels' THREADS is the same
SECTOR = 8  # numbers that a GPU reads at once
MOST_GROUPS = 32  # that a block can take; the kernels' MOST_GROUPS is the same


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


def bundle(groups: int, width: int) -> int:
    """How many groups of so many channels a block takes: whole sectors, where that can be.

    It divides the number of groups.
    """
    divisors = [b for b in range(1, min(groups, MOST_GROUPS) + 1) if groups % b == 0]
    whole = [b for b in divisors if b * width % SECTOR == 0]
    enough = [b for b in divisors if b * width >= SECTOR]
    return (whole or enough or divisors[-1:])[0]


def forward_on_gpu(
    x: Array, gain: Array, shift: Array, groups: int, eps: float, silu: bool
) -> tuple[Array, Array, Array]:
    """As `forward`, by the kernel below: one block of threads to some groups of a sample."""
    xp, (height, width, n, c) = backend.array_module(x), x.shape
    y, mean, r = xp.empty_like(x), xp.empty((n, groups), x.dtype), xp.empty((n, groups), x.dtype)
    arrays = (x, gain, shift, y, mean, r)
    together = bundle(groups, c // groups)
    numbers = (height * width, n, c, groups, together, eps, int(silu))
    blocks = (n * groups // together,)
    backend.kernel("norm_silu", SOURCE)(blocks, (THREADS,), (*arrays, *numbers))
    return y, mean, r


def backward_on_gpu(
    g: Array, x: Array, gain: Array, shift: Array, mean: Array, r: Array, silu: bool
) -> tuple[Array, Array]:
    """As `backward`, by the kernel below: one block of threads to some groups of a sample."""
    xp, (height, width, n, c) = backend.array_module(x), x.shape
    gx, g_gain_shift = xp.empty_like(x), xp.empty((2, n, c), x.dtype)
    arrays = (g, x, gain, shift, mean, r, gx, *g_gain_shift)
    together = bundle(mean.shape[1], c // mean.shape[1])
    numbers = (height * width, n, c, mean.shape[1], together, int(silu))
    blocks = (mean.size // together,)
    backend.kernel("norm_silu_backward", SOURCE)(blocks, (THREADS,), (*arrays, *numbers))
    return gx, g_gain_shift


SOURCE = r"""
#define THREADS 512
#define MOST_GROUPS 32

// What a block takes: the channels of some groups of one sample. `at` is where the first one lies.
struct Block { int sample, first_group, width, channels, at, row; };

__device__ Block block_of(long long n, long long c, long long groups, long long bundle) {
    const int bundles = groups / bundle, sample = blockIdx.x / bundles;
    const int first_group = blockIdx.x % bundles * bundle, width = c / groups;
    const int at = sample * c + first_group * width;
    return {sample, first_group, width, (int)bundle * width, at, (int)(n * c)};
}

// Adds up the sums of all teams. Those of a channel are in the first team's place then.
__device__ void sum_of_teams(float* sums, int lanes, int teams) {
    const int team = threadIdx.x / lanes;
    for (int left = teams; left > 1; left = (left + 1) / 2) {
        const int half = (left + 1) / 2;
        __syncthreads();
        if (team + half < left) sums[threadIdx.x] += sums[threadIdx.x + half * lanes];
    }
    __syncthreads();
}

// Adds to each group's total the sums of its channels, weighted with gain if there is one: one warp
// to a group. The first of the `lanes` channels is channel `first` of the block.
__device__ void add_to_groups(
    float* totals, const float* sums, const float* gain, int first, int lanes, Block block) {
    for (int g = threadIdx.x / 32; g < block.channels / block.width; g += THREADS / 32) {
        float value = 0.0f;
        for (int i = threadIdx.x % 32; i < block.width; i += 32) {
            const int lane = g * block.width + i - first;
            if (lane < 0 || lane >= lanes) continue;
            value += gain ? gain[block.first_group * block.width + first + lane] * sums[lane]
                          : sums[lane];
        }
        for (int offset = 16; offset > 0; offset /= 2)
            value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
        if (threadIdx.x % 32 == 0) totals[g] += value;
    }
}

extern "C" __global__ void norm_silu(
    const float* x, const float* gain, const float* shift, float* y, float* mean_out, float* r_out,
    long long pixels, long long n, long long c, long long groups, long long bundle, double eps,
    long long silu) {
    __shared__ float sums[THREADS], totals[MOST_GROUPS], mean[MOST_GROUPS], r[MOST_GROUPS];
    const Block block = block_of(n, c, groups, bundle);
    const int lanes = block.channels < THREADS ? block.channels : THREADS;
    const int teams = THREADS / lanes, lane = threadIdx.x % lanes, team = threadIdx.x / lanes;
    const int own_group = threadIdx.x;  // of the block, if it has so many
    const float count = pixels * block.width;
    if (own_group < bundle) mean[own_group] = 0.0f;
    for (int pass = 0; pass < 2; pass++) {  // the sums, and then the squares
        if (own_group < bundle) totals[own_group] = 0.0f;
        for (int first = 0; first < block.channels; first += lanes) {
            __syncthreads();  // the mean and the totals are there; nobody reads the sums any more
            const int channel = first + lane;
            float sum = 0.0f;
            if (team < teams && channel < block.channels) {
                const float middle = mean[channel / block.width];
                for (int pixel = team; pixel < pixels; pixel += teams) {
                    const float d = x[block.at + pixel * block.row + channel] - middle;
                    sum += pass ? d * d : d;
                }
            }
            sums[threadIdx.x] = sum;
            sum_of_teams(sums, lanes, teams);
            const int rest = block.channels - first;
            add_to_groups(totals, sums, nullptr, first, lanes < rest ? lanes : rest, block);
        }
        __syncthreads();  // the totals are complete
        if (own_group < bundle) {
            const float average = totals[own_group] / count;
            if (pass) r[own_group] = 1.0f / sqrtf(average + (float)eps);
            else mean[own_group] = average;
        }
    }
    __syncthreads();
    for (int channel = lane; team < teams && channel < block.channels; channel += lanes) {
        const int group = channel / block.width, of_all = block.first_group * block.width + channel;
        for (int pixel = team; pixel < pixels; pixel += teams) {
            const int at = block.at + pixel * block.row + channel;
            const float h = (x[at] - mean[group]) * r[group] * gain[of_all] + shift[of_all];
            y[at] = silu ? h / (1.0f + expf(-h)) : h;
        }
    }
    if (own_group < bundle) {
        const int at = block.sample * groups + block.first_group + own_group;
        mean_out[at] = mean[own_group], r_out[at] = r[own_group];
    }
}

__device__ float slope(float h) {
    const float s = 1.0f / (1.0f + expf(-h));
    return s * (1.0f + h * (1.0f - s));
}

extern "C" __global__ void norm_silu_backward(
    const float* g, const float* x, const float* gain, const float* shift,
    const float* mean_in, const float* r_in, float* gx, float* g_gain, float* g_shift,
    long long pixels, long long n, long long c, long long groups, long long bundle,
    long long silu) {
    __shared__ float sum_q[THREADS], sum_qx[THREADS], group_q[MOST_GROUPS], group_qx[MOST_GROUPS];
    const Block block = block_of(n, c, groups, bundle);
    const int lanes = block.channels < THREADS ? block.channels : THREADS;
    const int teams = THREADS / lanes, lane = threadIdx.x % lanes, team = threadIdx.x / lanes;
    const float* mean = mean_in + block.sample * groups + block.first_group;
    const float* r = r_in + block.sample * groups + block.first_group;
    if (threadIdx.x < bundle) group_q[threadIdx.x] = group_qx[threadIdx.x] = 0.0f;
    for (int first = 0; first < block.channels; first += lanes) {
        __syncthreads();  // the groups' sums are there; nobody reads the channels' any more
        const int channel = first + lane, rest = block.channels - first;
        const int of_all = block.first_group * block.width + channel;
        const bool inside = channel < block.channels;
        float q_here = 0.0f, qx_here = 0.0f;
        if (team < teams && inside) {
            const int group = channel / block.width;
            for (int pixel = team; pixel < pixels; pixel += teams) {
                const int at = block.at + pixel * block.row + channel;
                const float x_hat = (x[at] - mean[group]) * r[group];
                const float h = x_hat * gain[of_all] + shift[of_all];
                const float q = silu ? g[at] * slope(h) : g[at];
                q_here += q;
                qx_here += q * x_hat;
            }
        }
        sum_q[threadIdx.x] = q_here;
        sum_qx[threadIdx.x] = qx_here;
        sum_of_teams(sum_q, lanes, teams);
        sum_of_teams(sum_qx, lanes, teams);
        add_to_groups(group_q, sum_q, gain, first, lanes < rest ? lanes : rest, block);
        add_to_groups(group_qx, sum_qx, gain, first, lanes < rest ? lanes : rest, block);
        if (team == 0 && inside) {
            g_shift[block.sample * c + of_all] = sum_q[lane];
            g_gain[block.sample * c + of_all] = sum_qx[lane];
        }
    }
    __syncthreads();  // the groups' sums are complete
    const float count = pixels * block.width;
    for (int channel = lane; team < teams && channel < block.channels; channel += lanes) {
        const int group = channel / block.width, of_all = block.first_group * block.width + channel;
        for (int pixel = team; pixel < pixels; pixel += teams) {
            const int at = block.at + pixel * block.row + channel;
            const float x_hat = (x[at] - mean[group]) * r[group];
            const float h = x_hat * gain[of_all] + shift[of_all];
            const float q = silu ? g[at] * slope(h) : g[at];
            const float mean_q = group_q[group] / count, mean_qx = group_qx[group] / count;
            gx[at] = r[group] * (q * gain[of_all] - mean_q - x_hat * mean_qx);
        }
    }
}
"""
