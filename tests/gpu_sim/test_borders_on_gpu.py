"""Where data crosses between host and device, what happens where there is no such device, and that the simulated GPU hides nothing."""
import cupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from on_gpu import assert_same, moved, on_gpu

from autograd import backend
from tinyddpm import noise, schedule
from tinyddpm.app import average
from tinyddpm.sampler import ancestral, ddim
from tools.cupy_on_cpu import launches, simulator


def test_to_device_and_back():
    for array in (np.arange(6.0).reshape(2, 3).T, np.ones((), np.float32), np.zeros((0, 2), np.int64), np.array([True, False])):
        gpu = backend.to_device(array, "cuda")
        assert on_gpu(gpu) and gpu.dtype == array.dtype
        np.testing.assert_array_equal(backend.to_device(gpu, "cpu"), array)
        assert backend.to_device(gpu, "cuda") is gpu and backend.to_numpy(array) is array


def test_a_second_gpu_becomes_the_current_one():
    try:
        x = backend.to_device(np.ones(3, np.float32), "cuda:1")
        assert x.device.id == 1 and (x + backend.array_module(x).ones_like(x)).device.id == 1
        table = schedule.linear(10).alpha_bar
        assert all(backend.constant(table, backend.to_device(np.ones(1), device)).device.id == i for i, device in enumerate(("cuda:0", "cuda:1")))
    finally:
        cupy.cuda.Device(0).use()


@pytest.mark.parametrize("device, message", [("gpu", "expected cpu, cuda or cuda:INDEX, got 'gpu'"), ("cuda:x", "expected cpu"), ("cuda:-1", "expected cpu")])
def test_a_device_of_no_such_name(device, message):
    with pytest.raises(ValueError, match=message):
        backend.to_device(np.ones(1), device)


def test_a_device_that_is_not_there(monkeypatch):
    with pytest.raises(RuntimeError, match="this machine has 2 GPUs, cuda:0 to cuda:1"):
        backend.to_device(np.ones(1), "cuda:2")

    def broken():
        raise cupy.cuda.runtime.CUDARuntimeError(35)
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", broken)
    with pytest.raises(RuntimeError, match="CuPy .* finds no usable GPU"):
        backend.to_device(np.ones(1), "cuda")


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), st.sampled_from([np.float32, np.float64]))
def test_noise_is_the_same_to_the_last_bit(seed, index, dtype):
    index = np.array(index)
    for draw in (lambda i: noise.integers(seed, "a", 3, i, 10, (2,)), lambda i: noise.uniform(seed, "b", 2**40, i, (3,), dtype), lambda i: noise.normal(seed, "c", 1, i, (2, 3), dtype)):
        assert_same(draw(moved(index)), draw(index), tolerance=0)


def test_a_t_that_is_no_step_gives_nan_there():
    """It raises on a CPU. Here it would mean to wait for the GPU; CuPy by itself takes any index modulo the table's length."""
    table, t = schedule.linear(10).beta, np.array([-99, -1, 0, 1, 10, 11, 99])
    for dtype in (np.int64, np.int32):
        found = backend.to_numpy(schedule.at(table, moved(t.astype(dtype)), moved(np.zeros((7, 1, 2, 2)))))
        np.testing.assert_array_equal(found.ravel(), [np.nan, np.nan, np.nan, table[1], table[10], np.nan, np.nan])


# ---- what a step asks of the GPU -----------------------------------------------------------------


@pytest.mark.parametrize("fast", [False, True], ids=["definitions", "fast"])
def test_a_training_step_moves_nothing_but_J(fast, capsys):
    counts = launches.by_kind(launches.of_a_step(fast))
    with capsys.disabled():
        print(f"\na training step, base 16, 8×8, batch 4, {'fast' if fast else 'definitions'}: {counts}")
    assert counts.get("copy host to device", 0) == 0  # no table, no noise, no t
    assert counts.get("copy device to host", 0) <= 2  # J: is it finite, and what is it


def test_averaging_moves_nothing():
    mean, theta = moved(np.zeros(9, np.float32)), moved(np.ones(9, np.float32))
    with simulator.counting() as counts:
        average.update(mean, theta, 0.9, 5)
    assert counts() and not any(what.startswith("copy") for what in counts())


def test_a_sampling_step_moves_nothing():
    x_T, S = moved(np.ones((2, 1, 2, 2), np.float32)), schedule.linear(6)
    for sampler in (lambda: ancestral(lambda xt, t: xt, S, x_T, lambda t: x_T), lambda: ddim(lambda xt, t: xt, S, x_T, lambda t: x_T, steps=6, eta=0.5)):
        list(sampler())  # copies the tables
        with simulator.counting() as counts:
            list(sampler())
        assert not {what for what in counts() if what.startswith("copy") and "host" in what}


# ---- the simulated GPU itself --------------------------------------------------------------------


def test_fresh_memory_is_nan():
    assert all(bool(cupy.isnan(cupy.empty(5, dtype)).all()) for dtype in (np.float32, np.float64) for _ in range(3))


@pytest.mark.parametrize("call", [lambda: cupy.random.default_rng(0), lambda: cupy.sort(cupy.arange(5.0)), lambda: cupy.argsort(cupy.arange(5.0)),
                                  lambda: cupy.random.standard_normal(4), lambda: cupy.linalg.svd(cupy.eye(3))])
def test_what_cannot_run_here_raises(call):
    with pytest.raises((NotImplementedError, RuntimeError, ImportError)):
        call()


KERNEL = r"""
extern "C" __global__ void reverse_in_blocks(const float* x, float* y) {
    __shared__ float part[64];
    part[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
    BARRIER
    float v = part[blockDim.x - 1 - threadIdx.x];
    y[blockIdx.x * blockDim.x + threadIdx.x] = v + __shfl_xor_sync(0xffffffff, v, 1);
}"""


def reversed_in_blocks(barrier):
    x, y = cupy.arange(192, dtype=np.float32), cupy.empty(192, np.float32)
    cupy.RawKernel(KERNEL.replace("BARRIER", barrier), "reverse_in_blocks")((3,), (64,), (x, y))
    return y.get()


def test_barriers_and_shuffles_of_a_kernel_written_by_hand():
    v = np.arange(192, dtype=np.float32).reshape(3, 64)[:, ::-1]
    expected = (v + v.reshape(3, 32, 2)[:, :, ::-1].reshape(3, 64)).ravel()
    np.testing.assert_array_equal(reversed_in_blocks("__syncthreads();"), expected)
    assert (reversed_in_blocks("") != expected).any()  # without the barrier, it shows


def test_a_barrier_that_not_every_thread_reaches_is_an_error():
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="LAUNCH_FAILED"):
        reversed_in_blocks("if (threadIdx.x < 32) __syncthreads();")
