"""Each op by itself, on one thread: our definition, our fast equivalent, and PyTorch.

    python -m benchmarks.ops

First we compare outputs and all gradients. Then the three take turns. PyTorch runs in eager mode,
in the faster of two memory formats. Neither side copies or adds up gradients. Two rows, "each by
itself" and "up ×2, then conv", compute the row above them without its trick. Compare their fast
columns to see what it is worth.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from autograd import leaf, no_grad, ops, primitive
from tinyddpm import fast
from tinyddpm.equivalents import FASTER, replaceable
from tinyddpm.fast import norm_silu
from tinyddpm.nn.attention import attention
from tinyddpm.nn.block import norm_silu_conv, repeat2, upsample_conv
from tinyddpm.nn.conv import conv2d
from tinyddpm.nn.norm import group_norm

from .timing import alternate, check_agreement

N, GROUPS = 16, 8  # N samples: a shard of a batch of 64
DEFINITION, FAST = "definition", "fast"
FORMATS = {"PyTorch": torch.contiguous_format, "PyTorch, channels last": torch.channels_last}


class Argument(NamedTuple):
    shape: tuple
    axes: tuple  # their order in PyTorch
    needed: bool = True  # do we need its gradient?


def image(side, channels, needed=True):
    return Argument((side, side, N, channels), (2, 3, 0, 1), needed)


def pixels(side, channels):
    return Argument((side, side, N, channels), (2, 0, 1, 3))


def weight(kernel, inputs, outputs):
    return Argument((kernel, kernel, inputs, outputs), (3, 2, 0, 1))


def row(*shape):
    return Argument(shape, tuple(range(len(shape))))


class Op(NamedTuple):
    name: str
    ours: Callable
    theirs: Callable
    arguments: tuple


@replaceable
def norm_silu_alone(x, gain, shift):
    return ops.silu(group_norm(x, gain, shift, groups=GROUPS))


@primitive
def fused_norm_silu(x, gain, shift, *, needs=(True,) * 3):
    out = np.empty_like(x)
    saved = norm_silu.forward(x, gain, shift, GROUPS, out, any(needs))
    return out, lambda g: norm_silu.backward(g, x, saved)


EQUIVALENTS = fast.EQUIVALENTS | {"norm_silu_alone": (lambda *_: True, fused_norm_silu)}


def half_block(x, gain, shift, w, bias, added):
    return norm_silu_conv(x, gain, shift, w, bias, added, None, groups=GROUPS)


def half_block_by_layers(x, gain, shift, w, bias, added):
    return conv2d(ops.silu(group_norm(x, gain, shift, groups=GROUPS)), w) + bias + added


def half_block_of_torch(x, gain, shift, w, bias, added):
    return (
        F.conv2d(F.silu(F.group_norm(x, GROUPS, gain, shift)), w, bias, padding=1)
        + added[:, :, None, None]
    )


def upsampled_of_torch(x, w, bias):
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), w, bias, padding=1)


def attention_of_torch(*qkv):
    """PyTorch's fastest form. It has an axis of heads, though there is only one head."""
    n, height, width, c = qkv[0].shape
    q, k, v = (a.reshape(n, 1, height * width, c) for a in qkv)
    return F.scaled_dot_product_attention(q, k, v).reshape(n, height, width, c)


def conv_of_torch(x, w):
    return F.conv2d(x, w, padding=1)


def strided_of_torch(x, w):
    return F.conv2d(x, w, stride=2, padding=1)


def norm_silu_of_torch(x, gain, shift):
    return F.silu(F.group_norm(x, GROUPS, gain, shift))


def all_ops():
    """Yields the ops of a network with base 32 on 32×32 images, and two sizes of other networks."""
    for c, side in ((32, 32), (64, 32), (64, 16), (16, 8), (64, 2)):
        arguments = image(side, c), weight(3, c, c)
        yield Op(f"conv 3×3, {c} → {c} at {side}×{side}", conv2d, conv_of_torch, arguments)
    for c, side in ((32, 32), (64, 16)):
        name = f"norm + SiLU + conv, {c} → {c} at {side}×{side}"
        arguments = image(side, c), row(c), row(c), weight(3, c, c), row(c), row(N, c)
        yield Op(name, half_block, half_block_of_torch, arguments)
        name = "norm, SiLU, conv, each by itself"
        yield Op(name, half_block_by_layers, half_block_of_torch, arguments)

    arguments = image(32, 32), row(32), row(32)
    yield Op("norm + SiLU, 32 at 32×32", norm_silu_alone, norm_silu_of_torch, arguments)
    up = image(16, 64), weight(3, 64, 64), row(64)
    yield Op("up ×2 + conv, 64 → 64 to 32×32", upsample_conv, upsampled_of_torch, up)
    in_two_steps = lambda x, w, bias: conv2d(repeat2(x), w) + bias
    yield Op("up ×2, then conv", in_two_steps, upsampled_of_torch, up)
    strided = lambda x, w: conv2d(x, w, stride=2)
    arguments = image(32, 32), weight(3, 32, 32)
    yield Op("conv 3×3 stride 2, 32 → 32 to 16×16", strided, strided_of_torch, arguments)
    unpadded = lambda x, w: conv2d(x, w, padding=0)
    arguments = image(32, 64), weight(1, 64, 32)
    yield Op("conv 1×1, 64 → 32 at 32×32", unpadded, F.conv2d, arguments)
    arguments = image(32, 1, needed=False), weight(3, 1, 32)
    yield Op("first conv, 1 → 32 at 32×32", conv2d, conv_of_torch, arguments)
    arguments = image(32, 32), row(32), row(32), weight(3, 32, 1), row(1), row(N, 1)
    yield Op("last norm + SiLU + conv, 32 → 1", half_block, half_block_of_torch, arguments)
    one_head = lambda q, k, v: attention(q, k, v, heads=1)
    arguments = (pixels(8, 64),) * 3
    yield Op("attention, 64 channels at 8×8", one_head, attention_of_torch, arguments)


@primitive
def caught(start, *, array, into, i):
    """`array`, whose gradient becomes into[i]. A leaf would copy it, and we would time that too."""

    def pullback(g):
        into[i] = g
        return (start,)

    return array, pullback


def ours(op, arrays, g, equivalents):
    """Two functions: one returns the output, the other (the output, the gradients needed)."""
    needed = [i for i, argument in enumerate(op.arguments) if argument.needed]

    def forward():
        FASTER.clear()
        FASTER.update(equivalents)
        with no_grad():
            y = op.ours(*arrays)
        return getattr(y, "data", y)

    def both():
        FASTER.clear()
        FASTER.update(equivalents)
        grads, start, arguments = {}, leaf(np.zeros((), np.float32)), list(arrays)
        for i in needed:
            arguments[i] = caught(start, array=arrays[i], into=grads, i=i)
        y = op.ours(*arguments)
        y.backward(g)
        return y.data, [grads[i] for i in needed]

    return forward, both


def theirs(op, arrays, g, memory_format):
    """The same two functions, computed by PyTorch."""

    def tensor(array, argument):
        t = torch.from_numpy(array).permute(argument.axes)
        t = t.contiguous(memory_format=memory_format) if t.ndim == 4 else t.contiguous()
        return t.requires_grad_(argument.needed)

    tensors = [tensor(a, argument) for a, argument in zip(arrays, op.arguments)]
    g = tensor(g, op.arguments[0]._replace(needed=False))
    needed = [t for t in tensors if t.requires_grad]

    def forward():
        with torch.inference_mode():
            return op.theirs(*tensors)

    def both():
        y = op.theirs(*tensors)
        return y, torch.autograd.grad(y, needed, g)

    return forward, both


def difference(op, result, reference):
    """The worst relative difference of the output and of any gradient.

    `result` may be PyTorch's.
    """
    worst, (y, grads) = 0.0, result
    axes = [op.arguments[0].axes] + [argument.axes for argument in op.arguments if argument.needed]
    for a, b, order in zip([y, *grads], [reference[0], *reference[1]], axes, strict=True):
        if isinstance(a, torch.Tensor):
            a = a.detach().permute(*np.argsort(order).tolist()).numpy()
        assert a.shape == b.shape and np.abs(b).max() > 0, f"{op.name}: nothing is compared"
        worst = max(worst, np.abs(a - b).max() / np.abs(b).max())
    return worst


def random_array(rng, argument):
    """Standard normal numbers; a weight's are smaller, so that outputs are of order 1."""
    is_weight = argument.axes == (3, 2, 0, 1)
    spread = 1 / max(1, np.prod(argument.shape[:3])) ** 0.5 if is_weight else 1
    return rng.normal(0, spread, argument.shape).astype(np.float32)


def measure(op, repeats):
    """[{who: ms} forward, {who: ms} forward and backward], and the worst difference."""
    rng = np.random.default_rng(0)
    arrays = [random_array(rng, argument) for argument in op.arguments]
    forward, _ = ours(op, arrays, None, {})
    g = rng.normal(size=forward().shape).astype(np.float32)
    runs = {DEFINITION: ours(op, arrays, g, {}), FAST: ours(op, arrays, g, EQUIVALENTS)}
    runs |= {name: theirs(op, arrays, g, memory) for name, memory in FORMATS.items()}
    reference = runs[DEFINITION][1]()
    worst = max(difference(op, both(), reference) for _, both in runs.values())
    check_agreement(f"{op.name}, output and gradients", worst)
    times = []
    for i in (0, 1):
        seconds = alternate({name: pair[i] for name, pair in runs.items()}, repeats)
        times.append({name: 1000 * statistics.median(s) for name, s in seconds.items()})
    return times, worst


def report(op, times, worst):
    cells = []
    for ms in times:
        d, f, p = ms[DEFINITION], ms[FAST], min(ms[name] for name in FORMATS)
        cells.append(f"{d:10.2f} {f:7.2f} {p:7.2f} {f / d:5.2f} {f / p:5.2f}")
    print(f"{op.name:38} {'   '.join(cells)}   {worst:6.0e}", flush=True)
    if op.ours is norm_silu_alone:
        size = np.prod(op.arguments[0].shape)
        each = (" / ".join(f"{ms[name] * 1e6 / size:.1f}" for name in ms) for ms in times)
        print(f"    ns an element, {' / '.join(times[0])}: {' | '.join(each)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--only", default="", help="only the ops whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    fast.keep_freed_memory()
    print(f"one thread, {N} samples, NumPy {np.__version__}, PyTorch {torch.__version__},", end=" ")
    print(f"median ms of {options.repeats}\n")
    columns = f"{'definition':>10} {'fast':>7} {'PyTorch':>7} {'f/d':>5} {'f/P':>5}"
    print(f"{'':38} {'forward':^38}   {'forward and backward':^38}")
    print(f"{'':38} {columns}   {columns}   differ", flush=True)
    with threadpool_limits(1):
        for op in all_ops():
            if options.only in op.name:
                report(op, *measure(op, options.repeats))


if __name__ == "__main__":
    main()
