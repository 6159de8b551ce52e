"""What the kernels of `norm_silu.py` are made of: who reads what, and sums in a fixed order.

A GPU reads memory in sectors of 8 numbers. A group may have 2 or 4 channels, which lie side by
side, so one block of threads takes several groups of one sample: 8 channels or more, of all pixels
or of a part of them. A thread takes 4 channels at once where the shapes allow it. Threads side by
side take channels side by side, and teams of so many threads take turns at the pixels. The sums of
the later half of the teams are added to the earlier one until one team is left, and those of a
group's channels are added up within a warp.
"""

SUMS = r"""
#define THREADS 256
#define MOST_GROUPS 32
#define ROW (THREADS + 8)  // of sums: those of neighbouring channels lie in different banks
#define WHOLE 0
#define PARTS 1
#define REST 2
#define EACH(v) _Pragma("unroll") for (int v = 0; v < V; v++)

#ifdef __CUDA_ARCH__
__device__ float read_shared(const float* p) { return *p; }
#endif

// V numbers that lie side by side, read and written at once.
template <int V> struct __align__(4 * V) Pack { float v[V]; };
template <int V> __device__ Pack<V> load(const float* p) { return *(const Pack<V>*)p; }

// What a block takes: the channels of some groups of one sample, the pixels `from` to `to`. `at` is
// where the first channel lies. A pixel has so many lanes, of V channels each.
struct Block {
    int sample, first_group, width, channels, at, row, from, to, lanes, teams, lane, team;
};
struct Shared {
    float sums[4 * ROW], more_sums[4 * ROW];
    float totals[MOST_GROUPS], mean[MOST_GROUPS], squares[MOST_GROUPS];
};

template <int V>
__device__ Block block_of(
    long long pixels, long long n, long long c, long long groups, long long bundle) {
    const int bundles = groups / bundle, sample = blockIdx.x / bundles;
    const int first_group = blockIdx.x % bundles * bundle, width = c / groups;
    const int at = sample * c + first_group * width;
    const int from = pixels * blockIdx.y / gridDim.y, to = pixels * (blockIdx.y + 1) / gridDim.y;
    const int channels = bundle * width, thread = threadIdx.x;
    const int lanes = channels / V < THREADS ? channels / V : THREADS;
    return {sample, first_group, width, channels, at, (int)(n * c), from, to,
            lanes, THREADS / lanes, thread % lanes, thread / lanes};
}

// May a thread take 4 channels at once?
__device__ bool by_fours(
    const float* x, const float* y, const float* g, long long c, long long groups,
    long long bundle) {
    const bool aligned = ((size_t)x | (size_t)y | (size_t)g) % 16 == 0;
    return aligned && bundle * (c / groups) % 4 == 0;
}

// Of V channels, from `channel` of the block on; mean and r are those of the block's groups.
template <int V> struct Numbers { float mean[V], r[V], gain[V], shift[V]; };
template <int V>
__device__ Numbers<V> numbers_of(
    const float* gain, const float* shift, const float* mean, const float* r, const Block& block,
    int channel) {
    Numbers<V> of;
    EACH(v) {
        const int group = (channel + v) / block.width;
        const int at = block.first_group * block.width + channel + v;
        of.mean[v] = mean[group], of.r[v] = r[group];
        of.gain[v] = gain[at], of.shift[v] = shift[at];
    }
    return of;
}

// Adds up the sums of all teams. Those of a channel are in the first team's place then.
template <int V> __device__ void sum_of_teams(float* sums, const Block& block) {
    for (int left = block.teams; left > 1; left = (left + 1) / 2) {
        const int half = (left + 1) / 2;
        __syncthreads();
        if (block.team + half < left) EACH(v) {
            float* own = sums + v * ROW + threadIdx.x;
            *own = read_shared(own) + read_shared(own + half * block.lanes);
        }
    }
    __syncthreads();
}

// Adds to each group's total the sums of its channels, weighted with gain if there is one: one warp
// to a group. The sums are those of channels from `first` on.
template <int V>
__device__ void add_to_groups(
    float* totals, const float* sums, const float* gain, int first, const Block& block) {
    for (int g = threadIdx.x / 32; g < block.channels / block.width; g += THREADS / 32) {
        float value = 0.0f;
        for (int i = threadIdx.x % 32; i < block.width; i += 32) {
            const int channel = g * block.width + i, at = channel - first;
            if (at < 0 || at >= V * block.lanes) continue;
            const float sum = read_shared(sums + at % V * ROW + at / V);
            value += gain ? gain[block.first_group * block.width + channel] * sum : sum;
        }
        for (int offset = 16; offset > 0; offset /= 2)
            value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
        if (threadIdx.x % 32 == 0) totals[g] += value;
    }
}

// The mean of each group in the block's pixels, and the sum of the squares of what differs from it:
// in two passes, so that no digits are lost where the mean is large.
template <int V> __device__ void moments(const float* x, const Block& block, Shared& shared) {
    const int own_group = threadIdx.x, bundle = block.channels / block.width;
    const float count = (block.to - block.from) * block.width;
    if (own_group < bundle) shared.mean[own_group] = 0.0f;
    for (int pass = 0; pass < 2; pass++) {
        if (own_group < bundle) shared.totals[own_group] = 0.0f;
        for (int first = 0; first < block.channels; first += V * block.lanes) {
            __syncthreads();  // the mean and the totals are there; nobody reads the sums any more
            const int channel = first + V * block.lane;
            float sum[V] = {}, middle[V];
            if (block.team < block.teams && channel < block.channels) {
                EACH(v) middle[v] = shared.mean[(channel + v) / block.width];
                for (int pixel = block.from + block.team; pixel < block.to; pixel += block.teams) {
                    const Pack<V> pack = load<V>(x + block.at + pixel * block.row + channel);
                    EACH(v) {
                        const float d = pack.v[v] - middle[v];
                        sum[v] += pass ? d * d : d;
                    }
                }
            }
            EACH(v) shared.sums[v * ROW + threadIdx.x] = sum[v];
            sum_of_teams<V>(shared.sums, block);
            add_to_groups<V>(shared.totals, shared.sums, nullptr, first, block);
        }
        __syncthreads();  // the totals are complete
        if (own_group >= bundle) continue;
        if (pass == 0) shared.mean[own_group] = shared.totals[own_group] / count;
        else shared.squares[own_group] = shared.totals[own_group];
    }
}

// The same of all pixels, from what the parts have found (Chan et al. 1979): in the parts' order.
__device__ void joined(
    const float* partial, long long pixels, long long rows, int row, const Block& block,
    Shared& shared) {
    if (threadIdx.x >= block.channels / block.width) return;
    float mean = 0.0f, squares = 0.0f;
    for (int pass = 0; pass < 2; pass++)
        for (int part = 0; part < gridDim.y; part++) {
            const long long from = pixels * part / gridDim.y, to = pixels * (part + 1) / gridDim.y;
            const float* of_part = partial + 2 * (part * rows + row);
            const float d = of_part[0] - mean;
            if (pass == 0) mean += d * ((float)(to - from) / to);
            else squares += of_part[1] + (to - from) * block.width * d * d;
        }
    shared.mean[threadIdx.x] = mean, shared.squares[threadIdx.x] = squares;
}
"""
