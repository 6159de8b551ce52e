"""The stage that says what the card and the software are, and what the card can do at most."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import tomllib

import numpy as np

from autograd import backend
from tinyddpm import noise

from . import clock
from .one_stage import SIMULATED
from .stages import ROOT

REPEATS = 15
NOTHING = 'extern "C" __global__ void nothing(float* x, long long n) { if (n < 0) x[0] = 0.0f; }'


def card(report):
    software(report)
    try:
        cupy = backend.array_module(backend.to_device(np.zeros(1, np.float32), "cuda"))
    except RuntimeError as error:
        report.row(**{"no card": str(error)})
        return
    with report.part("properties"):
        properties(report, cupy)
    with report.part("nvidia-smi"):
        nvidia_smi(report)
    limits(report, cupy)


def software(report):
    """Versions, and which packages of pyproject.toml are missing."""
    versions = {"python": platform.python_version()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [re.match(r"[\w-]+", text)[0] for text in project["dependencies"] + extras["test"]]
    missing = []
    for name in dict.fromkeys([*wanted, "torch"]):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    for distribution in importlib.metadata.distributions():
        if (distribution.name or "").startswith("cupy"):
            versions[distribution.name] = distribution.version
    report.row(versions=versions, commit=commit())
    if missing:
        report.note(f"Not installed: {', '.join(missing)}.")


def commit():
    """The commit of this checkout, or an empty text."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip()


def properties(report, cupy):
    runtime = cupy.cuda.runtime
    found = runtime.getDeviceProperties(0)
    report.row(
        card=found["name"].decode(),
        capability=f"{found['major']}.{found['minor']}",
        **{
            "memory, GB": round(found["totalGlobalMem"] / 1e9, 1),
            "multiprocessors": found["multiProcessorCount"],
            "L2, MB": round(found.get("l2CacheSize", 0) / 1e6, 1),
            "CUDA driver": runtime.driverGetVersion(),
            "CUDA runtime": runtime.runtimeGetVersion(),
            "CuPy accelerators": os.environ.get("CUPY_ACCELERATORS", "its default"),
            "cores": os.cpu_count(),
        },
    )


def nvidia_smi(report):
    """Driver, clocks and power as nvidia-smi says them, if it is there."""
    if SIMULATED:
        return
    what = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu"
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=15)
    except (OSError, subprocess.TimeoutExpired) as error:
        report.note(f"nvidia-smi does not answer: {error}")
        return
    for line in (result.stdout or result.stderr).splitlines()[:3]:
        report.note(f"`{line}`")


def limits(report, cupy):
    """What the card can do at most, measured: the model takes these in place of a data sheet's."""
    n = 2**12 if report.tiny else 2**28  # 1 GiB of float32
    with report.part("copy"):
        a = cupy.arange(n, dtype=np.float32)
        b = cupy.empty_like(a)
        stream = cupy.cuda.get_current_stream()

        def copy():
            cupy.cuda.runtime.memcpyAsync(b.data.ptr, a.data.ptr, a.nbytes, 3, stream.ptr)

        measured(report, "copy, GB/s", copy, 2 * a.nbytes, 1e9)
        measured(report, "b = 3·a, GB/s", lambda: cupy.multiply(a, 3, out=b), 2 * a.nbytes, 1e9)
        del a, b
    n = 32 if report.tiny else 8192
    for tf32 in (False, True):
        with report.part("product"), backend.tf32() if tf32 else contextlib.nullcontext():
            a, b = random((n, n)), random((n, n))
            name = f"{'TF32' if tf32 else 'float32'} product, TFLOP/s"
            measured(report, name, lambda a=a, b=b: a @ b, 2 * n**3, 1e12)
    with report.part("launches"):
        costs_of_a_launch(report, cupy)


def measured(report, name, call, amount, unit):
    ms = clock.gpu_ms(call, (1 if report.tiny else REPEATS), spin=not report.tiny)
    report.row(limit=name, value=clock.rate(amount, ms, unit))


def random(shape):
    """Normal numbers, drawn on the GPU: to make and send them would take the stage's time."""
    index = backend.to_device(np.arange(shape[0]), "cuda")
    return noise.normal(0, "benchmark", 0, index, shape[1:])


def costs_of_a_launch(report, cupy):
    """µs of the host for a launch, and of the GPU for a kernel that does nothing."""
    calls = 4 if report.tiny else 500
    small, empty = cupy.ones(32, np.float32), backend.kernel("nothing", NOTHING)
    matrix = cupy.ones((32, 32), np.float32)
    kinds = {
        "a kernel of ours": lambda: empty((1,), (32,), (small, 1)),
        "an op of CuPy": lambda: cupy.add(small, small, out=small),
        "a product": lambda: cupy.matmul(matrix, matrix),
    }
    for name, call in kinds.items():

        def many(call=call):
            for _ in range(calls):
                call()

        host = 1000 * clock.host_ms(many, (1 if report.tiny else REPEATS)) / calls
        gpu = (
            1000 * clock.gpu_ms(many, (1 if report.tiny else REPEATS), spin=not report.tiny) / calls
        )
        report.row(limit=f"{name}: host, µs", value=round(host, 2))
        report.row(limit=f"{name}: GPU, µs", value=round(gpu, 2))
