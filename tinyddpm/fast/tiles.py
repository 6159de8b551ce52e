"""3×3 convolution with fewer multiplications: Winograd's algorithm, tile by tile.

`winograd.py` explains the algorithm in one dimension: y = Aᵀ [ (G w) · (Bᵀ x) ]. Along both axes of
an image it becomes

    y = Aᵀ [ (G w Gᵀ) · (Bᵀ x B) ] A

for a tile x of 6×6 pixels and one y of 4×4: 36 products where the definition has 144. With channels
each product becomes a matrix product, (samples and tiles × Cin) @ (Cin × Cout), one for each of the
36 points.

    padded, hole = TILES_4X4.padded(x, (H, W))
    hole[...] = x
    y = TILES_4X4.forward(padded, w, (H, W), bias)
    g_padded, g_weight = TILES_4X4.backward(g, padded, w)

**What the transforms cost.** Neighbouring input tiles overlap by 2 pixels, and cutting them out by
copying would cost more than the products save. In H W N C memory nothing need be cut out, since a
row of the image is one run of W·N·C numbers. The steps are:

1. Bᵀ over rows: a matrix product whose right side is six rows *as they lie*, seen through strides,
   for all columns at once.
2. Bᵀ over columns: the same on the result. `matmul` writes its output where step 3 wants it.
3. The products, one for each point.
4. Aᵀ over columns.
5. Aᵀ over rows, straight into the image. A bias is added here too: an extra row beside the rows of
   points meets the column of ones beside Aᵀ.

Bands of few tile rows keep everything in the processor's cache. `tile_memory.py` has the arrays
between the steps, and the shape letters.

**Backward** needs no new idea: each step is linear, and its adjoint is the transposed matrix. Only
the overlap needs care: what two tiles say about the pixels they share is added, from column to
column and from row to row.

**Up-sampling** by nearest neighbour is folded into Bᵀ (`winograd.with_upsampling`), which then
reads the *small* image. A tile takes 25 products instead of 36, and there is no large image.
"""

import math
from functools import cache, lru_cache, partial
from itertools import repeat

import numpy as np

from ..types import Array
from .buffers import LARGEST, MOST_VIEWS, cached, scratch
from .products import multiply
from .tile_memory import Sizes, TileMemory
from .winograd import Matrices, Transforms, matrices, winograd, with_upsampling


class TileAlgorithm:
    """A convolution by tiles.

    Args:
        transforms: its matrices Bᵀ, G and Aᵀ, for one dimension.
        s: the distance from one input tile to the next.
    """

    def __init__(self, transforms: Transforms, s: int) -> None:
        self.Bt, self.G, self.At = transforms
        (self.p, self.q), self.m, self.s = self.Bt.shape, len(self.At), s
        self.matrices = cache(partial(matrices, transforms, s))
        self.sizes = lru_cache(MOST_VIEWS)(self._sizes)

    def tiles(self, height: int, width: int) -> tuple[int, int]:
        """Tile rows and columns that cover an output image."""
        return -(-height // self.m), -(-width // self.m)

    def products(self, size: tuple[int, int]) -> int:
        """Products for each pair of an input and an output channel, for an output (H, W)."""
        return math.prod(self.tiles(*size)) * self.p**2

    def padded(self, x: Array, size: tuple[int, int], keep: bool = True) -> tuple[Array, Array]:
        """An image with zeros around a hole for x, and the hole.

        Args:
            x: an array of the input's shape and dtype. Its numbers are not read.
            size: (H, W) of the *output*.
            keep: False for an image in scratch memory.

        Returns:
            The image (s·th + q − s, s·tw + q − s, N, C), and the hole (H, W, N, C) of x's shape.
        """
        (th, tw), overlap = self.tiles(*size), self.q - self.s
        height, width, n, c = x.shape
        shape = (self.s * th + overlap, self.s * tw + overlap, n, c)
        padded = np.empty(shape, x.dtype) if keep else scratch("padded", shape, x.dtype)
        padded[0] = 0
        padded[height + 1 :] = 0
        padded[1 : height + 1, 0] = 0
        padded[1 : height + 1, width + 1 :] = 0
        return padded, padded[1 : height + 1, 1 : width + 1]

    def forward(
        self,
        padded: Array,
        w: Array,
        size: tuple[int, int],
        offset: Array | float,
        residual: Array | None = None,
    ) -> Array:
        """The convolution plus offset plus residual, (H, W, N, Cout).

        Args:
            padded: an image as `padded` made it.
            w: the weight (3, 3, Cin, Cout).
            size: (H, W) of the output.
            offset: (N, Cout), added to every pixel: the bias, and the time embedding.
            residual: (H, W, N, Cout), or None for nothing.
        """
        sizes = self.sizes(size, padded.shape[2], *w.shape[2:])
        a, memory = self.matrices(padded.dtype), self._memory(sizes, padded.dtype)
        _transform_weight(a.GG, w, memory.weight.by_point)
        memory.half_output.added[...] = offset
        if sizes.whole[:2] == size:
            y = np.empty(sizes.whole, padded.dtype)
            self._forward(a, memory, padded, y, residual)
            return y
        y = scratch("ragged", sizes.whole, padded.dtype)
        self._forward(a, memory, padded, y)
        inside = y[: size[0], : size[1]]
        return inside.copy() if residual is None else inside + residual

    def _forward(
        self,
        a: Matrices,
        memory: TileMemory,
        padded: Array,
        y: Array,
        residual: Array | None = None,
    ) -> None:
        """Write to y, an image of whole tiles, band by band."""
        half_input, inputs, outputs = memory.half_input, memory.input, memory.output
        half_output = memory.half_output
        added = repeat(None) if residual is None else memory.output_bands(residual)
        bands = zip(memory.input_bands(padded), memory.output_bands(y), added)
        for image_rows, y_band, residual_band in bands:
            np.matmul(a.Bt, image_rows, out=half_input.by_column)  # 1
            np.matmul(a.Bt, half_input.by_tile, out=inputs.by_tile)  # 2
            np.matmul(*memory.operands)  # 3
            np.matmul(a.At, outputs.by_tile, out=half_output.by_tile)  # 4
            np.matmul(a.At_one, half_output.by_column, out=y_band)  # 5
            if residual_band is not None:
                np.add(y_band, residual_band, out=y_band)

    def backward(
        self,
        g: Array,
        padded: Array,
        w: Array,
        needs_input: bool = True,
        needs_weight: bool = True,
    ) -> tuple[Array | None, Array | None]:
        """The gradients of the padded image (a scratch array) and of w; None where not needed.

        The transformed input is computed again. That takes no longer than to keep it in memory,
        where it would take twice the image's room.

        g is the gradient of the output (H, W, N, Cout), contiguous. padded and w are as in
        `forward`.
        """
        sizes = self.sizes(g.shape[:2], g.shape[2], *w.shape[2:])
        a, memory = self.matrices(g.dtype), self._memory(sizes, g.dtype)
        _transform_weight(a.GG, w.swapaxes(2, 3), memory.weight.transposed)
        g = _whole_tiles(g, sizes.whole)
        self._backward(a, memory, g, padded, needs_input, needs_weight)
        g_padded = g_weight = None
        if needs_input:
            g_padded = memory.input_gradient.whole.reshape(padded.shape)
        if needs_weight:
            by_point = memory.weight.gradient.reshape(self.p**2, -1)
            by_tap = np.empty((9, by_point.shape[1]), g.dtype)
            g_weight = multiply(a.GG.T, by_point, by_tap).reshape(w.shape)
        return g_padded, g_weight

    def _backward(
        self,
        a: Matrices,
        memory: TileMemory,
        g: Array,
        padded: Array,
        needs_input: bool,
        needs_weight: bool,
    ) -> None:
        """The adjoint steps, 5 to 1, band by band: into the gradients in `memory`."""
        half_input, inputs, outputs = memory.half_input, memory.input, memory.output
        half_output, weight, g_input = memory.half_output, memory.weight, memory.input_gradient
        g_input.whole[: self.q - self.s] = 0
        bands = zip(memory.input_bands(padded), memory.output_bands(g), g_input.bands)
        for i, (image_rows, g_band, g_input_band) in enumerate(bands):
            np.matmul(a.A, g_band, out=half_output.gradient)  # 5
            np.matmul(a.A, half_output.by_tile, out=outputs.by_tile)  # 4
            if needs_weight:
                np.matmul(a.Bt, image_rows, out=half_input.by_column)
                np.matmul(a.Bt, half_input.by_tile, out=inputs.by_tile)
                if i == 0:
                    np.matmul(*memory.operands_for_weight)  # 3, right factor
                else:
                    np.matmul(*memory.operands_for_weight_of_band)
                    np.add(weight.gradient, weight.gradient_of_band, out=weight.gradient)
            if needs_input:
                np.matmul(*memory.operands_for_input)  # 3, left factor
                self._input_adjoint(a, memory, g_input_band)  # 2 and 1

    def _input_adjoint(
        self, a: Matrices, memory: TileMemory, g_input_band: list[tuple[Array, Array]]
    ) -> None:
        """The adjoint of steps 2 and 1: adds what this band says of the padded image's gradient."""
        half_input, shared = memory.half_input, memory.shared
        np.matmul(a.B_own, memory.input.by_tile, out=half_input.own)
        np.matmul(a.B_shared, memory.input.by_tile, out=shared.of_tile)
        np.add(half_input.own_shared, shared.inner, out=half_input.own_shared)
        half_input.last[...] = shared.last
        for (above, tile_row), (g_above, g_rows) in zip(half_input.tile_rows, g_input_band):
            above[...] = g_above
            np.matmul(a.B_carry, tile_row, out=g_rows)

    def _sizes(self, size: tuple[int, int], n: int, c_in: int, c_out: int) -> Sizes:
        """For an output image of this size, (H, W)."""
        return Sizes((self.p, self.q, self.m, self.s), self.tiles(*size), n, c_in, c_out)

    def _memory(self, sizes: Sizes, dtype: np.dtype) -> TileMemory:
        """Remembered, unless an array of it is too large for scratch memory."""
        if sizes.largest * dtype.itemsize > LARGEST:
            return TileMemory(sizes, dtype)
        return cached(TileMemory, sizes, dtype)


def _whole_tiles(g: Array, shape: tuple[int, int, int, int]) -> Array:
    """The gradient g, with zeros where the last tiles go beyond the image."""
    if g.shape == shape:
        return g
    height, width = g.shape[:2]
    image = scratch("ragged", shape, g.dtype)
    image[:height, :width] = g
    image[height:] = 0
    image[:height, width:] = 0
    return image


def _transform_weight(GG: Array, w: Array, out: Array) -> None:
    """G w Gᵀ: w (3, 3, Cin, Cout) -> out (p², Cin, Cout)."""
    multiply(GG, w.reshape(9, -1), out.reshape(len(out), -1))


# Tiles of 4×4 outputs at 6×6 points, of 5×5 at 7×7, and of 4×4 outputs of an up-sampled image.
TILES_4X4 = TileAlgorithm(winograd(4, [0, 1, -1, 2, -2]), s=4)
TILES_5X5 = TileAlgorithm(winograd(5, [0, 1, -1, 2, -2, -1 / 2]), s=5)
UPSAMPLING_TILES = TileAlgorithm(
    with_upsampling(winograd(4, [0, 1, -1, 2, -2]), [0, 1, 1, 2, 2, 3]), s=2
)


def tiles_for(size: tuple[int, int]) -> TileAlgorithm:
    """Tiles of 4×4 or of 5×5, whichever take fewer products for an output image (H, W).

    An image of 14×14 is 3×3 tiles of 5×5, or 4×4 tiles of 4×4.
    """
    return min(TILES_4X4, TILES_5X5, key=lambda algorithm: algorithm.products(size))
