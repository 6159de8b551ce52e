"""All cores at once: worker processes take shards of each batch, and their gradients are added up.

    with Shards(unet, schedule, ema=ema_unet) as shards:
        for step in train(unet, images, schedule, beta, seed=0, gradient=shards.gradient):
            ...
        *_, (t, x0, _) = ddim(shards.denoise, schedule, x_T)

**Exact.** Nothing in a U-Net mixes samples (that is why it has GroupNorm), and J is a sum over
them. So the gradient of a batch is the sum of its shards', each computed by `train.gradient`.

**The same bits on any machine that multiplies alike.** Floating-point addition depends on order. So
the cut into shards depends on `shards` alone, the partial gradients are added as a fixed binary
tree, and each process multiplies with one BLAS thread. How many workers there are, and which is
faster, shows in no digit.

**Processes, not threads.** Python runs the interpreter in one thread at a time. NumPy lets go of
that lock inside an operation, but a U-Net's step is thousands of short ones, and handing the lock
over after each costs 10 to 30 % with two threads. More BLAS threads in one process do not help
either: only the matrix products use them, and most are small.

    shards.py     the parent's side: Shards
    tree.py       the sum of the gradients
    processes.py  a worker process, as the parent sees it: start, wait, end
    protocol.py   what they send each other: one line of JSON to each worker, four bytes back
    worker.py     the worker's side
    part.py       what each process computes, the parent included
    card.py       the same cut on a GPU, shard after shard: OnCard
    memory.py     arrays that all of them see: θ, the partial gradients, the batch
"""

from .processes import WorkerError, cores
from .shards import Shards

__all__ = ["Shards", "WorkerError", "cores"]
