"""Matrix products cut into pieces that OpenBLAS multiplies in its faster way.

Before a large product OpenBLAS copies both matrices into an order that suits its inner loop. For
products of less than a million multiplications it has kernels that read the matrices as they lie.
(They exist on processors with AVX-512; elsewhere the pieces cost next to nothing.) And a large
product is many small ones: a block of the left matrix's rows at a time, or of the right one's
columns.
"""

from typing import NamedTuple

import numpy as np

from ..types import Array

SMALL = 10**6  # multiplications in a product


class Product(NamedTuple):
    """Views of three arrays: `np.matmul(*product)` computes left @ right -> out, piece by piece."""

    left: Array
    right: Array
    out: Array


def multiply(a: Array, b: Array, out: Array) -> Array:
    """Matrices or stacks of them: a (…, M, K) @ b (…, K, N) -> out (…, M, N)."""
    np.matmul(*in_pieces(a, b, out))
    return out


def in_pieces(a: Array, b: Array, out: Array) -> Product:
    """The product a @ b -> out of `multiply`, cut along its rows or along its columns."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    if m >= n:
        rows = block(m, k * n)
        return Product(_rows(a, rows), b[..., None, :, :], _rows(out, rows))
    return Product(a[..., None, :, :], columns(b, m * k), columns(out, m * k))


def columns(a: Array, products: int) -> Array:
    """(…, M, N) -> (…, N/size, M, size), a view, if each column takes so many products."""
    size = block(a.shape[-1], products)
    return a.reshape(*a.shape[:-1], -1, size).swapaxes(-2, -3)


def _rows(a: Array, size: int) -> Array:
    """(…, M, N) -> (…, M/size, size, N), a view."""
    return a.reshape(*a.shape[:-2], -1, size, a.shape[-1])


def block(length: int, products: int, least: int = 8) -> int:
    """How much of a length to multiply at once, where 1 of it takes so many products.

    Returns:
        The whole length if that is small. Otherwise a power of two that divides it and makes a
        small product, or again the whole length if that power is below `least`.
    """
    if length * products <= SMALL:
        return length
    size = length & -length  # the largest power of two that divides it
    while size * products > SMALL:
        size //= 2
    return size if size >= least else length
