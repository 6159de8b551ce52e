"""The same results, sooner: faster equivalents of the definitions in `tinyddpm.nn`, for NumPy on a CPU and for CuPy on a GPU.

    from tinyddpm import fast
    with fast.enabled():     # within the block networks use them wherever they apply; nothing else changes
        ...
    fast.enable()            # for a script: from now on
    fast.disable()           # back to the definitions

Nothing here need be read to understand the model, and without this folder everything works as before, only slower.

    ops.py           what takes the place of what, and when
    tiles.py         Winograd's convolution, and up-sampling folded into it: the one with most to learn from
    norm_silu.py     GroupNorm and SiLU in few passes over memory
    convolutions.py  the other shapes of convolution
    buffers.py       memory that is used again
    parallel.py      all cores at once: shards of a batch in worker processes (worker.py), over shared memory (shared.py)
    cuda/            for GPU arrays: kernels written by hand
"""
from contextlib import contextmanager
from importlib.util import find_spec

from autograd import Tensor
from autograd.backend import array_module

from ..equivalents import FASTER
from . import ops
from .buffers import keep_freed_memory

NAMES = "norm_silu_conv", "upsample_conv", "conv2d", "conv2d_bias", "linear", "group_norm", "attention"
EQUIVALENTS = {name: (getattr(ops, f"accepts_{name}"), getattr(ops, name)) for name in NAMES}


def _by_device(name, on_gpu):
    """(accepts, equivalent) that go where the first argument lies: to the one for a CPU, or to the one for a GPU."""
    on_cpu = EQUIVALENTS[name]

    def choose(x):
        return on_cpu if array_module(x.data if isinstance(x, Tensor) else x).__name__ == "numpy" else on_gpu

    return (lambda x, *args, **options: choose(x)[0](x, *args, **options)), (lambda x, *args, **options: choose(x)[1](x, *args, **options))


if find_spec("tinyddpm.fast.cuda"):
    from .cuda import ops as gpu_ops
    for name in "norm_silu_conv", "conv2d", "group_norm":
        EQUIVALENTS[name] = _by_device(name, (getattr(gpu_ops, f"accepts_{name}"), getattr(gpu_ops, name)))


@contextmanager
def enabled():
    """Let all of them take their definition's place within a `with` block, in this process."""
    before = dict(FASTER)
    enable()
    try:
        yield
    finally:
        FASTER.clear()
        FASTER.update(before)


def enable():
    """Let all of them take their definition's place, in this process, and have it keep the memory it frees (`buffers.py`)."""
    FASTER.update(EQUIVALENTS)
    keep_freed_memory()


def disable():
    """Back to the definitions."""
    for name in EQUIVALENTS:
        FASTER.pop(name, None)
