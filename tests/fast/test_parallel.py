"""Shards: the same bits with any number of workers, the gradient of the definition, and an end for every process and every file."""
import errno
import itertools
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from small_nets import IMAGE, SCHEDULE, dropout_of, small_net, some_batch
from tinyddpm import fast, noise
from tinyddpm.fast import parallel, shared
from tinyddpm.fast.parallel import Shards, WorkerError, cores, cut, tree_sum
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.equivalents import FASTER
from tinyddpm.sampler import ddim
from tinyddpm.schedule import linear
from tinyddpm.train import gradient, train

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers inherit files and pipes")
ROOT = Path(__file__).resolve().parents[2]


# ---- the numbers ---------------------------------------------------------------------------------


@pytest.fixture(params=["definitions", "faster equivalents"])
def ops(request):
    """The test is run with the definitions of the layers, then with their faster equivalents."""
    if request.param == "faster equivalents":
        fast.enable()
    yield
    fast.disable()


def test_any_number_of_workers_gives_the_same_bits(ops):
    images = np.random.default_rng(1).uniform(-1, 1, (10, *IMAGE)).astype(np.float32)
    xt, t, _ = some_batch(41)

    def everything(workers):
        unet, results = small_net(), []
        with Shards(unet, SCHEDULE, workers, shards=4, ema=small_net(seed=6)) as shards:
            assert len(shards.workers) == workers - 1
            for M in (6, 3, 1, 33):  # not a multiple of 4; fewer than 4; one; more than before, so that shared memory grows
                for step in itertools.islice(train(unet, images, SCHEDULE, 0.1, seed=0, batch_size=M, gradient=shards.gradient), 3):
                    results.append((step.J, step.errors.tobytes(), unet.theta.tobytes(), unet.grad.tobytes()))
                results.append(shards.denoise(xt, t).tobytes())
        return results

    one = everything(1)
    assert len(set(one)) == 13  # every step differs from the one before, and the average does not move
    assert everything(2) == one
    assert everything(4) == one


@settings(max_examples=12)
@given(st.sampled_from([np.float32, np.float64]), st.integers(1, 9), st.integers(1, 6), st.sampled_from(["sum", "batch_mean", "mse"]),
       st.booleans(), st.sampled_from([None, 20]))
def test_the_gradient_is_that_of_the_definition(dtype, n, S, form, drop, batch_size):
    x0, t, eps = some_batch(n, dtype)
    unet = small_net(dtype)
    start = np.random.default_rng(0).standard_normal(unet.grad.size).astype(dtype)  # it adds to what is there
    unet.grad[...] = start
    J, errors = gradient(unet, SCHEDULE, x0, t, eps, form, batch_size, dropout_of(n) if drop else None)
    whole = unet.grad.copy()
    with Shards(unet, SCHEDULE, 1, S) as shards:
        shards.gradient(unet, SCHEDULE, *some_batch(6, dtype))  # of which nothing may be left
        unet.grad[...] = start
        J2, errors2 = shards.gradient(unet, SCHEDULE, x0, t, eps, form, batch_size, dropout_of(n) if drop else None)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(unet.grad, whole, rtol=tolerance, atol=tolerance * abs(whole).max())
    np.testing.assert_allclose(errors2, errors, rtol=tolerance)
    np.testing.assert_allclose(J2, J, rtol=tolerance)
    assert unet.grad.dtype == errors2.dtype == J2.dtype == dtype and J2.shape == ()


def test_results_are_fresh_arrays():
    unet = small_net()
    with Shards(unet, SCHEDULE, workers=1) as shards:
        J, errors = shards.gradient(unet, SCHEDULE, *some_batch(5))
        before = float(J), errors.copy()
        shards.gradient(unet, SCHEDULE, *some_batch(6))
    assert J == before[0] and np.array_equal(errors, before[1])


def test_the_partial_gradients_are_those_of_train_added_as_a_tree():
    x0, t, eps = some_batch(7)
    unet, parts = small_net(), []
    for s in (slice(0, 1), slice(1, 3), slice(3, 5), slice(5, 7)):
        unet.grad[...] = 0
        gradient(unet, SCHEDULE, x0[s], t[s], eps[s], "mse", 7, noise.Stream(0, "dropout", 9, np.arange(7)[s]))
        parts.append(unet.grad.copy())
    unet.grad[...] = 0
    with threadpool_limits(1), Shards(unet, SCHEDULE, 2) as shards:
        shards.gradient(unet, SCHEDULE, x0, t, eps, dropout=dropout_of(7))
    np.testing.assert_array_equal(unet.grad, (parts[0] + parts[1]) + (parts[2] + parts[3]))


@given(st.integers(1, 9), st.integers(0, 12), st.integers(1, 5))
def test_tree_sum_adds_neighbours_first(S, n, block):
    def tree(rows):
        if len(rows) == 1:
            return rows[0]
        half = 1 << (len(rows) - 1).bit_length() - 1  # the largest power of two below
        return tree(rows[:half]) + tree(rows[half:])

    rng = np.random.default_rng(S)
    partials, out = rng.standard_normal((S, n)).astype(np.float32), rng.standard_normal(n).astype(np.float32)
    expected = out + tree(partials)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "BLOCK", block)
        tree_sum(partials, out)
    np.testing.assert_array_equal(out, expected)


@given(st.integers(0, 40), st.integers(1, 9))
def test_cut_is_contiguous_and_even(n, parts):
    slices = cut(n, parts)
    assert [i for s in slices for i in range(n)[s]] == list(range(n))
    sizes = [s.stop - s.start for s in slices]
    assert len(sizes) == parts and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("averaged", [False, True])
def test_denoise_is_that_of_the_network(averaged):
    unet, average = small_net(), small_net(seed=6)
    unet.bind(unet.theta)  # as for sampling: no gradient
    with Shards(unet, SCHEDULE, 2, ema=average if averaged else None) as shards:
        results = []
        for n in (1, 5, 41):
            xt, t, _ = some_batch(n)
            results.append((shards.denoise(xt, t), (average if averaged else unet).denoise(xt, t)))
        average.theta *= 2  # a write to θ shows at once, in every process
        results.append((shards.denoise(xt, t), (average if averaged else unet).denoise(xt, t)))
        for found, expected in results:  # only now: each was a fresh array
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        *_, (t, image, _) = ddim(shards.denoise, SCHEDULE, some_batch(5)[0], steps=4)
    *_, (_, expected, _) = ddim((average if averaged else unet).denoise, SCHEDULE, some_batch(5)[0], steps=4)
    np.testing.assert_allclose(image, expected, atol=1e-4)


def test_workers_compute_with_the_parents_equivalents(monkeypatch):
    monkeypatch.setitem(FASTER, "one that no worker knows", (None, None))
    with pytest.raises(WorkerError, match="worker 1 (.|\n)*(enable|one that no worker knows)"), Shards(small_net(), SCHEDULE, 2):
        pass


# ---- before and after ----------------------------------------------------------------------------


def open_files():
    return len(os.listdir("/dev/fd"))


def test_afterwards_all_is_as_before():
    unet, average = small_net(), small_net(seed=6)
    theta, averaged = unet.theta.copy(), average.theta.copy()
    files = open_files()
    with threadpool_limits(2, user_api="blas"):
        before = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        with Shards(unet, SCHEDULE, 2, ema=average) as shards:
            inside = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
            process, where = shards.workers[0].process, unet.theta.ctypes.data
            unet.theta += 1
        after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert set(inside) <= {1} and after == before
    assert process.returncode is not None and open_files() == files
    np.testing.assert_array_equal(unet.theta, theta + 1)
    np.testing.assert_array_equal(average.theta, averaged)
    assert unet.theta.ctypes.data != where
    unet.theta[...] = 0  # the layers are views of the new θ
    assert not any(p.data.any() for p in unet.parameters().values())
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        shards.denoise(*some_batch(2)[:2])


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_a_worker_has_one_blas_thread(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    with Shards(small_net(), SCHEDULE, 2) as shards:
        status = Path(f"/proc/{shards.workers[0].process.pid}/status").read_text()
    assert "Threads:\t2\n" in status  # the one that computes, and the one that watches for the parent's end


def test_one_worker_starts_no_process(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    unet = small_net()
    with Shards(unet, SCHEDULE, workers=1) as shards:
        shards.gradient(unet, SCHEDULE, *some_batch(5))
        assert unet.grad.any()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity here")
def test_the_default_is_the_cores_that_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    assert cores() == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores() == Shards(small_net(), SCHEDULE).count == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_what_cannot_be_is_refused():
    unet = small_net()
    x0, t, eps = some_batch(4)
    with pytest.raises(ValueError, match="workers: expected at least 1, got 0"):
        Shards(unet, SCHEDULE, workers=0)
    with pytest.raises(ValueError, match="shards: expected at least 1, got 0"):
        Shards(unet, SCHEDULE, shards=0)
    with Shards(unet, SCHEDULE, workers=1) as shards, pytest.raises(ValueError, match="a t for each xt"):
        shards.denoise(x0, t[:3])
    with pytest.raises(ValueError, match="ema"):
        Shards(unet, SCHEDULE, ema=small_net(dropout=0.0))
    with Shards(unet, SCHEDULE, workers=1) as shards:
        for arguments in ((small_net(), SCHEDULE, x0, t, eps), (unet, linear(50), x0, t, eps)):
            with pytest.raises(ValueError, match="gradient: expected the unet and the schedule"):
                shards.gradient(*arguments)
        for arguments in ((x0, t[:3], eps), (x0, t, eps[:3])):
            with pytest.raises(ValueError, match="a t and an eps for each x0"):
                shards.gradient(unet, SCHEDULE, *arguments)


# ---- shared memory -------------------------------------------------------------------------------


def test_memory_is_shared_and_grows():
    memory = shared.Memory()
    other = shared.Memory(os.dup(memory.fd))
    small, big = [("int8", (3,)), ("float64", (2, 2))], [("int8", (3,)), ("float64", (100, 100))]
    for specs in (small, big, small):
        a, b = memory.arrays(specs)
        if hasattr(os, "posix_fallocate"):
            assert os.fstat(memory.fd).st_blocks * 512 >= os.fstat(memory.fd).st_size > 0  # reserved: no SIGBUS later
        a[...], b[...] = 7, np.pi
        a2, b2 = other.arrays(specs)
        assert a2.tolist() == [7] * 3 and np.all(b2 == np.pi) and b2.shape == specs[1][1] and b.ctypes.data % 64 == 0
        b2[...] = 0
        assert not b.any()
    memory.close(), other.close()


def refuse(monkeypatch, times):
    """Let the first reservations find no room."""
    left, reserve = [times], shared._reserve

    def no_room(fd, size):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(fd, size)
    monkeypatch.setattr(shared, "_reserve", no_room)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there is only the file here")
def test_without_room_in_memory_it_is_a_file_without_a_name(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    x0, t, eps = some_batch(5)
    unet, files = small_net(), open_files()
    with Shards(unet, SCHEDULE, workers=1) as shards:
        assert os.readlink(f"/proc/self/fd/{shards.memories[0].fd}").startswith("/memfd:")
        expected = shards.gradient(unet, SCHEDULE, x0, t, eps)
    grad = unet.grad.copy()
    refuse(monkeypatch, 1)
    unet.grad[...] = 0
    with Shards(unet, SCHEDULE, workers=2) as shards:
        fd = shards.memories[0].fd
        assert os.readlink(f"/proc/self/fd/{fd}").startswith(str(tmp_path)) and os.fstat(fd).st_nlink == 0
        assert not list(tmp_path.iterdir())
        J, errors = shards.gradient(unet, SCHEDULE, x0, t, eps)
    assert J == expected[0] and errors.tobytes() == expected[1].tobytes() and unet.grad.tobytes() == grad.tobytes()
    assert open_files() == files


def test_without_room_anywhere_there_is_an_error(monkeypatch):
    unet, files = small_net(), open_files()
    refuse(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left"), Shards(unet, SCHEDULE, workers=2):
        pass
    assert open_files() == files and unet.theta.any()


# ---- what it costs -------------------------------------------------------------------------------


def test_print_what_handing_a_step_over_costs(capsys):
    """No assertion: it is a figure of the machine. See it with `pytest -s`."""
    unet, xt, t = UNet(UNetConfig((1, 2, 2), base=2, levels=(1,), blocks=1, groups=1)).initialise(0), np.zeros((2, 1, 2, 2), np.float32), np.ones(2, int)

    def median(function, times=200):
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - began)
        return 1e3 * float(np.median(seconds))

    with Shards(unet, SCHEDULE, 2, shards=2) as shards:
        whole, part = median(lambda: shards.denoise(xt, t)), median(lambda: unet.denoise(xt[:1], t[:1]))
    print(f"\nhanding over: {whole - part:.3f} ms beside {part:.3f} ms of work")


def test_micro_batches_change_only_last_digits_and_bound_what_is_computed_at_once(monkeypatch):
    whole = [p for p in parallel.pieces(slice(5, 12), 100)]
    assert whole == [slice(5, 12)] and parallel.pieces(slice(5, 12), 3) == [slice(5, 7), slice(7, 9), slice(9, 12)]
    rng = np.random.default_rng(0)
    x0, eps, t = rng.normal(size=(10, 1, 8, 8)), rng.normal(size=(10, 1, 8, 8)), rng.integers(1, 21, 10)
    unet, schedule = UNet(UNetConfig(base=4, groups=2, blocks=1)).initialise(0, np.float64), linear(20)
    unet.theta += rng.normal(0, 0.05, unet.theta.shape)
    found, sizes = [], []

    def counted(net, schedule, x0, *rest):
        sizes.append(len(x0))
        return gradient(net, schedule, x0, *rest)

    for largest in (1 << 20, 3 * 8 * 8 * 4):
        monkeypatch.setattr(parallel, "LARGEST_MAP", largest)
        unet.grad[...] = 0
        with Shards(unet, schedule, workers=1, shards=2, gradient=counted) as shards:
            J, errors = shards.gradient(unet, schedule, x0, t, eps)
            found.append((J, errors, unet.grad.copy()))
    assert sizes == [5, 5, 2, 3, 2, 3]
    with pytest.raises(ValueError, match="counted: expected a class or function that a worker can import"), Shards(unet, schedule, 2, gradient=counted):
        pass
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-15)
