"""The same cut on one GPU: it computes its shards one after the other.

with OnCard(unet, schedule, shards=4, ema=ema_unet) as card:
    for step in train(unet, images, schedule, beta, seed=0, gradient=card.gradient):
        ...

One shard is fastest: a GPU computes a whole batch at once. More of them are for runs that several
ranks share (`distributed/`), each with a GPU, and for going on with such a run on one GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, cast

from autograd.backend import array_module, to_numpy

from ... import noise, train
from ...nn.unet import UNet
from ...schedule import Schedule
from ...types import Array, Draw, Gradient
from .. import on_gpu
from .part import check_batch, cut_for_denoising, even_parts
from .tree import pairs


class OnCard:
    """Has the methods of `Shards`, and computes in this process, where θ lies.

    Args:
        unet: the network, bound to arrays on a GPU.
        schedule: the noise schedule.
        shards: into how many parts a batch is cut. Results depend on it in their last digits.
        ema: the network to denoise with; None: `unet`.
        gradient: the function to compute for each shard.
        graph: a shard's gradient is a CUDA graph (`cuda/graph.py`).

    Attributes:
        partials: the gradient of each shard (n,). The first is `unet.grad` itself.
    """

    def __init__(
        self,
        unet: UNet,
        schedule: Schedule,
        shards: int,
        ema: UNet | None = None,
        gradient: Gradient = train.gradient,
        graph: bool = False,
    ) -> None:
        self.unet, self.schedule, self.shards = unet, schedule, shards
        second = unet if ema is None else ema
        self._gradient, self._denoise = on_gpu(unet, second, gradient, graph)
        self.partials: list[Array] = []

    def __enter__(self) -> Self:
        grad: Array | None = self.unet.grad
        if grad is not None:
            empty = array_module(grad).empty_like
            self.partials = [grad, *(empty(grad) for _ in range(1, self.shards))]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back."""
        self.partials = []

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
        importance: Array | None = None,
    ) -> tuple[Array, Array]:
        """As `Shards.gradient`. J comes in main memory, the errors on the GPU."""
        M = len(x0)
        cut = even_parts(M, max(1, min(self.shards, M)))
        with self.added_to_grad():
            J, errors = self.partial_gradients(
                cut, unet, schedule, x0, t, eps, form, batch_size or M, dropout, cond, importance
            )
            for i, j in pairs(len(cut)):
                self.partials[i] += self.partials[j]
        return to_numpy(J.sum()), errors

    @contextmanager
    def added_to_grad(self) -> Iterator[None]:
        """What the block puts into the first of `partials` is added to `unet.grad`.

        Whether that is zero is not asked: the answer would be a copy to the host.
        """
        before = self.unet.grad.copy()
        yield
        self.unet.grad += before

    def partial_gradients(
        self,
        cut: list[slice],
        unet: UNet,
        schedule: Schedule,
        x0: Array,
        t: Array,
        eps: Array,
        form: str,
        batch_size: int,
        dropout: Draw | None,
        cond: Array | None,
        importance: Array | None = None,
    ) -> tuple[Array, Array]:
        """As `Shards.partial_gradients`. J (S,) comes in main memory, the errors (N,) do not."""
        check_batch(cut, x0, t, eps)
        xp, dtype = array_module(x0), self.unet.theta.dtype
        J, errors = xp.empty(len(cut), dtype), xp.empty(len(x0), dtype)
        for i in reversed(range(len(cut))):  # the first shard's stays where it is computed
            s = cut[i]
            unet.grad[...] = 0
            batch = x0[s], t[s], eps[s], form, batch_size, _part(dropout, s)
            options: Any = {} if importance is None else {"importance": importance[s]}
            given = None if cond is None else cond[s]
            J[i], errors[s] = self._gradient(unet, schedule, *batch, given, **options)
            if i:
                self.partials[i][...] = unet.grad
        return to_numpy(J), errors

    def denoise(self, xt: Array, t: Array, cond: Array | None = None) -> Array:
        """As `Shards.denoise`, of arrays anywhere. x̂_0 is on the GPU."""
        return self.denoise_cut(cut_for_denoising(len(xt), self.shards), xt, t, cond)

    def denoise_cut(
        self, cut: list[slice], xt: Array, t: Array, cond: Array | None = None
    ) -> Array:
        """As `denoise`, with the shards xt[s] for each s of `cut`."""
        xp = array_module(self.unet.theta)
        given: list[Any] = [a for a in (xt, t, cond) if a is not None]
        return xp.concatenate([self._denoise(*(xp.asarray(a[s]) for a in given)) for s in cut])


def _part(dropout: Draw | None, s: slice) -> noise.Stream | None:
    """The noise for dropout in some of the samples."""
    if dropout is None:
        return None
    stream = cast(noise.Stream, dropout)  # as in `address`
    seed, step, index = stream.address
    return noise.Stream(seed, stream.purpose, step, index[s])
