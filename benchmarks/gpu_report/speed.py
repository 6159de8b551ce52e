"""Stages that take times: of training steps, of each kernel and each convolution.

Kernels get arrays that do not fit into the cache of an H100 or H200 (50 and 60 MB), so that they
measure memory. Numbers are random: a GPU may be faster on zeros.
"""

import contextlib
from typing import Any, NamedTuple

from autograd import backend, leaf
from tinyddpm import fast, train
from tinyddpm.equivalents import FASTER
from tinyddpm.nn.conv import conv2d
from tinyddpm.runs.computing import computing

from ..cases import CASES, TINY, Case
from ..step import ours
from . import clock, model
from .card import random
from .one_stage import SIMULATED

ORDER = sorted(CASES, key=lambda name: CASES[name][0].image[1] * CASES[name][0].base)
REPEATS = 15


def on_gpu(name, batch=None):
    """A case with its network and its batch on the GPU."""
    case = Case(name, batch)
    case.unet.bind(*(backend.to_device(a, "cuda") for a in (case.unet.theta, case.unet.grad)))
    for what in ("x0", "t", "eps", "xt"):
        setattr(case, what, backend.to_device(getattr(case, what), "cuda"))
    return case


def cases(report):
    """The names of the cases, small ones first, and the batch of each: None is its own."""
    return [(TINY, None)] if report.tiny else [(name, None) for name in ORDER]


def repeats(report):
    return 1 if report.tiny else REPEATS


@contextlib.contextmanager
def training_step(case, tf32=False, graph=False):
    """The step() of a case as a training run computes it: see `runs/computing.py`."""
    how = {"tf32": tf32, "graph": graph}
    with computing(case.unet, case.unet, case.schedule, "cuda", **how) as (gradient, _):
        yield ours(case, gradient)[1]


# ---- the training step ---------------------------------------------------------------------------


def step(report):
    """Our step: as the definitions say it, as a run computes it, with TF32, and as a CUDA graph.

    Graphs come last: if one crashes, everything else is there.
    """
    without = {}
    for name, batch in cases(report):
        with report.part(name):
            found = {"case": name} | as_a_run(report, name, batch)
            without[name] = found["float32, ms"]
            case = on_gpu(name, batch)
            fast.disable()
            one_step = ours(case, train.gradient)[1]
            found["definitions, ms"] = round(clock.wall_ms(one_step, repeats(report) // 3 + 1), 3)
            report.row(**found)
    for name, batch in cases(report):
        with report.part(f"{name}, as a CUDA graph"):
            found = {"as a CUDA graph": name} | as_a_run(report, name, batch, graph=True)
            report.row(**found, **{"without, float32, ms": without.get(name)})


def as_a_run(report, name, batch, graph=False):
    """{precision: milliseconds} of a step as a run computes it."""
    found = {}
    for how, tf32 in (("float32", False), ("TF32", True)):
        with training_step(on_gpu(name, batch), tf32, graph) as one_step:
            found[f"{how}, ms"] = round(clock.wall_ms(one_step, repeats(report)), 3)
    return found


def launches(report):
    """Three times of a step, how long the GPU waits in it, and what it spends its time on."""
    for name, batch in cases(report):
        with report.part(name):
            case = on_gpu(name, batch)
            with training_step(case) as one_step:
                wall = clock.wall_ms(one_step, repeats(report))
                host = clock.host_ms(one_step, repeats(report))
                gpu = clock.gpu_ms(one_step, repeats(report), spin=not report.tiny)
                report.row(
                    **{
                        "case": name,
                        "step, ms": round(wall, 3),
                        "host asks, ms": round(host, 3),
                        "GPU computes, ms": round(gpu, 3),
                        "GPU idle": round(max(0.0, 1 - gpu / wall), 2),
                        "launches, counted": model.launches(name),
                    }
                )
                if not SIMULATED:
                    profile(report, name, one_step)


def profile(report, name, one_step):
    """What the GPU ran in a step, by PyTorch's profiler, which sees all kernels of the process."""
    try:
        import torch
        from torch.profiler import ProfilerActivity
    except ImportError:
        report.note("PyTorch is not installed: no profile of a step.")
        return
    with report.part(f"profile of {name}"):
        torch.zeros(1, device="cuda")
        with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as found:
            one_step()
            clock.synchronise()
        spent = {}
        for event in found.events():
            if event.device_type == torch.autograd.DeviceType.CUDA:
                n, us = spent.get(event.name, (0, 0.0))
                spent[event.name] = n + 1, us + event.time_range.elapsed_us()
        total = sum(us for _, us in spent.values())
        report.row(profile=name, launches=sum(n for n, _ in spent.values()), us=round(total))
        for kernel, (n, us) in sorted(spent.items(), key=lambda item: -item[1][1])[:12]:
            report.row(profile=name, kernel=kernel[:100], launches=n, us=round(us))


# ---- kernels and convolutions --------------------------------------------------------------------


def kernels(report):
    """Each kernel written by hand, as the step of one case calls it with the largest arrays."""
    name, batch = (TINY, None) if report.tiny else ("base 64, 32×32", 256)
    try:
        largest = record_kernels(name, batch)
    except MemoryError:  # a small card
        largest = record_kernels(name, None)
    for kernel, launch in largest.items():
        with report.part(kernel):
            calls = 1 if report.tiny else 10
            ms = clock.gpu_ms(launch.again, repeats(report), calls, spin=not report.tiny)
            speed = clock.rate(launch.bytes, ms, 1e9)
            size = round(launch.bytes / 1e6, 2)
            report.row(**{"kernel": kernel, "MB": size, "ms": round(ms, 4), "GB/s": speed})
    report.note("MB: what its arrays hold, read or written once. Beside the copy's GB/s above.")


class Recorded(NamedTuple):
    """A launch of a kernel that can be repeated."""

    function: Any
    arguments: tuple  # grid, block, and what the kernel is given
    bytes: int

    def again(self):
        self.function(*self.arguments)


def record_kernels(name, batch):
    """Of each kernel the launch with the most bytes, in a step of this case."""
    original, largest = backend.kernel, {}

    def kernel(name, source):
        function = original(name, source)

        def run(grid, block, arguments):
            size = sum(getattr(a, "nbytes", 0) for a in arguments)
            if name not in largest or size > largest[name].bytes:
                largest[name] = Recorded(function, (grid, block, arguments), size)
            function(grid, block, arguments)

        return run

    backend.kernel = kernel
    try:
        with training_step(on_gpu(name, batch)) as one_step:
            one_step()
    finally:
        backend.kernel = original
    return largest


def convolutions(report):
    """Each convolution of two cases, float32 and TF32, beside one product of equal FLOP."""
    chosen = [TINY] if report.tiny else ["base 64, 32×32", "base 32, 8×8"]
    shapes = {}
    for case in map(Case, chosen):
        shapes |= dict.fromkeys(conv_shapes(case))
    with fast.enabled():
        for (height, width, n, c), (kh, kw, _, c_out), stride in shapes:
            label = f"{height}×{width}, {c}→{c_out}" + (", stride 2" if stride == 2 else "")
            with report.part(label):
                x, w = (random(shape) for shape in ((height, width, n, c), (kh, kw, c, c_out)))
                rows = height // stride * (width // stride) * n
                a, b = random((rows, kh * kw * c)), random((kh * kw * c, c_out))
                flop, found = 2 * a.size * c_out, {"convolution": f"{label}, batch {n}"}
                for how in ("float32", "TF32"):
                    context = backend.tf32() if how == "TF32" else contextlib.nullcontext()
                    with context:
                        speeds = conv_speeds(report, x, w, stride, a, b, flop)
                    found |= {f"{what}, {how}": speed for what, speed in speeds.items()}
                report.row(**found)
    report.note("TFLOP/s. Backward is both gradients: twice the FLOP. cuBLAS: an equal product.")


def conv_speeds(report, x, w, stride, a, b, flop):
    """{what: TFLOP/s}."""

    def speed(call, amount):
        ms = clock.gpu_ms(call, repeats(report) // 3 + 1, spin=not report.tiny)
        return clock.rate(amount, ms, 1e12)

    def both():
        out = conv2d(leaf(x), leaf(w), stride=stride)
        out.backward(out.data)

    return {
        "forward": speed(lambda: conv2d(x, w, stride=stride), flop),
        "both ways": speed(both, 3 * flop),
        "cuBLAS": speed(lambda: a @ b, flop),
    }


def conv_shapes(case):
    """(shape of x, shape of w, stride) of every 3×3 convolution of a forward pass."""
    found = []

    def note(x, w, *, stride=1, padding=1):
        if w.shape[:2] == (3, 3):
            found.append(((*x.shape[:2], case.batch, x.shape[3]), w.shape, stride))
        return False  # refuse, so that the definition computes it

    before = dict(FASTER)
    FASTER.clear()
    FASTER["conv2d"] = (note, None)
    try:
        case.unet.denoise(case.xt[:1], case.t[:1])
    finally:
        FASTER.clear()
        FASTER.update(before)
    return found
