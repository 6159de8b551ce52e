"""Times on a GPU, by its own clock.

    python -m benchmarks.gpu        # or make bench-gpu

First each op that has kernels of its own, forward and backward, beside its definition. Then the
training step, ours and PyTorch's in turn: eager, channels last, torch.compile, each with and
without TF32. Before that we compare J and every gradient. Needs a GPU, CuPy and a PyTorch with
CUDA; `--ours` does without PyTorch.
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
from .timing import check_agreement


def half_block(*arrays, groups):
    return norm_silu_conv(*arrays, None, groups=groups)


def op_calls(side, c, n):
    """name -> (op, shapes of its arguments, options), for images (side, side, n, c)."""
    image, kernel = (side, side, n, c), (3, 3, c, c)
    return {
        "conv2d": (conv2d, [image, kernel], {}),
        "conv2d, stride 2": (conv2d, [image, kernel], {"stride": 2}),
        "group_norm": (group_norm, [image, (c,), (c,)], {"groups": 8}),
        "norm_silu_conv": (half_block, [image, (c,), (c,), kernel, (c,), (n, c)], {"groups": 8}),
    }


OPS = tuple(op_calls(1, 8, 1))  # their names


def milliseconds(functions, repeats):
    """Run all functions in turn: name -> median time on the GPU, by events around the call.

    Each is called twice, and the second call counts.
    """
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
    """The function with our definitions, and with the fast equivalents."""

    def run(choose):
        choose()
        function()

    return {"definition": lambda: run(fast.disable), "fast": lambda: run(fast.enable)}


def forward_and_backward(op, leaves, options):
    def run():
        out = op(*leaves, **options)
        out.backward(out.data)

    return run


def time_ops(side, channels, batch, repeats):
    """Yields (name, {how: milliseconds}) of each op, and of drawing noise."""
    rng = np.random.default_rng(0)
    for name, (op, shapes, options) in op_calls(side, channels, batch).items():
        arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        leaves = [leaf(to_device(array, "cuda")) for array in arrays]
        runs = both_ways(forward_and_backward(op, leaves, options))
        yield name, milliseconds(runs, repeats)
    index = array_module(leaves[0].data).arange(batch)
    draw = lambda: noise.normal(0, "eps", 1, index, (channels, side, side))
    yield "noise.normal", milliseconds({"fast": draw}, repeats)


def time_step(name, batch, repeats, alone):
    """{run: milliseconds} of a training step; the worst difference from PyTorch's, or None."""
    case, worst = Case(name, batch), None
    peers = {} if alone else on_gpu(case.peers(compiled=True))
    case.unet.bind(to_device(case.unet.theta, "cuda"), to_device(case.unet.grad, "cuda"))
    case.x0, case.t, case.eps = (to_device(a, "cuda") for a in (case.x0, case.t, case.eps))
    J, by_definition = ours(case, gradient)
    step = both_ways(ours(case, fast.on_gpu(case.unet, case.unet)[0])[1])["fast"]
    runs = {"ours, definition": both_ways(by_definition)["definition"], "ours, fast": step}
    runs["ours, fast, TF32"] = with_tf32(step)
    if peers:
        from .peer import difference

        torch_tf32(False)
        eager = peers["PyTorch eager"]
        worst = difference(case.unet, eager[0], J, theirs(*eager)[0])
        check_agreement(f"{name}, gradients", worst, most=1e-3)
        for peer, parts in peers.items():
            runs[peer] = in_torch(theirs(*parts)[1], False)
            runs[f"{peer}, TF32"] = in_torch(theirs(*parts)[1], True)
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
    size = {"type": int, "nargs": 3, "metavar": ("SIDE", "CHANNELS", "BATCH")}
    parser.add_argument("--op", default=(32, 64, 64), help="size of single ops [32 64 64]", **size)
    parser.add_argument("--batch", type=int, help="images in the training step [each case's own]")
    parser.add_argument("--ours", action="store_true", help="ours alone: PyTorch is not needed")
    options = parser.parse_args(arguments)
    cupy = array_module(to_device(np.zeros(1), "cuda"))
    device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    print(f"{device}, median of {options.repeats}, times of the GPU in ms", flush=True)
    for name, ms in time_ops(*options.op, options.repeats):
        print(f"{name:20}" + ", ".join(f"{how} {t:.3f}" for how, t in ms.items()), flush=True)
    for name in options.cases:
        ms, worst = time_step(name, options.batch, options.repeats, options.ours)
        times = ", ".join(f"{run} {t:.2f}" for run, t in ms.items())
        differ = "" if worst is None else f"; gradients differ by {worst:.0e}"
        print(f"{name}: {times}{differ}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        raise SystemExit(f"benchmarks.gpu: {error}") from None
