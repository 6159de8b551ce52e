"""The command line, by running it: the way from training to pictures, and what bad input gets."""

import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from few_digits import FEW
from PIL import Image

import tinyddpm
from tinyddpm import cli
from tinyddpm.runs import checkpoint, config as configuration
from tinyddpm.runs.folder import BEST, CHECKPOINT, CONFIG, FOUND, LOCK, METRICS
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import Progress, Summary

NETWORK = "--T 12 --base 4 --groups 2 --blocks 1".split()
TINY = [*NETWORK, *"--batch-size 8 --every 2 --beta 0.5 --warmup 2 --data".split(), FEW]
PICTURES = {
    *("loss.png", "loss_by_t.png", "samples.png"),
    *("denoising.gif", "forward.png", "unet_walk.png"),
}
FILES = {BEST, CHECKPOINT, "checkpoint-000002.safetensors", CONFIG, METRICS, LOCK, FOUND}
PROGRAM = [sys.executable, "-W", "error", "-m", "tinyddpm"]
NOTHING = Summary(1, "interrupted", 1.0, 1.0, Progress())
# The arguments, and what must be said.
BAD_INPUT = {
    "train --out x --base four": "'four' is not a valid integer",
    "train --out x --bse 4": "No such option",
    "train --out x --groups 3": "groups: expected a divisor of 16 channels, got 3",
    "train --out x --levels 1,b": "expected whole numbers with commas between them, got '1,b'",
    "train --out x --recipe nothing": (
        "--recipe: expected one of cifar10, digits, digits_classes, emoji, emoji_32, fashion"
    ),
    "train --out x --recipe digits --config y": "expected one of them, not both",
    "train --out x --config absent.toml": "absent.toml: cannot be read",
    "train --out x --data absent": "absent",
    "train --out x --noise-schedule square": "'square' is not one of 'linear', 'cosine'",
    "train --out x --steps 0": "steps: expected at least 1, got 0",
    "train --out x --device tpu": "device: expected cpu, cuda or cuda:INDEX, got 'tpu'",
    "train --out x --device cuda": "device cuda: CuPy",
    "trian": "Did you mean 'train'?",
    "train --stpes 3": "Did you mean one of: '--classes', '--minutes', '--steps'?",
    "train --recipe digit": "got 'digit'. Did you mean digits?",
    "train --data fashon-mnist": "Did you mean fashion-mnist?",
    "data mnits": "Did you mean mnist?",
    "sample digts": "Did you mean digits?",
    "sample digits --sampler dpn": "ddim, dpm, heun, got 'dpn'. Did you mean dpm",
    "eval digits --grid logsnr": "got 'logsnr'. Did you mean log-snr",
    "sample absent": "there is no such file",
    "sample absent --out x.jpg": "expected a name that ends in",
    "info absent": "there is no such file",
    "plot absent": "there is no such file",
    "fly": "No such command 'fly'",
}


def run_program(*arguments):
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    done = run_program("train", "--out", folder, "--steps", 4, *TINY)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_train_leaves_a_whole_run_folder(trained):
    folder, said = trained
    assert {p.name for p in folder.iterdir()} == PICTURES | FILES
    assert "stopped at step 4: all 4 steps are done" in said and "of predict-the-mean's" in said
    for name in PICTURES:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200
    assert len((folder / METRICS).read_text().splitlines()) == 4 + 2


def test_train_again_needs_resume_and_then_goes_on(trained):
    folder, _ = trained
    again = run_program("train", "--out", folder, *TINY)
    assert again.returncode == 2 and "holds a run already" in again.stderr
    more = run_program("train", "--out", folder, "--resume", "--steps", 6, "--no-pictures")
    assert more.returncode == 0 and "stopped at step 6" in more.stdout


@pytest.mark.parametrize("name", ["grid.png", "chain.gif", "samples.npz"])
def test_sample_writes_what_the_name_says(trained, tmp_path, capsys, name):
    options = "--n 5 --steps 3 --out".split()
    assert cli.main(["sample", str(trained[0]), *options, str(tmp_path / name)]) == 0
    assert "5 images, 3 steps of dpm, η = 1, " in capsys.readouterr().out
    if name.endswith("npz"):
        with np.load(tmp_path / name) as arrays:
            assert arrays["images"].shape == (5, 1, 8, 8) and np.abs(arrays["images"]).max() <= 1
    else:
        with Image.open(tmp_path / name) as picture:
            assert getattr(picture, "n_frames", 1) == (3 if name.endswith("gif") else 1)


def test_info_and_plot(trained):
    folder, _ = trained
    said = run_program("info", folder)
    assert said.returncode == 0 and "base = 4" in said.stdout and "parameters" in said.stdout
    (folder / "loss.png").unlink()
    assert run_program("plot", folder).returncode == 0 and (folder / "loss.png").exists()


@pytest.mark.parametrize("arguments", BAD_INPUT)
def test_bad_input_gets_one_line_and_status_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments.split()) == 2
    said = capsys.readouterr().err
    assert BAD_INPUT[arguments] in said
    assert said.startswith("tinyddpm: ") and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_input_for_a_trained_model(trained, capsys, tmp_path):
    for arguments, problem in (
        ("--steps 99", "steps: expected 1 to T = 12, got 99"),
        ("--n 0", "n: expected at least 1"),
        ("--sampler ddpm --steps 5", "ddpm takes all T = 12 steps"),
    ):
        out = str(tmp_path / "s.png")
        assert cli.main(["sample", str(trained[0]), "--out", out, *arguments.split()]) == 2
        assert problem in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", *cli.cli.commands])
def test_help(command, capsys):
    assert cli.main([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: tinyddpm {command}")


def test_the_bare_command_is_help(capsys):
    assert cli.main(["--help"]) == 0
    asked = capsys.readouterr()
    assert cli.main([]) == 0
    assert capsys.readouterr() == asked and asked.err == "" and "  train " in asked.out


@pytest.mark.parametrize("command", ["", *cli.cli.commands])
def test_help_in_60_columns_breaks_no_word_and_leaves_none_out(command, capsys, monkeypatch):
    def help_in(columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert cli.main([*command.split(), "--help"]) == 0
        return capsys.readouterr().out

    narrow = help_in(60)
    assert max(map(len, narrow.splitlines())) <= 60
    assert narrow.split() == help_in(1000).split() and "..." not in narrow.replace("]...", "")


def test_the_help_of_train_comes_in_groups_and_the_ten_first(capsys):
    assert cli.main(["train", "--help"]) == 0
    groups = re.findall("^(\\w.*):\\n((?:  .*\\n)+)", capsys.readouterr().out, re.MULTILINE)
    assert [title for title, _ in groups] == [
        *("What most people need", "Data", "Network"),
        *("Learning", "Training", "Where it runs"),
    ]
    names = {title: re.findall("^  --([a-zA-Z]\\S*)", text, re.MULTILINE) for title, text in groups}
    assert len(names["What most people need"]) == 10
    assert {"recipe", "data", "out", "steps"} <= set(names["What most people need"])
    for name, group in (("levels", "Network"), ("beta,", "Learning"), ("workers", "Where it runs")):
        assert name in names[group]
    params = cli.cli.commands["train"].params  # its argument, for what nobody should give, is none
    shown = [option for option in params if not getattr(option, "hidden", True)]
    assert sum(map(len, names.values())) == len(shown)


@pytest.mark.parametrize(
    "arguments, folder",
    [
        ("--recipe emoji", "emoji"),
        ("--recipe emoji --data digits", "emoji"),
        ("", "digits"),
        ("--data mnist", "mnist"),
        ("--data pets/", "pets"),
        ("--data my.pets", "my.pets"),
        ("--data train.idx.gz", "train"),
        ("--config a.toml", "pets"),
        ("--out x --data pets", "../x"),
    ],
)
def test_a_run_goes_to_runs_and_its_name(arguments, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("pets", "my.pets"):
        Path(name).mkdir()
    Path("train.idx.gz").touch()
    Path("a.toml").write_text('data = "pets"', encoding="utf-8")
    seen = []

    def no_run(_, out, *__):
        seen.append(out)
        return NOTHING

    monkeypatch.setattr("tinyddpm.runs.training.run", no_run)
    assert cli.main(["train", "--no-pictures", *arguments.split()]) == 0
    assert [out.resolve() for out in seen] == [(tmp_path / "runs" / folder).resolve()]


@pytest.mark.parametrize("data, problem", [("runs/x", "another folder"), ("/", "a name")])
def test_a_run_goes_not_among_its_images(data, problem, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    Path("runs/x").mkdir(parents=True)
    assert cli.main(["train", "--data", data]) == 2
    assert f"--out: expected {problem}" in capsys.readouterr().err


def test_a_run_that_is_not_there_gets_the_name_of_one_that_is(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained[0].parent.parent)
    shutil.copytree(trained[0], "runs/pets", dirs_exist_ok=True)
    for wrong in ("pet", "runs/pest", "run/pets", f"{Path.cwd()}/runs/pes"):
        assert cli.main(["info", wrong]) == 2
        assert "Did you mean runs/pets" in capsys.readouterr().err
    assert cli.main(["info", str(trained[0].parent / "entirely else")]) == 2
    assert "Did you mean" not in capsys.readouterr().err


def test_the_help_of_train_has_every_option_with_its_text_and_its_default(capsys):
    assert cli.main(["train", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    defaults = configuration.to_dict(configuration.Config())
    for name, text in configuration.option_help().items():
        if name not in configuration.THE_DATA_SAYS:
            assert f"--{name.replace('_', '-')}" in said and text in said, name
            assert f"{text} [" in said or name not in defaults, name
    assert "[1.4]" in said and "[1,2]" in said and "[true]" in said


@pytest.mark.parametrize(
    "option, name, value",
    [
        ("--beta=0.25", "beta", 0.25),
        ("--learning-rate=0.25", "beta", 0.25),
        ("--lr=0.25", "beta", 0.25),
        ("--ema-decay=0.25", "ema_decay", 0.25),
        ("--ema=0.25", "ema_decay", 0.25),
        ("--levels=1,3", "levels", (1, 3)),
        ("--attention=", "attention", ()),
        ("--multipliers=none", "multipliers", "none"),
    ],
)
def test_an_option_and_its_aliases_set_the_field(option, name, value, monkeypatch, tmp_path):
    seen = []

    def no_run(config, *_):
        seen.append(config)
        return NOTHING

    monkeypatch.setattr("tinyddpm.runs.training.run", no_run)
    assert cli.main(["train", "--out", str(tmp_path / "x"), "--no-pictures", option]) == 0
    [config] = seen
    assert {**vars(config), **vars(config.unet)}[name] == value


def test_the_installed_command_is_main():
    path = Path(tinyddpm.__file__).parent.parent / "pyproject.toml"
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"tinyddpm": "tinyddpm.cli:main"}
    assert cli.main(["--version"]) == 0


def test_ctrl_c_anywhere_else_is_said_to_be_one(trained, monkeypatch, capsys):
    """click turns it into Abort, which is a RuntimeError: it must not be taken for one of ours."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "sample", interrupted)
    assert cli.main(["sample", str(trained[0])]) == 130
    assert capsys.readouterr().err.strip().endswith("interrupted")


def test_ctrl_c_stops_with_a_checkpoint(tmp_path):
    """SIGINT after the first checkpoint: the run says so, and can be resumed."""
    folder = tmp_path / "x"
    command = [*PROGRAM, "train", "--out", folder, "--no-pictures", "--patience", "0", *TINY]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        deadline = time.monotonic() + 60
        while not (folder / BEST).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "interrupted" in out and "Traceback" not in err
    saved = checkpoint.load(folder / CHECKPOINT)
    steps = [line for line in (folder / METRICS).read_text().splitlines() if '"J"' in line]
    assert saved.step == len(steps) >= 2
