"""Bugs planted in the kernels, one at a time: is each found, and by what?

`python tests/cuda/kernel_mutants.py` prints the table. The layers:

    compiler    NVIDIA's compiler: what it refuses, and in the code for normal numbers a product and
                a sum that became one
    sanitizer   a read or write outside of an array
    call        the call does not fit the kernel's signature
    copy        a copy in the background whose addresses are not multiples of its size
    shared      a read of shared memory that nobody wrote, or of a copy not waited for
    banks       reads of a warp that wait for each other
    order       the result depends on the order of threads, or barriers do not match
    fence       a block is counted as finished, and its numbers need not have arrived
    twin        the numbers differ from the NumPy twin's
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kernel_cases import SOURCES, cases, check
from mutant_gallery import MUTANTS
from tile_mutants import TILE_MUTANTS

from tinyddpm.noise.box_muller import LOG_2_HIGH
from tools.kernel_on_cpu import Kernel, KernelError, nvrtc
from tools.kernel_on_cpu.kernel import sanitizer_environment

ALL = MUTANTS + TILE_MUTANTS
# In what a KernelError says, and which layer has found it; any other is of the call.
LAYERS = {
    "order of threads": "order",
    "not reached": "order",
    "nobody wrote": "shared",
    "not aligned": "copy",
    "__threadfence": "fence",
}


def planted(mutant):
    """The source with the bug in it."""
    source = SOURCES[mutant.source]
    if not mutant.right:
        return source
    constant = LOG_2_HIGH.hex()
    right, wrong = (text.replace("LOG_2_HIGH", constant) for text in (mutant.right, mutant.wrong))
    count = source.count(right)
    if count != 1:
        raise ValueError(
            f"{mutant.name}: expected {right!r} once in {mutant.source}, found it {count} times"
        )
    return source.replace(right, wrong)


def found_by(mutant):
    """The layers that find the bug; "" if it lives.

    They are NVIDIA's compiler, if it does, and the first of those on this CPU.
    """
    layers = ["compiler"] if compiler_finds(mutant) else []
    # In a process of its own, under the sanitizer: such a kernel could end this one.
    environment = os.environ | sanitizer_environment()
    command = [sys.executable, __file__, mutant.name]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
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
    """The layer on this CPU that finds it, or "".

    All cases run once under the sanitizer, which may end the process, and then in all orders.
    """
    source = planted(mutant)
    own = [case for case in cases() if case.on_gpu.__module__.endswith(f".{mutant.source}")]
    for sanitize in (True, False):
        kernels = []

        def kernel(name, _, sanitize=sanitize, kernels=kernels):
            kernels.append(Kernel(name, source, mutant.options, sanitize))
            return kernels[-1]

        for case in own:
            try:
                check(case, kernel, pytest.MonkeyPatch)
            except KernelError as error:
                return next((LAYERS[words] for words in LAYERS if words in str(error)), "call")
            except AssertionError:
                if not sanitize:
                    return "twin"
        if any(made.bank_conflicts for made in kernels):
            return "banks"
    return ""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(try_on_cpu(next(m for m in ALL if m.name == sys.argv[1])))
    else:
        for m in ALL:
            print(f"{found_by(m) or 'LIVES':18} {m.source:11} {m.name}", flush=True)
