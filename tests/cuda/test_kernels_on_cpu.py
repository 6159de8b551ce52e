"""The hand-written kernels without a GPU: run on the CPU against their NumPy twins, and compiled by NVIDIA's compiler.

These need g++ and the package nvidia-cuda-nvrtc, and fail, never skip, without them: `make test-gpu-sim` brings them.
"""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import SOURCES, cases, check

from autograd import backend
from tools.kernel_on_cpu import Kernel, KernelError, nvrtc
from tools.kernel_on_cpu.kernel import kernels_of, sanitizer_environment

pytestmark = pytest.mark.gpu_sim
CASES = list(cases())
ARCHITECTURES = ["sm_80", "sm_90"]


def on_cpu(name, source):
    return Kernel(name, source, backend.KERNEL_OPTIONS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_a_kernel_does_what_its_twin_does(case, monkeypatch):
    check(case, on_cpu, monkeypatch)


def test_every_kernel_has_cases():
    seen = set()

    def note(name, source):
        seen.add(name)
        return lambda *launch: None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "kernel", note)
        for case in CASES:
            case.run(case.on_gpu)
    assert seen == {name for source in SOURCES.values() for name in kernels_of(source)}


def test_every_source_is_here():
    root = Path(__file__).resolve().parents[2] / "tinyddpm"
    assert {path.stem for path in root.rglob("*.py") if "__global__" in path.read_text(encoding="utf-8")} == SOURCES.keys()


def test_no_kernel_reads_or_writes_out_of_its_arrays():
    result = subprocess.run([sys.executable, Path(__file__).with_name("kernel_cases.py")], env=os.environ | sanitizer_environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    assert len(result.stdout.splitlines()) == len(CASES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", SOURCES)
def test_nvidias_compiler_takes_it(name, architecture):
    ptx, binary = nvrtc.compile(SOURCES[name], architecture, backend.KERNEL_OPTIONS)
    assert binary[:4] == b"\x7fELF"
    for kernel in kernels_of(SOURCES[name]):
        assert f".visible .entry {kernel}(" in ptx


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_normals_are_made_of_exactly_rounded_operations_alone(architecture):
    """In what NVIDIA's compiler makes of them no product and sum have become one, and quotient and root are rounded to the nearest."""
    ptx, _ = nvrtc.compile(SOURCES["box_muller"], architecture, backend.KERNEL_OPTIONS)
    operations = {word for word in ptx.split() if word.split(".")[0] in ("add", "sub", "mul", "div", "sqrt", "fma", "mad", "rcp") and word.endswith("f64")}
    assert operations <= {"add.f64", "add.rn.f64", "sub.f64", "sub.rn.f64", "mul.f64", "mul.rn.f64", "div.rn.f64", "sqrt.rn.f64"}
    assert {"div.rn.f64", "sqrt.rn.f64"} <= operations
    contracted, _ = nvrtc.compile(SOURCES["box_muller"], architecture, ("--std=c++17",))
    assert "fma.rn.f64" in contracted  # so the test would see it


# ---- the tool itself ----------------------------------------------------------------------------

HEAD = 'extern "C" __global__ void f(float* x, long long n) { '


def run(body, *arguments, block=64, name="f", head=HEAD):
    Kernel(name, head + body + " }")((1,), (block,), arguments)


def test_barriers_and_shuffles_work():
    x = np.arange(64, dtype=np.float32)
    run("__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; __syncthreads(); x[threadIdx.x] = s[63 - threadIdx.x];", x, 64)
    np.testing.assert_array_equal(x, np.arange(64)[::-1])
    run("float v = x[threadIdx.x]; for (int o = 16; o; o /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, o); x[threadIdx.x] = v;", x, 64)
    np.testing.assert_array_equal(x, np.repeat([sum(range(32, 64)), sum(range(32))], 32))


@pytest.mark.parametrize("body, message", [
    ("__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; x[threadIdx.x] = s[63 - threadIdx.x];", "order of threads"),
    ("__shared__ float s; if (threadIdx.x == 0) s = 1; __syncthreads(); x[threadIdx.x] = s; if (threadIdx.x == 40) s = 2;", "order of threads"),
    ("if (threadIdx.x < 10) __syncthreads();", "__syncthreads"),
    ("if (threadIdx.x < 10) x[0] = __shfl_xor_sync(0xFFFFFFFFu, 1.0f, 1);", "shuffle"),
    ("x[0] = __shfl_xor_sync(1u, 1.0f, 1);", "part of a warp"),
    ("x[0] = threadIdx.x;", "order of threads"),
])
def test_a_wrong_kernel_is_refused(body, message):
    with pytest.raises(KernelError, match=message):
        run(body, np.zeros(64, np.float32), 64)


@pytest.mark.parametrize("arguments, message", [
    ((np.zeros(64), 64), "argument 0 is float.*float64"),
    ((np.zeros((64, 2), np.float32)[:, 0], 64), "not contiguous"),
    ((np.zeros(64, np.float32), 64.0), "argument 1 is long long.*float"),
    ((np.zeros(64, np.float32), np.int32(64)), "argument 1 is long long.*int32"),
    ((np.zeros(64, np.float32),), "expected 2 arguments, got 1"),
    ((3, 64), "argument 0 is float.*int"),
])
def test_a_wrong_call_is_refused(arguments, message):
    with pytest.raises(KernelError, match=message):
        run("x[threadIdx.x] = n;", *arguments)


def test_a_source_that_does_not_compile_is_refused():
    with pytest.raises(KernelError, match="g..  does not|g\\+\\+ does not compile"):
        run("x[0] = nothing;", np.zeros(1, np.float32), 1)
    with pytest.raises(nvrtc.NvrtcError, match="nothing"):
        nvrtc.compile(HEAD + "x[0] = nothing; }", "sm_90")


def test_the_sanitizer_watches():
    """A read of one number past the end is reported, so the absence of reports says something."""
    program = ("import numpy as np; from tools.kernel_on_cpu import Kernel\n"
               f"Kernel('f', '''{HEAD}x[threadIdx.x] = x[threadIdx.x + 1]; }}''', sanitize=True)((1,), (64,), (np.zeros(64, np.float32), 64))")
    result = subprocess.run([sys.executable, "-c", program], env=os.environ | sanitizer_environment(), capture_output=True, text=True)
    assert result.returncode != 0 and "heap-buffer-overflow" in result.stderr and "kernel.cu:1" in result.stderr
