"""A CUDA kernel as a function on NumPy arrays, called as CuPy's RawKernel is.

    add = Kernel("add", source)
    add((4,), (256,), (y, x, 1000))       # grid, block, arguments

Arrays are written in place. What a GPU would do wrong without a word raises KernelError.
"""

import ctypes
import hashlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
TENSOR_CORES = HEADER.with_name("tensor_cores.h")  # which it includes
CACHE = Path(sys.prefix) / "kernel_on_cpu"  # compiled kernels, in the virtual environment
GXX = ["g++", "-std=c++17", "-O1", "-g", "-fPIC", "-shared", "-w"]
SANITIZE = ["-fsanitize=address", "-fsanitize-sections=shared_memory"]
ORDERS = {"ascending": 0, "descending": 1, "shuffled": 2}
POINTERS = {"float*": "float32", "double*": "float64", "unsigned*": "uint32", "long long*": "int64"}
NUMBERS = {"long long": (int, ctypes.c_longlong), "double": (float, ctypes.c_double)}
HEAD = r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?"  # of a kernel; then its name


class KernelError(AssertionError):
    """A kernel, or the call of one, that would go wrong on a GPU."""


class Kernel:
    """The function `name` of a CUDA source.

    options are NVRTC's: -fmad=false keeps products and sums apart, as it does there. Each call runs
    three times, with threads and blocks in three orders, and raises KernelError if a single bit of
    what is written depends on the order. `sanitize` compiles with the address sanitizer (see
    `sanitizer_environment`), for which one order is enough.
    """

    def __init__(self, name, source, options=("-fmad=false",), sanitize=False):
        self.name, self.types = name, signature(name, source)
        self.orders = ["ascending"] if sanitize else list(ORDERS)
        library = _library(source, "-fmad=false" not in options, sanitize)
        self.function = getattr(library, f"on_cpu_{name}")
        self.function.restype = ctypes.c_char_p
        self.count, self.bank_conflicts = library.on_cpu_bank_conflicts, 0
        self.count.restype = ctypes.c_long

    def __call__(self, grid, block, arguments):
        values = self.c_values(arguments)
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        grid, block = (
            (ctypes.c_uint * 3)(*size, *(1,) * (3 - len(size))) for size in (grid, block)
        )
        arrays = [a for a in arguments if isinstance(a, np.ndarray)]
        before, results = [a.copy() for a in arrays], {}
        for order in self.orders:
            for a, original in zip(arrays, before):
                if a.flags.writeable:
                    a[...] = original
            failure = self.function(pointers, grid, block, ORDERS[order], 1)
            self.bank_conflicts = self.count()
            if failure:
                raise KernelError(f"{self.name}: {failure.decode()}")
            results[order] = [a.tobytes() for a in arrays]
            for a, original, now in zip(arrays, before, results[order]):
                if not a.flags.writeable and now != original.tobytes():
                    raise KernelError(f"{self.name}: it writes into a read-only array")
            if results[order] != results["ascending"]:
                raise KernelError(
                    f"{self.name}: the result depends on the order of threads "
                    f"({order} is not as ascending): a race"
                )

    def c_values(self, arguments):
        """The arguments as C values, compared with the types in the kernel's signature.

        CuPy and a GPU would never look at those.
        """
        expected, got = len(self.types), len(arguments)
        if got != expected:
            raise KernelError(f"{self.name}: expected {expected} arguments, got {got}")
        return [self.c_value(i, a, kind) for i, (a, kind) in enumerate(zip(arguments, self.types))]

    def c_value(self, i, value, kind):
        where = f"{self.name}: argument {i} is {kind} in CUDA"
        if kind in POINTERS:
            if value is None:
                return ctypes.c_void_p(None)
            if not isinstance(value, np.ndarray) or value.dtype != POINTERS[kind]:
                raise KernelError(f"{where}, got {getattr(value, 'dtype', type(value).__name__)}")
            if not value.flags.c_contiguous:
                raise KernelError(f"{where}, got an array that is not contiguous")
            return ctypes.c_void_p(value.ctypes.data)
        python_type, c_type = NUMBERS[kind]
        if (
            type(value) is not python_type
        ):  # NumPy's numbers too: CuPy passes them in their own size
            raise KernelError(f"{where}, got {type(value).__name__}")
        return c_type(value)


def signature(name, source):
    """The types of a kernel's arguments: "float*", "long long", …"""
    found = re.search(rf"{HEAD}{name}\s*\(([^)]*)\)", source)
    if not found:
        raise KernelError(f"{name}: no such kernel in the source")
    types = []
    for argument in found[1].split(","):
        words = (
            argument.replace("const ", "").replace("__restrict__", "").replace("*", "* ").split()
        )
        types.append(" ".join(words[:-1]).replace(" *", "*"))
        if types[-1] not in POINTERS and types[-1] not in NUMBERS:
            expected = ", ".join([*POINTERS, *NUMBERS])
            raise KernelError(f"{name}: expected arguments of {expected}, got {types[-1]!r}")
    return types


def kernels_of(source):
    """The names of all kernels in a source."""
    return re.findall(rf"{HEAD}(\w+)\s*\(", source)


# A function that ctypes can call, for a kernel NAME.
ENTRY = """
extern "C" const char* on_cpu_NAME(
    void** values, const unsigned* grid, const unsigned* block, int order, unsigned seed) {
    return on_cpu::launch(
        [](void** v) { on_cpu::call(&NAME, v); }, values, grid, block, order, seed);
}
"""
COUNT = """
extern "C" long on_cpu_bank_conflicts() { return tensor_cores::bank_conflicts; }
"""


@cache
def _library(source, contract, sanitize):
    entries = "".join(ENTRY.replace("NAME", name) for name in kernels_of(source))
    text = f'#include "{HEADER.name}"\n#line 1 "kernel.cu"\n{source}\n{entries}{COUNT}'
    rounding = ["-O2", "-ffp-contract=fast", "-march=native"] if contract else ["-ffp-contract=off"]
    flags = [*GXX, *rounding, *(SANITIZE if sanitize else [])]
    headers = HEADER.read_text(), TENSOR_CORES.read_text()
    key = hashlib.sha256(repr((text, *headers, flags)).encode()).hexdigest()[:24]
    library = CACHE / f"{key}.so"
    if not library.exists():
        CACHE.mkdir(exist_ok=True)
        fresh = library.with_suffix(".new")
        command = [*flags, f"-I{HEADER.parent}", "-x", "c++", "-", "-o", fresh]
        result = subprocess.run(command, input=text, capture_output=True, text=True)
        if result.returncode:
            raise KernelError(f"g++ does not compile this kernel:\n{result.stderr[:3000]}")
        fresh.replace(library)
    return ctypes.CDLL(str(library))


def sanitizer_environment():
    """What a process's environment must have for sanitized kernels.

    The sanitizer is loaded first, to watch over NumPy's memory too.
    """
    command = ["g++", "-print-file-name=libasan.so"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return {
        "LD_PRELOAD": result.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "PYTHONMALLOC": "malloc",
    }
