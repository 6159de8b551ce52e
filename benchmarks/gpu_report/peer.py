"""Stages that take PyTorch's times, in processes of their own: ours has given its memory back.

The network is that of `benchmarks/peer.py`, with the same numbers in the same places.
"""

import contextlib

import numpy as np

from autograd import backend
from tinyddpm.runs.computing import computing

from ..cases import TINY, Case
from ..gpu import torch_tf32
from . import clock
from .speed import cases, on_gpu, repeats

EAGER, LAST = "PyTorch eager", "PyTorch eager, channels last"
SAMPLED = [
    ("make train", 64),
    ("base 32, 32×32", 16),
    ("base 32, 32×32", 64),
    ("base 64, 32×32", 16),
]
# What may differ from ours, as a fraction of a gradient's largest number. Both compute in float32.
MOST = 1e-3


def imported(report):
    """The module torch, or None and a row that says what is missing."""
    try:
        import torch
    except ImportError:
        report.missing("PyTorch", "it is not installed, so there is nothing to compare with")
        return None
    if not torch.cuda.is_available():
        report.missing("PyTorch", f"{torch.__version__} finds no usable GPU")
        return None
    torch.backends.cudnn.benchmark = True  # it tries its algorithms and takes the fastest
    return torch


def torch(report):
    """Eager, in two memory formats, each with float32, TF32 and bf16; first J and gradients."""
    if not (framework := imported(report)):
        return
    agree(report)
    for how in ("float32", "TF32", "bf16"):
        for which in (LAST, EAGER):
            for name, batch in cases(report):
                with report.part(f"{name}, {which}, {how}"):
                    parts = to_gpu(Case(name, batch).peers()[which])
                    one_step = torch_step(framework, parts, how)
                    ms = clock.wall_ms(one_step, repeats(report))
                    report.row(case=name, peer=which, how=how, ms=round(ms, 3))
                    del parts, one_step
                    framework.cuda.empty_cache()


def agree(report):
    """J and every gradient of ours and PyTorch's, both on the GPU, in float32."""
    import cupy

    from ..peer import difference

    for name, batch in cases(report):
        with report.part(f"{name}, agreement"):
            torch_tf32(False)
            case, (net, x0, xt, t) = on_gpu(name, batch), to_gpu(Case(name, batch).peers()[EAGER])
            with computing(case.unet, case.unet, case.schedule, "cuda") as (gradient, _):
                J = lambda case=case, gradient=gradient: gradient(
                    case.unet, case.schedule, case.x0, case.t, case.eps
                )[0]
                J_peer = lambda parts=(net, x0, xt, t): forward_and_backward(*parts)
                worst = difference(case.unet, net, J, J_peer)
            agrees = bool(worst <= MOST)
            report.row(case=name, **{"differs from PyTorch by": f"{worst:.1e}", "agrees": agrees})
            del case, net, x0, xt, t
            cupy.get_default_memory_pool().free_all_blocks()


def forward_and_backward(net, x0, xt, t):
    from torch.nn import functional as F

    loss = F.mse_loss(net(xt, t), x0)
    loss.backward()
    return loss


def torch_step(torch, parts, how):
    """A training step of PyTorch with float32, TF32, or bf16 autocast (and TF32 for the rest)."""
    from torch.nn import functional as F

    net, x0, xt, t = parts
    sgd = torch.optim.SGD(net.parameters(), lr=1e-6)
    half = torch.autocast("cuda", torch.bfloat16) if how == "bf16" else contextlib.nullcontext()

    def step():
        torch_tf32(how != "float32")
        sgd.zero_grad()
        with half:
            loss = F.mse_loss(net(xt, t).float(), x0)
        loss.backward()
        sgd.step()

    return step


def to_gpu(parts):
    return tuple(part.to("cuda") for part in parts)


def compile(report):
    """torch.compile, which takes long to begin: one case after the other, while there is time."""
    if not (framework := imported(report)):
        return
    for how in ("TF32", "float32"):
        for name, batch in cases(report):
            with report.part(f"{name}, torch.compile, {how}"):
                parts = to_gpu(Case(name, batch).peers()[LAST])
                one_step = torch_step(framework, (framework.compile(parts[0]), *parts[1:]), how)
                ms = clock.wall_ms(one_step, repeats(report))
                report.row(case=name, peer="torch.compile", how=how, ms=round(ms, 3))


def sampling(report):
    """The forward pass alone: ours, then PyTorch's."""
    sampled = [(TINY, 2)] if report.tiny else SAMPLED
    found = {}
    for name, batch in sampled:
        with report.part(f"{name}, ours"):
            case, row = on_gpu(name, batch), {"case": name, "images": batch}
            case.unet.bind(case.unet.theta)  # without gradients
            for how in ("float32", "TF32"):
                with computing(case.unet, case.unet, case.schedule, "cuda", tf32=how == "TF32") as (
                    _,
                    denoise,
                ):
                    once = lambda case=case, denoise=denoise: denoise(case.xt, case.t)
                    row[f"ours, {how}, ms"] = round(clock.wall_ms(once, repeats(report)), 3)
                    if how == "float32":
                        row["x̂_0"] = backend.to_numpy(once())
            found[name, batch] = row
    framework = imported(report)
    for (name, batch), row in found.items():
        ours = row.pop("x̂_0", None)
        if framework and ours is not None:
            with report.part(f"{name}, PyTorch"):
                row |= forward_of_peer(report, framework, name, batch, ours)
        report.row(**row)


def forward_of_peer(report, torch, name, batch, ours):
    """Times and the largest difference of x̂_0, as parts of a row."""
    net, _, xt, t = to_gpu(Case(name, batch).peers()[LAST])
    row = {}

    def once():
        with torch.inference_mode():
            return net(xt, t)

    for how in ("float32", "TF32"):
        torch_tf32(how == "TF32")
        ms = round(clock.wall_ms(once, repeats(report)), 3)
        row[f"PyTorch, {how}, ms"] = ms
        if how == "float32":
            off = np.abs(once().cpu().numpy() - ours).max() / np.abs(ours).max()
            row["x̂_0 differs by"] = f"{off:.0e}"
    return row
