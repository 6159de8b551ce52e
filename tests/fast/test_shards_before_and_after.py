"""Shards: what they refuse, and that afterwards everything is as before."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_nets import SCHEDULE, open_files, small_net, some_batch
from threadpoolctl import threadpool_info, threadpool_limits

from tinyddpm.fast.parallel import Shards, shards as shards_module
from tinyddpm.fast.parallel.processes import cores
from tinyddpm.schedule import linear

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers inherit files and pipes")
ROOT = Path(__file__).resolve().parents[2]
OPENBLAS = any(pool["internal_api"] == "openblas" for pool in threadpool_info())


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_afterwards_all_is_as_before():
    unet, ema = small_net(), small_net(seed=6)
    theta, theta_of_ema = unet.theta.copy(), ema.theta.copy()
    files = open_files()
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with Shards(unet, SCHEDULE, 2, ema=ema) as shards:
            inside = blas_threads()
            process, where = shards.workers[0].process, unet.theta.ctypes.data
            unet.theta += 1
        after = blas_threads()
    assert set(inside) <= {1} and after == before
    assert process.returncode is not None and open_files() == files
    np.testing.assert_array_equal(unet.theta, theta + 1)
    np.testing.assert_array_equal(ema.theta, theta_of_ema)
    assert unet.theta.ctypes.data != where
    unet.theta[...] = 0  # the layers are views of the new θ
    assert not any(p.data.any() for p in unet.parameters().values())
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        shards.denoise(*some_batch(2)[:2])


IN_TWO_THREADS = f"""
import sys, threading
sys.path[:0] = {[str(ROOT), str(ROOT / "tests/fast")]!r}
from small_nets import SCHEDULE, small_net
from test_shards_before_and_after import blas_threads
from tinyddpm.fast.parallel import Shards

def look():
    with Shards(small_net(), SCHEDULE, workers=1):
        print(max(blas_threads()))

look()
for _ in range(2):
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    print(max(blas_threads()))
look()
"""


@pytest.mark.skipif(cores() == 1 or not OPENBLAS, reason="BLAS has one thread, or its own way")
def test_blas_is_held_to_one_thread_in_whichever_thread_of_the_program():
    """Each time, and then given back: the first thread that set a limit is still alive."""
    two = os.environ | {"OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-c", IN_TWO_THREADS]
    seen = subprocess.run(command, env=two, capture_output=True, text=True, check=True).stdout
    assert seen.split() == ["1", *["1", "2"] * 2, "1"]


def test_blocks_may_end_in_any_order():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first, second = (Shards(small_net(), SCHEDULE, workers=1) for _ in range(2))
        first.__enter__()
        second.__enter__()
        first.close()
        assert set(blas_threads()) <= {1}
        second.close()
        assert blas_threads() == before


def test_a_network_that_is_its_own_EMA_is_trained():
    x0, t, eps = some_batch(4)
    unet = small_net()
    with Shards(unet, SCHEDULE, workers=1, ema=unet) as shards:
        J, _ = shards.gradient(unet, SCHEDULE, x0, t, eps)
        before = shards.denoise(x0, t)
        unet.theta *= 1.1
        assert shards.gradient(unet, SCHEDULE, x0, t, eps)[0] != J
        assert not np.array_equal(shards.denoise(x0, t), before)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_a_worker_has_one_blas_thread(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    with Shards(small_net(), SCHEDULE, 2) as shards:
        status = Path(f"/proc/{shards.workers[0].process.pid}/status").read_text(encoding="utf-8")
    # The one that computes, and the one that watches for the parent's end.
    assert "Threads:\t2\n" in status


def test_one_worker_starts_no_process(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    unet = small_net()
    with Shards(unet, SCHEDULE, workers=1) as shards:
        shards.gradient(unet, SCHEDULE, *some_batch(5))
        assert unet.grad.any()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity here")
def test_the_default_is_the_cores_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(shards_module, "cores", cores)  # not the one of tests/conftest.py
    allowed = os.sched_getaffinity(0)
    assert cores() == len(allowed)
    assert Shards(small_net(), SCHEDULE, shards=len(allowed)).count == len(allowed)
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
    with pytest.raises(ValueError, match="ema"):
        Shards(unet, SCHEDULE, ema=small_net(dropout=0.0))
    with Shards(unet, SCHEDULE, workers=1) as shards:
        with pytest.raises(ValueError, match="a t for each xt"):
            shards.denoise(x0, t[:3])
        for others in ((small_net(), SCHEDULE), (unet, linear(50))):
            with pytest.raises(ValueError, match="gradient: expected the unet and the schedule"):
                shards.gradient(*others, x0, t, eps)
        for batch in ((x0, t[:3], eps), (x0, t, eps[:3])):
            with pytest.raises(ValueError, match="a t and an eps for each x0"):
                shards.gradient(unet, SCHEDULE, *batch)
