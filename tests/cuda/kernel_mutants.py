"""Bugs planted in the kernels, one at a time: is each found, and by what? `python tests/cuda/kernel_mutants.py` prints the table.

The layers:
    compiler    NVIDIA's compiler: what it refuses, and products and sums that became one in the code for normals
    sanitizer   a read or write outside of an array
    call        the call does not fit the kernel's signature
    order       the result depends on the order of threads, or barriers do not match
    twin        the numbers differ from the NumPy twin's
"""
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

from kernel_cases import SOURCES, cases, check

from autograd import backend
from tinyddpm.noise.box_muller import LOG_2_HIGH
from tools.kernel_on_cpu import Kernel, KernelError, nvrtc
from tools.kernel_on_cpu.kernel import sanitizer_environment


class Mutant(NamedTuple):
    name: str
    source: str   # which of SOURCES
    right: str    # stands there once; nothing if the bug is in the options
    wrong: str
    layers: str   # which find it
    options: tuple = backend.KERNEL_OPTIONS


MUTANTS = [
    Mutant("no barrier after the sums of warps", "norm_silu", "if (lane == 0) sum_of_warp[warp] = value;\n    __syncthreads();", "if (lane == 0) sum_of_warp[warp] = value;", "order"),
    Mutant("no barrier before they are written again", "norm_silu", "    __syncthreads();  // nobody still reads the sums of the call before\n", "", "order"),
    Mutant("no barrier in the tree", "norm_silu", "            __syncthreads();\n            if (team + half", "            if (team + half", "order"),
    Mutant("a barrier that not all reach", "norm_silu", "if (lane == 0) sum_of_warp[warp] = value;\n    __syncthreads();", "if (lane == 0) { sum_of_warp[warp] = value; __syncthreads(); }", "order"),
    Mutant("a warp's sum of 16 lanes only", "norm_silu", "for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);\n    __syncthreads();",
           "for (int offset = 8; offset > 0; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);\n    __syncthreads();", "twin"),
    Mutant("a wrong stride", "norm_silu", "count = pixels * width, row = n * c;                 ", "count = pixels * width, row = c;", "order"),
    Mutant("a group begins one channel late", "norm_silu", "const int start = sample * c + group * width;", "const int start = sample * c + group * width + 1;", "sanitizer"),
    Mutant("the last number of a group is left out", "norm_silu", "for (int i = threadIdx.x; i < count; i += THREADS) sum +=", "for (int i = threadIdx.x; i < count - 1; i += THREADS) sum +=", "twin"),
    Mutant("a group's sum takes one number of the next", "norm_silu", "for (int i = threadIdx.x; i < count; i += THREADS) sum +=", "for (int i = threadIdx.x; i <= count; i += THREADS) sum +=", "sanitizer"),
    Mutant("the gradient reads one channel too far", "norm_silu", "if (team < teams && first + lane < width)", "if (team < teams)", "sanitizer"),
    Mutant("an odd number of teams is halved downwards", "norm_silu", "const int half = (left + 1) / 2;", "const int half = left / 2;", "order"),
    Mutant("silu' without the slope of the sigmoid", "norm_silu", "return s * (1.0f + h * (1.0f - s));", "return s;", "twin"),
    Mutant("one thread too many", "add", "if (i >= size) return;", "if (i > size) return;", "sanitizer"),
    Mutant("no end", "add", "if (i >= size) return;", "", "sanitizer"),
    Mutant("one number too few", "add", "if (i >= size) return;", "if (i >= size - 1) return;", "twin"),
    Mutant("sums in an order of chance", "add", "y[i] = sum;", "y[0] = y[0] + sum;", "order"),
    Mutant("rows read past the right edge", "columns", "xx >= 0 && xx < width;", "xx >= 0 && xx <= width;", "sanitizer"),
    Mutant("a read past the last row", "columns", "y >= 0 && y < height && xx", "y >= 0 && y <= height && xx", "sanitizer"),
    Mutant("the gradient without the stride's remainder", "columns", " || from_y % stride || from_x % stride", "", "twin"),
    Mutant("the gradient reads past the part of rows", "columns", "out_y >= to", "out_y > to", "sanitizer"),
    Mutant("a key of the cipher not raised", "philox", "k1 += 0xBB67AE85u;", "", "twin"),
    Mutant("nine rounds", "philox", "round < 10", "round < 9", "twin"),
    Mutant("the last words of a sample run into the next", "philox", "j < 4 && 4 * block + j < count", "j < 4", "sanitizer"),
    Mutant("a quarter of a turn off by one word", "box_muller", "+ (1u << 29), quarter", "+ (1u << 29) - 1, quarter", "twin"),
    Mutant("a logarithm of the other order", "box_muller", "k * LOG_2_HIGH + (f - (s", "(k * LOG_2_HIGH + f) - ((s", "twin"),
    Mutant("an argument in another size", "add", "long long size, long long n, long long c", "long long size, long long n, int c", "call"),
    Mutant("an argument forgotten", "add", "long long size, long long n, long long c", "long long size, long long n, long long c, long long more", "call"),
    Mutant("a name that CUDA does not have", "norm_silu", "const float s = 1.0f / (1.0f + expf(-h));", "const float s = 1.0f / (1.0f + std::exp(-h));", "compiler"),
    Mutant("contraction left on", "box_muller", "", "", "compiler, twin", ("--std=c++17",)),
]


def planted(mutant):
    """The source with the bug in it."""
    source = SOURCES[mutant.source]
    right, wrong = (text.replace("LOG_2_HIGH", LOG_2_HIGH.hex()) for text in (mutant.right, mutant.wrong))
    if source.count(right) != 1 and mutant.right:
        raise ValueError(f"{mutant.name}: expected {right!r} once in {mutant.source}, found it {source.count(right)} times")
    return source.replace(right, wrong) if mutant.right else source


def found_by(mutant):
    """The layers that find the bug: NVIDIA's compiler, if it does, and the first of those on this CPU; "" if it lives."""
    layers = ["compiler"] if compiler_finds(mutant) else []
    # In a process of its own, under the sanitizer: a kernel that writes anywhere could end this one.
    result = subprocess.run([sys.executable, __file__, mutant.name], env=os.environ | sanitizer_environment(), capture_output=True, text=True)
    if "ERROR: AddressSanitizer" in result.stderr:
        layers.append("sanitizer")
    elif result.returncode:
        raise RuntimeError(f"{mutant.name}: {result.stderr}")
    else:
        layers += result.stdout.split()
    return ", ".join(layers)


def compiler_finds(mutant):
    try:
        ptx, _ = nvrtc.compile(planted(mutant), "sm_90", mutant.options)
    except nvrtc.NvrtcError:
        return True
    return mutant.source == "box_muller" and "fma.rn.f64" in ptx


def try_on_cpu(mutant):
    """The layer on this CPU that finds it, or "": all cases once under the sanitizer, which may end the process, and then in all orders."""
    source = planted(mutant)
    own = [case for case in cases() if case.on_gpu.__module__.endswith(f".{mutant.source}")]
    for sanitize in (True, False):
        for case in own:
            try:
                check(case, lambda name, _: Kernel(name, source, mutant.options, sanitize), pytest.MonkeyPatch)
            except KernelError as error:
                return "order" if any(words in str(error) for words in ("order of threads", "not reached")) else "call"
            except AssertionError:
                if not sanitize:
                    return "twin"
    return ""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(try_on_cpu(next(m for m in MUTANTS if m.name == sys.argv[1])))
    else:
        for m in MUTANTS:
            print(f"{found_by(m) or 'LIVES':18} {m.source:11} {m.name}", flush=True)
