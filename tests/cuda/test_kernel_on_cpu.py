"""The tool that runs kernels on the CPU: what it runs, and what it refuses.

It needs g++ and the package nvidia-cuda-nvrtc, as test_kernels_on_cpu.py does.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from tools.kernel_on_cpu import Kernel, KernelError, nvrtc
from tools.kernel_on_cpu.kernel import sanitizer_environment

pytestmark = pytest.mark.gpu_sim
HEAD = 'extern "C" __global__ void f(float* x, long long n) { '
REVERSE = """
__shared__ float s[64];
s[threadIdx.x] = x[threadIdx.x];
BARRIER
x[threadIdx.x] = s[63 - threadIdx.x];
"""
SUM_OF_WARP = """
float v = x[threadIdx.x];
for (int o = 16; o; o /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, o);
x[threadIdx.x] = v;
"""
READ_AND_WRITTEN_AT_ONCE = """
__shared__ float s;
if (threadIdx.x == 0) s = 1;
__syncthreads();
x[threadIdx.x] = s;
if (threadIdx.x == 40) s = 2;
"""
WRONG = [
    (REVERSE.replace("BARRIER", ""), "order of threads"),
    (READ_AND_WRITTEN_AT_ONCE, "order of threads"),
    ("if (threadIdx.x < 10) __syncthreads();", "__syncthreads"),
    ("if (threadIdx.x < 10) x[0] = __shfl_xor_sync(0xFFFFFFFFu, 1.0f, 1);", "shuffle"),
    ("x[0] = __shfl_xor_sync(1u, 1.0f, 1);", "part of a warp"),
    ("x[0] = threadIdx.x;", "order of threads"),
]
WRONG_CALLS = [
    ((np.zeros(64), 64), "argument 0 is float.*float64"),
    ((np.zeros((64, 2), np.float32)[:, 0], 64), "not contiguous"),
    ((np.zeros(64, np.float32), 64.0), "argument 1 is long long.*float"),
    ((np.zeros(64, np.float32), np.int32(64)), "argument 1 is long long.*int32"),
    ((np.zeros(64, np.float32),), "expected 2 arguments, got 1"),
    ((3, 64), "argument 0 is float.*int"),
]
PAST_THE_END = f"""
import numpy as np
from tools.kernel_on_cpu import Kernel
source = '''{HEAD}x[threadIdx.x] = x[threadIdx.x + 1]; }}'''
Kernel("f", source, sanitize=True)((1,), (64,), (np.zeros(64, np.float32), 64))
"""


def run(body, *arguments, block=64, name="f", head=HEAD):
    Kernel(name, head + body + " }")((1,), (block,), arguments)


def test_barriers_and_shuffles_work():
    x = np.arange(64, dtype=np.float32)
    run(REVERSE.replace("BARRIER", "__syncthreads();"), x, 64)
    np.testing.assert_array_equal(x, np.arange(64)[::-1])
    run(SUM_OF_WARP, x, 64)
    np.testing.assert_array_equal(x, np.repeat([sum(range(32, 64)), sum(range(32))], 32))


@pytest.mark.parametrize("body, message", WRONG)
def test_a_wrong_kernel_is_refused(body, message):
    with pytest.raises(KernelError, match=message):
        run(body, np.zeros(64, np.float32), 64)


@pytest.mark.parametrize("arguments, message", WRONG_CALLS)
def test_a_wrong_call_is_refused(arguments, message):
    with pytest.raises(KernelError, match=message):
        run("x[threadIdx.x] = n;", *arguments)


def test_a_source_that_does_not_compile_is_refused():
    with pytest.raises(KernelError, match=r"g\+\+ does not compile"):
        run("x[0] = nothing;", np.zeros(1, np.float32), 1)
    with pytest.raises(nvrtc.NvrtcError, match="nothing"):
        nvrtc.compile(HEAD + "x[0] = nothing; }", "sm_90")


def test_the_sanitizer_watches():
    """A read of one number past the end is reported, so the absence of reports says something."""
    environment = os.environ | sanitizer_environment()
    command = [sys.executable, "-c", PAST_THE_END]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stderr and "kernel.cu:1" in result.stderr
