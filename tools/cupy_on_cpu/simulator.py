"""Start the simulated GPU in this process.

From then on `import cupy` is the real CuPy, computing on the CPU.

    cupy = simulator.start()
    with simulator.counting() as counts:
        ...
    counts()          # {"kernel cupy_add__float32_float32_float32": 3, "copy device to host": 1}
    with simulator.recording() as launches:
        ...               # nothing is computed, so it may be large: results are rubbish
    launches()        # [("kernel cupy_add__float32_float32_float32", bytes, FLOP), …]
"""

import ctypes
import os
import sys
from contextlib import contextmanager

from . import build, compiler


def start():
    """Load the fake GPU, put g++ in NVRTC's place and return `cupy`.

    RuntimeError if `cupy` is already there, or build.py was never run.
    """
    if not (compiler.FOLDER / "libfakegpu.so").exists():
        raise RuntimeError(
            f"cupy_on_cpu: {sys.prefix} has no simulated GPU: run the tests by "
            "`make test-gpu-sim`, or build one with tools/cupy_on_cpu/build.py"
        )
    if "cupy" in sys.modules:
        raise RuntimeError("cupy_on_cpu: cupy was imported before the simulator was started")
    os.environ["CUPY_ACCELERATORS"] = ""  # no CUB: that is device code inside CuPy's own libraries
    os.environ.setdefault("CUPY_CACHE_DIR", str(compiler.FOLDER / "kernels"))
    for name in sorted(build.LIBRARIES):
        # From now on a request for a library of this name gets this one.
        ctypes.CDLL(str(compiler.FOLDER / name))
    import cupy
    import cupy.cuda.compiler

    if cupy.__version__ != build.CUPY:
        raise RuntimeError(f"cupy_on_cpu: expected CuPy {build.CUPY}, found {cupy.__version__}")
    cupy.cuda.compiler._NVRTCProgram = compiler.Program
    cupy.cuda.compiler._get_nvrtc_version = lambda: compiler.VERSION
    _refuse_embedded_device_code(cupy)
    cupy.RawKernel = _raw_kernel(cupy.RawKernel)
    # No pool: each new array is fresh memory, which fake_runtime.cpp fills with NaN.
    cupy.cuda.set_allocator(None)
    return cupy


@contextmanager
def counting():
    """What the GPU is asked for within the block: a function that returns {what: how often}."""
    gpu = _fake_gpu()
    gpu.cupy_on_cpu_count.restype = ctypes.c_long
    gpu.cupy_on_cpu_reset()
    counts = {}

    def read():
        return dict(counts)

    yield read
    name = ctypes.c_char_p()
    while (n := gpu.cupy_on_cpu_count(len(counts), ctypes.byref(name))) >= 0:
        counts[name.value.decode()] = n


@contextmanager
def recording(flop=None):
    """Let the GPU only note what it is asked for: a function that returns the notes, in order.

    Each is (what, bytes, FLOP): a kernel, a matrix product, a copy or a memset. The bytes are those
    of the arrays that it is given, each number of each array once, and a broadcast one not more
    often. Nothing is computed or filled on the device, so what comes out is rubbish, takes no time,
    and touches no memory.

    Args:
        flop: {name of a kernel written by hand: its FLOP, a function of its arguments}. Of matrix
            products FLOP are counted anyway, of no other kernels.
    """
    gpu, notes = _fake_gpu(), []
    gpu.cupy_on_cpu_record(1)
    FLOP.update(flop or {})
    try:
        yield lambda: list(notes)
    finally:
        FLOP.clear()
        gpu.cupy_on_cpu_record(0)
        what, size, work = ctypes.c_char_p(), ctypes.c_double(), ctypes.c_double()
        while not gpu.cupy_on_cpu_note(len(notes), *map(ctypes.byref, (what, size, work))):
            notes.append((what.value.decode(), int(size.value), work.value))


FLOP = {}


def _fake_gpu():
    return ctypes.CDLL(str(compiler.FOLDER / "libfakegpu.so"))


def _raw_kernel(base):
    """RawKernel, which says how long the arrays behind its plain pointers are."""

    class RawKernel(base):
        def __call__(self, grid, block, args, **options):
            super().__call__(grid, block, args, **options)
            size = sum(getattr(a, "nbytes", 0) for a in args)
            flop = FLOP[self.name](*args) if self.name in FLOP else 0
            _fake_gpu().cupy_on_cpu_add(ctypes.c_double(size), ctypes.c_double(flop))

    return RawKernel


def _refuse_embedded_device_code(cupy):
    """Let what would run device code from CuPy's own libraries raise.

    No such code can run here, and some of it would return rubbish.
    """

    def refuse(name):
        def refused(*args, **options):
            raise NotImplementedError(
                f"cupy_on_cpu: {name} runs device code that is a part of CuPy's own libraries; "
                "only a GPU can"
            )

        return refused

    for name in ("default_rng", "Generator", "BitGenerator", "XORWOW", "MRG32k3a", "Philox4x3210"):
        setattr(cupy.random, name, refuse(f"cupy.random.{name}"))
