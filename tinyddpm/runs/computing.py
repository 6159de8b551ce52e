"""Where gradients and denoised images are computed: on all cores, on a GPU, or by many ranks.

    with computing(unet, ema, schedule, "cpu", workers=2) as (gradient, denoise):
        train(unet, images, schedule, beta, seed=0, gradient=gradient)

Without the folder `fast/`, the definitions compute in this process. Their results are the same but
for the last digits, and come later.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from autograd import backend

from .. import train
from ..alone import Alone, Comm
from ..nn.unet import UNet
from ..schedule import Schedule
from ..types import Array, Gradient

# denoise(xt, t) -> what the network predicts, such as x̂_0. With conditioning: (xt, t, cond).
Denoise = Callable[..., Array]


@contextmanager
def computing(
    unet: UNet,
    ema: UNet,
    schedule: Schedule,
    device: str,
    workers: int | None = None,
    shards: int = 4,
    tf32: bool = False,
    say: Callable[[str], object] = warnings.warn,
    gradient: Gradient = train.gradient,
    comm: Comm = Alone(),
    batch_size: int | None = None,
    gpu_shards: int = 1,
    graph: bool = False,
) -> Iterator[tuple[Gradient, Denoise]]:
    """The gradient of `unet`, as `train` takes it, and what `ema` predicts.

    Args:
        unet: the network to train, bound to arrays on the device.
        ema: the network to denoise with, bound in the same way; it may be `unet` itself.
        schedule: the noise schedule.
        device: cpu, cuda or cuda:1.
        workers: on a CPU: how many processes; None: one for each core.
        shards: on a CPU: into how many parts they cut a batch.
        tf32: on a GPU: see `backend.tf32`.
        say: is told, in words, if a worker is lost; the others go on.
        gradient: the function to compute; see `Shards`.
        comm: the ranks that compute together, each with workers of its own.
        batch_size: images in a mini-batch of all ranks; None: only to denoise.
        gpu_shards: as `shards`, on a GPU.
        graph: on a GPU: the gradient is a CUDA graph (`fast/cuda/graph.py`).
    """
    if not find_spec("tinyddpm.fast"):
        yield gradient, _from_anywhere(ema.denoise, device)
        return
    from .. import fast

    on_cpu, second = device == "cpu", None if ema is unet else ema
    tensor_cores = backend.tf32() if tf32 and not on_cpu else nullcontext()
    if not on_cpu and comm.size == 1 and gpu_shards == 1:
        with fast.enabled(), tensor_cores:
            gradient, denoise = fast.on_gpu(unet, ema, gradient, graph)
            yield gradient, _from_anywhere(denoise, device)
        return
    count = shards if on_cpu else gpu_shards
    by: Any  # has a gradient and a denoise
    if comm.size > 1:
        from ..distributed.ranks import Ranks

        how = batch_size, workers, count, second, gradient, say, graph
        by = Ranks(comm, unet, schedule, *how)
    elif on_cpu:
        from ..fast.parallel import Shards

        by = Shards(unet, schedule, workers, count, second, gradient, say)
    else:
        from ..fast.parallel.card import OnCard

        by = OnCard(unet, schedule, count, second, gradient, graph)
    with fast.enabled(), tensor_cores, by:
        takes_any = on_cpu or comm.size > 1
        yield by.gradient, by.denoise if takes_any else _from_anywhere(by.denoise, device)


def _from_anywhere(denoiser: Denoise, device: str) -> Denoise:
    """The denoiser for arrays on the device or in main memory, where the held-out draws are.

    Its answer comes back to where xt lies.
    """

    def denoise(xt: Array, t: Array, *cond: Array) -> Array:
        x0_hat = denoiser(*(backend.to_device(a, device) for a in (xt, t, *cond)))
        same_place = backend.array_module(xt) is backend.array_module(x0_hat)
        return x0_hat if same_place else backend.to_numpy(x0_hat)

    return denoise
