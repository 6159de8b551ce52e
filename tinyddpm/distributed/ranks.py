"""`train.gradient` and `UNet.denoise`, computed by all ranks together."""

import hashlib
import os
import socket
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np

from autograd.backend import array_module, to_numpy

from .. import train
from ..fast.parallel import Shards, cores
from ..fast.parallel.card import OnCard
from ..fast.parallel.part import cut_for_denoising, even_parts
from ..nn.unet import UNet
from ..schedule import Schedule
from ..types import Array, Draw, Gradient
from .cut import cut, from_zero
from .links import link_of
from .same import check_same
from .tree import tree_sum


class Ranks:
    """Takes the place of `Shards`, on each rank with `Shards` of its own, within a `with` block.

    If the network lies on a GPU, each rank computes its shards there, one after the other.

    The batch is cut into the same shards as without MPI. Each rank owns some in a row. All ranks
    must call the same methods in the same order, as they do if they run the same program.

    Args:
        comm: a `Team`, or an MPI communicator as mpi4py has it.
        unet: the network, with the same θ on all ranks.
        schedule: the noise schedule.
        batch_size: images in a mini-batch of all ranks; None: only to denoise.
        workers: on a CPU: how many processes compute on this rank; None: a fair part of this
            machine's cores.
        shards: into how many parts a batch is cut. Results depend on it in their last digits.
        ema: as in `Shards`.
        gradient: as in `Shards`.
        say: as in `Shards`.
        graph: on a GPU, as in `OnCard`.

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
        batch_size: int | None = None,
        workers: int | None = None,
        shards: int = 4,
        ema: UNet | None = None,
        gradient: Gradient = train.gradient,
        say: Callable[[str], object] = warnings.warn,
        graph: bool = False,
    ) -> None:
        self.comm, self.batch_size, self.shards = comm, batch_size, shards
        count = shards
        if batch_size is not None:
            self.owners, mine = owned = cut(batch_size, shards, comm.rank, comm.size)
            self.samples, self.cut, count = owned.samples, from_zero(mine), len(mine)
        elif comm.size > shards and not comm.rank:
            say(f"ranks: at most {shards} of {comm.size} have work, one for each shard of the run")
        self.own: Shards | OnCard
        if array_module(unet.theta) is np:
            sharing = _sharing(comm)  # all ranks ask, also those that are told their workers
            workers = workers or max(1, cores() // sharing)
            self.own = Shards(unet, schedule, workers, count, ema, gradient, say)
        else:
            self.own = OnCard(unet, schedule, count, ema, gradient, graph)

    def __enter__(self) -> Self:
        theta = hashlib.sha256(to_numpy(self.own.unet.theta).data).hexdigest()[:12]
        check_same(self.comm, theta=theta, batch_size=self.batch_size, shards=self.shards)
        self.link = link_of(self.comm, self.own.unet.theta)
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
        M = batch_size or self.batch_size or len(x0)
        with self.own.added_to_grad():
            J, errors = self.own.partial_gradients(
                self.cut, unet, schedule, x0, t, eps, form, M, dropout, cond
            )
            of_ranks = self.comm.allgather(J)  # before the sum: a rank that has failed says so here
            tree_sum(self.link, self.comm.rank, self.own.partials, self.owners)
        return np.concatenate(of_ranks).sum(), errors

    def denoise(self, xt: Array, t: Array, cond: Array | None = None) -> Array:
        """As `Shards.denoise`: all ranks get all of xt, compute a part, and have all of x̂_0."""
        parts = cut_for_denoising(len(xt), self.shards)
        of_ranks = [parts[s] for s in even_parts(len(parts), self.comm.size)]
        mine, x0_hat = of_ranks[self.comm.rank], xt[:0]
        if mine:
            s = slice(mine[0].start, mine[-1].stop)
            given = (xt[s], t[s], None if cond is None else cond[s])
            x0_hat = self.own.denoise_cut(from_zero(mine), *given)
        self.comm.allgather(None)  # a rank that has failed says so here
        whole, each = np.empty(xt.shape, xt.dtype), xt[0].size
        counts = [each * (p[-1].stop - p[0].start) if p else 0 for p in of_ranks]
        self.comm.Allgatherv(np.ascontiguousarray(to_numpy(x0_hat)), (whole, counts))
        return array_module(xt).asarray(whole)


def _sharing(comm: Any) -> int:
    """How many ranks share this one's cores: a launcher may give each its own."""
    own = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()
    here = socket.gethostname()
    of_ranks = comm.allgather((here, own))
    cores_here = [theirs for host, theirs in of_ranks if host == here]
    return sum(own == theirs or not own.isdisjoint(theirs) for theirs in cores_here)
