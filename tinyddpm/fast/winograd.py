"""Winograd's algorithm in one dimension: the matrices that it consists of.

A filter with 3 taps makes m = 4 outputs from 6 inputs. The definition takes 12 products for that.
Winograd showed that 6 suffice. Read the filter and the outputs' gradient as polynomials. Their
product has degree 5, and a polynomial of degree 5 is known once it is known at 6 points. So
evaluate both at 6 points (0, 1, −1, 2, −2 and ∞), multiply point by point, and interpolate. The
outputs follow from the transpose of that procedure:

    y = Aᵀ [ (G w) · (Bᵀ x) ]       x (6,), w (3,), y (4,);  Aᵀ (4, 6), G (6, 3), Bᵀ (6, 6)

where · is elementwise. G evaluates the filter at the points, A the outputs' gradient, and B
interpolates. The formula has their transposes. The matrices are constants:

    t = winograd(4, [0, 1, -1, 2, -2])
    y = t.At @ ((t.G @ w) * (t.Bt @ x))        # np.correlate(x, w, "valid")

`tiles.py` uses them along both axes of an image. The entries of Bᵀ up to 5 cost a digit: in float32
the result is right to about 1e-6 of its size, in float64 to 1e-14.

Sources: Winograd 1980, "Arithmetic complexity of computations"; Lavin & Gray 2016, "Fast algorithms
for convolutional neural networks", section 4.3.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyfromroots

from ..types import Array


class Transforms(NamedTuple):
    """The matrices in float64, for q inputs, m outputs and p points.

    Attributes:
        Bt: Bᵀ (p, q), which transforms the inputs.
        G: (p, 3), which transforms the filter.
        At: Aᵀ (m, p), which makes outputs of the products.
    """

    Bt: Array
    G: Array
    At: Array


def winograd(m: int, points: Sequence[float]) -> Transforms:
    """The matrices for m outputs of a filter with 3 taps.

    A row of G, or of A, evaluates at one point, by the point's powers. A row of Bᵀ interpolates: it
    holds the coefficients of the polynomial that is zero at all other points. G divides by that
    polynomial's value at its own point, Π (a − b). For m = 4 these are the matrices of Lavin & Gray
    2016. Blahut 2010, "Fast algorithms for signal processing", section 5.2, derives them.

    Args:
        m: number of outputs.
        points: the m + 1 points of evaluation besides ∞, whose row comes last.
    """
    others = [[b for b in points if b != a] for a in points]
    Bt = np.zeros((m + 2, m + 2))
    Bt[:-1, :-1] = [polyfromroots(roots) for roots in others]
    Bt[-1] = polyfromroots(points)
    at_own_point = [math.prod(a - b for b in roots) for a, roots in zip(points, others)]
    powers = np.vander(points, 3, increasing=True)
    G = np.vstack([powers / np.array(at_own_point)[:, None], np.eye(3)[-1]])
    # At ∞ only the highest power counts.
    At = np.vstack([np.vander(points, m, increasing=True), np.eye(m)[-1]]).T
    return Transforms(Bt, G, At)


def with_upsampling(transforms: Transforms, choice: Sequence[int]) -> Transforms:
    """The matrices for an image whose pixels are repeated before the convolution.

    The 6 inputs of a tile are then only 4 different pixels of the small image, x[0 1 1 2 2 3]. So
    Bᵀ becomes Bᵀ P, with P the 6×4 matrix of that choice, and the large image never exists. The row
    of Bᵀ P for the point −1 turns out to be zero, so the product at that point is left out.

    Args:
        transforms: those of the convolution of the large image.
        choice: choice[i] is the pixel of the small image that input i of a tile repeats.
    """
    Bt = transforms.Bt @ np.eye(max(choice) + 1)[list(choice)]
    used = Bt.any(axis=1)
    return Transforms(Bt[used], transforms.G[used], transforms.At[:, used])


class Matrices(NamedTuple):
    """What `tiles.py` multiplies by, in one dtype, for input tiles that overlap by q − s.

    Attributes:
        Bt: Bᵀ (p, q).
        B_own: (s, p), for the adjoint: the rows of B for a tile's first s inputs.
        B_shared: (q−s, p), the other rows, for the inputs that the next tile has too.
        B_carry: (q, p+q−s), [B | I]: adds what the tile above said about the shared rows.
        GG: (p², 9), G along both axes.
        A: (p, m).
        At: Aᵀ (m, p).
        At_one: (m, p+1), [Aᵀ | 1].
    """

    Bt: Array
    B_own: Array
    B_shared: Array
    B_carry: Array
    GG: Array
    A: Array
    At: Array
    At_one: Array


def matrices(transforms: Transforms, s: int, dtype: np.dtype) -> Matrices:
    """The constants in this dtype; s is the distance from one input tile to the next."""
    Bt, G, At = transforms
    B, (m, _), q = Bt.T, At.shape, Bt.shape[1]
    found = Matrices(
        Bt=Bt,
        B_own=B[:s],
        B_shared=B[s:],
        B_carry=np.hstack([B, np.eye(q, q - s)]),
        GG=np.kron(G, G),
        A=At.T,
        At=At,
        At_one=np.hstack([At, np.ones((m, 1))]),
    )
    return Matrices(*(np.ascontiguousarray(matrix, dtype) for matrix in found))
