"""What each process computes: its shards of a batch, with the same network and the same θ."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from ... import noise
from ...nn.unet import UNet
from ...schedule import Schedule
from ...types import Array, Draw, Gradient
from ..premultiplied import factors, twin
from .memory import Memory

# Numbers in the largest feature map of the samples that are computed at once. It bounds memory.
LARGEST_MAP = 1 << 20
LEAST = 8  # images in a part of `denoise`, if there are more than two parts


def even_parts(n: int, parts: int) -> list[slice]:
    """Cut n things in a row into contiguous parts whose sizes differ by at most one."""
    return [slice(n * i // parts, n * (i + 1) // parts) for i in range(parts)]


def cut_for_denoising(n: int, shards: int) -> list[slice]:
    """The parts of n images for a forward pass. It is short, so a few images make two parts only.

    Smaller ones would cost more than they gain.
    """
    return even_parts(n, max(1, min(shards, n, max(2, n // LEAST))))


def micro_batches(shard: slice, most: int) -> list[slice]:
    """A shard cut into as few slices of at most `most` samples as possible."""
    n = shard.stop - shard.start
    return [
        slice(shard.start + part.start, shard.start + part.stop)
        for part in even_parts(n, -(-n // most))
    ]


def check_batch(cut: Sequence[slice], x0: Array, t: Array, eps: Array) -> None:
    """Raise ValueError unless these are a mini-batch that is cut like this."""
    if t.shape != x0.shape[:1] or eps.shape != x0.shape:
        raise ValueError(
            f"gradient: expected a t and an eps for each x0 {x0.shape}, "
            f"got shapes {t.shape} and {eps.shape}"
        )
    if len(x0) != cut[-1].stop:  # train(…, samples=ranks.samples) was forgotten
        raise ValueError(f"gradient: expected {cut[-1].stop} images here, got {len(x0)}")


class Part:
    """Computes some shards of a batch: for each the same network and θ, and a gradient of its own.

    Args:
        unet: a U-Net of the kind wanted; its own numbers are not used.
        gradient: the function to compute for each shard.
        schedule: the noise schedule.
        vectors: θ, the EMA (or a vector of length 0), c·θ or c·EMA (of length 0 where all c are
            1), and the partial gradients, one row a shard.
        exchange: the memory for inputs and results.
    """

    def __init__(
        self,
        unet: UNet,
        gradient: Gradient,
        schedule: Schedule,
        vectors: Sequence[Array],
        exchange: Memory,
    ) -> None:
        config = unet.config
        self.gradient_of_shard = gradient
        self.theta, ema, self.effective, self.partials = vectors
        self.denoising_theta = ema if ema.size else self.theta
        self.schedule, self.exchange = schedule, exchange
        _, height, width = config.image
        self.micro_batch = max(1, LARGEST_MAP // (height * width * config.base))
        self.factors = factors(unet)
        multiplied = self.effective.size > 0
        self.denoiser = twin(unet).bind(self.effective if multiplied else self.denoising_theta)
        weights = self.effective if multiplied else self.theta
        self.nets = [twin(unet).bind(weights, row) for row in self.partials if row.size]

    def multiply(self, do: str) -> None:
        """Put c·θ, or c·EMA if the request is to "denoise", where all processes read it.

        The parent does this before it sends the request: the others then need no memory for it.
        """
        if not self.effective.size:
            return
        theta = self.denoising_theta if do == "denoise" else self.theta
        for where, c in self.factors:
            np.multiply(theta[where], c, out=self.effective[where])

    def compute(self, request: dict[str, Any]) -> None:
        """Do this process's part of a request.

        Args:
            request: "do" names one of the methods below; "arrays" are the (dtype, shape) of its
                arrays in `exchange`; everything else are its further arguments.
        """
        do = getattr(self, request.pop("do"))
        do(*self.exchange.arrays(request.pop("arrays")), **request)

    def gradient(
        self,
        x0: Array,
        t: Array,
        eps: Array,
        sample: Array,
        *rest: Array,
        cut: Sequence[Sequence[int]],
        mine: Sequence[int],
        form: str,
        batch_size: int,
        dropout: Sequence[Any] | None,
        weighted: bool = False,
    ) -> None:
        """The partial gradients and J of this process's shards, and the errors of their samples.

        x0, t, eps, form and batch_size are as in `train.gradient`. `rest` holds the conditioning,
        if there is one, a weight for each sample, if `weighted`, and then, for results, the errors
        and J. `cut` has the start and the stop
        of each shard; from mine[0] up to, but not including, mine[1] they are this process's.
        `dropout` has the seed, the purpose and the step of its noise, and `sample` the numbers of
        the samples.
        """
        *cond, errors, J = rest
        importance = cond.pop() if weighted else None
        for i in range(*mine):
            net = self.nets[i]
            net.grad[...] = 0
            J[i] = 0
            for s in micro_batches(slice(*cut[i]), self.micro_batch):
                J_of_s, errors[s] = self.gradient_of_shard(
                    net,
                    self.schedule,
                    x0[s],
                    t[s],
                    eps[s],
                    form,
                    batch_size,
                    _stream(dropout, sample[s]),
                    *(a[s] for a in cond),
                    **({} if importance is None else {"importance": importance[s]}),
                )
                J[i] += J_of_s
            for where, c in self.factors:
                if c != 1:
                    net.grad[where] *= c

    def denoise(
        self,
        xt: Array,
        t: Array,
        *rest: Array,
        cut: Sequence[Sequence[int]],
        mine: Sequence[int],
    ) -> None:
        """As `UNet.denoise`, for this process's shards.

        `rest` holds the conditioning, if there is one, and then, for the result, an array.
        """
        *cond, out = rest
        for s in (slice(*cut[i]) for i in range(*mine)):
            out[s] = self.denoiser.denoise(xt[s], t[s], *(a[s] for a in cond))


def _stream(address: Sequence[Any] | None, index: Array) -> noise.Stream | None:
    """The noise for dropout in these samples."""
    if address is None:
        return None
    seed, purpose, step = address
    return noise.Stream(seed, purpose, step, index)


def address(dropout: Draw | None) -> tuple[list[Any] | None, Array]:
    """The seed, purpose and step of dropout's noise, and the numbers of its samples."""
    if dropout is None:
        return None, np.arange(0)
    stream = cast(noise.Stream, dropout)  # the only kind of Draw that other processes can repeat
    seed, step, sample = stream.address
    return [int(seed), stream.purpose, int(step)], np.asarray(sample)
