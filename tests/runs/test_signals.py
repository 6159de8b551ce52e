"""A run that is asked to end: by a terminal, a user or a batch system, in one process or in all.

The signals are real, and so are the workers.
"""

import contextlib
import dataclasses
import fcntl
import itertools
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time

import pytest
from small_runs import assert_same_run, at_step, records

from tinyddpm import starting
from tinyddpm.fast.parallel import processes, shards
from tinyddpm.runs import checkpoint
from tinyddpm.runs.folder import BEST, CHECKPOINT
from tinyddpm.runs.training import run, trainer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
OTHERS = [name for name in starting.END_NAMES if name != "SIGINT"]
PROGRAM = [sys.executable, "-W", "error", "-m", "tinyddpm"]
TINY = (
    "--T 12 --base 4 --levels 1 --attention= --groups 2 --blocks 1 --batch-size 8 --every 2 "
    "--warmup 2 --beta 0.5 --patience 0 --workers 2 --shards 2"
).split()


class Ended(BaseException):
    """The signal would have ended this process."""


def ended(number, frame):
    raise Ended(number)


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """What started this test may have let it ignore signals. None of them ends the tests."""
    before = {number: signal.getsignal(number) for number in starting.END_SIGNALS}
    for number in before:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else ended)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def workers(monkeypatch):
    """The workers' process ids, as they are started."""
    pids = []

    class Seen(processes.Worker):
        def __init__(self, *args):
            super().__init__(*args)
            pids.append(self.process.pid)

    monkeypatch.setattr(shards, "Worker", Seen)
    return pids


def send(number, pids=()):
    for pid in (*pids, os.getpid()):
        os.kill(pid, number)


def test_each_signal_saves_the_last_step_and_the_run_goes_on_as_if_unbroken(
    config, unbroken, tmp_path, workers, monkeypatch
):
    """Some of these steps are evaluated before the run ends. Batch systems send it to all."""
    two = dataclasses.replace(config, workers=2)
    for step, name in zip((2, 4, 6, 8, 11, 16), starting.END_NAMES, strict=True):
        number = getattr(signal, name)
        at_step(monkeypatch, step, lambda: send(number, workers))
        workers.clear()
        summary = run(two if name == "SIGTERM" else config, tmp_path, resume="if there")
        by = "" if name == "SIGINT" else f" by {name}"
        assert (summary.step, summary.signal) == (step, name)
        assert summary.stopped == f"interrupted{by}"
        assert checkpoint.load(tmp_path / CHECKPOINT).step == step
        assert len(workers) == (name == "SIGTERM")
    run(config, tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


def test_only_a_second_ctrl_c_ends_at_once(config, tmp_path, monkeypatch):
    def several_times():
        for name in (*OTHERS, *OTHERS, "SIGINT"):
            send(getattr(signal, name))

    at_step(monkeypatch, 3, several_times)
    assert run(config, tmp_path / "x").signal == OTHERS[0]
    assert checkpoint.load(tmp_path / "x" / CHECKPOINT).step == 3
    at_step(monkeypatch, 3, lambda: (send(signal.SIGINT), send(signal.SIGINT)))
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "y")


def test_what_nohup_ignores_stays_ignored_and_afterwards_all_is_as_before(
    config, tmp_path, monkeypatch
):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    before = {number: signal.getsignal(number) for number in starting.END_SIGNALS}
    at_step(monkeypatch, 3, lambda: send(signal.SIGHUP))
    summary = run(config, tmp_path)
    assert (summary.step, summary.signal) == (22, "")
    assert {number: signal.getsignal(number) for number in starting.END_SIGNALS} == before


def test_a_run_in_a_second_thread_changes_no_handler(config, tmp_path, monkeypatch):
    before, seen = {number: signal.getsignal(number) for number in starting.END_SIGNALS}, []
    at_step(monkeypatch, 3, lambda: seen.append({n: signal.getsignal(n) for n in before}))
    thread = threading.Thread(target=run, args=(config, tmp_path))
    thread.start()
    thread.join()
    assert seen == [before] and checkpoint.load(tmp_path / CHECKPOINT).step == 22


def test_a_worker_that_is_lost_costs_no_bit_and_is_named(
    config, unbroken, tmp_path, workers, monkeypatch, capsys
):
    """As by the system, for want of memory."""
    two = dataclasses.replace(config, workers=2)
    at_step(monkeypatch, 5, lambda: os.kill(workers[0], signal.SIGKILL))
    run(two, tmp_path)
    said = capsys.readouterr().err
    assert f"worker 1 (process {workers[0]}) was ended by SIGKILL; perhaps" in said
    assert said.count("The run goes on without it") == 1
    assert records(tmp_path) == records(unbroken)


@pytest.mark.parametrize("error", [MemoryError("no room"), processes.WorkerError("worker 1 fell")])
def test_a_step_that_cannot_be_taken_leaves_the_state_before_it(
    error, config, unbroken, tmp_path, monkeypatch
):
    before, steps = trainer.computing, itertools.count(1)

    @contextlib.contextmanager
    def computing(*args, **options):
        with before(*args, **options) as (gradient, denoise):

            def failing(*args, **options):
                if next(steps) == 7:
                    raise error
                return gradient(*args, **options)

            yield failing, denoise

    monkeypatch.setattr(trainer, "computing", computing)
    kept = "The state after step 6 is kept: --resume goes on from it"
    with pytest.raises((MemoryError, RuntimeError), match=f"{error}. {kept}"):
        run(config, tmp_path)
    run(config, tmp_path, resume=True)
    assert_same_run(tmp_path, unbroken)


FEW_PICTURES = """
import sys
from tinyddpm import cli
from tinyddpm.pictures import report

def draw(folder, *args):
    yield folder / "samples.png"

report.draw = draw
sys.exit(cli.main())
"""

# ---- the whole program, and those who read what it says ------------------------------------------


def until_there(path):
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)


def assert_whole(folder):
    """The checkpoint is that of the last step that is recorded."""
    steps = [record["k"] for record in records(folder) if "J" in record]
    assert checkpoint.load(folder / CHECKPOINT).step == len(steps) >= 2
    assert steps == list(range(1, len(steps) + 1))


def test_a_terminal_that_is_closed_leaves_a_whole_run(tmp_path):
    """The system sends SIGHUP, and whatever is written from then on fails."""
    terminal, end = pty.openpty()

    def of_this_terminal():
        fcntl.ioctl(end, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    command = [*PROGRAM, "train", "--out", tmp_path / "x", *TINY]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), end)
    with subprocess.Popen(
        command, **streams, start_new_session=True, preexec_fn=of_this_terminal
    ) as process:
        os.close(end)
        until_there(tmp_path / "x" / BEST)
        os.close(terminal)
        assert process.wait(timeout=60) == 0
    assert_whole(tmp_path / "x")
    assert not list((tmp_path / "x").glob("*.png"))  # nobody waits for pictures


def test_a_reader_that_ends_with_the_same_ctrl_c_takes_no_pictures_and_no_words_with_it(tmp_path):
    """As in `tinyddpm train | tee log`: the terminal sends SIGINT to both."""
    command = [sys.executable, "-c", FEW_PICTURES, "train", "--out", tmp_path / "x", *TINY]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        first = process.stdout.readline()  # at once, not when the pipe's buffer is full
        until_there(tmp_path / "x" / BEST)
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        said = " ".join(process.stderr.read().split())  # however its lines are broken
        assert process.wait(timeout=60) == 0
    assert_whole(tmp_path / "x")
    assert "digits" in first and "Traceback" not in said and "rror" not in said
    for words in ("interrupted. held-out J", "samples.png", "Next:"):
        assert said.count(words) == 1


def test_no_line_is_lost_or_said_twice_when_its_reader_goes():
    code = """
import time
from tinyddpm.runs.training.lines import say, tell
say("read")
time.sleep(0.3)  # until nobody reads
for line in "one", "two":
    say(line)
    tell(line + " of stderr")
"""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes, text=True) as process:
        assert process.stdout.readline() == "read\n"
        process.stdout.close()
        said = process.stderr.read()
    assert said.splitlines() == ["one", "one of stderr", "two", "two of stderr"]
    assert process.returncode == 0
