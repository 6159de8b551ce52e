"""One way to convolve for each shape, on plain arrays: each returns the output and its `backward(g, needs_input, needs_weight)`.

`ops.py` chooses among them. `backward` gives the gradients of the input and of the weight, None for what is not needed.
g is contiguous, (H, W, N, Cout).
"""
import numpy as np

from .products import block


def by_tiles(algorithm, padded, size, weight, row, image=None):
    """Winograd's algorithm (`tiles.py`), plus row (N, Cout), plus image (H, W, N, Cout). `padded` is from algorithm.padded.

    The gradient of the input lies in scratch memory.
    """
    height, width = (side // (algorithm.m // algorithm.s) for side in size)  # of the input: up-sampling has s < m
    y = algorithm.forward(padded, weight, size, row, image)

    def backward(g, needs_input, needs_weight):
        g_padded, g_weight = algorithm.backward(g, padded, weight, needs_input, needs_weight)
        return g_padded[1:height + 1, 1:width + 1] if needs_input else None, g_weight

    return y, backward


def few_outputs(x, weight):
    """3×3, stride 1, padding 1, for so few outputs that shifting these is cheaper than shifting inputs.

    The input, unshifted, times the weight of each of the nine taps, then nine sums of shifted products. Pixels lie along
    the last axis, so that a shift is one long run. The weight is kh kw Cin Cout, x is (H, W, N, Cin).
    """
    height, width, n, c_in = x.shape
    c_out = weight.shape[3]
    x_matrix, w_matrix = x.reshape(-1, c_in), weight.transpose(0, 1, 3, 2).reshape(9 * c_out, c_in)

    def shifts(padded):
        """For each tap, the part of a padded image (Cout, H+2, W+2, N) that an input pixel's product with it goes to."""
        return [padded[:, 2 - i:2 - i + height, 2 - j:2 - j + width] for i in range(3) for j in range(3)]

    products = (w_matrix @ x_matrix.T).reshape(9, c_out, height, width, n)
    padded = np.zeros((c_out, height + 2, width + 2, n), x.dtype)
    for part, product in zip(shifts(padded), products):
        part += product
    y = np.ascontiguousarray(padded[:, 1:-1, 1:-1].transpose(1, 2, 3, 0))

    def backward(g, needs_input, needs_weight):
        g_padded = np.zeros(padded.shape, g.dtype)
        g_padded[:, 1:-1, 1:-1] = g.transpose(3, 0, 1, 2)
        g_products = np.stack(shifts(g_padded)).reshape(9 * c_out, -1)
        gx = (g_products.T @ w_matrix).reshape(x.shape) if needs_input else None
        gw = (g_products @ x_matrix).reshape(3, 3, c_out, c_in).transpose(0, 1, 3, 2) if needs_weight else None
        return gx, gw

    return y, backward


def one_by_one(x, weight):
    """1×1, stride 1, no padding: a product at each pixel."""
    y, matrix_backward = pixels_times(x, weight[0, 0])

    def backward(g, needs_input, needs_weight):
        gx, gw = matrix_backward(g, needs_input, needs_weight)
        return gx, gw[None, None] if needs_weight else None

    return y, backward


def pixels_times(x, w):
    """x (…, C) @ w (C, Cout)."""
    c_in, c_out = w.shape
    blocks = x.reshape(-1, block(x.size // c_in, c_in * c_out, least=32), c_in)

    def backward(g, needs_input, needs_weight):
        g_blocks = g.reshape(*blocks.shape[:2], c_out)
        gx = (g_blocks @ np.ascontiguousarray(w.T)).reshape(x.shape) if needs_input else None
        gw = (blocks.transpose(0, 2, 1) @ g_blocks).sum(0) if needs_weight else None
        return gx, gw

    return (blocks @ w).reshape(*x.shape[:-1], c_out), backward
