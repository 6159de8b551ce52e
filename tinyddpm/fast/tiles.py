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

from .buffers import scratch
from .products import multiply

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

    def _weight_transform(self, w):
        """w (3, 3, Cin, Cout) -> u (p², Cin, Cout), in scratch memory: G w Gᵀ."""
        w = w.reshape(9, *w.shape[2:])
        u = scratch("u", (self.p**2, *w.shape[1:]), w.dtype)
        multiply(self.matrices(w.dtype).GG, w.reshape(9, -1), u.reshape(len(u), -1))
        return u

    def _weight_adjoint(self, gu):
        """The adjoint of `_weight_transform`: (p², Cin, Cout) -> (3, 3, Cin, Cout)."""
        return multiply(self.matrices(gu.dtype).GG.T, gu.reshape(len(gu), -1)).reshape(3, 3, *gu.shape[1:])

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

    def band(self, th, tw, largest):
        """Tile rows in a band: a divisor of th, so that all bands are alike."""
        b = max(1, min(th, BAND // (self.p**2 * tw * largest)))
        while th % b:
            b -= 1
        return b

    def forward(self, padded, w, size, row, residual=None):
        """The convolution plus row plus residual, (H, W, N, Cout).

        padded  as `padded` made it;  w (3, 3, Cin, Cout);  row (N, Cout), added to every pixel;  residual None or (H, W, N, Cout)
        """
        (th, tw), n, (c_in, c_out), dtype = self.tiles(*size), padded.shape[2], w.shape[2:], padded.dtype
        u = self._weight_transform(w)
        b = self.band(th, tw, n * max(c_in, c_out))
        ragged = size != (self.m * th, self.m * tw)
        rows = (th, self.m, self.m * tw * n * c_out)
        y = scratch("ragged", rows, dtype) if ragged else np.empty(rows, dtype)
        z = scratch("z", (b, self.p + 1, self.m * tw * n * c_out), dtype)
        z[:, self.p].reshape(b, self.m * tw, n, c_out)[...] = row
        for i in range(th // b):
            v = self._input_transform(padded, i * b, b, tw)
            products = multiply(v, u, scratch("products", (self.p**2, b * tw * n, c_out), dtype))
            here = slice(i * b, (i + 1) * b)
            self._output_transform(products, z, b, tw, n * c_out, y[here])
            if residual is not None and not ragged:
                np.add(y[here], residual.reshape(rows)[here], out=y[here])
        y = y.reshape(self.m * th, self.m * tw, n, c_out)
        if ragged:
            inside = y[:size[0], :size[1]]
            y = inside.copy() if residual is None else inside + residual
        return y

    def _input_transform(self, padded, start, b, tw):
        """Steps 1 and 2: v (p², b·tw·N, Cin), in scratch memory, from tile rows start … start+b−1 of the padded image."""
        p, q, s, Bt = self.p, self.q, self.s, self.matrices(padded.dtype).Bt
        width, k = padded.shape[1], padded.shape[2] * padded.shape[3]
        row = width * k
        bands = _view(padded, (b, q, row), (s * row, row, 1), start * s * row)
        t = scratch("t", (b, p, row), padded.dtype)
        multiply(Bt, bands, t)
        columns = _view(t, (b, p, tw, q, k), (p * row, row, s * k, k, 1))
        v = scratch("v", (p * p, b * tw * padded.shape[2], padded.shape[3]), padded.dtype)
        np.matmul(Bt, columns, out=_by_tile(v, p, b, tw, k))
        return v

    def _output_transform(self, products, z, b, tw, pixel, y):
        """Steps 4 and 5: y (b, m, m·tw·L) from the products (p², b·tw·N, Cout). The last row of z (b, p+1, m·tw·L) is added."""
        p, m, a = self.p, self.m, self.matrices(y.dtype)
        np.matmul(a.At, _by_tile(products, p, b, tw, pixel), out=z[:, :p].reshape(b, p, tw, m, pixel))
        multiply(a.At_one, z, y)

    def backward(self, g, padded, w, needs_input=True, needs_weight=True):
        """The gradients of the padded image (a scratch array) and of w, from g (H, W, N, Cout), contiguous; None where not needed.

        The transformed input is computed again: that takes no longer than to keep it in memory, of which it is twice as much.
        """
        height, width, n, c_out = g.shape
        (th, tw), c_in, dtype = self.tiles(height, width), w.shape[2], g.dtype
        b = self.band(th, tw, n * max(c_in, c_out))
        g = self._whole_tiles(g, th, tw)
        gu = scratch("gu", (self.p**2, c_in, c_out), dtype) if needs_weight else None
        ut = self._weight_transform(w.swapaxes(2, 3))  # not a view of u: BLAS multiplies small matrices faster as they lie
        row = (self.s * tw + self.overlap) * n * c_in
        gx = scratch("gx", (self.s * th + self.overlap, row), dtype) if needs_input else None
        if needs_input:
            gx[:self.overlap] = 0
        for i in range(th // b):
            g_products = scratch("products", (self.p**2, b * tw * n, c_out), dtype)
            self._output_adjoint(g[i * b:(i + 1) * b], b, tw, n * c_out, g_products)
            if needs_weight:
                vt = self._input_transform(padded, i * b, b, tw).transpose(0, 2, 1)
                gu_band = multiply(vt, g_products, scratch("gu of a band", gu.shape, dtype) if i else gu)
                if i:
                    gu += gu_band
            if needs_input:
                gv = multiply(g_products, ut, scratch("v", (self.p**2, b * tw * n, c_in), dtype))
                self._input_adjoint(gv, gx, i * b, b, tw, n * c_in)
        return (gx.reshape(len(gx), -1, n, c_in) if needs_input else None,
                self._weight_adjoint(gu) if needs_weight else None)

    def _whole_tiles(self, g, th, tw):
        """g as (th, m, m·tw·L), with zeros where the last tiles go beyond the image."""
        height, width, n, c_out = g.shape
        if (height, width) != (self.m * th, self.m * tw):
            whole = scratch("ragged", (self.m * th, self.m * tw, n, c_out), g.dtype)
            whole[:height, :width] = g
            whole[height:] = 0
            whole[:height, width:] = 0
            g = whole
        return g.reshape(th, self.m, self.m * tw * n * c_out)

    def _output_adjoint(self, g, b, tw, pixel, g_products):
        """The adjoint of `_output_transform`: g (b, m, m·tw·L) -> g_products (p², b·tw·N, Cout)."""
        p, A = self.p, self.matrices(g.dtype).A
        z = scratch("z", (b, p, g.shape[2]), g.dtype)
        multiply(A, g, z)
        np.matmul(A, z.reshape(b, p, tw, self.m, pixel), out=_by_tile(g_products, p, b, tw, pixel))

    def _input_adjoint(self, gv, gx, start, b, tw, k):
        """The adjoint of `_input_transform`: adds to gx (padded height, padded width · K) what this band says of it."""
        p, q, s, overlap, a = self.p, self.q, self.s, self.overlap, self.matrices(gv.dtype)
        t = scratch("t", (b, p + overlap, gx.shape[1]), gv.dtype)  # its last rows are for what the tiles above said
        tiles = _by_tile(gv, p, b, tw, k)
        columns = t[:, :p].reshape(b, p, s * tw + overlap, k)
        own = columns[:, :, :s * tw].reshape(b, p, tw, s, k)
        shared = scratch("shared", (b, p, tw, overlap, k), gv.dtype)
        np.matmul(a.B_own, tiles, out=own)
        np.matmul(a.B_shared, tiles, out=shared)
        own[:, :, 1:, :overlap] += shared[:, :, :-1]
        columns[:, :, s * tw:] = shared[:, :, -1]
        for j in range(b):
            first = s * (start + j)
            t[j, p:] = gx[first:first + overlap]
            multiply(a.B_carry, t[j], gx[first:first + q])


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
