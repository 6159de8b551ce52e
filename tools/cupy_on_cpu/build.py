"""Make a virtual environment in which the real CuPy computes on this CPU (see README.md).

    python tools/cupy_on_cpu/build.py .venv-gpu-sim

It needs g++ and the headers of this Python, and gets everything else from the package index. It
builds once, and again after a change of this folder. It ends with an error that says what failed,
or with a sum computed by CuPy.
"""

import hashlib
import os
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CUPY = "14.2.0"
PACKAGES = [
    f"cupy-cuda13x=={CUPY}",
    "nvidia-cuda-runtime==13.*",
    "nvidia-cuda-crt==13.*",
    "nvidia-cuda-profiler-api==13.*",
    "Cython==3.2.4",
    "setuptools>=77",
    "wheel",
]
CUDA_VERSION = 13020  # of the wheel
# The names under which CuPy looks for the GPU's libraries.
LIBRARIES = {"libcuda.so.1", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10"}
FAKES = ("fake_driver", "fake_runtime", "fake_blas", "fake_graph")  # C++ files
NOT_SUPPORTED = {"cuda": 801, "cublas": 15, "curand": 106}  # each library's own code for it
PRECOMPILE = "from tools.cupy_on_cpu import compiler; compiler.precompile_prelude()"
CHECK = """
from tools.cupy_on_cpu import simulator
cupy = simulator.start()
assert cupy.arange(6).reshape(2, 3).sum(axis=1).tolist() == [3, 12]
"""


def main(venv):
    venv = Path(venv).resolve()
    python = venv / "bin" / "python"
    stamp, wanted = venv / "cupy_on_cpu" / "built", fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not python.exists():
        run(sys.executable, "-m", "venv", venv)
    print(f"cupy_on_cpu: installing CuPy {CUPY} into {venv}", flush=True)
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES)
    run(python, HERE / "build.py", "--libraries")
    run(python, "-c", PRECOMPILE, cwd=HERE.parents[1])
    run(python, "-c", CHECK, cwd=HERE.parents[1])
    stamp.write_text(wanted)
    print(f"cupy_on_cpu: CuPy {CUPY} computes on this CPU", flush=True)


def fingerprint():
    """Of the sources in this folder, and of the tensor cores, which are in another one."""
    ours = sorted(path for path in HERE.glob("*.*") if path.suffix in (".py", ".cpp", ".h"))
    ours.append(HERE.parent / "kernel_on_cpu" / "tensor_cores.h")
    return hashlib.sha256(b"".join(path.read_bytes() for path in ours)).hexdigest()


def build_libraries():
    """Within the virtual environment: CuPy's module `runtime`, and the libraries it looks for.

    All of them on top of the fake GPU. In the wheel, `runtime` contains NVIDIA's runtime library,
    which cannot be replaced. So that one module is built again, from CuPy's source distribution of
    the same version. Everything else of the wheel stays as it is.
    """
    import cupy_backends.cuda
    import nvidia.cu13

    folder = Path(sys.prefix) / "cupy_on_cpu"
    folder.mkdir(exist_ok=True)
    headers = Path(nvidia.cu13.__path__[0]) / "include"
    python_headers = headers_of_python()
    wheel = Path(cupy_backends.cuda.__file__).parent
    source = download_source(folder)

    print("cupy_on_cpu: compiling the simulated GPU", flush=True)
    compile_runtime(folder, source, [python_headers, headers])
    for name in FAKES:
        gxx("-O2", "-c", HERE / f"{name}.cpp", "-o", f"{name}.o", f"-I{headers}", cwd=folder)
    compile_stubs(folder, wheel)
    link_libraries(folder)
    (runtime,) = wheel.glob("api/runtime.*.so")
    rpath = f"-Wl,-rpath,{folder}"
    gxx("-shared", "runtime.o", "-L.", "-l:libfakegpu.so", rpath, "-o", runtime, cwd=folder)


def headers_of_python():
    folder = Path(sysconfig.get_path("include"))
    if not (folder / "Python.h").exists():
        sys.exit(
            f"cupy_on_cpu: this Python has no headers ({folder}/Python.h): "
            "install them (Debian and Ubuntu: apt install python3-dev)"
        )
    return folder


def download_source(folder):
    """CuPy's source distribution, unpacked in the folder."""
    source = folder / f"cupy-{CUPY}"
    if source.exists():
        return source
    # Otherwise its setup would ask for a CUDA toolkit.
    environment = {**os.environ, "CUPY_INSTALL_USE_STUB": "1", "READTHEDOCS": "True"}
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-binary", "cupy"]
    download = [sys.executable, "-m", "pip", "download", *options, f"cupy=={CUPY}"]
    run(*download, cwd=folder, env=environment)
    with tarfile.open(folder / f"cupy-{CUPY}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return source


def compile_runtime(folder, source, headers):
    """CuPy's module `runtime`: runtime.o."""
    version = f"CUPY_CUDA_VERSION={CUDA_VERSION}"
    settings = ["-E", version, "-E", "CUPY_HIP_VERSION=0", "-E", "CUPY_USE_CUDA_PYTHON=0"]
    cython = [sys.executable, "-m", "cython", "-3", "--cplus", *settings, "-I", "."]
    module = "cupy_backends/cuda/api/runtime.pyx"
    run(*cython, module, "-o", folder / "runtime.cpp", cwd=source)
    backends = source / "cupy_backends"
    paths = [source, backends / "cuda/api", backends / "cupy_backend", *headers]
    includes = [f"-I{path}" for path in paths]
    gxx("-O1", "-c", "runtime.cpp", "-o", "runtime.o", *includes, f"-D{version}", cwd=folder)


def compile_stubs(folder, wheel):
    """The functions that CuPy needs and the fake GPU lacks: they answer "not supported"."""
    users = [folder / "runtime.o", *wheel.glob("libs/cublas.*.so"), *wheel.glob("libs/curand.*.so")]
    wanted = {symbol for part in users for symbol in symbols(part, "U")}
    there = {symbol for name in FAKES for symbol in symbols(folder / f"{name}.o", "T")}
    stubs = [
        f"int {name}() {{ return {code}; }}\n"
        for name in sorted(wanted - there)
        for prefix, code in NOT_SUPPORTED.items()
        if name.startswith(prefix)
    ]
    (folder / "stubs.c").write_text("".join(stubs))
    run("gcc", "-fPIC", "-w", "-c", "stubs.c", "-o", "stubs.o", cwd=folder)


def link_libraries(folder):
    """All of it in one library, and empty ones of the names that CuPy looks for, which load it."""
    fake, soname = "libfakegpu.so", "-Wl,-soname,"
    objects = [f"{name}.o" for name in (*FAKES, "stubs")]
    gxx("-shared", f"{soname}{fake}", *objects, "-o", fake, "-ldl", cwd=folder)
    (folder / "empty.c").write_text("")
    load_it = ["-Wl,--no-as-needed", "-L.", f"-l:{fake}", "-Wl,-rpath,$ORIGIN"]
    for name in sorted(LIBRARIES):
        empty = ["-x", "c", "empty.c", "-x", "none"]
        gxx("-shared", *empty, f"{soname}{name}", *load_it, "-o", name, cwd=folder)


def gxx(*arguments, cwd):
    run("g++", "-fPIC", "-w", *arguments, cwd=cwd)


def symbols(path, kind):
    """Names of the functions that an object file defines ("T") or lacks ("U"), those of CUDA."""
    command = ["nm", *(["-D"] if path.suffix == ".so" else []), path]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line for line in result.stdout.splitlines() if f" {kind} " in line]
    names = [line.split()[-1].partition("@")[0] for line in lines]  # without @version
    return [name for name in names if name.startswith(tuple(NOT_SUPPORTED))]


def run(*command, **options):
    """Run a command; if it fails, end with what it was and what it said."""
    command = list(map(str, command))
    together = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        result = subprocess.run(command, **together, **options)
    except FileNotFoundError:
        sys.exit(
            f"cupy_on_cpu: {command[0]} is not installed "
            "(Debian and Ubuntu: apt install g++ binutils)"
        )
    if result.returncode:
        said = f"{' '.join(command)}\n\n{result.stdout[-6000:]}"
        sys.exit(f"cupy_on_cpu cannot be built. This failed:\n\n{said}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--libraries"]:
        build_libraries()
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        sys.exit(__doc__)
