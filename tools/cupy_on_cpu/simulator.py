"""Start the simulated GPU in this process.

From then on `import cupy` is the real CuPy, computing on the CPU.

    cupy = simulator.start()
    with simulator.counting() as counts:
        ...
    counts()          # {"kernel cupy_add__float32_float32_float32": 3, "copy device to host": 1}
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
    # No pool: each new array is fresh memory, which fake_runtime.cpp fills with NaN.
    cupy.cuda.set_allocator(None)
    return cupy


@contextmanager
def counting():
    """What the GPU is asked for within the block: a function that returns {what: how often}."""
    gpu = ctypes.CDLL(str(compiler.FOLDER / "libfakegpu.so"))
    gpu.cupy_on_cpu_count.restype = ctypes.c_long
    gpu.cupy_on_cpu_reset()
    counts = {}

    def read():
        return dict(counts)

    yield read
    name = ctypes.c_char_p()
    while (n := gpu.cupy_on_cpu_count(len(counts), ctypes.byref(name))) >= 0:
        counts[name.value.decode()] = n


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
