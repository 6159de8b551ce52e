"""Workers: each ends with its run, however that ends, and every failure says why."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from small_nets import IMAGE, SCHEDULE, small_net, some_batch

from tinyddpm import starting
from tinyddpm.fast.parallel import Shards, WorkerError, shards as shards_module
from tinyddpm.schedule import linear
from tinyddpm.train import gradient

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers inherit files and pipes")
ROOT = Path(__file__).resolve().parents[2]
# A request to this process alone, in which there is nothing to do.
NOTHING = {
    "do": "denoise",
    "arrays": [("float32", (0, *IMAGE)), ("int64", (0,)), ("float32", (0, *IMAGE))],
    "cut": [],
    "mine": [0, 0],
}


def all_of(shards, batch):
    """What Shards compute of a batch, as bytes."""
    x0, t, eps = batch
    shards.unet.grad[...] = 0
    J, errors = shards.gradient(shards.unet, SCHEDULE, x0, t, eps)
    arrays = J, errors, shards.unet.grad, shards.denoise(x0, t)
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("moment", ["between steps", "in a step"])
def test_the_others_go_on_without_a_worker_that_is_killed_and_compute_the_same_bits(moment):
    said, batch = [], some_batch(6)
    with Shards(small_net(), SCHEDULE, 3, say=said.append) as shards:
        expected = all_of(shards, batch)
        for number, worker in reversed(list(enumerate(shards.workers, 1))):
            pid, compute = worker.process.pid, shards.part.compute

            def kill(request):
                shards.part.compute = compute
                compute(request)
                os.kill(pid, signal.SIGKILL)

            if moment == "in a step":
                os.kill(pid, signal.SIGSTOP)  # so that it has not answered by then
                shards.part.compute = kill
            else:
                kill(dict(NOTHING))
            began = time.monotonic()
            assert all_of(shards, batch) == expected
            assert time.monotonic() - began < 5
            assert f"worker {number} (process {pid}) was ended by SIGKILL" in said[-1]
            assert len(shards.workers) == number - 1 and gone(pid)
        assert all_of(shards, batch) == expected and len(said) == 2  # none is left but this process


def test_without_anyone_to_tell_a_lost_worker_is_a_warning():
    with Shards(small_net(), SCHEDULE, 2) as shards:
        shards.workers[0].process.kill()
        with pytest.warns(UserWarning, match="worker 1 .* was ended by SIGKILL"):
            all_of(shards, some_batch(4))


def test_a_worker_takes_no_signal_that_is_for_the_parent_not_even_while_it_starts(monkeypatch):
    start = subprocess.Popen

    def start_and_ask_to_end(*args, **options):
        process = start(*args, **options)
        for number in starting.END_SIGNALS:
            process.send_signal(number)
        return process

    monkeypatch.setattr(subprocess, "Popen", start_and_ask_to_end)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with Shards(small_net(), SCHEDULE, 2) as shards:
        for number in starting.END_SIGNALS:
            shards.workers[0].process.send_signal(number)
        all_of(shards, some_batch(4))
        assert len(shards.workers) == 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_workers_exception_arrives_as_text():
    unet = small_net()
    x0, t, eps = some_batch(6)
    t[-1] = SCHEDULE.T + 1  # the last sample is not this process's
    traceback = ["worker 1 ", "Traceback", "q_sample", "ValueError: t: expected 0 to 50, got .*51"]
    with Shards(unet, SCHEDULE, 2) as shards:
        with pytest.raises(WorkerError, match="(.|\n)*".join(traceback)):
            shards.gradient(unet, SCHEDULE, x0, t, eps)
        assert not shards.workers


def test_workers_find_the_packages_that_run_here(monkeypatch, tmp_path, capfd):
    (tmp_path / "threadpoolctl.py").write_text("raise ImportError('this is the one')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    message = "worker 1 .* ended with status 1; .* standard error"
    with pytest.raises(WorkerError, match=message), Shards(small_net(), SCHEDULE, 2):
        pass
    assert "this is the one" in capfd.readouterr().err


def test_a_worker_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    (tmp_path / "threadpoolctl.py").write_text("import time\ntime.sleep(100)")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(shards_module, "STARTING", 1)
    long = linear(9000)  # more than a pipe holds, and nobody reads it
    shards = Shards(small_net(), long, 2)
    message = r"worker 1 \(process \d+\) has not started within 1 s\. .* the name of a module .*"
    with pytest.raises(WorkerError, match=message + str(tmp_path)), shards:
        pass
    assert not shards.workers


def test_an_option_that_cannot_be_sent_is_named_at_once():
    of = partial(gradient, scale=np.ones(3))
    with pytest.raises(TypeError, match="ndarray is not JSON"):
        Shards(small_net(), SCHEDULE, 2, gradient=of).__enter__()


def test_workers_say_of_numbers_what_the_parent_says(capfd):
    """An overflow is an error in these tests. Where the parent ignores it, workers do."""
    x0, t, eps = some_batch(4)
    with np.errstate(over="ignore", invalid="ignore"), Shards(small_net(), SCHEDULE, 2) as shards:
        shards.unet.theta[...] = 1e38
        J, _ = shards.gradient(shards.unet, SCHEDULE, x0, t, eps)
    assert not np.isfinite(J) and "Warning" not in capfd.readouterr().err


SCRIPT = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from tinyddpm.fast import parallel
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import linear

unet = UNet(UNetConfig(image=(1, 8, 8), base=4, levels=(1,), groups=2)).initialise(0)
schedule = linear(50)
x0 = np.linspace(-1, 1, 8 * 64, dtype=np.float32).reshape(8, 1, 8, 8)
"""
USE_IT = """
with parallel.Shards(unet, schedule, workers=3) as shards:
    print(*[w.process.pid for w in shards.workers], flush=True)
    J, errors = shards.gradient(unet, schedule, x0, np.arange(1, 9), x0)
    print(float(J), flush=True)
"""


@pytest.fixture
def start(tmp_path):
    """A function that runs code from standard input in a process, with its temporary files here.

    It returns the process and its workers' process ids. What a failed test leaves running ends.
    """
    started = []

    def start(code, **options):
        process = subprocess.Popen(
            [sys.executable, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            **options,
        )
        started.append((process, pids := []))
        process.stdin.write(code)
        process.stdin.close()
        process.stdin = None
        pids += map(int, process.stdout.readline().split())
        return process, pids

    yield start
    for process, pids in started:
        process.kill()
        for pid in pids:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stdout.close(), process.stderr.close()


def gone(pid):
    """Ended; one that nobody has collected yet counts as ended."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state in "ZX"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # no /proc, or gone since
        return not os.path.exists("/proc")


def all_gone_within(seconds, pids):
    end = time.monotonic() + seconds
    while not all(map(gone, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return all(map(gone, pids))


def test_it_works_from_standard_input_and_from_a_script_without_a_main_guard(start, tmp_path):
    process, pids = start(SCRIPT + USE_IT)
    out, err = process.communicate(timeout=30)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + USE_IT)
    captured = {"capture_output": True, "text": True, "timeout": 30}
    ran = subprocess.run([sys.executable, script], cwd="/", **captured)
    assert (process.returncode, err, ran.returncode, ran.stderr) == (0, "", 0, "")
    assert len(pids) == 2 and float(out) > 0 and ran.stdout.splitlines()[1:] == out.splitlines()
    assert all(map(gone, pids))


def test_a_file_beside_the_script_does_not_take_the_place_of_what_python_starts_with(tmp_path):
    # This process has the right one already.
    (tmp_path / "encodings.py").write_text("import time\ntime.sleep(100)")
    (tmp_path / "script.py").write_text(SCRIPT + USE_IT)
    ran = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stderr) == (0, "") and len(ran.stdout.splitlines()) == 2


BUSY = """
x0 = np.zeros((40_000, 1, 8, 8), np.float32)  # more than a minute's work for the workers
with parallel.Shards(unet, schedule, workers=3) as shards:
    print(*[w.process.pid for w in shards.workers], flush=True)
    shards.part.compute = lambda request: time.sleep(60)
    for _ in range(1000):
        shards.gradient(unet, schedule, x0, np.full(40_000, 9), x0)
"""
WAITING = BUSY.replace("for _", "time.sleep(60)\n    for _")
NO_MEMORY = "import os\ndel os.memfd_create\n"


@pytest.mark.parametrize(
    "code",
    [SCRIPT + BUSY, SCRIPT + WAITING, NO_MEMORY * hasattr(os, "memfd_create") + SCRIPT + WAITING],
    ids=["computing", "waiting", "waiting, memory in a file"],
)
def test_workers_do_not_outlive_a_killed_parent_and_nothing_stays_behind(start, tmp_path, code):
    before = set(os.listdir("/dev/shm")) if os.path.exists("/dev/shm") else set()
    process, pids = start(code)
    assert len(pids) == 2 and not any(map(gone, pids))
    time.sleep(0.5)
    process.kill()
    err = process.stderr.read()  # to its end: nobody is left to write more
    assert all_gone_within(5, pids)
    assert err == "" and not list(tmp_path.iterdir())
    assert not os.path.exists("/dev/shm") or set(os.listdir("/dev/shm")) <= before


def test_ctrl_c_ends_all_and_the_workers_print_nothing(start):
    # Tests that run in the background inherit that the signal is ignored.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    busy = BUSY.replace("\n", "\n    ")
    stopped = "\nexcept KeyboardInterrupt:\n    print('stopped')\n"
    process, pids = start(f"{listening}{SCRIPT}try:\n{busy}{stopped}", start_new_session=True)
    # So it does not reach them, not even while they start.
    assert all(os.getpgid(pid) != process.pid for pid in pids)
    for pid in pids:
        os.kill(pid, signal.SIGINT)  # … and if it does, they ignore it
    time.sleep(0.5)
    assert not any(map(gone, pids))
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("stopped\n", "", 0)
    assert all(map(gone, pids))
