"""Where gradients and denoised images are computed: on all cores of this machine, or on a GPU.

    with computing(unet, averaged, schedule, device="cpu", workers=None, shards=4) as (gradient, denoise):
        train(unet, images, schedule, beta, seed=0, gradient=gradient)

Without the folder `fast/` it is the definitions that compute, in this process: the same results but for the last digits, later.
"""
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec

from autograd import backend

from .. import train


@contextmanager
def computing(unet, ema, schedule, device, workers=None, shards=4, tf32=False):
    """`train.gradient` of `unet`, and the denoiser that `averaged` is (both may be one network, bound to arrays on the device).

    workers, shards  on a CPU: how many processes (None: all cores), and into how many parts they cut a batch
    tf32             on a GPU: see `backend.tf32`
    """
    if not find_spec("tinyddpm.fast"):
        yield train.gradient, _from_anywhere(ema.denoise, device)
        return
    from .. import fast
    if device != "cpu":
        with fast.enabled(), backend.tf32() if tf32 else nullcontext():
            yield train.gradient, _from_anywhere(ema.denoise, device)
        return
    from ..fast.parallel import Shards
    with fast.enabled(), Shards(unet, schedule, workers, shards, ema=None if ema is unet else ema) as processes:
        yield processes.gradient, processes.denoise


def _from_anywhere(denoiser, device):
    """The same denoiser for arrays on the device or in main memory, where the held-out draws are; x̂_0 comes back to where xt lies."""
    def denoise(xt, t, *cond):
        x0_hat = denoiser(*(backend.to_device(a, device) for a in (xt, t, *cond)))
        return x0_hat if backend.array_module(xt) is backend.array_module(x0_hat) else backend.to_numpy(x0_hat)
    return denoise
