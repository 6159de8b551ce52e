"""Matrix products cut into pieces that OpenBLAS multiplies in its faster way.

Before a large product OpenBLAS copies both matrices into an order that suits its inner loop. For products of less than a
million multiplications it has kernels that read the matrices as they lie (on processors with AVX-512; elsewhere the cut
costs next to nothing). And a large product is many small ones: a block of the left matrix's rows, or of the right one's
columns, at a time.
"""
import numpy as np

SMALL = 10**6  # multiplications in a product


def multiply(a, b, out=None):
    """a @ b for matrices or stacks of them: a (…, M, K), b (…, K, N) -> out (…, M, N), which may be given."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    if m * k * n <= SMALL:
        return np.matmul(a, b, out=out)
    if out is None:
        out = np.empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m, n), a.dtype)
    if m >= n:
        rows = block(m, k * n)
        np.matmul(_rows(a, rows), b[..., None, :, :], out=_rows(out, rows))
    else:
        columns = block(n, m * k)
        np.matmul(a[..., None, :, :], _columns(b, columns), out=_columns(out, columns))
    return out


def block(length, products, least=8):
    """How much of a length to multiply at once, where 1 of it takes so many products: a divisor, the whole if that is small or else none is."""
    if length * products <= SMALL:
        return length
    size = length & -length  # the largest power of two that divides it
    while size * products > SMALL:
        size //= 2
    return size if size >= least else length


def _rows(a, size):
    """(…, M, N) -> (…, M/size, size, N), a view."""
    return a.reshape(*a.shape[:-2], -1, size, a.shape[-1])


def _columns(a, size):
    """(…, M, N) -> (…, N/size, M, size), a view."""
    return a.reshape(*a.shape[:-1], -1, size).swapaxes(-2, -3)
