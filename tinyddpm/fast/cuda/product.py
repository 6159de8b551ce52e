"""Products of matrices by tensor cores, a stack of them in one launch: what attention multiplies.

cuBLAS through CuPy would do it too. But CuPy passes no compute type to a stack of products, so
`--tf32` would not reach them.
"""

from autograd import backend

from ...types import Array
from .matrix_tiles import SIDE, THREADS, TILES


def product(a: Array, b: Array) -> Array:
    """a (…, M, K) @ b (…, K, N), both contiguous."""
    c: Array = a @ b
    return c


def product_on_gpu(a: Array, b: Array) -> Array:
    """As `product`, by the kernel below: one block of threads to 64×64 numbers of one product.

    GPUs without tensor cores leave it to cuBLAS.
    """
    if not backend.has_tensor_cores(a):
        return product(a, b)
    (*stack, rows, depth), columns = a.shape, b.shape[-1]
    c: Array = backend.array_module(a).empty((*stack, rows, columns), a.dtype)
    grid = (c.size // (rows * columns), -(-rows // SIDE), -(-columns // SIDE))
    source = SOURCE_TF32 if backend.is_tf32() else SOURCE
    backend.kernel("product", source)(grid, (THREADS,), (a, b, c, rows, columns, depth))
    return c


SOURCE = (
    TILES
    + r"""
// c (M, N) = a (M, K) b (K, N), for each of a stack.
extern "C" __global__ void product(
    const float* a, const float* b, float* c,
    long long rows, long long columns, long long depth) {
    __shared__ __align__(16) float tile_a[2][SIDE * ROW_OF_16], tile_b[2][DEPTH * ROW_OF_64];
    const int first_row = blockIdx.y * SIDE, first_column = blockIdx.z * SIDE;
    a += blockIdx.x * rows * depth, b += blockIdx.x * depth * columns;
    c += blockIdx.x * rows * columns;
    float sum[2][4][4] = {};
    const int steps = (depth + DEPTH - 1) / DEPTH;
    for (int step = 0; step <= steps; step++) {
        if (step < steps) {
            copy_columns(tile_a[step % 2], a, first_row, rows, step * DEPTH, depth);
            copy_rows(tile_b[step % 2], b, step * DEPTH, depth, first_column, columns);
        }
        end_of_copies();
        if (step == 0) continue;
        wait_for_all_copies_but_the_last();
        __syncthreads();  // everybody's copies for the step before are there
        multiply_tiles(
            tile_a[(step - 1) % 2], ROW_OF_16, 1, tile_b[(step - 1) % 2], ROW_OF_64, 1,
            rows - first_row, columns - first_column, sum);
        __syncthreads();  // nobody reads any more what the next step overwrites
    }

    #pragma unroll
    for (int i = 0; i < 2; i++)
        #pragma unroll
        for (int j = 0; j < 4; j++)
            #pragma unroll
            for (int e = 0; e < 4; e++) {
                const int row = first_row + row_of(i, e), column = first_column + column_of(j, e);
                if (row < rows && column < columns) c[row * columns + column] = sum[i][j][e];
            }
}
"""
)
SOURCE_TF32 = "#define TF32\n" + SOURCE
