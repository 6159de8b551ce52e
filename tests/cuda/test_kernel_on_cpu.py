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
# Each thread copies four numbers into shared memory, waits, and reads those of another one.
COPIED = """
__shared__ __align__(16) float s[256];
copy_16_bytes(s + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x % 2 == 0);
end_of_copies();
end_of_copies();
wait_for_all_copies_but_the_last();
__syncthreads();
x[4 * threadIdx.x] = read_shared(s + 4 * (63 - threadIdx.x)) + 1.0f;
"""
# A warp multiplies a (16×8), which lies in x first, and b (8×8), and adds that to c (16×8).
PRODUCT = """
const int row = threadIdx.x / 4, column = threadIdx.x % 4;
unsigned a[4], b[2];
float d[4];
for (int e = 0; e < 4; e++) {
    a[e] = __float_as_uint(x[(row + e % 2 * 8) * 8 + column + e / 2 * 4]);
    d[e] = x[192 + (row + e / 2 * 8) * 8 + 2 * column + e % 2];
}
for (int e = 0; e < 2; e++) b[e] = __float_as_uint(x[128 + (column + 4 * e) * 8 + row]);
multiply_16x8x8(d, a, b);
for (int e = 0; e < 4; e++) x[192 + (row + e / 2 * 8) * 8 + 2 * column + e % 2] = d[e];
"""
# The block that finishes last adds up what all have written.
LAST_ADDS = """
__shared__ bool last;
if (threadIdx.x == 0) x[blockIdx.x] = blockIdx.x + 1;
FENCE
__syncthreads();
if (threadIdx.x == 0) last = atomicInc(&finished, gridDim.x - 1) == gridDim.x - 1;
__syncthreads();
if (last && threadIdx.x == 0)
    for (int i = 0; i < gridDim.x; i++) x[n] += x[i];
"""
WRONG = [
    (REVERSE.replace("BARRIER", ""), "order of threads"),
    (READ_AND_WRITTEN_AT_ONCE, "order of threads"),
    ("if (threadIdx.x < 10) __syncthreads();", "__syncthreads"),
    ("if (threadIdx.x < 10) x[0] = __shfl_xor_sync(0xFFFFFFFFu, 1.0f, 1);", "shuffle"),
    ("x[0] = __shfl_xor_sync(1u, 1.0f, 1);", "part of a warp"),
    ("x[0] = threadIdx.x;", "order of threads"),
    (COPIED.replace("wait_for_all_copies_but_the_last();", ""), "nobody waited for"),
    (COPIED.replace("end_of_copies();\nend_", "end_"), "nobody waited for"),
    (COPIED.replace("__syncthreads();", ""), "nobody waited for"),
    (COPIED.replace("s + 4 * threadIdx.x, x", "s + 1 + 4 * threadIdx.x, x"), "not aligned"),
    ("if (threadIdx.x < 10) {" + PRODUCT + "}", "product was not reached by all 32"),
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
        run(body, np.zeros(320, np.float32), 64)


def test_copies_in_the_background_arrive():
    x = np.arange(256, dtype=np.float32)
    run(COPIED, x, 64)
    others = 4 * np.arange(64)[::-1]
    np.testing.assert_array_equal(x[::4], np.where(others % 8 == 0, others, 0) + 1)


def test_a_product_of_tensor_cores():
    """Small integers are TF32 numbers, and so are their products' sums: the result is exact."""
    x = np.random.default_rng(0).integers(-9, 9, 320).astype(np.float32)
    a, b, c = x[:128].reshape(16, 8), x[128:192].reshape(8, 8), x[192:].reshape(16, 8)
    expected = a @ b + c
    run(PRODUCT, x, 320, block=32)
    np.testing.assert_array_equal(x[192:].reshape(16, 8), expected)


def test_a_product_of_tensor_cores_loses_bits():
    """The lower 13 bits of a factor, and what does not fit into the sum: that is never rounded."""
    ulp, x = np.float32(2.0**-23), np.zeros((3, 320), np.float32)
    x[0, [0, 128]] = 1 + 2.0**-10 + 2.0**-11, 1  # a factor of 11 bits after the point
    x[1, [0, 128, 192]] = 1, 0.75 * ulp, 1  # rounded, the sum would be 1 + ulp
    x[2, [0, 1, 128, 136, 192]] = 1, 1, 0.5 * ulp, 0.5 * ulp, 1  # it keeps one bit more for sums
    for numbers in x:
        run(PRODUCT, numbers, 320, block=32)
    assert x[:, 192].tolist() == [1 + 2.0**-10, 1, 1 + float(ulp)]


def test_the_last_block_adds_up():
    """Whatever the order of blocks, and again and again: the counter begins at 0 each time."""
    source = "__device__ unsigned finished; " + HEAD + LAST_ADDS + " }"
    for _ in range(2):
        x = np.zeros(6, np.float32)
        Kernel("f", source.replace("FENCE", "__threadfence();"))((5,), (64,), (x, 5))
        assert x.tolist() == [1, 2, 3, 4, 5, 15]
    for missing in ("", "if (threadIdx.x) __threadfence();"):
        with pytest.raises(KernelError, match="__threadfence"):
            Kernel("f", source.replace("FENCE", missing))((5,), (64,), (x, 5))


@pytest.mark.parametrize("stride, conflicts", [(1, 0), (2, 1), (32, 31), (0, 0)])
def test_bank_conflicts_are_counted(stride, conflicts):
    """32 threads that read words 0, 2, 4, … find two in every second bank; the same word is one."""
    body = f"""
__shared__ float s[1024];
for (int i = threadIdx.x; i < 1024; i += 32) s[i] = 0;
__syncthreads();
float d[4] = {{read_shared(s + {stride} * threadIdx.x)}};
const unsigned a[4] = {{}}, b[2] = {{}};
multiply_16x8x8(d, a, b);
x[threadIdx.x] = d[0];
"""
    kernel = Kernel("f", HEAD + body + " }")
    kernel((1,), (32,), (np.zeros(32, np.float32), 32))
    assert kernel.bank_conflicts == conflicts


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
