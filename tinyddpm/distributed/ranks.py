"""`train.gradient` and `UNet.denoise`, computed by all ranks together."""

import hashlib
import socket
from types import TracebackType
from typing import Any, Self

import numpy as np

from .. import train
from ..fast.parallel import Shards, cores
from ..fast.parallel.part import cut_for_denoising, even_parts
from ..nn.unet import UNet
from ..schedule import Schedule
from ..types import Array, Draw, Gradient
from .tree import tree_sum
from .world import check_same


class Ranks:
    """Takes the place of `Shards`, on each rank with `Shards` of its own, within a `with` block.

    The batch is cut into the same shards as without MPI. Each rank owns some in a row. All ranks
    must call the same methods in the same order, as they do if they run the same program.

    Args:
        comm: an MPI communicator, as mpi4py has it.
        unet: the network, with the same θ on all ranks.
        schedule: the noise schedule.
        batch_size: images in a mini-batch of all ranks.
        workers: how many processes compute on this rank; None: a fair part of this machine's cores.
        shards: into how many parts a batch is cut. Results depend on it in their last digits.
        ema: as in `Shards`.
        gradient: as in `Shards`.

    Attributes:
        samples: which images of a mini-batch are this rank's: `train`'s argument of that name.

    Raises:
        ValueError: there are more ranks than shards, so that one would have nothing to do. On
            entering the block: the ranks differ in θ, the batch size or the shards.
    """

    def __init__(
        self,
        comm: Any,
        unet: UNet,
        schedule: Schedule,
        batch_size: int,
        workers: int | None = None,
        shards: int = 4,
        ema: UNet | None = None,
        gradient: Gradient = train.gradient,
    ) -> None:
        self.comm, self.batch_size, self.shards = comm, batch_size, shards
        cut = even_parts(batch_size, max(1, min(shards, batch_size)))
        if comm.size > len(cut):
            raise ValueError(
                f"shards: expected at least one for each of {comm.size} ranks, "
                f"got {shards} of {batch_size} images"
            )
        owned = even_parts(len(cut), comm.size)
        self.owners = [rank for rank, s in enumerate(owned) for _ in range(s.start, s.stop)]
        mine = cut[owned[comm.rank]]
        self.samples = slice(mine[0].start, mine[-1].stop)
        self.cut = _from_zero(mine)
        workers = workers or max(1, cores() // _ranks_here(comm))
        self.own = Shards(unet, schedule, workers, len(mine), ema, gradient)

    def __enter__(self) -> Self:
        theta = hashlib.sha256(self.own.unet.theta).hexdigest()[:12]
        check_same(self.comm, theta=theta, batch_size=self.batch_size, shards=self.shards)
        self.own.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.own.close()

    def gradient(
        self,
        unet: UNet,
        schedule: Schedule,
        x0: Array,
        t: Array,
        eps: Array,
        form: str = "mse",
        batch_size: int | None = None,
        dropout: Draw | None = None,
        cond: Array | None = None,
    ) -> tuple[Array, Array]:
        """As `train.gradient`, given the images `samples` of the mini-batch on each rank.

        Returns J of the whole mini-batch, and the errors of this rank's images.
        """
        M = batch_size or self.batch_size
        with self.own.added_to_grad():
            J, errors = self.own.partial_gradients(
                self.cut, unet, schedule, x0, t, eps, form, M, dropout, cond
            )
            tree_sum(self.comm, self.own.partials, self.owners)
        return np.concatenate(self.comm.allgather(J)).sum(), errors

    def denoise(self, xt: Array, t: Array, cond: Array | None = None) -> Array:
        """As `Shards.denoise`: all ranks get all of xt, compute a part, and have all of x̂_0."""
        cut = cut_for_denoising(len(xt), self.shards)
        mine = cut[even_parts(len(cut), self.comm.size)[self.comm.rank]]
        x0_hat = xt[:0]
        if mine:
            s = slice(mine[0].start, mine[-1].stop)
            given = (xt[s], t[s], None if cond is None else cond[s])
            x0_hat = self.own.denoise_cut(_from_zero(mine), *given)
        return np.concatenate(self.comm.allgather(x0_hat))


def _from_zero(cut: list[slice]) -> list[slice]:
    """Neighbouring slices, moved so that the first begins at 0."""
    start = cut[0].start
    return [slice(s.start - start, s.stop - start) for s in cut]


def _ranks_here(comm: Any) -> int:
    """How many ranks run on this machine."""
    here = socket.gethostname()
    return max(1, comm.allgather(here).count(here))
