"""Standard streams that are closed, broken, full or short of letters; Ctrl-C while it loads."""

import compileall
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from few_digits import FEW

import autograd
import tinyddpm
from tinyddpm import cli, starting
from tinyddpm.cli import streams
from tinyddpm.runs import checkpoint
from tinyddpm.runs.folder import CHECKPOINT

PROGRAM = [sys.executable, "-W", "error", "-m", "tinyddpm"]
TINY = "train --steps 2 --T 12 --base 4 --groups 2 --blocks 1 --batch-size 8 --no-pictures".split()
TINY += ["--data", FEW]
SIGINT_HERE = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
ROOTS = [Path(package.__file__).parent for package in (tinyddpm, autograd)]


def in_shell(redirections, *arguments, **more):
    """Run the program from a shell: `"$@" redirections`."""
    more = {"env": dict(os.environ)} | more  # without what C libraries put there, such as COLUMNS
    command = ["bash", "-c", f'"$@" {redirections}', "bash", *PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)


# ---- closed, broken, full ------------------------------------------------------------------------


def test_a_run_whose_streams_are_closed_trains_all_the_same(tmp_path):
    """Its workers inherit files by number: 0 to 2 must not be theirs."""
    done = in_shell("<&- >&- 2>&-", *TINY, "--workers", 2, "--out", tmp_path / "x")
    assert done.returncode == 0
    assert checkpoint.load(tmp_path / "x" / CHECKPOINT).step == 2


@pytest.mark.parametrize(
    "redirections, status, out, err",
    [
        ("2>&-", 2, "", ""),  # not on standard output, where a program reads results
        (">&-", 2, "", "tinyddpm: absent: "),
        ("2>/dev/full", 2, "", ""),
    ],
)
def test_an_error_that_nobody_hears_keeps_its_status(redirections, status, out, err):
    done = in_shell(redirections, "info", "absent")
    assert (done.returncode, done.stdout) == (status, out)
    assert done.stderr.startswith(err) and done.stderr.count("\n") == bool(err)


def test_a_reader_that_leaves_ends_it_without_a_word():
    done = in_shell("| head -1; exit ${PIPESTATUS[0]}", "info", "digits")
    assert (done.returncode, done.stderr) == (141, "") and done.stdout.count("\n") == 1


def test_a_full_disk_below_standard_output_is_said_once():
    done = in_shell(">/dev/full", "--version")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


def test_what_was_not_flushed_yet_is_not_lost_in_silence(monkeypatch, capsys):
    """Python flushes standard output when it ends, after our last line."""
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        full.write("a line")
        with pytest.raises(OSError, match="No space left"):
            streams.flush()
        full.flush()  # what is left goes nowhere, and fails no more


# ---- letters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "koi8-r", "shift-jis"])
@pytest.mark.parametrize("command", ["", *cli.cli.commands])
def test_help_can_be_printed_and_read_in_every_encoding(command, encoding, capsys, monkeypatch):
    assert cli.main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    with streams.spelling():
        stream.write(text)
        stream.flush()
    printed = stream.buffer.getvalue().decode(encoding)
    assert printed.count("?") == text.count("?")
    assert len(printed.split()) >= len(text.split())


@pytest.mark.parametrize(
    "text, encoding, printed",
    [
        ("θ ← θ − β∇J", "ascii", "theta <- theta - beta grad J"),
        ("x̂_0 in √t", "cp1252", "x^_0 in sqrt t"),
        ("m\udcfcller 猫", "utf-8", "m?ller 猫"),
        ("m\udcfcller 猫", "latin-1", "m?ller ?"),
        ("müller", "latin-1", "müller"),
    ],
)
def test_a_letter_that_is_not_there_is_spelled(text, encoding, printed, monkeypatch):
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, name, stream)
        with streams.spelling():
            print(text, file=stream, end="", flush=True)
        assert stream.buffer.getvalue().decode(encoding) == printed


def test_a_caller_s_streams_stay_as_they_are(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(["train", "--help"]) == 0
    assert stream.errors == "strict" and b"learning rate beta" in stream.buffer.getvalue()


def test_the_program_prints_its_help_where_there_is_no_beta():
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([*PROGRAM, "train", "--help"], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"") and b"learning rate beta" in done.stdout


# ---- Ctrl-C while it loads -----------------------------------------------------------------------


@pytest.mark.parametrize("module", ["numpy", "click", "filelock"])
@pytest.mark.parametrize("argument", ["-m", "tinyddpm"])
def test_ctrl_c_while_it_loads_shows_no_traceback(module, argument, tmp_path):
    """A module that is imported on the way gets the signal."""
    (tmp_path / f"{module}.py").write_text(SIGINT_HERE, "utf-8")
    script = tmp_path / "tinyddpm"
    script.write_text("import sys; from tinyddpm.cli import main; sys.exit(main())", "utf-8")
    command = PROGRAM if argument == "-m" else [sys.executable, str(script)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *map(str, sys.path)])}
    done = subprocess.run(
        [*command, "info", "x"],
        env=environment,
        capture_output=True,
        timeout=60,
        # `nohup … &` starts everything with Ctrl-C ignored, these tests too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (130, b"tinyddpm: interrupted\n")


@pytest.mark.parametrize(
    "argv, original, expected",
    [
        (["-m", "info"], ["python", "-W", "error", "-m", "tinyddpm", "info"], True),
        (["-m"], ["python", "-mtinyddpm"], True),
        (["/usr/bin/tinyddpm", "-m"], ["python", "/usr/bin/tinyddpm", "-m"], True),
        (["tinyddpm-script.py"], ["python", "tinyddpm-script.py"], True),
        (["-m", "tinyddpm"], ["python", "-m", "pytest", "tinyddpm"], False),
        (["-m", "x"], ["python", "-m", "tinyddpm.data", "x"], False),
        (["study.py", "tinyddpm"], ["python", "study.py", "tinyddpm"], False),
        ([""], ["python"], False),
        ([], [], False),
    ],
)
def test_a_program_that_imports_tinyddpm_keeps_its_ctrl_c(argv, original, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert starting.is_command() == expected


# ---- installed otherwise -------------------------------------------------------------------------


def test_it_trains_where_it_is_installed_without_its_source(tmp_path):
    places = tmp_path / "site"
    for root in ROOTS:
        shutil.copytree(root, places / root.name, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(places, quiet=2, legacy=True)
    for source in places.rglob("*.py"):
        source.unlink()
    environment = os.environ | {"PYTHONPATH": str(places)}
    done = in_shell("", *TINY, "--workers", 2, "--out", "x", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    where = in_shell("", "--help", cwd=tmp_path, env=environment)
    assert where.returncode == 0 and "Start with" in where.stdout
