"""Matrix products cut into pieces that OpenBLAS multiplies in its faster way.

Before a large product OpenBLAS copies both matrices into an order that suits its inner loop. For products of less than a
million multiplications it has kernels that read the matrices as they lie (on processors with AVX-512; elsewhere the cut
costs next to nothing). And a large product is many small ones: a block of the left matrix's rows, or of the right one's
columns, at a time.
"""
import numpy as np

SMALL = 10**6  # multiplications in a product


def multiply(a, b, out):
    """a @ b for matrices or stacks of them: a (…, M, K), b (…, K, N) -> out (…, M, N)."""
    a, b, pieces = cut(a, b, out)
    np.matmul(a, b, out=pieces)
    return out


def cut(a, b, out):
    """a, b and out as views such that `np.matmul(a, b, out=out)` multiplies them piece by piece."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    if m >= n:
        rows = block(m, k * n)
        return _rows(a, rows), b[..., None, :, :], _rows(out, rows)
    return a[..., None, :, :], columns(b, m * k), columns(out, m * k)


def columns(a, products):
    """(…, M, N) -> (…, N/size, M, size), a view, in pieces of as many columns as suit, if each takes so many products."""
    return a.reshape(*a.shape[:-1], -1, block(a.shape[-1], products)).swapaxes(-2, -3)


def _rows(a, size):
    """(…, M, N) -> (…, M/size, size, N), a view."""
    return a.reshape(*a.shape[:-2], -1, size, a.shape[-1])


def block(length, products, least=8):
    """How much of a length to multiply at once, where 1 of it takes so many products: a divisor, the whole if that is small or else none is."""
    if length * products <= SMALL:
        return length
    size = length & -length  # the largest power of two that divides it
    while size * products > SMALL:
        size //= 2
    return size if size >= least else length
