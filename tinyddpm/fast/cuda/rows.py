"""Rows of a table, chosen by a product: the class embedding, without cuBLAS."""

from typing import Any

from autograd import primitive
from autograd.backend import Forward, array_module, has_tensor_cores

from ...types import Array
from .ops import Operand, is_fast
from .product import product_on_gpu


def accepts_rows(chosen: Array, table: Operand) -> bool:
    """Matrices on a GPU with tensor cores."""
    data: Any = getattr(table, "data", table)
    return is_fast(chosen, table) and chosen.ndim == 2 and has_tensor_cores(data)


@primitive
def rows(chosen: Array, table: Array) -> Forward:
    """chosen (N, rows) @ table (rows, C), as `more.classes.rows`; `chosen` gets no gradient."""
    contiguous = array_module(table).ascontiguousarray

    def pullback(g: Array) -> tuple[None, Array]:
        return None, product_on_gpu(contiguous(chosen.T), contiguous(g))

    return product_on_gpu(contiguous(chosen), contiguous(table)), pullback
