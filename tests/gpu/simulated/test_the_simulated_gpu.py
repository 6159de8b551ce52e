"""What a step asks of the GPU, which only the simulated one counts; and that it hides nothing."""

import cupy
import numpy as np
import pytest
from on_gpu import moved

from tinyddpm import schedule
from tinyddpm.data.stored import Stored, on_device as stored_on_device
from tinyddpm.more.solvers import ddim
from tinyddpm.runs import ema
from tinyddpm.sampler import ancestral
from tools.cupy_on_cpu import launches, simulator

WAYS = {"definitions": (False, False), "fast": (True, False), "graph": (True, True)}


@pytest.mark.parametrize("how", WAYS)
def test_a_training_step_moves_nothing_but_J(how, capsys):
    counts = launches.by_kind(launches.of_a_step(*WAYS[how]))
    with capsys.disabled():
        print(f"\na training step, base 16, 8×8, batch 4, {how}: {counts}")
    assert counts.get("copy host to device", 0) == 0  # no table, no noise, no t
    assert counts["copy device to host"] == 1  # J
    assert counts.get("graph launch", 0) == (how == "graph")
    if how == "graph":
        assert launches.launches(counts) <= 60, counts


def test_the_ema_moves_nothing():
    ema_theta, theta = moved(np.zeros(9, np.float32)), moved(np.ones(9, np.float32))
    with simulator.counting() as counts:
        ema.update(ema_theta, theta, 0.9, 5)
    assert counts() and not any(what.startswith("copy") for what in counts())


def test_a_sampling_step_moves_nothing():
    x_T = moved(np.ones((2, 1, 2, 2), np.float32))
    arguments = (lambda xt, t: xt), schedule.linear(6), x_T, (lambda t: x_T)
    for sampler, options in ((ancestral, {}), (ddim, {"steps": 6, "eta": 0.5})):
        list(sampler(*arguments, **options))  # copies the tables
        with simulator.counting() as counts:
            list(sampler(*arguments, **options))
        assert not {what for what in counts() if what.startswith("copy") and "host" in what}


@pytest.mark.parametrize("memory, copies", [(2**20, (1, 0)), (0, (0, 1))], ids=["room", "none"])
def test_stored_images_are_copied_once_or_once_in_each_step(memory, copies, monkeypatch):
    """Besides the first image, which shows how many bytes one takes. They travel as stored."""
    monkeypatch.setattr(stored_on_device, "memory_of", lambda device: memory)
    pixels = np.arange(6 * 16, dtype=np.uint8).reshape(6, 1, 4, 4)
    numbers = moved(np.array([5, 2]))
    with simulator.recording() as notes:
        images = stored_on_device.on_device(Stored(pixels, 255), "cuda")
    at_start = [n // 2 for what, n, _ in notes() if what == "copy host to device"]
    assert at_start == [16] + [96] * copies[0]
    for _ in range(2):
        with simulator.recording() as notes:
            images[numbers]
        of_images = [n // 2 for what, n, _ in notes() if what == "copy host to device"]
        assert of_images == [32] * copies[1]
        assert len([1 for what, *_ in notes() if what == "copy device to host"]) == copies[1]


def test_each_launch_is_noted_with_its_bytes_and_its_flop():
    x, row = cupy.ones((4, 3), np.float32), cupy.ones(3, np.float32)
    own = cupy.RawKernel(KERNEL.replace("BARRIER", ""), "reverse_in_blocks")
    with simulator.recording({"reverse_in_blocks": lambda x, y: 7}) as notes:
        y = x + row  # read x, and row once; write y
        x @ cupy.ones((3, 5), np.float32)
        own((1,), (4,), (row, row))
    (what, *added), filled, product, (_, *by_hand) = notes()
    assert what == "kernel cupy_add__float32_float32_float32" and added == [4 * (12 + 3 + 12), 0]
    assert filled[1] == 4 * 15 and product == ("matrix product", 4 * (12 + 15 + 20), 2 * 60)
    assert by_hand == [2 * 12, 7]
    assert not bool((y == 2).all()) and bool((x + row == 2).all())  # not computed; computed again


# ---- the simulated GPU itself --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fresh_memory_is_nan(dtype):
    assert all(bool(cupy.isnan(cupy.empty(5, dtype)).all()) for _ in range(3))


IMPOSSIBLE = [
    lambda: cupy.random.default_rng(0),
    lambda: cupy.sort(cupy.arange(5.0)),
    lambda: cupy.argsort(cupy.arange(5.0)),
    lambda: cupy.random.standard_normal(4),
    lambda: cupy.linalg.svd(cupy.eye(3)),
]


@pytest.mark.parametrize("call", IMPOSSIBLE)
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
    kernel = cupy.RawKernel(KERNEL.replace("BARRIER", barrier), "reverse_in_blocks")
    kernel((3,), (64,), (x, y))
    return y.get()


def test_barriers_and_shuffles_of_a_kernel_written_by_hand():
    v = np.arange(192, dtype=np.float32).reshape(3, 64)[:, ::-1]
    expected = (v + v.reshape(3, 32, 2)[:, :, ::-1].reshape(3, 64)).ravel()
    np.testing.assert_array_equal(reversed_in_blocks("__syncthreads();"), expected)
    assert (reversed_in_blocks("") != expected).any()  # without the barrier, it shows


def test_a_barrier_that_not_every_thread_reaches_is_an_error():
    with pytest.raises(cupy.cuda.driver.CUDADriverError, match="LAUNCH_FAILED"):
        reversed_in_blocks("if (threadIdx.x < 32) __syncthreads();")


# ---- graphs --------------------------------------------------------------------------------------


@pytest.fixture
def stream():
    with cupy.cuda.Stream(non_blocking=True) as stream:
        yield stream


def test_what_is_captured_is_done_when_the_graph_is_launched(stream):
    x, pool = cupy.arange(3.0), cupy.cuda.MemoryPool()
    with simulator.counting() as counts, cupy.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        y = x * 2
        y[0] = 7
        graph = stream.end_capture()
    assert bool(cupy.isnan(y).all()) and not any(what.startswith("kernel") for what in counts())
    for start in (0.0, 5.0):
        x[...] = start
        with simulator.counting() as counts:
            graph.launch()
        assert y.tolist() == [7, 2 * start, 2 * start] and counts() == {"graph launch": 1}


def test_a_graph_that_writes_into_memory_that_was_given_back_is_an_error(stream):
    x = cupy.arange(3.0)
    stream.begin_capture()
    y = (x * 2) + 1  # no pool holds x * 2
    graph = stream.end_capture()
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorIllegalAddress"):
        graph.launch()
    assert y is not None


def test_a_graph_reads_nan_in_memory_that_was_given_back(stream):
    x, y = cupy.arange(3.0), cupy.zeros(3)
    stream.begin_capture()
    cupy.add(x, 1, out=y)
    graph = stream.end_capture()
    del x
    graph.launch()
    assert bool(cupy.isnan(y).all())


@pytest.mark.parametrize(
    "wait",
    [
        lambda stream: stream.synchronize(),
        lambda stream: cupy.cuda.runtime.deviceSynchronize(),
        lambda stream: stream.done,
    ],
)
def test_waiting_ends_a_capture(stream, wait):
    """As cupy_tests/cuda_tests/test_graph.py of CuPy has it for a GPU."""
    stream.begin_capture()
    try:
        wait(stream)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        assert "cudaErrorStreamCaptureUnsupported" in str(error)
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="CaptureInvalidated"):
        stream.end_capture()
    assert not stream.is_capturing()
    stream.synchronize()


def test_the_default_stream_waits_for_others_but_for_those_that_do_not_block():
    x, stream = cupy.arange(3.0), cupy.cuda.Stream()
    stream.begin_capture()
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="CaptureImplicit"):
        cupy.cuda.Stream.null.is_capturing()
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        x + 1
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="CaptureInvalidated"):
        stream.end_capture()
    with pytest.raises(RuntimeError, match="default"):
        cupy.cuda.Stream.null.begin_capture()


def test_cublas_and_reading_are_refused_in_a_capture_by_cupy_itself(stream):
    x = cupy.ones((3, 3), np.float32)
    for call in (lambda: x @ x, lambda: float(x[0, 0]), lambda: cupy.asarray(np.ones(3))):
        stream.begin_capture()
        with pytest.raises((RuntimeError, NotImplementedError), match="captur"):
            call()
        stream.end_capture()
