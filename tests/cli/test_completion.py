"""What the shell completes, asked as click's own completion asks it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from tinyddpm import cli
from tinyddpm.data import datasets
from tinyddpm.runs import recipes, shipped
from tinyddpm.runs.folder import CONFIG


def completed(line):
    """What may stand for the last word of the line, as (type, value)."""
    *before, incomplete = line.split(" ")
    asked = BashComplete(cli.cli, {}, "tinyddpm", "_TINYDDPM_COMPLETE")
    return [(item.type, item.value) for item in asked.get_completions(before, incomplete)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run in ("digits-2", "pets"):
        Path("runs", run).mkdir(parents=True)
        Path("runs", run, CONFIG).touch()
    Path("runs/no-run").mkdir()


def plain(names):
    return [("plain", name) for name in names]


RUNS = ["runs/digits-2", "runs/pets"]


@pytest.mark.parametrize(
    "line, names",
    [
        ("tr", ["train"]),
        ("train --learni", ["--learning-rate"]),
        ("train --recipe ", recipes.names()),
        ("train --recipe digits_", ["digits_classes"]),
        ("train --data ", ["digits", *datasets.SOURCES]),
        ("train --data fa", ["fashion-mnist"]),
        ("train --objective s", ["sum"]),
        ("train --optimiser ", ["sgd", "momentum", "adam"]),
        ("train --predicts ", ["x0", "eps", "v"]),
        ("train --weight s", ["snr", "snr_plus_1"]),
        ("train --decay l", ["linear"]),
        ("train --multipliers ", ["hand", "measured", "none"]),
        ("train --loss", ["--loss-aware-t"]),
        ("train --learn-", ["--learn-sigma"]),
        ("train --out ", RUNS),
        ("data m", ["mnist"]),
        ("sample ", [*shipped.names(), *RUNS]),
        ("explore runs/p", ["runs/pets"]),
        ("info d", ["digits"]),
    ],
)
def test_names_are_completed(line, names):
    assert completed(line) == plain(names)


def test_where_no_name_fits_the_shell_looks_for_files():
    for command in ("train --data", "sample"):
        assert completed(f"{command} pic") == [("file", "pic")]
    assert completed("train --out pic") == [("dir", "pic")]
    assert completed("train --recipe pic") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_program_gives_the_script_for_the_shell(shell):
    env = {**os.environ, "_TINYDDPM_COMPLETE": f"{shell}_source"}
    done = subprocess.run(
        [sys.executable, "-c", "from tinyddpm.cli import main; main([])"],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
    )
    assert "_TINYDDPM_COMPLETE" in done.stdout and "Usage:" not in done.stdout


def test_the_program_answers_the_shell():
    words = {"COMP_WORDS": "tinyddpm train --recipe fa", "COMP_CWORD": "3"}
    env = {**os.environ, **words, "_TINYDDPM_COMPLETE": "bash_complete"}
    code = "import sys; from tinyddpm.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60
    )
    assert done.stdout == "plain,fashion\nplain,fashion_classes\n", done.stderr
