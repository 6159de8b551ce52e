"""Where data crosses between host and device, and what happens where there is no such device."""

import cupy
import numpy as np
import pytest
from hypothesis import given, strategies as st
from on_gpu import assert_same, moved, on_gpu

from autograd import backend
from tinyddpm import noise, schedule

ARRAYS = {
    "a view": np.arange(6.0).reshape(2, 3).T,
    "a number": np.ones((), np.float32),
    "empty": np.zeros((0, 2), np.int64),
    "bool": np.array([True, False]),
}
DRAWS = {
    "integers": lambda seed, i, dtype: noise.integers(seed, "a", 3, i, 10, (2,)),
    "uniform": lambda seed, i, dtype: noise.uniform(seed, "b", 2**40, i, (3,), dtype),
    "normal": lambda seed, i, dtype: noise.normal(seed, "c", 1, i, (2, 3), dtype),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_to_device_and_back(name):
    array = ARRAYS[name]
    gpu = backend.to_device(array, "cuda")
    assert on_gpu(gpu) and gpu.dtype == array.dtype
    np.testing.assert_array_equal(backend.to_device(gpu, "cpu"), array)
    assert backend.to_device(gpu, "cuda") is gpu and backend.to_numpy(array) is array


def test_a_second_gpu_becomes_the_current_one(two_gpus):
    x = backend.to_device(np.ones(3, np.float32), "cuda:1")
    assert x.device.id == 1 and (x + backend.array_module(x).ones_like(x)).device.id == 1
    table = schedule.linear(10).alpha_bar
    for i, device in enumerate(("cuda:0", "cuda:1")):
        like = backend.to_device(np.ones(1), device)
        assert backend.constant(table, like).device.id == i


@pytest.mark.parametrize(
    "device, message",
    [
        ("gpu", "expected cpu, cuda or cuda:INDEX, got 'gpu'"),
        ("cuda:x", "expected cpu"),
        ("cuda:-1", "expected cpu"),
    ],
)
def test_a_device_of_no_such_name(device, message):
    with pytest.raises(ValueError, match=message):
        backend.to_device(np.ones(1), device)


def test_a_device_that_is_not_there(monkeypatch):
    count = cupy.cuda.runtime.getDeviceCount()
    message = f"this machine has {count} GPUs, cuda:0 to cuda:{count - 1}"
    with pytest.raises(RuntimeError, match=message):
        backend.to_device(np.ones(1), f"cuda:{count}")

    def broken():
        raise cupy.cuda.runtime.CUDARuntimeError(35)

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", broken)
    with pytest.raises(RuntimeError, match="CuPy .* finds no usable GPU"):
        backend.to_device(np.ones(1), "cuda")


@given(
    seed=st.integers(0, 2**32 - 1),
    index=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_noise_is_the_same_to_the_last_bit(seed, index, dtype):
    index = np.array(index)
    for what, draw in DRAWS.items():
        gpu, cpu = draw(seed, moved(index), dtype), draw(seed, index, dtype)
        assert_same(gpu, cpu, what, tolerance=0)


def test_a_t_that_is_no_step_gives_nan_there():
    """It raises on a CPU. Here that would mean waiting for the GPU.

    CuPy by itself takes any index modulo the table's length.
    """
    table, t = schedule.linear(10).beta, np.array([-99, -1, 0, 1, 10, 11, 99])
    like = moved(np.zeros((7, 1, 2, 2)))
    for dtype in (np.int64, np.int32):
        found = backend.to_numpy(schedule.at(table, moved(t.astype(dtype)), like))
        expected = [np.nan, np.nan, np.nan, table[1], table[10], np.nan, np.nan]
        np.testing.assert_array_equal(found.ravel(), expected)
