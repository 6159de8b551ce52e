"""All cores at once: each batch is cut into shards, worker processes take some each, and their gradients are added up.

    with Shards(unet, schedule, ema=ema_unet) as shards:
        for step in train(unet, images, schedule, beta, seed=0, gradient=shards.gradient):
            ...
        *_, (t, x0, _) = ddim(shards.denoise, schedule, x_T)

**Exact.** Nothing in a U-Net mixes samples (that is why it has GroupNorm), and J is a sum over them. So the gradient of a batch
is the sum of its shards', each computed by `train.gradient` itself.

**The same bits on any machine that multiplies alike.** Floating-point addition depends on order. So the cut into shards depends on
`shards` alone, the partial gradients are added as a fixed binary tree, and each process multiplies with one BLAS thread.
How many workers there are, and which is faster, shows in no digit.

**Processes, not threads.** Python runs the interpreter in one thread at a time. NumPy lets go of that lock inside an operation, but a
U-Net's step is thousands of short ones, and handing the lock over after each costs 10 to 30 % with two threads. More
BLAS threads in one process are no way out: only the matrix products use them, and most are small.

θ, the partial gradients and the batch lie in shared memory (`shared.py`). What goes through pipes is one short line of JSON to
each worker and four bytes back. `tree_sum` is the only place where gradients of different shards meet: training on several
machines would put an all-reduce there.
"""
import contextlib
import dataclasses
import json
import os
import select
import signal
import struct
import subprocess
import sys

import numpy as np
from threadpoolctl import threadpool_limits

from .. import noise, train
from ..equivalents import FASTER
from .premultiplied import factors, twin
from .shared import Memory

LARGEST_MAP = 1 << 20  # numbers in the largest feature map of the samples that are computed at once; bounds the memory in use
BLOCK = 1 << 15  # numbers of each partial gradient that are added at a time: few enough to stay in the processor's cache
LEAST = 8  # images in a part of `denoise`, if there are more than two parts
STARTING = 120  # seconds after which a worker that has not said a word is given up
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "BLIS", "VECLIB")}  # for a process to come


class WorkerError(RuntimeError):
    """A worker process failed or was ended."""


def cores():
    """How many cores this process may use, which can be fewer than the machine has. 1 on Windows, where no worker could be started."""
    if os.name != "posix":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cut(n, parts):
    """n things in a row, cut into contiguous parts whose sizes differ by at most one: a list of slices."""
    return [slice(n * i // parts, n * (i + 1) // parts) for i in range(parts)]


def pieces(shard, most):
    """A slice cut into as few slices of at most `most` things as possible."""
    n = shard.stop - shard.start
    return [slice(shard.start + part.start, shard.start + part.stop) for part in cut(n, -(-n // most))]


def tree_sum(partials, out):
    """Add all rows of `partials` (S, n) to `out` (n,), as ((0 + 1) + (2 + 3)) + … whoever computed them. Overwrites the rows."""
    for start in range(0, len(out), BLOCK):
        rows = partials[:, start:start + BLOCK]
        step = 1
        while step < len(rows):
            for i in range(0, len(rows) - step, 2 * step):
                rows[i] += rows[i + step]
            step *= 2
        out[start:start + BLOCK] += rows[0]


class Shards:
    """`train.gradient` and `UNet.denoise`, computed by several processes, between `with` and the end of its block.

    unet      its θ moves to shared memory for that time, as does that of `ema`; `bind` neither to something else meanwhile
    workers   processes that compute, this one included; 1 starts none; all `cores()` if None. More than `shards` find no work
    shards    into how many parts a batch is cut. Results depend on it in their last digits
    ema       a UNet of the same configuration, such as one with averaged θ, which `denoise` is to use in place of `unet`
    gradient  the function to share out: `train.gradient`, or another with its arguments that the workers can import; a
              functools.partial of one may set further arguments by name, to what JSON can say

    BLAS is held to one thread meanwhile, in this process too. An exception in the middle of a step, Ctrl-C included, ends the workers.
    """

    def __init__(self, unet, schedule, workers=None, shards=4, ema=None, gradient=train.gradient):
        for name, number in (("workers", workers), ("shards", shards)):
            if number is not None and number < 1:
                raise ValueError(f"{name}: expected at least 1, got {number}")
        if ema is not None and (type(ema), ema.config, ema.c) != (type(unet), unet.config, unet.c):
            raise ValueError("ema: expected a network of the same configuration as unet")
        self.unet, self.schedule, self.ema, self.shards, self.of_shard = unet, schedule, ema, shards, gradient
        self.count = min(workers or cores(), shards)
        self.part, self.workers, self.threads, self.memories = None, [], None, []

    def __enter__(self):
        size, dtype = self.unet.theta.size, self.unet.theta.dtype.str
        trained = self.unet.grad is not None
        vectors = [(dtype, (size,)), (dtype, (size if self.ema else 0,)), (dtype, (self.shards, size if trained else 0))]
        try:
            self.threads = threadpool_limits(1, user_api="blas")
            self.memories = [Memory(size=(2 + self.shards) * self.unet.theta.nbytes), Memory()]
            theta, ema, _ = arrays = self.memories[0].arrays(vectors)
            self._move(theta, ema)
            for i in range(1, self.count):
                self.workers.append(Worker(i, self._setup(vectors)))
            self.part = Part(self.unet, self.of_shard, self.schedule, arrays, self.memories[1])
            for worker in self.workers:
                worker.wait(STARTING)
        except BaseException:
            self.close()
            raise
        return self

    def _setup(self, vectors):
        """What a worker is told first: how to make a network like ours and a Part of the same arrays."""
        function, options = getattr(self.of_shard, "func", self.of_shard), getattr(self.of_shard, "keywords", {})
        config, c = self.unet.config, self.unet.c
        return {"network": name_of(type(self.unet)), "config": [name_of(type(config)), dataclasses.asdict(config)], "multipliers": dataclasses.asdict(c),
                "gradient": [name_of(function), options], "beta": self.schedule.beta[1:].tolist(),
                "vectors": vectors, "fds": [m.fd for m in self.memories], "faster": sorted(FASTER)}

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End the workers, give BLAS its threads back, and the networks private memory with the same numbers."""
        for worker in self.workers:
            worker.end()
        if self.memories:
            self._move(self.unet.theta.copy(), self.ema and self.ema.theta.copy())
        for memory in self.memories:
            memory.close()
        if self.threads:
            self.threads.restore_original_limits()
        self.part, self.workers, self.threads, self.memories = None, [], None, []

    def _move(self, theta, ema):
        """Bind the networks to these vectors, which take over their numbers."""
        for net, vector in ((self.unet, theta), (self.ema, ema)):
            if net:
                vector[...] = net.theta
                net.bind(vector, net.grad)

    def gradient(self, unet, schedule, x0, t, eps, form="mse", batch_size=None, dropout=None, cond=None):
        """As `train.gradient`, for the unet and the schedule that this object was made with. Raises WorkerError."""
        if unet is not self.unet or schedule is not self.schedule:
            raise ValueError("gradient: expected the unet and the schedule that these Shards were made with")
        if t.shape != x0.shape[:1] or eps.shape != x0.shape:
            raise ValueError(f"gradient: expected a t and an eps for each x0 {x0.shape}, got shapes {t.shape} and {eps.shape}")
        seed, step, sample = dropout.address if dropout else (0, 0, np.arange(0))
        stream = dropout and [int(seed), dropout.purpose, int(step)]
        M, dtype = len(x0), unet.theta.dtype.str
        parts = max(1, min(self.shards, M))
        errors, J = self._compute([x0, t, eps, sample, *([] if cond is None else [cond])], [(dtype, (M,)), (dtype, (parts,))], parts,
                                  do="gradient", form=form, batch_size=int(batch_size or M), dropout=stream)
        tree_sum(self.part.partials[:parts], unet.grad)
        return np.asarray(J.sum()), errors.copy()

    def denoise(self, xt, t, cond=None):
        """As `UNet.denoise`, a fresh array, by `ema` if there is one: the denoiser that samplers take. Raises WorkerError.

        A forward pass alone is short, so a few images are cut into two parts only: smaller ones would cost more than they gain.
        """
        if t.shape != xt.shape[:1]:
            raise ValueError(f"denoise: expected a t for each xt {xt.shape}, got shape {t.shape}")
        parts = max(1, min(self.shards, len(xt), max(2, len(xt) // LEAST)))
        out, = self._compute([xt, t, *([] if cond is None else [cond])], [(self.unet.theta.dtype.str, xt.shape)], parts, do="denoise")
        return out.copy()

    def _compute(self, inputs, outputs, parts, **request):
        """Let every process do its parts of a request. Returns the arrays of `outputs`, (dtype, shape) each, in shared memory."""
        if self.part is None:
            raise RuntimeError("Shards: expected to be used inside its `with` block, and not after an error in it")
        try:
            request |= {"parts": parts, "arrays": [(a.dtype.str, a.shape) for a in inputs] + outputs}
            arrays = self.memories[1].arrays(request["arrays"])
            for shared, array in zip(arrays, inputs):
                shared[...] = array
            mine, *theirs = cut(parts, self.count)
            busy = [(worker, s) for worker, s in zip(self.workers, theirs) if s.start < s.stop]
            for worker, s in busy:
                worker.send(request | {"mine": [s.start, s.stop]})
            self.part.compute(request | {"mine": [mine.start, mine.stop]})
            for worker, _ in busy:
                worker.wait()
        except BaseException:  # a worker may be in the middle of something: what it would write later belongs to no one
            self.close()
            raise
        return arrays[len(inputs):]


def name_of(thing):
    """Where a worker finds a class or a function: "module:name"."""
    name = f"{thing.__module__}:{thing.__qualname__}"
    if thing.__module__ == "__main__" or "<" in name:
        raise ValueError(f"{name}: expected a class or function that a worker can import, so one at the top of a module")
    return name


class Part:
    """What each process computes: for each shard the same network, with the same θ, and a gradient of its own.

    unet      a U-Net of the kind wanted; its own numbers are not used
    gradient  the function to compute for each shard
    vectors   θ, the averaged θ (or one of no numbers), and the partial gradients, one row a shard
    exchange  Memory for inputs and results
    """

    def __init__(self, unet, gradient, schedule, vectors, exchange):
        config = unet.config
        self.of_shard = gradient
        self.theta, ema, self.partials = vectors
        self.sampled = ema if ema.size else self.theta
        self.schedule, self.exchange = schedule, exchange
        self.micro_batch = max(1, LARGEST_MAP // (config.image[1] * config.image[2] * config.base))
        self.c = factors(unet, self.theta.dtype)
        self.effective = np.empty_like(self.theta)  # c·θ, or c·average: whichever the request is about
        self.denoiser = twin(unet).bind(self.effective)
        self.nets = [twin(unet).bind(self.effective, row) for row in self.partials if row.size]

    def compute(self, request):
        getattr(self, request.pop("do"))(*self.exchange.arrays(request.pop("arrays")), **request)

    def gradient(self, x0, t, eps, sample, *rest, parts, mine, form, batch_size, dropout):
        *cond, errors, J = rest
        np.multiply(self.c, self.theta, out=self.effective)
        for i, shard in list(enumerate(cut(len(x0), parts)))[slice(*mine)]:
            net = self.nets[i]
            net.grad[...] = 0
            J[i] = 0
            for s in pieces(shard, self.micro_batch):
                stream = dropout and noise.Stream(*dropout, sample[s])
                J_piece, errors[s] = self.of_shard(net, self.schedule, x0[s], t[s], eps[s], form, batch_size, stream, *(a[s] for a in cond))
                J[i] += J_piece
            net.grad *= self.c

    def denoise(self, xt, t, *rest, parts, mine):
        *cond, out = rest
        np.multiply(self.c, self.sampled, out=self.effective)
        for s in cut(len(xt), parts)[slice(*mine)]:
            out[s] = self.denoiser.denoise(xt[s], t[s], *(a[s] for a in cond))


class Worker:
    """A process that runs `worker.py`: started, spoken to, waited for and ended."""

    def __init__(self, number, setup):
        """A new process, not a fork of this one: it works from any script, notebook or thread, and inherits no locks.

        In a process group of its own, a Ctrl-C in the terminal does not reach it: this process decides what that means.
        """
        # It shall find the packages that are running here. Not by PYTHONPATH: there Python looks while it starts, too, and would
        # find a file beside the user's script, such as encodings.py or types.py, in place of its own.
        start = f"import sys; sys.path[:] = {[os.path.abspath(folder) for folder in sys.path]}; from tinyddpm.fast.worker import main; main()"
        self.process = subprocess.Popen([sys.executable, "-P", "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        pass_fds=setup["fds"], process_group=0, env=os.environ | ONE_THREAD)
        self.name = f"worker {number} (process {self.process.pid})"
        self.send(setup)

    def send(self, message):
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.wait()  # which says why

    def wait(self, seconds=None):
        """Until it has done what it was sent, or, before its first answer, for so many seconds. Raises WorkerError, with the text of its exception or how it ended."""
        if seconds is not None and not select.select([self.process.stdout], [], [], seconds)[0]:
            raise WorkerError(f"{self.name} has not started within {seconds} s; has a file in one of these folders the name of a module that it imports? {sys.path}")
        length = self.process.stdout.read(4)
        if len(length) == 4:
            text = self.process.stdout.read(*struct.unpack("=I", length)).decode()
            if text:
                raise WorkerError(f"{self.name} failed:\n{text}")
            return
        status = self.process.wait()
        if status >= 0:
            raise WorkerError(f"{self.name} ended with status {status}; what it had to say is on standard error")
        raise WorkerError(f"{self.name} was ended by {signal.Signals(-status).name}"
                          + ("; perhaps the machine ran out of memory" if status == -signal.SIGKILL else ""))

    def end(self):
        """At once: it has nothing to save."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # from what was not sent yet
            self.process.stdin.close()
