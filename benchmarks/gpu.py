"""Times on a GPU, by its own clock: `python -m benchmarks.gpu`, or `make bench-gpu`.

First each op that has kernels of its own, forward and backward, beside its definition. Then the training step, ours and PyTorch's
(eager, channels last with TF32, torch.compile), in turn; J and every gradient are compared before. Needs a GPU, CuPy and a PyTorch
with CUDA; `--ours` does without PyTorch.
"""
import argparse
import statistics

import numpy as np

from autograd import backend, leaf
from autograd.backend import array_module, to_device
from tinyddpm import fast, noise
from tinyddpm.nn.block import norm_silu_conv
from tinyddpm.nn.conv import conv2d
from tinyddpm.nn.norm import group_norm
from tinyddpm.train import gradient

from .cases import CASES, Case
from .step import ours, theirs

# What the op is called with, at (side, channels, batch); all in H W N C.
OPS = {
    "conv2d": lambda side, c, n: (conv2d, [(side, side, n, c), (3, 3, c, c)], {}),
    "conv2d, stride 2": lambda side, c, n: (conv2d, [(side, side, n, c), (3, 3, c, c)], {"stride": 2}),
    "group_norm": lambda side, c, n: (group_norm, [(side, side, n, c), (c,), (c,)], {"groups": 8}),
    "norm_silu_conv": lambda side, c, n: (lambda *a, **o: norm_silu_conv(*a, None, **o), [(side, side, n, c), (c,), (c,), (3, 3, c, c), (c,), (n, c)], {"groups": 8}),
}


def milliseconds(functions, repeats):
    """Run each in turn: name -> the median of what the GPU took, by events around it. Each is called twice, and the second call counts."""
    import cupy
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    found = {name: [] for name in functions}
    for i in range(2 + repeats):
        for name, function in functions.items():
            function()
            start.record()
            function()
            end.record()
            end.synchronize()
            if i >= 2:
                found[name].append(cupy.cuda.get_elapsed_time(start, end))
    return {name: statistics.median(times) for name, times in found.items()}


def both_ways(function):
    """It, with the definitions and with the fast equivalents."""
    def run(choose):
        choose()
        function()
    return {"definition": lambda: run(fast.disable), "fast": lambda: run(fast.enable)}


def time_ops(side, channels, batch, repeats):
    rng = np.random.default_rng(0)
    for name, make in OPS.items():
        op, shapes, options = make(side, channels, batch)
        leaves = [leaf(to_device(rng.standard_normal(shape).astype(np.float32), "cuda")) for shape in shapes]

        def forward_and_backward():
            out = op(*leaves, **options)
            out.backward(out.data)
        yield name, milliseconds(both_ways(forward_and_backward), repeats)
    index = array_module(leaves[0].data).arange(batch)
    yield "noise.normal", milliseconds({"fast": lambda: noise.normal(0, "eps", 1, index, (channels, side, side))}, repeats)


def time_step(name, batch, repeats, alone):
    """Milliseconds of a training step; the worst difference of a gradient from PyTorch's, or None."""
    case, worst = Case(name, batch), None
    peers = {} if alone else on_gpu(case.peers(compiled=True))
    case.unet.bind(to_device(case.unet.theta, "cuda"), to_device(case.unet.grad, "cuda"))
    case.x0, case.t, case.eps = (to_device(a, "cuda") for a in (case.x0, case.t, case.eps))
    J, step = ours(case, gradient)
    runs = {f"ours, {how}": run for how, run in both_ways(step).items()} | {"ours, fast, TF32": with_tf32(both_ways(step)["fast"])}
    if peers:
        from .peer import difference
        torch_tf32(False)
        worst = difference(case.unet, peers["PyTorch eager"][0], J, theirs(*peers["PyTorch eager"])[0])
        if worst > 1e-3:
            raise RuntimeError(f"{name}: ours and PyTorch's gradients differ by {worst:.1e}: nothing to compare")
        for peer, parts in peers.items():
            runs |= {peer: in_torch(theirs(*parts)[1], False), f"{peer}, TF32": in_torch(theirs(*parts)[1], True)}
    return milliseconds(runs, repeats), worst


def with_tf32(step):
    def run():
        with backend.tf32():
            step()
    return run


def on_gpu(peers):
    import torch
    torch.backends.cudnn.benchmark = True
    return {name: tuple(part.to("cuda") for part in parts) for name, parts in peers.items()}


def torch_tf32(on):
    import torch
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


def in_torch(step, tf32):
    def run():
        torch_tf32(tf32)
        step()
    return run


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--op", type=int, nargs=3, default=(32, 64, 64), metavar=("SIDE", "CHANNELS", "BATCH"), help="size of the single ops [32 64 64]")
    parser.add_argument("--batch", type=int, help="images in the training step [each case's own]")
    parser.add_argument("--ours", action="store_true", help="ours alone: PyTorch is not needed")
    options = parser.parse_args(arguments)
    device = array_module(to_device(np.zeros(1), "cuda")).cuda.runtime.getDeviceProperties(0)["name"].decode()
    print(f"{device}, median of {options.repeats}, times of the GPU in ms", flush=True)
    for name, ms in time_ops(*options.op, options.repeats):
        print(f"{name:20}" + ", ".join(f"{how} {t:.3f}" for how, t in ms.items()), flush=True)
    for name in options.cases:
        ms, worst = time_step(name, options.batch, options.repeats, options.ours)
        print(f"{name}: " + ", ".join(f"{run} {t:.2f}" for run, t in ms.items()) + (f"; gradients differ by {worst:.0e}" if worst is not None else ""), flush=True)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        raise SystemExit(f"benchmarks.gpu: {error}") from None
