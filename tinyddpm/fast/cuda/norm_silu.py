"""GroupNorm and SiLU in one, on a GPU.

The definition is `nn.norm.group_norm` followed by `autograd.ops.silu`.

A block of threads goes over its channels three times: for the mean, for the squares of what differs
from it, and to write. `norm_sums.py` says how it reads and adds up. If there are few blocks, as for
a small batch, each takes a part of the pixels only. Then a first launch finds what the parts sum up
to, and a second one adds that up and writes.

Backward keeps nothing but x, mean and r. With h = gain·x̂ + shift and q = g·silu'(h), all it needs
are Σq and Σq·x̂ for each channel. They are the gradients of shift and gain. Weighted with gain and
summed over the group they are what GroupNorm's own gradient takes,
r·(q·gain − E[q·gain] − x̂·E[q·gain·x̂]).
"""

import numpy as np

from autograd import backend

from ...types import Array
from .norm_sums import SUMS

THREADS = 256  # in a block; the kernels' THREADS is the same
SECTOR = 8  # numbers that a GPU reads at once
MOST_GROUPS = 32  # that a block can take; the kernels' MOST_GROUPS is the same
ENOUGH, PIXELS = 256, 128  # blocks for a GPU, and pixels that a part has at least
WHOLE, PARTS, REST = 0, 1, 2  # what a launch does, as in the kernels


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


def parts(blocks: int, pixels: int) -> int:
    """Into how many parts the pixels are cut, where so many blocks of whole images are too few."""
    return max(1, min(ENOUGH // blocks, pixels // PIXELS))


def forward_on_gpu(
    x: Array, gain: Array, shift: Array, groups: int, eps: float, silu: bool
) -> tuple[Array, Array, Array]:
    """As `forward`, by the kernel below: one block of threads to some groups of a sample."""
    xp, (height, width, n, c) = backend.array_module(x), x.shape
    y, mean, r = xp.empty_like(x), xp.empty((n, groups), x.dtype), xp.empty((n, groups), x.dtype)
    arrays = (x, gain, shift, y, mean, r)
    numbers = (eps, int(silu))
    _launch("norm_silu", arrays, (height * width, n, c, groups), numbers, (n, groups, 2))
    return y, mean, r


def backward_on_gpu(
    g: Array, x: Array, gain: Array, shift: Array, mean: Array, r: Array, silu: bool
) -> tuple[Array, Array]:
    """As `backward`, by the kernel below: one block of threads to some groups of a sample."""
    xp, (height, width, n, c) = backend.array_module(x), x.shape
    gx, g_gain_shift = xp.empty_like(x), xp.empty((2, n, c), x.dtype)
    arrays = (g, x, gain, shift, mean, r, gx, *g_gain_shift)
    sizes = (height * width, n, c, mean.shape[1])
    _launch("norm_silu_backward", arrays, sizes, (int(silu),), (2, n, c))
    return gx, g_gain_shift


def _launch(
    name: str,
    arrays: tuple[Array, ...],
    sizes: tuple[int, int, int, int],
    numbers: tuple[float, ...],
    of_a_part: tuple[int, ...],
) -> None:
    """Start a kernel: once, or for the sums of each part and then for the rest."""
    pixels, n, c, groups = sizes
    together = bundle(groups, c // groups)
    blocks = n * groups // together
    count = parts(blocks, pixels)
    kernel, stages, partial = backend.kernel(name, SOURCE), [WHOLE], None
    if count > 1:
        partial = backend.array_module(arrays[0]).empty((count, *of_a_part), arrays[0].dtype)
        stages = [PARTS, REST]
    for stage in stages:
        every = (*arrays, partial, *sizes, together, *numbers, stage)
        kernel((blocks, count), (THREADS,), every)


SOURCE = (
    SUMS
    + r"""
template <int V>
__device__ void forward(
    const float* x, const float* gain, const float* shift, float* y, float* mean_out, float* r_out,
    float* partial, long long pixels, long long n, long long groups, float eps, long long silu,
    long long stage, const Block& block, Shared& shared) {
    float *mean = shared.mean, *r = shared.squares;
    const int own_group = threadIdx.x;
    const bool has_group = own_group < block.channels / block.width;
    const int row = block.sample * groups + block.first_group + own_group;
    if (stage == REST) joined(partial, pixels, n * groups, row, block, shared);
    else moments<V>(x, block, shared);
    if (stage == PARTS) {
        float* of_part = partial + 2 * (blockIdx.y * n * groups + row);
        if (has_group) of_part[0] = mean[own_group], of_part[1] = r[own_group];
        return;
    }
    if (has_group) r[own_group] = 1.0f / sqrtf(r[own_group] / (pixels * block.width) + eps);
    __syncthreads();
    for (int channel = V * block.lane; block.team < block.teams && channel < block.channels;
         channel += V * block.lanes) {
        const Numbers<V> of = numbers_of<V>(gain, shift, mean, r, block, channel);
        for (int pixel = block.from + block.team; pixel < block.to; pixel += block.teams) {
            const int at = block.at + pixel * block.row + channel;
            Pack<V> pack = load<V>(x + at);
            EACH(v) {
                const float h = (pack.v[v] - of.mean[v]) * of.r[v] * of.gain[v] + of.shift[v];
                pack.v[v] = silu ? h / (1.0f + expf(-h)) : h;
            }
            *(Pack<V>*)(y + at) = pack;
        }
    }
    if (has_group && blockIdx.y == 0) mean_out[row] = mean[own_group], r_out[row] = r[own_group];
}

extern "C" __global__ void norm_silu(
    const float* x, const float* gain, const float* shift, float* y, float* mean_out, float* r_out,
    float* partial, long long pixels, long long n, long long c, long long groups, long long bundle,
    double eps, long long silu, long long stage) {
    __shared__ Shared shared;
#define FORWARD(V) \
    forward<V>(x, gain, shift, y, mean_out, r_out, partial, pixels, n, groups, eps, silu, stage, \
               block_of<V>(pixels, n, c, groups, bundle), shared)
    if (by_fours(x, y, y, c, groups, bundle)) FORWARD(4);
    else FORWARD(1);
}

// x_hat, and q: the gradient of what the SiLU takes.
struct Both { float x_hat, q; };
template <int V>
__device__ Both both(float g, float x, const Numbers<V>& of, int v, long long silu) {
    const float x_hat = (x - of.mean[v]) * of.r[v], h = x_hat * of.gain[v] + of.shift[v];
    const float s = 1.0f / (1.0f + expf(-h));
    return {x_hat, silu ? g * (s * (1.0f + h * (1.0f - s))) : g};
}

template <int V>
__device__ void backward(
    const float* g, const float* x, const float* gain, const float* shift, const float* mean,
    const float* r, float* gx, float* g_gain, float* g_shift, float* partial, long long pixels,
    long long c, long long silu, long long stage, const Block& block, Shared& shared) {
    const bool works = block.team < block.teams;
    if (threadIdx.x < MOST_GROUPS) shared.totals[threadIdx.x] = shared.squares[threadIdx.x] = 0.0f;
    for (int first = 0; first < block.channels; first += V * block.lanes) {
        __syncthreads();  // the groups' sums are there; nobody reads the channels' any more
        const int channel = first + V * block.lane;
        const int of_all = block.sample * c + block.first_group * block.width + channel;
        const bool inside = channel < block.channels;
        float q[V] = {}, qx[V] = {};
        if (stage != REST && works && inside) {
            const Numbers<V> of = numbers_of<V>(gain, shift, mean, r, block, channel);
            for (int pixel = block.from + block.team; pixel < block.to; pixel += block.teams) {
                const int at = block.at + pixel * block.row + channel;
                const Pack<V> g_here = load<V>(g + at), x_here = load<V>(x + at);
                EACH(v) {
                    const Both here = both<V>(g_here.v[v], x_here.v[v], of, v, silu);
                    q[v] += here.q, qx[v] += here.q * here.x_hat;
                }
            }
        }
        if (stage == REST && block.team == 0 && inside)  // the parts' sums, in their order
            for (int part = 0; part < gridDim.y; part++) {
                const float* of_part = partial + 2 * part * block.row + of_all;
                EACH(v) q[v] += of_part[v], qx[v] += of_part[block.row + v];
            }
        EACH(v) {
            shared.sums[v * ROW + threadIdx.x] = q[v];
            shared.more_sums[v * ROW + threadIdx.x] = qx[v];
        }
        sum_of_teams<V>(shared.sums, block);
        sum_of_teams<V>(shared.more_sums, block);
        add_to_groups<V>(shared.totals, shared.sums, gain, first, block);
        add_to_groups<V>(shared.squares, shared.more_sums, gain, first, block);
        if (block.team == 0 && inside && (stage == PARTS || blockIdx.y == 0)) EACH(v) {
            float* of_part = partial + 2 * blockIdx.y * block.row + of_all + v;
            const int at = v * ROW + block.lane;
            *(stage == PARTS ? of_part : g_shift + of_all + v) = shared.sums[at];
            *(stage == PARTS ? of_part + block.row : g_gain + of_all + v) = shared.more_sums[at];
        }
    }
    if (stage == PARTS) return;
    __syncthreads();  // the groups' sums are complete
    const float count = pixels * block.width;
    for (int channel = V * block.lane; works && channel < block.channels;
         channel += V * block.lanes) {
        const Numbers<V> of = numbers_of<V>(gain, shift, mean, r, block, channel);
        float mean_q[V], mean_qx[V];
        EACH(v) {
            const int group = (channel + v) / block.width;
            mean_q[v] = shared.totals[group] / count, mean_qx[v] = shared.squares[group] / count;
        }
        for (int pixel = block.from + block.team; pixel < block.to; pixel += block.teams) {
            const int at = block.at + pixel * block.row + channel;
            Pack<V> pack = load<V>(g + at);
            const Pack<V> x_here = load<V>(x + at);
            EACH(v) {
                const Both here = both<V>(pack.v[v], x_here.v[v], of, v, silu);
                const float own = here.q * of.gain[v] - mean_q[v] - here.x_hat * mean_qx[v];
                pack.v[v] = of.r[v] * own;
            }
            *(Pack<V>*)(gx + at) = pack;
        }
    }
}

extern "C" __global__ void norm_silu_backward(
    const float* g, const float* x, const float* gain, const float* shift,
    const float* mean, const float* r, float* gx, float* g_gain, float* g_shift, float* partial,
    long long pixels, long long n, long long c, long long groups, long long bundle,
    long long silu, long long stage) {
    __shared__ Shared shared;
    const int bundles = groups / bundle;
    const long long row = blockIdx.x / bundles * groups + blockIdx.x % bundles * bundle;
#define BACKWARD(V) \
    backward<V>(g, x, gain, shift, mean + row, r + row, gx, g_gain, g_shift, partial, pixels, c, \
                silu, stage, block_of<V>(pixels, n, c, groups, bundle), shared)
    if (by_fours(x, gx, g, c, groups, bundle)) BACKWARD(4);
    else BACKWARD(1);
}
"""
)
