"""The memory of a convolution by tiles, and how each step of `tiles.py` looks at it.

An image is computed in bands of b tile rows, one after the other in the same memory. To make a view
takes NumPy as long as a small product. So all views are made once for each shape, and remembered.
Each class below stands for one array, from `buffers.scratch`, and names its views by what a view
runs over:

    class        holds                                              written by   read by
    HalfInput    input tiles, transformed along rows                step 1       step 2
    Points       input tiles, transformed along rows and columns    step 2       step 3
    Points       output tiles, before they are transformed back     step 3       step 4
    HalfOutput   output tiles, transformed back along columns       step 4       step 5
    Weight       the filters at the points                          once         step 3

**Aliasing.** All views of one class lie in the same memory, and so do a result and its gradient:
backward goes from step 5 to step 1 and puts each gradient where forward has the result. The
weight's gradient needs the transformed input, so it comes before the gradient of the input takes
that place. Only what has no counterpart in forward has memory of its own: `SharedColumns`,
`InputGradient`, and the gradients in `Weight`.

Shape letters: H, W the output image; th = ⌈H/m⌉, tw = ⌈W/m⌉ tiles; p points along an axis; q and m
the sides of an input and an output tile; s from one input tile to the next; K = N·Cin and
L = N·Cout, the numbers in a pixel; b tile rows in a band. The dots in a shape such as (b, ·, p, ·)
are one long axis, cut into two by `products.columns`, as suits BLAS.
"""

import math

import numpy as np

from ..types import Array
from .buffers import scratch
from .products import columns, in_pieces

BAND = 2**18  # numbers in a band's largest intermediate: the cache holds a few of them


class Sizes:
    """The numbers that all shapes here consist of, for an image and a weight of one shape.

    Attributes:
        overlap: how many pixels neighbouring input tiles share along an axis, q − s.
        K: numbers in an input pixel.
        L: numbers in an output pixel.
        padded: pixels of the padded input image, (s·th + q − s, s·tw + q − s).
        whole: shape of an output image of whole tiles, (m·th, m·tw, N, Cout).
        row: numbers in a row of pixels of the padded input image.
        b: tile rows in a band. All bands are alike, so it divides th.
        largest: numbers in the largest array of all.
    """

    def __init__(
        self,
        side: tuple[int, int, int, int],
        tiles: tuple[int, int],
        n: int,
        c_in: int,
        c_out: int,
    ) -> None:
        self.p, self.q, self.m, self.s = p, q, m, s = side
        self.th, self.tw = th, tw = tiles
        self.n, self.c_in, self.c_out = n, c_in, c_out
        self.overlap = q - s
        self.K, self.L = n * c_in, n * c_out
        self.padded = s * th + self.overlap, s * tw + self.overlap
        self.whole = m * th, m * tw, n, c_out
        self.row = self.padded[1] * self.K
        widest = max(self.K, self.L)
        self.b = max(1, min(th, BAND // (p * p * tw * widest)))
        while th % self.b:
            self.b -= 1
        self.largest = max(max(p * p * tw, math.prod(self.padded)) * widest, p * p * c_in * c_out)


class HalfInput:
    """Input tiles transformed along rows, (b, p + q − s, row): in each tile row, p rows of points.

    The q − s rows after them are for backward: they take in what the tiles above add to the
    gradient of the pixels that both share.

    Attributes:
        by_column: out of step 1, (b, ·, p, ·).
        by_tile: into step 2, (b, p, tw, q, K). Neighbouring tiles overlap.
        own: backward: the gradient of each tile's first s columns, (b, p, tw, s, K).
        own_shared: of these the first q − s, which the tile to the left has too; all tiles but the
            first.
        last: the gradient of the columns that come after all of `own`, (b, p, q − s, K).
        tile_rows: for each of the b tile rows, the q − s rows for backward, and the whole tile row,
            (·, p + q − s, ·).
    """

    def __init__(self, size: Sizes, dtype: np.dtype) -> None:
        p, tw, s, overlap, b, K = size.p, size.tw, size.s, size.overlap, size.b, size.K
        whole = scratch("half input", (b, p + overlap, size.row), dtype)
        points = whole[:, :p]
        self.by_column = columns(points, p * size.q)
        strides = (p + overlap) * size.row, size.row, s * K, K, 1
        self.by_tile = strided(whole, (b, p, tw, size.q, K), strides)

        pixels = points.reshape(b, p, s * tw + overlap, K)
        self.own = pixels[:, :, : s * tw].reshape(b, p, tw, s, K)
        self.own_shared = self.own[:, :, 1:, :overlap]
        self.last = pixels[:, :, s * tw :]
        products = size.q * (p + overlap)
        self.tile_rows = [(row[p:], columns(row, products)) for row in whole]


class Points:
    """Tiles at all p² points, (p², b·tw·N, C): of the input, or of the output before step 4.

    Attributes:
        by_point: for step 3, p² matrices (b·tw·N, C).
        by_tile: for steps 2 and 4, (b, p, tw, p, N·C): a matrix, column points × pixel, for each
            row of points of each tile.
    """

    def __init__(self, name: str, size: Sizes, channels: int, dtype: np.dtype) -> None:
        p, b, tw = size.p, size.b, size.tw
        self.by_point = scratch(name, (p * p, b * tw * size.n, channels), dtype)
        tiles = self.by_point.reshape(p, p, b, tw, size.n * channels)
        self.by_tile = tiles.transpose(2, 0, 3, 1, 4)


class HalfOutput:
    """Output tiles transformed back along columns, (b, p + 1, m·tw·L): p rows of points, one added.

    Attributes:
        by_tile: out of step 4, (b, p, tw, m, L).
        added: the last row, (b, m·tw, N, Cout), which step 5 adds to all pixels.
        by_column: into step 5, (b, ·, p + 1, ·), the added row included.
        gradient: backward: out of the adjoint of step 5, (b, ·, p, ·).
    """

    def __init__(self, size: Sizes, dtype: np.dtype) -> None:
        p, m, tw, b = size.p, size.m, size.tw, size.b
        whole = scratch("half output", (b, p + 1, m * tw * size.L), dtype)
        self.by_tile = whole[:, :p].reshape(b, p, tw, m, size.L)
        self.added = whole[:, p].reshape(b, m * tw, size.n, size.c_out)
        self.by_column = columns(whole, m * (p + 1))
        self.gradient = columns(whole[:, :p], m * (p + 1))


class Weight:
    """The filters at all p² points, for step 3.

    Attributes:
        by_point: forward: p² matrices (Cin, Cout).
        transposed: backward: p² matrices (Cout, Cin), in the same memory. They are written as such,
            and no view of `by_point`, since BLAS multiplies small matrices faster as they lie.
        gradient: (p², Cin, Cout), in memory of its own.
        gradient_of_band: what a band adds to it.
    """

    def __init__(self, size: Sizes, dtype: np.dtype) -> None:
        shape = size.p**2, size.c_in, size.c_out
        self.by_point = scratch("weight", shape, dtype)
        self.transposed = self.by_point.reshape(size.p**2, size.c_out, size.c_in)
        self.gradient = scratch("weight gradient", shape, dtype)
        self.gradient_of_band = scratch("weight gradient of a band", shape, dtype)


class SharedColumns:
    """What each tile adds to the gradient of its last q − s columns, (b, p, tw, q − s, K).

    The next tile has these columns too, so this is added to what that tile says of them.

    Attributes:
        of_tile: out of the adjoint of step 2.
        inner: of all tiles but the last one; added to `HalfInput.own_shared`.
        last: of the last tile; becomes `HalfInput.last`.
    """

    def __init__(self, size: Sizes, dtype: np.dtype) -> None:
        self.of_tile = scratch("shared", (size.b, size.p, size.tw, size.overlap, size.K), dtype)
        self.inner, self.last = self.of_tile[:, :, :-1], self.of_tile[:, :, -1]


class InputGradient:
    """The gradient of the padded image, (s·th + q − s, row).

    Attributes:
        whole: all of it.
        bands: for each band and each of its tile rows, the q − s rows that the tiles above have
            written too, and all q rows under the tile, (·, q, ·).
    """

    def __init__(self, size: Sizes, dtype: np.dtype) -> None:
        q, s, overlap = size.q, size.s, size.overlap
        self.whole = scratch("input gradient", (size.padded[0], size.row), dtype)
        products = q * (size.p + overlap)
        rows = [
            (self.whole[i : i + overlap], columns(self.whole[i : i + q], products))
            for i in range(0, s * size.th, s)
        ]
        self.bands = [rows[i : i + size.b] for i in range(0, size.th, size.b)]


class TileMemory:
    """All of it, for one shape.

    Attributes:
        operands: of step 3, with its output: `np.matmul(*operands)`.
        operands_for_weight: its adjoint for the right factor, the sum over the first band.
        operands_for_weight_of_band: the same for a further band.
        operands_for_input: its adjoint for the left factor.
    """

    def __init__(self, size: Sizes, dtype: np.dtype) -> None:
        self.half_input = HalfInput(size, dtype)
        self.input = Points("input points", size, size.c_in, dtype)
        self.output = Points("output points", size, size.c_out, dtype)
        self.half_output = HalfOutput(size, dtype)
        self.weight = Weight(size, dtype)
        self.shared = SharedColumns(size, dtype)
        self.input_gradient = InputGradient(size, dtype)

        inputs, outputs, weight = self.input.by_point, self.output.by_point, self.weight
        inputs_transposed = inputs.transpose(0, 2, 1)
        self.operands = in_pieces(inputs, weight.by_point, outputs)
        self.operands_for_weight = in_pieces(inputs_transposed, outputs, weight.gradient)
        self.operands_for_weight_of_band = in_pieces(
            inputs_transposed, outputs, weight.gradient_of_band
        )
        self.operands_for_input = in_pieces(outputs, weight.transposed, inputs)

        bands, row = size.th // size.b, size.row
        self._input_bands = (bands, size.b, size.q, row)
        self._input_strides = (size.b * size.s * row, size.s * row, row, 1)
        self._input_products = size.p * size.q
        self._output_bands = (bands, size.b, size.m, size.m * size.tw * size.L)
        self._output_products = size.m * (size.p + 1)

    def input_bands(self, padded: Array) -> Array:
        """For each band the rows of the padded image under its tiles, (b, ·, q, ·).

        Tile rows overlap, and nothing is copied.
        """
        rows = strided(padded, self._input_bands, self._input_strides)
        return columns(rows, self._input_products)

    def output_bands(self, y: Array) -> Array:
        """For each band its rows of an image of whole tiles, (b, ·, m, ·)."""
        return columns(y.reshape(self._output_bands), self._output_products)


def strided(a: Array, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A contiguous array through other strides, counted in numbers: overlapping tiles, not copied.

    NumPy refuses strides that reach beyond the array.
    """
    in_bytes = [stride * a.itemsize for stride in strides]
    return np.ndarray(shape, a.dtype, a, strides=in_bytes)
