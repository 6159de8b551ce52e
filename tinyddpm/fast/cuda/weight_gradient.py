"""The gradient of a convolution's weight and bias, by tensor cores: a sum over all pixels.

The gradient of the weight is the matrix of windows, turned, times the gradient of the output. The
bias has a pixel's gradient for its own, so it is the sum of what the product reads anyway.

Some blocks of threads take some pixels each, since there are too few numbers to compute for a whole
GPU. Who adds up what they have found? Eight of them are a group, and the last one to finish adds up
the group's parts, always in the same order. Eight groups are a group in turn, until one is left. So
it needs no other launch, and the result has the same bits every time.
"""

import numpy as np

from autograd import backend

from ...types import Array
from .convolution import Pair, under_tap
from .matrix_tiles import SIDE, THREADS, TILES

BLOCKS, LEAST = 512, 256  # blocks that a sum over pixels is to occupy, and pixels that pay for one


def weight_gradient(
    x: Array, g: Array, kernel: Pair, stride: int, corner: Pair
) -> tuple[Array, Array]:
    """The gradients of w (kh, kw, C, Cout) and of bias (Cout,), for the gradient g of the output.

    x is (H, W, N, C), g (Ho, Wo, N, Cout), both contiguous. kernel is (kh, kw), and the other
    arguments are those of `convolve`.
    """
    c_in, c_out = x.shape[3], g.shape[3]
    gw = np.empty((*kernel, c_in, c_out), x.dtype)
    for tap in np.ndindex(*kernel):
        windows, pixels = under_tap(tap, stride, corner, g.shape[:2], x.shape[:2])
        gw[tap] = x[pixels].reshape(-1, c_in).T @ g[windows].reshape(-1, c_out)
    return gw, g.reshape(-1, c_out).sum(0)


def weight_gradient_on_gpu(
    x: Array, g: Array, kernel: Pair, stride: int, corner: Pair
) -> tuple[Array, Array]:
    """As `weight_gradient`, by the kernel below: a block of threads takes some pixels.

    Blocks count in one place which of them have finished, so two launches at the same time, in two
    streams, would confuse each other.
    """
    xp, c_out, pixels = backend.array_module(x), g.shape[3], g.size // g.shape[3]
    rows = kernel[0] * kernel[1] * x.shape[3]
    grid = -(-rows // SIDE), -(-c_out // SIDE)
    parts = max(1, min(-(-BLOCKS // (grid[0] * grid[1])), pixels // LEAST))
    both = xp.empty((rows + 1, c_out), x.dtype)  # the weight's, and the bias's as one more row
    found = xp.empty((parts, *both.shape), x.dtype) if parts > 1 else None
    sizes = (*x.shape, *g.shape[:2], c_out, *kernel, stride, *corner, -(-pixels // parts))
    run = backend.kernel("convolve_weight", SOURCE_TF32 if backend.is_tf32() else SOURCE)
    run((*grid, parts), (THREADS,), (x, g, found, both, *sizes))
    return both[:rows].reshape(*kernel, -1, c_out), both[rows]


# With several parts there are fewer than BLOCKS tiles, and fewer than BLOCKS + tiles blocks.
SOURCE = (
    TILES
    + r"""
#define GROUP 8  // parts that one block adds up
#define AT_ONCE 8  // numbers that a thread adds up at once
__device__ unsigned finished[MOST_BLOCKS];  // members of each group; 0 before and after a launch

// For a whole block: has it finished as the last one of its group? Then it sees what they wrote.
__device__ bool is_last(unsigned* finished_ones, int members) {
    __shared__ bool last;
    __threadfence();  // whoever sees this block counted sees what it wrote
    __syncthreads();
    if (threadIdx.x == 0)  // counts, and begins at 0 again after the last one
        last = atomicInc(finished_ones, members - 1) == members - 1;
    __syncthreads();
    __threadfence();
    return last;
}

// Adds up the members of a group, one after the other: some numbers of a column of each, whose rows
// are `step` apart and end before `rows`. The reads of several numbers wait together.
__device__ void add_rows(
    float* to, const float* from, int to_next_member, int members,
    int row, int rows, int step, int column, int columns) {
    float sum[AT_ONCE] = {};
    for (int i = 0; i < members; i++)
        #pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
            if (row + k * step < rows)
                sum[k] += from[i * to_next_member + (row + k * step) * columns + column];
    #pragma unroll
    for (int k = 0; k < AT_ONCE; k++)
        if (row + k * step < rows) to[(row + k * step) * columns + column] = sum[k];
}

// gw (kh·kw·C + 1, Cout): the gradient of the weight and, in the last row, of the bias. A block
// takes `part` pixels. `parts` is (parts, kh·kw·C + 1, Cout), or null if there is only one.
extern "C" __global__ void __launch_bounds__(THREADS, 7) convolve_weight(
    const float* x, const float* g, float* parts, float* gw,
    long long height, long long width, long long n, long long c,
    long long out_height, long long out_width, long long c_out,
    long long kh, long long kw, long long stride, long long top, long long left, long long part) {
    __shared__ __align__(16) float a[2 * TILE_OF(64)], b[2 * TILE_OF(64)];
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
    float sum[2][4][4] = {}, bias = 0.0f;  // 64 threads have a channel of the bias each
    multiply_in_steps<64, 64>(
        (end - first_pixel + DEPTH - 1) / DEPTH, a, b,
        [&](int step, float* to_a, float* to_b) {
            for (int k = threadIdx.x / lanes; k < DEPTH; k += THREADS / lanes) {
                const int pixel = first_pixel + step * DEPTH + k, column = pixel / (int)n;
                const int at_y = column / (int)out_width * stride + tap_y;
                const int at_x = column % (int)out_width * stride + tap_x;
                const bool inside = pixel < end && own_row < depth && at_y >= 0 && at_x >= 0 &&
                                    at_y < height && at_x < width;
                const float* from = x;
                if (inside) from += ((at_y * (int)width + at_x) * n + pixel % (int)n) * c + channel;
                start_copy(to_a + k * ROW_OF(64) + lane, from, inside, fours);
            }
            copy_tile<64>(to_b, g, first_pixel + step * DEPTH, end, first_channel, c_out);
        },
        [&](const float* now_a, const float* now_b) {
            multiply_tiles(
                now_a, 1, ROW_OF(64), now_b, ROW_OF(64), 1,
                depth - first_row, c_out - first_channel, sum);
            if (blockIdx.x == 0 && threadIdx.x < SIDE)
                #pragma unroll 4
                for (int k = 0; k < DEPTH; k++)
                    bias += read_shared(now_b + k * ROW_OF(64) + threadIdx.x);
        });

    const int count = gridDim.z, size = (depth + 1) * (int)c_out;
    const int own_channel = first_channel + threadIdx.x;
    const bool has_bias = blockIdx.x == 0 && threadIdx.x < SIDE && own_channel < c_out;
    float* to = count == 1 ? gw : parts + blockIdx.z * size;
    for_each_number(
        sum, first_row, depth, first_channel, c_out,
        [&](int r, int channel, float number) { to[r * (int)c_out + channel] = number; });
    if (has_bias) to[depth * (int)c_out + own_channel] = bias;

    // In round 0 the members of a group are parts, in round 1 groups of parts, and so on. What a
    // group adds up to is written where its first part was. Of the counters between that part's and
    // the next group's, each round takes another one.
    unsigned* counters = finished + (blockIdx.y * gridDim.x + blockIdx.x) * count;
    for (int apart = 1, round = 0; apart < count; apart *= GROUP, round++) {
        const int first = blockIdx.z / (apart * GROUP) * (apart * GROUP);
        const int up_to_the_end = (count - first + apart - 1) / apart;
        const int members = up_to_the_end < GROUP ? up_to_the_end : GROUP;
        if (members == 1) continue;
        if (!is_last(counters + first + round, members)) return;
        const float* from = parts + first * size;
        to = apart * GROUP < count ? parts + first * size : gw;
        const int channel = first_channel + threadIdx.x % SIDE;
        const int teams = THREADS / SIDE;
        for (int r = threadIdx.x / SIDE; r < SIDE && channel < c_out; r += teams * AT_ONCE)
            add_rows(to, from, apart * size, members, first_row + r, depth, teams, channel, c_out);
        if (has_bias)
            add_rows(to, from, apart * size, members, depth, depth + 1, 1, own_channel, c_out);
    }
}
""".replace("MOST_BLOCKS", str(2 * BLOCKS))
)
SOURCE_TF32 = "#define TF32\n" + SOURCE
