"""How a gradient travels from one rank to another. The tree (tree.py) knows nothing of it.

link = link_of(comm, unet.theta)
link.send(row, dest, tag)           # on one rank
link.add(row, source, tag)          # on another: row += what was sent
link.spread(row)                    # on all: row = that of rank 0

`ThroughMemory` works everywhere. `ThroughNCCL` takes GPU arrays straight from GPU to GPU. It has
not run on any machine yet, so it must be asked for: TINYDDPM_GRADIENTS=nccl.
"""

import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from autograd import gpus
from autograd.backend import array_module, to_numpy

from ..types import Array
from .same import check_same

VIA = "TINYDDPM_GRADIENTS"
WAYS = ("memory", "nccl")


class Link(Protocol):
    """What carries vectors between ranks. It computes nothing but one sum of two."""

    def send(self, row: Array, dest: int, tag: int) -> None:
        """Send it to the rank `dest`, which adds it to its own."""

    def add(self, row: Array, source: int, tag: int) -> None:
        """Add to `row`, in place, what the rank `source` sends."""

    def spread(self, row: Array) -> None:
        """Fill `row` with that of rank 0, on all ranks."""


def link_of(comm: Any, like: Array) -> Link:
    """The link for arrays that lie where `like` does. All ranks call it.

    Raises:
        ValueError: TINYDDPM_GRADIENTS is none of WAYS, or another one on another rank.
        RuntimeError: NCCL was asked for and is not there.
    """
    if array_module(like) is np:
        return ThroughMemory(comm)
    way = os.environ.get(VIA, "memory")
    if way not in WAYS:
        raise ValueError(f"{VIA}: expected {' or '.join(WAYS)}, got {way!r}")
    check_same(comm, **{VIA: way})
    return ThroughNCCL(comm) if way == "nccl" else ThroughMemory(comm)


class ThroughMemory:
    """By MPI, which is given arrays in main memory: one on a GPU is copied there and back.

    Args:
        comm: a `Team`, or an MPI communicator as mpi4py has it.
    """

    def __init__(self, comm: Any) -> None:
        self.comm = comm

    def send(self, row: Array, dest: int, tag: int) -> None:
        """See Link."""
        self.comm.Send(to_numpy(row), dest=dest, tag=tag)

    def add(self, row: Array, source: int, tag: int) -> None:
        """See Link."""
        received = np.empty(row.shape, row.dtype)
        self.comm.Recv(received, source=source, tag=tag)
        row += array_module(row).asarray(received)

    def spread(self, row: Array) -> None:
        """See Link."""
        here = to_numpy(row) if self.comm.rank == 0 else _in_memory(row)
        self.comm.Bcast(here, root=0)
        if self.comm.rank and here is not row:
            row[...] = array_module(row).asarray(here)


class ThroughNCCL:
    """By NVIDIA's NCCL, from GPU to GPU. **It has not run yet.** No sum is NCCL's.

    Args:
        comm: a `Team`, or an MPI communicator as mpi4py has it, by which the ranks find each other.

    Raises:
        RuntimeError: NCCL is not installed here.
    """

    def __init__(self, comm: Any) -> None:
        nccl = gpus.nccl()
        if not nccl.available:
            raise RuntimeError(
                f"{VIA}: expected NCCL to be installed, which CuPy does not find; "
                f"pip install nvidia-nccl-cu12 (or cu13), or set {VIA}=memory"
            )
        name = comm.allgather(None if comm.rank else nccl.get_unique_id())[0]
        self.comm = comm
        self.nccl = nccl.NcclCommunicator(comm.size, name, comm.rank)
        self.kinds = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}

    def send(self, row: Array, dest: int, tag: int) -> None:
        """See Link. NCCL has no tags: what two ranks send each other comes in its order."""
        self._call(self.nccl.send, row, dest)

    def add(self, row: Array, source: int, tag: int) -> None:
        """See Link."""
        received = array_module(row).empty_like(row)
        self._call(self.nccl.recv, received, source)
        row += received

    def spread(self, row: Array) -> None:
        """See Link."""
        self._call(self.nccl.bcast, row, 0)

    def _call(self, function: Callable[..., None], row: Any, rank: int) -> None:
        """Let it work on this thread's stream, and look until it is done: a Team has an end."""
        cuda = array_module(row).cuda
        stream = cuda.get_current_stream()
        function(row.data.ptr, row.size, self.kinds[str(row.dtype)], rank, stream.ptr)
        if wait := getattr(self.comm, "wait", None):
            done = cuda.Event(disable_timing=True)
            done.record(stream)
            wait(lambda: done.done, rank)


def _in_memory(row: Array) -> Array:
    """The array itself, or an empty one like it if it lies on a GPU."""
    return row if array_module(row) is np else np.empty(row.shape, row.dtype)
