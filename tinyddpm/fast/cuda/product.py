"""Products of matrices by tensor cores, a stack of them in one launch: what attention multiplies.

cuBLAS through CuPy would do it too. But CuPy passes no compute type to a stack of products, so
`--tf32` would not reach them. And a CUDA graph cannot capture it. So the rows of a table, such as
the class embedding, are products by this kernel too.
"""

from typing import Any

from autograd import backend, primitive
from autograd.backend import Forward, array_module

from ...types import Array
from .matrix_tiles import SIDE, THREADS, TILES
from .ops import Operand, is_fast


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
    c: Array = array_module(a).empty((*stack, rows, columns), a.dtype)
    grid = (c.size // (rows * columns), -(-rows // SIDE), -(-columns // SIDE))
    source = SOURCE_TF32 if backend.is_tf32() else SOURCE
    backend.kernel("product", source)(grid, (THREADS,), (a, b, c, rows, columns, depth))
    return c


def accepts_rows(chosen: Array, table: Operand) -> bool:
    """Matrices on a GPU with tensor cores."""
    data: Any = getattr(table, "data", table)
    return is_fast(chosen, table) and chosen.ndim == 2 and backend.has_tensor_cores(data)


@primitive
def rows(chosen: Array, table: Array) -> Forward:
    """chosen (N, rows) @ table (rows, C), as `more.classes.rows`; `chosen` gets no gradient."""
    contiguous = array_module(table).ascontiguousarray

    def pullback(g: Array) -> tuple[None, Array]:
        return None, product_on_gpu(contiguous(chosen.T), contiguous(g))

    return product_on_gpu(contiguous(chosen), contiguous(table)), pullback


SOURCE = (
    TILES
    + r"""
// c (M, N) = a (M, K) b (K, N), for each of a stack.
extern "C" __global__ void __launch_bounds__(THREADS, 8) product(
    const float* a, const float* b, float* c,
    long long rows, long long columns, long long depth) {
    __shared__ __align__(16) float tile_a[2 * TILE_OF(16)], tile_b[2 * TILE_OF(64)];
    const int first_row = blockIdx.y * SIDE, first_column = blockIdx.z * SIDE;
    a += blockIdx.x * rows * depth, b += blockIdx.x * depth * columns;
    c += blockIdx.x * rows * columns;
    float sum[2][4][4] = {};
    multiply_in_steps<16, 64>(
        (depth + DEPTH - 1) / DEPTH, tile_a, tile_b,
        [&](int step, float* to_a, float* to_b) {
            copy_tile<16>(to_a, a, first_row, rows, step * DEPTH, depth);
            copy_tile<64>(to_b, b, step * DEPTH, depth, first_column, columns);
        },
        [&](const float* now_a, const float* now_b) {
            multiply_tiles(
                now_a, ROW_OF(16), 1, now_b, ROW_OF(64), 1,
                rows - first_row, columns - first_column, sum);
        });
    for_each_number(
        sum, first_row, rows, first_column, columns,
        [&](int row, int column, float number) { c[row * columns + column] = number; });
}
"""
)
SOURCE_TF32 = "#define TF32\n" + SOURCE
