"""The parent's side: it cuts a batch into shards, hands them out, and adds up the gradients.

`tree_sum` is the only place where gradients of different shards meet. If other machines have some
of them, `distributed.tree` takes its place, and adds in the same order.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np

from ... import train
from ...equivalents import FASTER
from ...nn.unet import UNet
from ...schedule import Schedule
from ...types import Array, Draw, Gradient
from ..premultiplied import factors
from .memory import Memory, Spec
from .part import Part, address, check_batch, cut_for_denoising, even_parts
from .processes import Worker, WorkerLost, cores
from .protocol import Setup, name_of
from .threads import one_thread
from .tree import tree_sum

STARTING = 120  # seconds after which a worker that has not answered is given up


class Shards:
    """`train.gradient` and `UNet.denoise`, computed by several processes, within a `with` block.

    Meanwhile BLAS uses one thread, in this process too. An exception in the middle of a step,
    Ctrl-C included, ends the workers. If a worker is lost (the system ended it, for want of memory
    perhaps), the others go on without it, and the results are the same bits.

    Args:
        unet: the network. Its θ and gradient move to shared memory for that time, as does the θ of
            `ema`; do not bind either to something else meanwhile.
        schedule: the noise schedule.
        workers: how many processes compute, this one included. 1 starts none; None means all
            `cores()`. More than `shards` find no work.
        shards: into how many parts a batch is cut. Results depend on it in their last digits.
        ema: a UNet of the same configuration, such as one bound to the EMA, which `denoise` uses in
            place of `unet`.
        gradient: the function to compute for each shard: `train.gradient`, or another with its
            arguments that the workers can import. A functools.partial of one may set further
            arguments by name, to what JSON can say.
        say: is told, in words, of each worker that is lost.
    """

    def __init__(
        self,
        unet: UNet,
        schedule: Schedule,
        workers: int | None = None,
        shards: int = 4,
        ema: UNet | None = None,
        gradient: Gradient = train.gradient,
        say: Callable[[str], object] = warnings.warn,
    ) -> None:
        for name, number in (("workers", workers), ("shards", shards)):
            if number is not None and number < 1:
                raise ValueError(f"{name}: expected at least 1, got {number}")
        if ema is not None and not _alike(ema, unet):
            raise ValueError("ema: expected a network of the same configuration as unet")
        ema = None if ema is unet else ema  # one network has one place for its θ
        self.unet, self.schedule, self.ema, self.shards = unet, schedule, ema, shards
        self.gradient_of_shard, self.say = gradient, say
        self.count = min(workers or cores(), shards)
        self._reset()

    def _reset(self) -> None:
        """As it is outside of the `with` block."""
        self.part: Part | None = None
        self.workers: list[Worker] = []
        self.threads = contextlib.ExitStack()
        self.memories: list[Memory] = []

    def __enter__(self) -> Self:
        theta = self.unet.theta
        size, dtype = theta.size, theta.dtype.str
        in_partial = 0 if self.unet.grad is None else size
        multiplied = any(c != 1 for _, c in factors(self.unet))
        vectors: list[Spec] = [
            (dtype, (size,)),
            (dtype, (size if self.ema else 0,)),
            (dtype, (size if multiplied else 0,)),
            (dtype, (self.shards, in_partial)),
        ]
        try:
            self.threads.enter_context(one_thread())
            needed = theta.itemsize * sum(math.prod(shape) for _, shape in vectors)
            self.memories = [Memory(size=needed), Memory()]
            arrays = self.memories[0].arrays(vectors)
            theta, ema, _, partials = arrays
            _move(self.unet, theta, partials[0] if in_partial else None)
            if self.ema is not None:
                _move(self.ema, ema, self.ema.grad)
            for i in range(1, self.count):
                self.workers.append(Worker(i, self._setup(vectors)))
            gradient, exchange = self.gradient_of_shard, self.memories[1]
            self.part = Part(self.unet, gradient, self.schedule, arrays, exchange)
            for worker in self.workers:
                worker.wait(STARTING)
        except BaseException:
            self.close()
            raise
        return self

    def _setup(self, vectors: list[Spec]) -> Setup:
        config, gradient = self.unet.config, self.gradient_of_shard
        return Setup(
            network=name_of(type(self.unet)),
            config=name_of(type(config)),
            settings=asdict(config),
            multipliers=asdict(self.unet.c),
            gradient=name_of(getattr(gradient, "func", gradient)),  # func: of a functools.partial
            options=getattr(gradient, "keywords", {}),
            beta=self.schedule.beta[1:].tolist(),
            vectors=vectors,
            fds=[memory.fd for memory in self.memories],
            faster=sorted(FASTER),
            errors=dict(np.geterr()),
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, give BLAS its threads back, and the networks private memory again."""
        for worker in self.workers:
            worker.end()
        if self.memories:
            for net in filter(None, (self.unet, self.ema)):
                _move(net, net.theta.copy(), None if net.grad is None else net.grad.copy())
        for memory in self.memories:
            memory.close()
        self.threads.close()
        self._reset()

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
        """As `train.gradient`, for the unet and the schedule that this object was made with.

        `importance` goes to the function for each shard. `dropout` must be a `noise.Stream`. Raises
        WorkerError if a worker fails.
        """
        M = len(x0)
        cut = even_parts(M, max(1, min(self.shards, M)))
        with self.added_to_grad():
            J, errors = self.partial_gradients(
                cut, unet, schedule, x0, t, eps, form, batch_size or M, dropout, cond, importance
            )
            tree_sum(self.partials[: len(cut)])
        return np.asarray(J.sum()), errors

    @contextlib.contextmanager
    def added_to_grad(self) -> Iterator[None]:
        """What the block puts into the first row of `partials` is added to `unet.grad`.

        They are the same memory, so what stood there is kept meanwhile, if it is not zero.
        """
        before = self.unet.grad.copy() if self.unet.grad.any() else None
        yield
        if before is not None:
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
        """The gradient of each shard in a row of `partials`, J of each, and the errors (N,).

        The shards are x0[s] for each s of `cut`, at most as many as `shards`.
        """
        if unet is not self.unet or schedule is not self.schedule:
            raise ValueError(
                "gradient: expected the unet and the schedule that these Shards were made with"
            )
        check_batch(cut, x0, t, eps)
        stream, sample = address(dropout)
        request = {"form": form, "batch_size": int(batch_size), "dropout": stream}
        request["weighted"] = importance is not None
        dtype = self.unet.theta.dtype.str
        errors, J = self._compute(
            [x0, t, eps, sample, *(a for a in (cond, importance) if a is not None)],
            [(dtype, (len(x0),)), (dtype, (len(cut),))],
            cut,
            do="gradient",
            **request,
        )
        return J.copy(), errors.copy()

    @property
    def partials(self) -> Array:
        """The gradient of each shard, in its row (S, n)."""
        return self._own_part().partials

    def denoise(self, xt: Array, t: Array, cond: Array | None = None) -> Array:
        """As `UNet.denoise`, a fresh array, by `ema` if there is one: a denoiser for samplers.

        Raises WorkerError if a worker fails.
        """
        return self.denoise_cut(cut_for_denoising(len(xt), self.shards), xt, t, cond)

    def denoise_cut(
        self, cut: list[slice], xt: Array, t: Array, cond: Array | None = None
    ) -> Array:
        """As `denoise`, with the shards xt[s] for each s of `cut`."""
        if t.shape != xt.shape[:1]:
            raise ValueError(f"denoise: expected a t for each xt {xt.shape}, got shape {t.shape}")
        inputs, dtype = [xt, t, *([] if cond is None else [cond])], self.unet.theta.dtype.str
        return self._compute(inputs, [(dtype, xt.shape)], cut, do="denoise")[0].copy()

    def _own_part(self) -> Part:
        if self.part is None:
            raise RuntimeError(
                "Shards: expected to be used inside its `with` block, and not after an error in it"
            )
        return self.part

    def _compute(
        self, inputs: list[Array], outputs: list[Spec], cut: list[slice], **request: Any
    ) -> list[Array]:
        """Let every process do its parts of a request. Returns the outputs, in shared memory."""
        part = self._own_part()
        try:
            specs = [(a.dtype.str, a.shape) for a in inputs] + outputs
            request |= {"cut": [[s.start, s.stop] for s in cut], "arrays": specs}
            arrays = self.memories[1].arrays(specs)
            for shared, array in zip(arrays, inputs):
                shared[...] = array
            mine, *theirs = even_parts(len(cut), 1 + len(self.workers))
            part.multiply(request["do"])
            busy = [(worker, s) for worker, s in zip(self.workers, theirs) if s.start < s.stop]
            for worker, s in busy:
                worker.send(request | {"mine": [s.start, s.stop]})
            part.compute(request | {"mine": [mine.start, mine.stop]})
            for worker, s in busy:
                try:
                    worker.wait()
                except WorkerLost as lost:
                    self._go_on_without(worker, lost)
                    part.compute(request | {"mine": [s.start, s.stop]})
        except BaseException:
            # A worker may be in the middle of something: what it would write later is of no use.
            self.close()
            raise
        return arrays[len(inputs) :]

    def _go_on_without(self, worker: Worker, lost: WorkerLost) -> None:
        """Which process computes a part shows in no digit, so a lost worker costs only time."""
        self.workers.remove(worker)
        worker.end()
        self.say(f"{lost}. The run goes on without it, and computes the same numbers")


def _move(net: UNet, theta: Array, grad: Array | None) -> None:
    """Bind the network to these vectors, which take over its numbers."""
    theta[...] = net.theta
    if grad is not None:
        grad[...] = net.grad
    net.bind(theta, grad)


def _alike(a: UNet, b: UNet) -> bool:
    """Are these of the same class and configuration?"""
    return (type(a), a.config, a.c) == (type(b), b.config, b.c)
