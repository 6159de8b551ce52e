"""The same results, sooner: faster equivalents of the definitions in `tinyddpm.nn`.

They are for NumPy on a CPU and for CuPy on a GPU.

    from tinyddpm import fast

    with fast.enabled():  # within the block networks use them wherever they apply
        ...
    fast.enable()         # for a script: from now on
    fast.disable()        # back to the definitions

You need not read any of this to understand the model. Without this folder everything works as
before, only slower.

    ops.py           what takes the place of what, and when
    winograd.py      Winograd's algorithm for a convolution with fewer products: most to learn from
    tiles.py         the same for images, tile by tile, and with up-sampling folded in
    tile_memory.py   the memory that it works in
    products.py      matrix products in pieces that BLAS multiplies faster
    norm_silu.py     GroupNorm and SiLU in few passes over memory
    attention.py     attention in place
    convolutions.py  the other shapes of convolution
    premultiplied.py all multipliers at once
    buffers.py       memory that is used again
    parallel/        all cores at once: shards of a batch in worker processes
    cuda/            for GPU arrays: kernels written by hand
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from autograd import Tensor
from autograd.backend import array_module

from .. import train
from ..equivalents import FASTER
from ..nn.unet import UNet
from ..types import Array, Gradient
from . import ops
from .buffers import keep_freed_memory

Pair = tuple[Callable[..., bool], Callable[..., Any]]  # accepts, equivalent

NAMES = (
    "norm_silu_conv",
    "upsample_conv",
    "conv2d",
    "conv2d_bias",
    "linear",
    "group_norm",
    "attention",
)
ON_GPU = ("norm_silu_conv", "conv2d", "conv2d_bias", "linear", "group_norm")


def _pair(module: Any, name: str) -> Pair:
    return getattr(module, f"accepts_{name}"), getattr(module, name)


def _by_device(on_cpu: Pair, on_gpu: Pair) -> Pair:
    """The equivalents for a CPU or for a GPU, by where the first argument lies."""

    def choose(x: Any) -> Pair:
        x = x.data if isinstance(x, Tensor) else x
        return on_cpu if array_module(x).__name__ == "numpy" else on_gpu

    def accepts(x: Any, *args: Any, **options: Any) -> bool:
        return choose(x)[0](x, *args, **options)

    def equivalent(x: Any, *args: Any, **options: Any) -> Any:
        return choose(x)[1](x, *args, **options)

    return accepts, equivalent


EQUIVALENTS = {name: _pair(ops, name) for name in NAMES}
if find_spec("tinyddpm.fast.cuda"):
    from .cuda import attention as gpu_attention, ops as gpu_ops, product as gpu_product

    for name in ON_GPU:
        EQUIVALENTS[name] = _by_device(EQUIVALENTS[name], _pair(gpu_ops, name))
    attention = _pair(gpu_attention, "attention")
    EQUIVALENTS["attention"] = _by_device(EQUIVALENTS["attention"], attention)
    EQUIVALENTS["rows"] = _pair(gpu_product, "rows")


_before: list[dict[str, Any]] = []  # what each block that is not left yet has found


@contextmanager
def enabled() -> Iterator[None]:
    """Let all of them take their definitions' place within a `with` block, in this process.

    Blocks need not end in reverse order: two chains of samples may be drawn in turn. The last one
    brings back what the first one has found.
    """
    _before.append(_before[0] if _before else dict(FASTER))
    enable()
    try:
        yield
    finally:
        before = _before.pop()
        if not _before:
            FASTER.clear()
            FASTER.update(before)


def enable() -> None:
    """Let all of them take their definitions' place in this process, from now on.

    The process then also keeps the memory that it frees (`buffers.keep_freed_memory`).
    """
    FASTER.update(EQUIVALENTS)
    keep_freed_memory()


def on_gpu(
    unet: UNet, ema: UNet, gradient: Gradient = train.gradient, graph: bool = False
) -> tuple[Gradient, Callable[..., Array]]:
    """`gradient` and `ema.denoise` in fewer launches, for networks bound to GPU arrays.

    With `graph`, the gradient is a CUDA graph (`cuda/graph.py`).
    """
    if unet.theta.dtype != "float32" or not find_spec("tinyddpm.fast.cuda"):
        return gradient, ema.denoise
    from .cuda.parameters import Premultiplied

    premultiplied = Premultiplied(unet, ema, gradient)
    if not graph:
        return premultiplied.gradient, premultiplied.denoise
    from .cuda.graph import Captured

    return Captured(premultiplied.gradient), premultiplied.denoise


def disable() -> None:
    """Back to the definitions."""
    for name in EQUIVALENTS:
        FASTER.pop(name, None)
