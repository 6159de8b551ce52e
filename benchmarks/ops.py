"""Each op by itself, on one thread: our definition, our fast equivalent, PyTorch: `python -m benchmarks.ops`.

Outputs and all gradients are compared before anything is timed. The three take turns, and PyTorch is its eager mode in the
faster of two memory formats. Gradients are neither copied nor added up on either side. Two rows, "each by
itself" and "up ×2, then conv", compute the row above without its trick: their fast columns beside each other tell its worth.
"""
import argparse
import statistics
from typing import Callable, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from autograd import leaf, no_grad, ops, primitive
from tinyddpm import fast
from tinyddpm.fast import norm_silu
from tinyddpm.nn.attention import attention
from tinyddpm.nn.block import norm_silu_conv, repeat2, upsample_conv
from tinyddpm.nn.conv import conv2d
from tinyddpm.equivalents import FASTER, replaceable
from tinyddpm.nn.norm import group_norm

from .timing import alternate

N, GROUPS = 16, 8  # samples: as many as a shard of a batch of 64 has
DEFINITION, FAST = "definition", "fast"
FORMATS = {"PyTorch": torch.contiguous_format, "PyTorch, channels last": torch.channels_last}


class Argument(NamedTuple):
    shape: tuple
    axes: tuple           # the order in which PyTorch wants them
    needed: bool = True   # is its gradient wanted?


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
    return F.conv2d(F.silu(F.group_norm(x, GROUPS, gain, shift)), w, bias, padding=1) + added[:, :, None, None]


def upsampled_of_torch(x, w, bias):
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), w, bias, padding=1)


def attention_of_torch(*qkv):
    """PyTorch's fastest: with the axis of heads, though there is one only."""
    n, height, width, c = qkv[0].shape
    return F.scaled_dot_product_attention(*(a.reshape(n, 1, height * width, c) for a in qkv)).reshape(n, height, width, c)


def all_ops():
    """Those of a network with base 32 on 32×32 images, with two sizes from others."""
    found = [Op(f"conv 3×3, {c} → {c} at {side}×{side}", conv2d, lambda x, w: F.conv2d(x, w, padding=1), (image(side, c), weight(3, c, c)))
             for c, side in ((32, 32), (64, 32), (64, 16), (16, 8), (64, 2))]
    for c, side in ((32, 32), (64, 16)):
        arguments = (image(side, c), row(c), row(c), weight(3, c, c), row(c), row(N, c))
        found += [Op(f"norm + SiLU + conv, {c} → {c} at {side}×{side}", half_block, half_block_of_torch, arguments),
                  Op("norm, SiLU, conv, each by itself", half_block_by_layers, half_block_of_torch, arguments)]
    up = (image(16, 64), weight(3, 64, 64), row(64))
    return found + [
        Op("norm + SiLU, 32 at 32×32", norm_silu_alone, lambda x, a, b: F.silu(F.group_norm(x, GROUPS, a, b)), (image(32, 32), row(32), row(32))),
        Op("up ×2 + conv, 64 → 64 to 32×32", upsample_conv, upsampled_of_torch, up),
        Op("up ×2, then conv", lambda x, w, bias: conv2d(repeat2(x), w) + bias, upsampled_of_torch, up),
        Op("conv 3×3 stride 2, 32 → 32 to 16×16", lambda x, w: conv2d(x, w, stride=2), lambda x, w: F.conv2d(x, w, stride=2, padding=1),
           (image(32, 32), weight(3, 32, 32))),
        Op("conv 1×1, 64 → 32 at 32×32", lambda x, w: conv2d(x, w, padding=0), F.conv2d, (image(32, 64), weight(1, 64, 32))),
        Op("first conv, 1 → 32 at 32×32", conv2d, lambda x, w: F.conv2d(x, w, padding=1), (image(32, 1, needed=False), weight(3, 1, 32))),
        Op("last norm + SiLU + conv, 32 → 1", half_block, half_block_of_torch, (image(32, 32), row(32), row(32), weight(3, 32, 1), row(1), row(N, 1))),
        Op("attention, 64 channels at 8×8", lambda q, k, v: attention(q, k, v, heads=1), attention_of_torch, (pixels(8, 64),) * 3),
    ]


@primitive
def caught(start, *, array, into, i):
    """`array`, whose gradient becomes into[i]: a leaf would copy it, which would be timed too."""
    def pullback(g):
        into[i] = g
        return (start,)
    return array, pullback


def ours(op, arrays, g, equivalents):
    """Two functions: the output alone, and (the output, the gradients that are needed)."""
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
        grads, start = {}, leaf(np.zeros((), np.float32))
        y = op.ours(*(caught(start, array=a, into=grads, i=i) if i in needed else a for i, a in enumerate(arrays)))
        y.backward(g)
        return y.data, [grads[i] for i in needed]

    return forward, both


def theirs(op, arrays, g, memory_format):
    """The same of PyTorch."""
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
    """Worst relative difference of the output and of any gradient. `result` may be PyTorch's."""
    worst, (y, grads) = 0.0, result
    axes = [op.arguments[0].axes] + [argument.axes for argument in op.arguments if argument.needed]
    for a, b, order in zip([y, *grads], [reference[0], *reference[1]], axes, strict=True):
        a = a.detach().permute(*np.argsort(order).tolist()).numpy() if isinstance(a, torch.Tensor) else a
        assert a.shape == b.shape and np.abs(b).max() > 0, f"{op.name}: nothing is compared"
        worst = max(worst, np.abs(a - b).max() / np.abs(b).max())
    return worst


def measure(op, repeats):
    """Median ms {forward, forward and backward: {who: ms}}, and the worst difference from the definition."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(0, 1 / max(1, np.prod(a.shape[:3])) ** 0.5 if a.axes == (3, 2, 0, 1) else 1, a.shape).astype(np.float32) for a in op.arguments]
    forward, _ = ours(op, arrays, None, {})
    g = rng.normal(size=forward().shape).astype(np.float32)
    runs = {DEFINITION: ours(op, arrays, g, {}), FAST: ours(op, arrays, g, EQUIVALENTS)}
    runs |= {name: theirs(op, arrays, g, memory_format) for name, memory_format in FORMATS.items()}
    reference = runs[DEFINITION][1]()
    worst = max(difference(op, both(), reference) for _, both in runs.values())
    if worst > 1e-4:
        raise RuntimeError(f"{op.name}: outputs or gradients differ by {worst:.1e}: nothing to compare")
    return [{name: 1000 * statistics.median(s) for name, s in alternate({name: pair[i] for name, pair in runs.items()}, repeats).items()}
            for i in (0, 1)], worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--only", default="", help="only the ops whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    fast.keep_freed_memory()
    print(f"one thread, {N} samples, NumPy {np.__version__}, PyTorch {torch.__version__}, median ms of {options.repeats}\n")
    columns = f"{'definition':>10} {'fast':>7} {'PyTorch':>7} {'f/d':>5} {'f/P':>5}"
    print(f"{'':38} {'forward':^38}   {'forward and backward':^38}\n{'':38} {columns}   {columns}   differ", flush=True)
    with threadpool_limits(1):
        for op in all_ops():
            if options.only in op.name:
                times, worst = measure(op, options.repeats)
                cells = []
                for ms in times:
                    d, f, p = ms[DEFINITION], ms[FAST], min(ms[name] for name in FORMATS)
                    cells.append(f"{d:10.2f} {f:7.2f} {p:7.2f} {f / d:5.2f} {f / p:5.2f}")
                print(f"{op.name:38} {'   '.join(cells)}   {worst:6.0e}", flush=True)
                if op.ours is norm_silu_alone:
                    size = np.prod(op.arguments[0].shape)
                    each = " | ".join(" / ".join(f"{ms[name] * 1e6 / size:.1f}" for name in ms) for ms in times)
                    print(f"    ns an element, {' / '.join(times[0])}: {each}", flush=True)


if __name__ == "__main__":
    main()
