"""One way to convolve for each shape, on plain arrays. `ops.py` chooses among them.

Each function returns the output and its `backward(g, needs_input, needs_weight)`, which gives the
gradients of the input and of the weight, None for what is not needed. g is contiguous,
(H, W, N, Cout).
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ..types import Array
from .products import block
from .tiles import TileAlgorithm

# Rows and columns of zeros around an image: one number, or ((top, bottom), (left, right)).
Sides: TypeAlias = tuple[tuple[int, int], tuple[int, int]]
Padding: TypeAlias = int | Sides
Gradients: TypeAlias = tuple[Array | None, Array | None]
Backward: TypeAlias = Callable[[Array, bool, bool], Gradients]


def by_tiles(
    algorithm: TileAlgorithm,
    padded: Array,
    size: tuple[int, int],
    weight: Array,
    offset: Array,
    image: Array | None = None,
) -> tuple[Array, Backward]:
    """Winograd's algorithm (`tiles.py`), plus an offset and an image. See `TileAlgorithm.forward`.

    The gradient of the input lies in scratch memory.
    """
    # The hole in the padded image: up-sampling has s < m, and a smaller input.
    height, width = (side // (algorithm.m // algorithm.s) for side in size)
    y = algorithm.forward(padded, weight, size, offset, image)

    def backward(g: Array, needs_input: bool, needs_weight: bool) -> Gradients:
        g_padded, g_weight = algorithm.backward(g, padded, weight, needs_input, needs_weight)
        g_input = None if g_padded is None else g_padded[1 : height + 1, 1 : width + 1]
        return g_input, g_weight

    return y, backward


def few_outputs(x: Array, weight: Array) -> tuple[Array, Backward]:
    """3×3, stride 1, padding 1, for so few outputs that shifting them is cheaper than inputs.

    The input, unshifted, times the weight of each of the nine taps, then nine sums of shifted
    products. Pixels lie along the last axis, so that a shift is one long run.

    Args:
        x: (H, W, N, Cin).
        weight: (3, 3, Cin, Cout).
    """
    height, width, n, c_in = x.shape
    c_out = weight.shape[3]
    x_matrix = x.reshape(-1, c_in)
    w_matrix = weight.transpose(0, 1, 3, 2).reshape(9 * c_out, c_in)

    def shifts(padded: Array) -> list[Array]:
        """For each tap, the part of an image (Cout, H+2, W+2, N) that its products belong to."""
        return [
            padded[:, 2 - i : 2 - i + height, 2 - j : 2 - j + width]
            for i in range(3)
            for j in range(3)
        ]

    products = (w_matrix @ x_matrix.T).reshape(9, c_out, height, width, n)
    padded = np.zeros((c_out, height + 2, width + 2, n), x.dtype)
    for part, product in zip(shifts(padded), products):
        part += product
    y = np.ascontiguousarray(padded[:, 1:-1, 1:-1].transpose(1, 2, 3, 0))

    def backward(g: Array, needs_input: bool, needs_weight: bool) -> Gradients:
        g_padded = np.zeros(padded.shape, g.dtype)
        g_padded[:, 1:-1, 1:-1] = g.transpose(3, 0, 1, 2)
        g_products = np.stack(shifts(g_padded)).reshape(9 * c_out, -1)
        gx = gw = None
        if needs_input:
            gx = (g_products.T @ w_matrix).reshape(x.shape)
        if needs_weight:
            gw = (g_products @ x_matrix).reshape(3, 3, c_out, c_in).transpose(0, 1, 3, 2)
        return gx, gw

    return y, backward


def one_by_one(x: Array, weight: Array) -> tuple[Array, Backward]:
    """1×1, stride 1, no padding: a product at each pixel."""
    y, matrix_backward = pixels_times(x, weight[0, 0])

    def backward(g: Array, needs_input: bool, needs_weight: bool) -> Gradients:
        gx, gw = matrix_backward(g, needs_input, needs_weight)
        return gx, None if gw is None else gw[None, None]

    return y, backward


def pixels_times(x: Array, w: Array) -> tuple[Array, Backward]:
    """The product x (…, C) @ w (C, Cout)."""
    c_in, c_out = w.shape
    blocks = x.reshape(-1, block(x.size // c_in, c_in * c_out, least=32), c_in)

    def backward(g: Array, needs_input: bool, needs_weight: bool) -> Gradients:
        g_blocks = g.reshape(*blocks.shape[:2], c_out)
        gx = gw = None
        if needs_input:
            gx = (g_blocks @ np.ascontiguousarray(w.T)).reshape(x.shape)
        if needs_weight:
            gw = (blocks.transpose(0, 2, 1) @ g_blocks).sum(0)
        return gx, gw

    return (blocks @ w).reshape(*x.shape[:-1], c_out), backward
