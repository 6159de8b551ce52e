"""The same results, sooner: faster equivalents of the definitions in `tinyddpm.nn` for NumPy on a CPU.

    from tinyddpm import fast
    fast.enable()        # from now on networks use them wherever they apply; nothing else changes
    fast.disable()       # back to the definitions

Nothing here need be read to understand the model, and without this folder everything works as before, only slower.

    ops.py           what takes the place of what, and when
    tiles.py         Winograd's convolution, and up-sampling folded into it: the one with most to learn from
    norm_silu.py     GroupNorm and SiLU in few passes over memory
    convolutions.py  the other shapes of convolution
    buffers.py       memory that is used again
    parallel.py      all cores at once: shards of a batch in worker processes (worker.py), over shared memory (shared.py)
"""
from ..nn.equivalents import FASTER
from . import ops
from .buffers import keep_freed_memory

EQUIVALENTS = {
    "norm_silu_conv": (ops.accepts_norm_silu_conv, ops.norm_silu_conv),
    "upsample_conv": (ops.accepts_upsample_conv, ops.upsample_conv),
    "conv2d": (ops.accepts_conv2d, ops.conv2d),
    "linear": (ops.accepts_linear, ops.linear),
    "group_norm": (ops.accepts_group_norm, ops.group_norm),
    "attention": (ops.accepts_attention, ops.attention),
}


def enable():
    """Let all of them take their definition's place, in this process, and have it keep the memory it frees (`buffers.py`)."""
    FASTER.update(EQUIVALENTS)
    keep_freed_memory()


def disable():
    """Back to the definitions."""
    for name in EQUIVALENTS:
        FASTER.pop(name, None)
