"""Make a virtual environment in which the real CuPy computes on this CPU (see README.md).

    python tools/cupy_on_cpu/build.py .venv-gpu-sim

It needs g++ and the headers of this Python, and gets everything else from the package index. Done once; again after a
change of this folder. It ends with an error that says what failed, or with a sum computed by CuPy.
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
PACKAGES = [f"cupy-cuda13x=={CUPY}", "nvidia-cuda-runtime==13.*", "nvidia-cuda-crt==13.*", "nvidia-cuda-profiler-api==13.*",
            "Cython==3.2.4", "setuptools>=77", "wheel"]
CUDA_VERSION = 13020  # of the wheel
LIBRARIES = {"libcuda.so.1", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10"}  # the names under which CuPy looks for the GPU's libraries
NOT_SUPPORTED = {"cuda": 801, "cublas": 15, "curand": 106}  # each library's own code for it


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
    run(python, "-c", "from tools.cupy_on_cpu import compiler; compiler.precompile_prelude()", cwd=HERE.parents[1])
    check = "from tools.cupy_on_cpu import simulator; cupy = simulator.start(); assert cupy.arange(6).reshape(2, 3).sum(axis=1).tolist() == [3, 12]"
    run(python, "-c", check, cwd=HERE.parents[1])
    stamp.write_text(wanted)
    print(f"cupy_on_cpu: CuPy {CUPY} computes on this CPU", flush=True)


def fingerprint():
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HERE.glob("*.*")) if path.suffix in (".py", ".cpp", ".h"))).hexdigest()


def build_libraries():
    """Within the virtual environment: CuPy's module `runtime`, and the libraries it looks for, all on top of fake_gpu.cpp.

    In the wheel, `runtime` contains NVIDIA's runtime library, which cannot be replaced; so that one module is built again, from
    CuPy's source distribution of the same version. Everything else of the wheel stays as it is.
    """
    import cupy_backends.cuda
    import nvidia.cu13
    folder = Path(sys.prefix) / "cupy_on_cpu"
    source = folder / f"cupy-{CUPY}"
    folder.mkdir(exist_ok=True)
    headers, wheel = Path(nvidia.cu13.__path__[0]) / "include", Path(cupy_backends.cuda.__file__).parent
    python_headers = Path(sysconfig.get_path("include"))
    if not (python_headers / "Python.h").exists():
        sys.exit(f"cupy_on_cpu: this Python has no headers ({python_headers}/Python.h): install them (Debian and Ubuntu: apt install python3-dev)")

    if not source.exists():
        environment = {**os.environ, "CUPY_INSTALL_USE_STUB": "1", "READTHEDOCS": "True"}  # or its setup would ask for a CUDA toolkit
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", "--no-binary", "cupy", f"cupy=={CUPY}", cwd=folder, env=environment)
        with tarfile.open(folder / f"cupy-{CUPY}.tar.gz") as archive:
            archive.extractall(folder, filter="data")

    print("cupy_on_cpu: compiling the simulated GPU", flush=True)
    settings = [f"CUPY_CUDA_VERSION={CUDA_VERSION}", "CUPY_HIP_VERSION=0", "CUPY_USE_CUDA_PYTHON=0"]
    run(sys.executable, "-m", "cython", "-3", "--cplus", *[part for s in settings for part in ("-E", s)], "-I", ".",
        "cupy_backends/cuda/api/runtime.pyx", "-o", folder / "runtime.cpp", cwd=source)
    backends = source / "cupy_backends"
    gxx("-O1", "-c", "runtime.cpp", "-o", "runtime.o", f"-I{python_headers}", f"-I{source}", f"-I{backends}/cuda/api", f"-I{backends}/cupy_backend",
        f"-I{headers}", f"-DCUPY_CUDA_VERSION={CUDA_VERSION}", cwd=folder)
    gxx("-O2", "-c", HERE / "fake_gpu.cpp", "-o", "fake_gpu.o", f"-I{headers}", cwd=folder)

    wanted = [symbol for part in [folder / "runtime.o", *wheel.glob("libs/cublas.*.so"), *wheel.glob("libs/curand.*.so")] for symbol in symbols(part, "U")]
    missing = sorted(set(wanted) - set(symbols(folder / "fake_gpu.o", "T")))
    stubs = [f"int {name}() {{ return {code}; }}\n" for name in missing for prefix, code in NOT_SUPPORTED.items() if name.startswith(prefix)]
    (folder / "stubs.c").write_text("".join(stubs))
    run("gcc", "-fPIC", "-w", "-c", "stubs.c", "-o", "stubs.o", cwd=folder)
    gxx("-shared", "-Wl,-soname,libfakegpu.so", "fake_gpu.o", "stubs.o", "-o", "libfakegpu.so", "-ldl", cwd=folder)
    (folder / "empty.c").write_text("")
    for name in sorted(LIBRARIES):  # empty, but for the wish to have libfakegpu.so loaded
        gxx("-shared", "-x", "c", "empty.c", "-x", "none", f"-Wl,-soname,{name}", "-Wl,--no-as-needed", "-L.", "-l:libfakegpu.so", "-Wl,-rpath,$ORIGIN", "-o", name, cwd=folder)
    runtime, = wheel.glob("api/runtime.*.so")
    gxx("-shared", "runtime.o", "-L.", "-l:libfakegpu.so", f"-Wl,-rpath,{folder}", "-o", runtime, cwd=folder)


def gxx(*arguments, cwd):
    run("g++", "-fPIC", "-w", *arguments, cwd=cwd)


def symbols(path, kind):
    """Names of the functions that an object file defines ("T") or lacks ("U"), those of CUDA."""
    lines = subprocess.run(["nm", *(["-D"] if path.suffix == ".so" else []), path], check=True, capture_output=True, text=True).stdout.splitlines()
    names = [line.split()[-1].partition("@")[0] for line in lines if f" {kind} " in line]  # without @version
    return [name for name in names if name.startswith(tuple(NOT_SUPPORTED))]


def run(*command, **options):
    """Run a command; if it fails, end with what it was and what it said."""
    try:
        result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    except FileNotFoundError:
        sys.exit(f"cupy_on_cpu: {command[0]} is not installed (Debian and Ubuntu: apt install g++ binutils)")
    if result.returncode:
        sys.exit(f"cupy_on_cpu cannot be built. This failed:\n\n{' '.join(map(str, command))}\n\n{result.stdout[-6000:]}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--libraries"]:
        build_libraries()
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        sys.exit(__doc__)
