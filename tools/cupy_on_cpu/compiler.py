"""g++ in place of NVRTC: CUDA source in, a shared library for this CPU out.

`Program` looks like the class in `cupy.cuda.compiler` that it replaces. So the rest of CuPy's way
from source to kernel stays its own: the options, the cache on disk (in CUPY_CACHE_DIR), and the
loading by the driver, which here is `cuModuleLoadData` in fake_driver.cpp.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

FOLDER = Path(sys.prefix) / "cupy_on_cpu"  # what build.py made
HERE = Path(__file__).parent
TENSOR_CORES = HERE.parent / "kernel_on_cpu" / "tensor_cores.h"
OURS = HERE / "compiler.py", HERE / "device_code.h", TENSOR_CORES
GXX = [
    "g++",
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-fpermissive",
    "-w",
    "-ffp-contract=off",
    "-U_FORTIFY_SOURCE",
    "-fvisibility=hidden",
]
PRELUDE = "prelude.h"
VERSION = 13, 2  # what NVRTC would say of itself
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")
DYNAMIC_SHARED = re.compile(
    r"extern\s+__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;"
)
BARRIER = re.compile(r"__sync|__shfl")
# Functions that launch a kernel NAME on a grid, and say how long the arrays of its arguments are,
# and the arguments themselves.
LAUNCHER = """
extern "C" __attribute__((visibility("default"))) bool simulated_NAME(
    void** arguments, const unsigned* grid, const unsigned* block, size_t shared) {
    return simulator::launch(
        [](void** values) { simulator::call(&NAME, values); },
        arguments, grid, block, shared, HAS_BARRIERS);
}
extern "C" __attribute__((visibility("default"))) size_t bytes_of_NAME(void** arguments) {
    return simulator::bytes(&NAME, arguments);
}
extern "C" __attribute__((visibility("default"))) size_t sizes_of_NAME(size_t* sizes) {
    return simulator::sizes(&NAME, sizes);
}
"""


class Program:
    """A source and what became of it.

    `compile` raises cupy.cuda.compiler.CompileException with what g++ said.
    """

    def __init__(
        self,
        src,
        name="kernel",
        headers=(),
        include_names=(),
        name_expressions=None,
        method="ptx",
    ):
        self.source, self.name, self.method = src, name, method
        if headers or name_expressions or method not in ("ptx", "cubin"):
            raise NotImplementedError(
                "cupy_on_cpu compiles plain kernels only: "
                "no templates by name, Jitify or link-time optimisation"
            )

    def compile(self, options=(), log_stream=None):
        if self.method == "ptx":  # CuPy asks what compiler this is, by an empty program
            return f"// {fingerprint()}\n".encode(), None
        return compile_for_cpu(
            self.source, [o for o in options if o.startswith(("-D", "-I"))]
        ), None


def compile_for_cpu(source, options, gxx=GXX):
    """The bytes of a shared library, with a function `simulated_<name>` for each kernel <name>."""
    with tempfile.TemporaryDirectory() as folder:
        cpp, library = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        cpp.write_text(for_gxx(source), encoding="utf-8")
        before = ["-shared", "-include", FOLDER / PRELUDE, *includes(), *options]
        command = [*gxx, *before, cpp, "-o", library]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            from cupy.cuda.compiler import CompileException

            raise CompileException(
                result.stderr[:4000], source, "kernel.cpp", tuple(options), "g++"
            )
        return library.read_bytes()


def for_gxx(source):
    """CUDA source as C++.

    Dynamic shared memory becomes a pointer, and each kernel gets a function that launches it.
    """
    pointer = r"static \1*& \2 = reinterpret_cast<\1*&>(simulator::dynamic_shared);"
    source = DYNAMIC_SHARED.sub(pointer, source)
    launcher = LAUNCHER.replace("HAS_BARRIERS", str(bool(BARRIER.search(source))).lower())
    names = dict.fromkeys(KERNEL.findall(source))
    return source + "".join(launcher.replace("NAME", name) for name in names)


def includes():
    """Where headers are: CUDA's, from the package nvidia-cuda-runtime, and that of tensor cores."""
    import nvidia.cu13

    return [f"-I{Path(nvidia.cu13.__path__[0]) / 'include'}", f"-I{TENSOR_CORES.parent}"]


@cache
def fingerprint():
    """What the machine code depends on besides the source: a part of CuPy's key in its cache."""
    command = ["g++", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    version = result.stdout.splitlines()[0]
    ours = b"".join(path.read_bytes() for path in OURS)
    return f"{version} {hashlib.sha256(ours).hexdigest()[:16]}"


def precompile_prelude():
    """What stands before every kernel, in the form that g++ reads quickly.

    Without it a kernel takes twice as long to compile.
    """
    from cupy._core import core

    device_code = (HERE / "device_code.h").read_text(encoding="utf-8")
    headers = "".join(f"#include <{name}>\n" for name in core._cupy_header_list)
    (FOLDER / PRELUDE).write_text(device_code + headers, encoding="utf-8")
    options = [o for o in core.assemble_cupy_compiler_options(()) if o.startswith("-I")]
    files = [FOLDER / PRELUDE, "-o", FOLDER / f"{PRELUDE}.gch"]
    subprocess.run([*GXX, "-x", "c++-header", *includes(), *options, *files], check=True)
