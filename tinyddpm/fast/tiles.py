"""3×3 convolution with fewer multiplications: Winograd's algorithm, tile by tile.

**In one dimension.** To get m = 4 outputs of a filter with 3 taps from 6 inputs, one computes 12 products. Winograd
showed that 6 suffice. Read the filter and the outputs' gradient as polynomials: their product has degree 5, and a
polynomial of degree 5 is known once it is known at 6 points. So evaluate both at 6 points (0, 1, −1, 2, −2 and ∞), multiply
point by point, and interpolate. The outputs follow from the transpose of that procedure:

    y = Aᵀ [ (G w) · (Bᵀ x) ]       x (6,), w (3,), y (4,);  Aᵀ (4, 6), G (6, 3), Bᵀ (6, 6);  · is elementwise

G evaluates the filter at the points, Aᵀ does the same for the outputs, Bᵀ undoes the evaluation. The matrices are constants.

**In two dimensions** the same is done along both axes: y = Aᵀ [ (G w Gᵀ) · (Bᵀ x B) ] A, for a tile x of 6×6 pixels and one y
of 4×4: 36 products where the definition has 144. With channels each product becomes a matrix product (samples and
tiles × Cin) @ (Cin × Cout), one for each of the 36 points. (Winograd 1980, "Arithmetic complexity of computations"; Lavin &
Gray 2016, "Fast algorithms for convolutional neural networks", section 4.3, F(4×4, 3×3).)

**What the transforms cost.** Neighbouring input tiles overlap by 2 pixels, and cutting them out by copying would cost more
than the products save. In H W N C memory nothing need be cut out: a row of the image is one run of W·N·C numbers, so
(1) Bᵀ over rows is a matrix product whose right side is six rows *as they lie*, seen through strides, for all columns at
once; (2) Bᵀ over columns is the same on the result, whose output `matmul` writes where the 36 products want it; (3) the products;
(4), (5) Aᵀ over columns, then rows, straight into the image. Bands of few tile rows keep everything in the processor's cache.
A bias and an image to be added go along in step (5): the extra row of Z with the column of ones beside Aᵀ.

**Up-sampling folded in.** Twice as large by nearest neighbour, then convolved: the 6 inputs of a tile are then only 4
different ones, x[0 1 1 2 2 3]. So Bᵀ becomes Bᵀ P with P the 6×4 matrix of that choice, on the *small* image, and as the row
of Bᵀ P for the point −1 turns out to be zero, that product need not be computed: 25 instead of 36, and no large image.

Backward needs no new idea: each step is linear, and its adjoint is the transposed matrix. Only the overlap needs care: what
two tiles say about the pixels they share is added, from column to column and from row to row.

Rounding: the entries of Bᵀ up to 5 cost a digit; in float32 the result is right to about 1e-6 of its size, in float64
to 1e-14.

Shape letters: H, W the output image; th = ⌈H/m⌉, tw = ⌈W/m⌉ tiles; p points; q and m sides of an input and an output tile;
s from one input tile to the next; K = N·Cin and L = N·Cout, the numbers in a pixel; b tile rows in a band.
"""
import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyfromroots

from .buffers import LARGEST, kept, scratch
from .products import columns, cut, multiply

BAND = 2**18  # numbers in a band's largest intermediate: a few of them fit into the cache beside each other


class Matrices(NamedTuple):
    """The constants in one dtype."""
    Bt: np.ndarray        # (p, q)
    B_own: np.ndarray     # (s, p): the pixels of an input tile that begin with it …
    B_shared: np.ndarray  # (q−s, p): … and those that the next tile has too
    B_carry: np.ndarray   # (q, p+q−s): [B | I], adds what the tile above said about the shared rows
    GG: np.ndarray        # (p², 9): G along both axes
    A: np.ndarray         # (p, m)
    At: np.ndarray        # (m, p)
    At_one: np.ndarray    # (m, p+1): [Aᵀ | 1]


class TileAlgorithm:
    """A convolution by tiles, given by its matrices Bᵀ, G and Aᵀ and by the distance s of its input tiles."""

    def __init__(self, Bt, G, At, s):
        self.Bt, self.G, self.At = np.asarray(Bt, float), np.asarray(G, float), np.asarray(At, float)
        (self.p, self.q), self.m, self.s = self.Bt.shape, len(self.At), s
        self.overlap = self.q - s
        self.matrices = cache(self._matrices)

    def _matrices(self, dtype):
        B, m = self.Bt.T, self.m
        found = (self.Bt, B[:self.s], B[self.s:], np.hstack([B, np.eye(self.q, self.overlap)]), np.kron(self.G, self.G),
                 self.At.T, self.At, np.hstack([self.At, np.ones((m, 1))]))
        return Matrices(*(np.ascontiguousarray(matrix, dtype) for matrix in found))

    def tiles(self, height, width):
        """Tile rows and columns that cover an output image."""
        return -(-height // self.m), -(-width // self.m)

    def padded(self, x, size, keep=True):
        """An image with zeros around a hole for x, and the hole: (s·th+q−s, s·tw+q−s, N, C) and (H, W, N, C).

        x  an array of the input's shape and dtype;  size  (height, width) of the *output*;  keep=False  in scratch memory
        """
        th, tw = self.tiles(*size)
        height, width, n, c = x.shape
        shape = (self.s * th + self.overlap, self.s * tw + self.overlap, n, c)
        padded = np.empty(shape, x.dtype) if keep else scratch("padded", shape, x.dtype)
        padded[0] = 0
        padded[height + 1:] = 0
        padded[1:height + 1, 0] = 0
        padded[1:height + 1, width + 1:] = 0
        return padded, padded[1:height + 1, 1:width + 1]

    def forward(self, padded, w, size, row, residual=None):
        """The convolution plus row plus residual, (H, W, N, Cout).

        padded  as `padded` made it;  w (3, 3, Cin, Cout);  row (N, Cout), added to every pixel;  residual None or (H, W, N, Cout)
        """
        (th, tw), n, (c_in, c_out), dtype = self.tiles(*size), padded.shape[2], w.shape[2:], padded.dtype
        a, space = self.matrices(dtype), self._space(th, tw, n, c_in, c_out, dtype)
        ragged = size != (self.m * th, self.m * tw)
        whole = (self.m * th, self.m * tw, n, c_out)
        y = scratch("ragged", whole, dtype) if ragged else np.empty(whole, dtype)
        _transform(a.GG, w, space.u)
        space.row[...] = row
        added = [None] * th if residual is None or ragged else space.output_bands(residual)
        for image_rows, y_band, more in zip(space.input_bands(padded), space.output_bands(y), added):
            np.matmul(a.Bt, image_rows, out=space.t)                    # (1)
            np.matmul(a.Bt, space.t_tiles, out=space.v_tiles)           # (2)
            np.matmul(space.v, space.u_wide, out=space.products)        # (3)
            np.matmul(a.At, space.products_tiles, out=space.z_tiles)    # (4)
            np.matmul(a.At_one, space.z, out=y_band)                    # (5)
            if more is not None:
                np.add(y_band, more, out=y_band)
        if ragged:
            inside = y[:size[0], :size[1]]
            y = inside.copy() if residual is None else inside + residual
        return y

    def backward(self, g, padded, w, needs_input=True, needs_weight=True):
        """The gradients of the padded image (a scratch array) and of w, from g (H, W, N, Cout), contiguous; None where not needed.

        The transformed input is computed again: that takes no longer than to keep it in memory, of which it is twice as much.
        """
        (th, tw), n, (c_in, c_out), dtype = self.tiles(*g.shape[:2]), g.shape[2], w.shape[2:], g.dtype
        a, space = self.matrices(dtype), self._space(th, tw, n, c_in, c_out, dtype)
        _transform(a.GG, w.swapaxes(2, 3), space.ut)  # not a view of u: BLAS multiplies small matrices faster as they lie
        space.gx[:self.overlap] = 0
        bands = zip(space.input_bands(padded), space.output_bands(self._whole_tiles(g, th, tw)), space.gx_bands)
        for i, (image_rows, g_band, gx_band) in enumerate(bands):
            np.matmul(a.A, g_band, out=space.gz)                        # the adjoint of (5)
            np.matmul(a.A, space.z_tiles, out=space.products_tiles)     # of (4)
            if needs_weight:
                np.matmul(a.Bt, image_rows, out=space.t)
                np.matmul(a.Bt, space.t_tiles, out=space.v_tiles)
                np.matmul(*space.for_gu, out=space.gu_band if i else space.gu)  # of (3), for its right factor
                if i:
                    np.add(space.gu, space.gu_band, out=space.gu)
            if needs_input:
                np.matmul(*space.for_gv, out=space.gv)                  # of (3), for its left factor
                self._input_adjoint(a, space, gx_band)                  # of (2) and (1)
        return (space.gx.reshape(len(space.gx), -1, n, c_in) if needs_input else None,
                multiply(a.GG.T, space.gu_flat, np.empty((9, c_in * c_out), dtype)).reshape(w.shape) if needs_weight else None)

    def _input_adjoint(self, a, space, gx_band):
        """The adjoint of steps 2 and 1: adds to gx what this band says of it."""
        np.matmul(a.B_own, space.v_tiles, out=space.own)
        np.matmul(a.B_shared, space.v_tiles, out=space.shared)
        np.add(space.own_overlap, space.shared_inner, out=space.own_overlap)
        space.last[...] = space.shared_last
        for (above, t), (gx_above, gx_rows) in zip(space.tile_rows, gx_band):
            above[...] = gx_above
            np.matmul(a.B_carry, t, out=gx_rows)

    def _space(self, th, tw, n, c_in, c_out, dtype):
        shape = self, th, tw, n, c_in, c_out, dtype
        largest = max(self.p**2 * tw, (self.s * th + self.overlap) * (self.s * tw + self.overlap)) * n * max(c_in, c_out)
        return Space(*shape) if largest * dtype.itemsize > LARGEST else kept(Space, *shape)

    def _whole_tiles(self, g, th, tw):
        """g with zeros where the last tiles go beyond the image."""
        height, width, n, c_out = g.shape
        if (height, width) == (self.m * th, self.m * tw):
            return g
        whole = scratch("ragged", (self.m * th, self.m * tw, n, c_out), g.dtype)
        whole[:height, :width] = g
        whole[height:] = 0
        whole[:height, width:] = 0
        return whole


class Space:
    """Scratch memory for a band of th×tw tiles, and each way that the steps look at it, cut as suits BLAS (`products.py`)."""

    def __init__(self, algorithm, th, tw, n, c_in, c_out, dtype):
        p, q, s, m, overlap = algorithm.p, algorithm.q, algorithm.s, algorithm.m, algorithm.overlap
        k, row = n * c_in, m * tw * n * c_out
        width = (s * tw + overlap) * k
        b = max(1, min(th, BAND // (p * p * tw * n * max(c_in, c_out))))
        while th % b:  # all bands alike
            b -= 1
        self.inputs = (th // b, b, q, width), (b * s * width, s * width, width, 1), p * q
        self.outputs = (th // b, b, m, row), m * (p + 1)

        t = scratch("t", (b, p + overlap, width), dtype)  # its last rows are for what the tiles above said, in backward
        v = scratch("v", (p * p, b * tw * n, c_in), dtype)
        products = scratch("products", (p * p, b * tw * n, c_out), dtype)
        z = scratch("z", (b, p + 1, row), dtype)          # its last row is what is added to all pixels
        self.u = scratch("u", (p * p, c_in, c_out), dtype)
        self.t, self.t_tiles = columns(t[:, :p], p * q), _view(t, (b, p, tw, q, k), ((p + overlap) * width, width, s * k, k, 1))
        self.v_tiles, self.products_tiles = _by_tile(v, p, b, tw, k), _by_tile(products, p, b, tw, n * c_out)
        self.v, self.u_wide, self.products = cut(v, self.u, products)
        self.z, self.z_tiles = columns(z, m * (p + 1)), z[:, :p].reshape(b, p, tw, m, n * c_out)
        self.row = z[:, p].reshape(b, m * tw, n, c_out)

        self.ut = self.u.reshape(p * p, c_out, c_in)
        self.gz = columns(z[:, :p], m * (p + 1))
        gu, gu_band = (scratch(name, (p * p, c_in, c_out), dtype) for name in ("gu", "gu of a band"))
        self.gu_flat = gu.reshape(p * p, -1)
        *self.for_gu, self.gu = cut(v.transpose(0, 2, 1), products, gu)
        self.gu_band = cut(v.transpose(0, 2, 1), products, gu_band)[2]
        *self.for_gv, self.gv = cut(products, self.ut, v)
        by_column = t[:, :p].reshape(b, p, s * tw + overlap, k)
        self.own, self.last = by_column[:, :, :s * tw].reshape(b, p, tw, s, k), by_column[:, :, s * tw:]
        self.shared = scratch("shared", (b, p, tw, overlap, k), dtype)
        self.own_overlap, self.shared_inner, self.shared_last = self.own[:, :, 1:, :overlap], self.shared[:, :, :-1], self.shared[:, :, -1]
        self.tile_rows = [(t[j, p:], columns(t[j], q * (p + overlap))) for j in range(b)]
        self.gx = scratch("gx", (s * th + overlap, width), dtype)
        rows = [(self.gx[i:i + overlap], columns(self.gx[i:i + q], q * (p + overlap))) for i in range(0, s * th, s)]
        self.gx_bands = [rows[i:i + b] for i in range(0, th, b)]

    def input_bands(self, padded):
        """For each band the rows of the padded image under its tiles, (b, ·, q, ·): they overlap, and nothing is copied."""
        shape, strides, products = self.inputs
        return columns(_view(padded, shape, strides), products)

    def output_bands(self, y):
        """For each band its rows of an image of whole tiles, (b, ·, m, ·)."""
        shape, products = self.outputs
        return columns(y.reshape(shape), products)


def _transform(GG, w, u):
    """w (3, 3, Cin, Cout) -> u (p², Cin, Cout): G w Gᵀ."""
    multiply(GG, w.reshape(9, -1), u.reshape(len(u), -1))


def _by_tile(a, p, b, tw, pixel):
    """(p², b·tw·N, C) seen as (b, p, tw, p, pixel): a matrix of column points × pixel for each row point of each tile."""
    return a.reshape(p, p, b, tw, pixel).transpose(2, 0, 3, 1, 4)


def _view(a, shape, strides, start=0):
    """A contiguous array through other strides, counted in numbers: tiles that overlap, without a copy."""
    return np.ndarray(shape, a.dtype, a, start * a.itemsize, [stride * a.itemsize for stride in strides])


def winograd(m, points):
    """Bᵀ, G and Aᵀ for m outputs of a filter with 3 taps, from m + 1 points of evaluation beside ∞, whose row is the last.

    A row of Aᵀ or G evaluates at each point, by the point's powers. A row of Bᵀ interpolates: the coefficients of the polynomial
    that is zero at all other points, whose value at its own, Π (a − b), G divides by. (Lavin & Gray 2016, section 4.3, have
    just these matrices for m = 4; Blahut 2010, "Fast algorithms for signal processing", section 5.2, derives them.)
    """
    others = [[b for b in points if b != a] for a in points]
    Bt = np.zeros((m + 2, m + 2))
    Bt[:-1, :-1] = [polyfromroots(found) for found in others]
    Bt[-1] = polyfromroots(points)
    own = [math.prod(a - b for b in found) for a, found in zip(points, others)]
    G = np.vstack([np.vander(points, 3, increasing=True) / np.array(own)[:, None], np.eye(3)[-1]])
    At = np.vstack([np.vander(points, m, increasing=True), np.eye(m)[-1]]).T  # at ∞ only the highest power counts
    return Bt, G, At


CONV3 = TileAlgorithm(*winograd(4, [0, 1, -1, 2, -2]), s=4)
CONV3_BY_5 = TileAlgorithm(*winograd(5, [0, 1, -1, 2, -2, -1 / 2]), s=5)


def conv3(size):
    """The one of the two that takes fewer products for an output image (height, width): 14×14 is 3 tiles of 5 wide, or 4 of 4."""
    return min(CONV3, CONV3_BY_5, key=lambda algorithm: math.prod(algorithm.tiles(*size)) * algorithm.p**2)


def _with_upsampling(algorithm, choice):
    """The algorithm on an image whose pixels are repeated: choice[i] is the small image's pixel that input i of a tile is."""
    Bt = algorithm.Bt @ np.eye(max(choice) + 1)[choice]
    used = Bt.any(axis=1)
    return TileAlgorithm(Bt[used], algorithm.G[used], algorithm.At[:, used], algorithm.s // 2)


UPSAMPLE_CONV3 = _with_upsampling(CONV3, [0, 1, 1, 2, 2, 3])
