"""The product of two tiles in shared memory, by tensor cores.

`convolution.py` and `product.py` are made of it.

A block of 128 threads computes 64×64 numbers of the result. It takes 16 numbers of the sum at a
time: copies them into shared memory, where it multiplies the ones before meanwhile.

Tensor cores multiply float32 numbers cut to TF32, 10 bits after the point. So each factor is split
into a big and a small TF32 number, and three products of them make one with 21 bits after the point
or more (3×TF32, as in CUTLASS). Their sums are added up outside of the tensor cores, which cut off
what does not fit where float32 rounds: over a long sum that would show (Ootomo and Yokota 2022,
"Recovering single precision accuracy from tensor cores"). With TF32 defined a factor is one TF32
number and a product is one.
"""

from .ptx import PTX

SIDE, THREADS = 64, 128  # as in the source

TILES = (
    PTX
    + r"""
#define SIDE 64  // rows and columns of the result that a block computes
#define DEPTH 16  // how much of the sum lies in shared memory at once
#define THREADS 128

// A tile of 64 rows of 16 numbers, or of 16 rows of 64, has some empty ones after each row: so the
// 32 threads of a warp, which read together, read from 32 banks.
#define ROW_OF(length) ((length) == 16 ? 20 : 72)
#define TILE_OF(length) (SIDE * DEPTH / (length) * ROW_OF(length))

// A warp computes 32×32 numbers of the result, as 2×4 products of 16×8. In each a thread holds
// four: number e of product (i, j) lies here.
__device__ int row_of(int i, int e) {
    return threadIdx.x / 64 * 32 + 16 * i + threadIdx.x % 32 / 4 + e / 2 * 8;
}
__device__ int column_of(int j, int e) {
    return threadIdx.x / 32 % 2 * 32 + 8 * j + threadIdx.x % 4 * 2 + e % 2;
}

// x is big + small, two TF32 numbers.
__device__ void split(float x, unsigned& big, unsigned& small) {
    big = rounded_to_tf32(x) & 0xFFFFE000u;
    small = rounded_to_tf32(x - __uint_as_float(big));
}

// Adds to `sum` the product of the tiles a (64 rows) and b (64 columns), as far as the result
// reaches. The next row of a lies a_row further, the next number of its sum a_depth further.
__device__ __forceinline__ void multiply_tiles(
    const float* a, int a_row, int a_depth, const float* b, int b_depth, int b_column,
    int rows, int columns, float sum[2][4][4]) {
    const int group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
    const int first_row = threadIdx.x / 64 * 32, first_column = threadIdx.x / 32 % 2 * 32;
    if (first_row >= rows || first_column >= columns) return;  // a whole warp
    #pragma unroll
    for (int k = 0; k < DEPTH; k += 8) {
        unsigned a_big[2][4], a_small[2][4];
        #pragma unroll
        for (int i = 0; i < 2; i++)
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                const int row = first_row + 16 * i + group + e % 2 * 8, at = k + member + e / 2 * 4;
                split(read_shared(a + row * a_row + at * a_depth), a_big[i][e], a_small[i][e]);
            }
        #pragma unroll
        for (int j = 0; j < 4; j++) {
            if (first_column + 8 * j >= columns) continue;  // a whole warp
            unsigned b_big[2], b_small[2];
            #pragma unroll
            for (int e = 0; e < 2; e++) {
                const int at = k + member + 4 * e, column = first_column + 8 * j + group;
                split(read_shared(b + at * b_depth + column * b_column), b_big[e], b_small[e]);
            }
            #pragma unroll
            for (int i = 0; i < 2; i++) {
#ifdef TF32
                multiply_16x8x8(sum[i][j], a_big[i], b_big);
#else
                float part[4] = {0.0f, 0.0f, 0.0f, 0.0f};
                multiply_16x8x8(part, a_small[i], b_big);
                multiply_16x8x8(part, a_big[i], b_small);
                multiply_16x8x8(part, a_big[i], b_big);
                #pragma unroll
                for (int e = 0; e < 4; e++) sum[i][j][e] += part[e];
#endif
            }
        }
    }
}

// Can numbers be copied four at a time, where `numbers` of them lie side by side from p on?
__device__ bool in_fours(const float* p, int numbers) {
    return numbers % 4 == 0 && (size_t)p % 16 == 0;
}

__device__ void start_copy(float* to, const float* from, bool inside, bool fours) {
    if (fours) copy_16_bytes(to, from, inside);
    else copy_4_bytes(to, from, inside);
}

// Starts to copy a tile out of a matrix (., width), from a row and a column on: of 16 rows if
// LENGTH is 64, or of 64 rows if it is 16. There are zeros beyond row `end`, and beyond the matrix.
template <int LENGTH>
__device__ void copy_tile(
    float* tile, const float* matrix, int row, int end, int column, int width) {
    const bool fours = in_fours(matrix, width);
    const int numbers = fours ? 4 : 1, lanes = LENGTH / numbers;
    const int at = threadIdx.x % lanes * numbers;
    for (int r = threadIdx.x / lanes; r < SIDE * DEPTH / LENGTH; r += THREADS / lanes) {
        const bool inside = row + r < end && column + at < width;
        const float* from = inside ? matrix + (row + r) * width + column + at : matrix;
        start_copy(tile + r * ROW_OF(LENGTH) + at, from, inside, fours);
    }
}

// A sum in steps of 16. copy(step, a, b) starts to copy tiles of a step; multiply(a, b) takes those
// that have arrived, while the next ones are copied. There are two tiles of each, one after the
// other.
template <int A_LENGTH, int B_LENGTH, class Copy, class Multiply>
__device__ __forceinline__ void multiply_in_steps(
    int steps, float* a, float* b, Copy copy, Multiply multiply) {
    for (int step = 0; step <= steps; step++) {
        const int now = step % 2, before = 1 - now;
        if (step < steps) copy(step, a + now * TILE_OF(A_LENGTH), b + now * TILE_OF(B_LENGTH));
        end_of_copies();
        if (step == 0) continue;
        wait_for_all_copies_but_the_last();
        __syncthreads();  // everybody's copies for the step before are there
        multiply(a + before * TILE_OF(A_LENGTH), b + before * TILE_OF(B_LENGTH));
        __syncthreads();  // nobody reads any more what the next step overwrites
    }
}

// use(row, column, number) for each number of the result that this thread holds, as far as the
// result reaches.
template <class Use>
__device__ __forceinline__ void for_each_number(
    float sum[2][4][4], int first_row, int rows, int first_column, int columns, Use use) {
    #pragma unroll
    for (int i = 0; i < 2; i++)
        #pragma unroll
        for (int j = 0; j < 4; j++)
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                const int row = first_row + row_of(i, e), column = first_column + column_of(j, e);
                if (row < rows && column < columns) use(row, column, sum[i][j][e]);
            }
}
"""
)
