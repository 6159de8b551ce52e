"""The command line, by running it: the whole way from training to pictures, and what bad input gets."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tinyddpm import cli
from tinyddpm.runs.folder import BEST, CHECKPOINT, CONFIG, LOCK, METRICS
from tinyddpm.runs.opening import Run

TINY = (
    "--T 12 --base 4 --groups 2 --blocks 1 --batch-size 8 --every 2 --beta 0.5 --warmup 2".split()
)
PICTURES = {
    "loss.png",
    "loss_by_t.png",
    "samples.png",
    "denoising.gif",
    "forward.png",
    "unet_walk.png",
}


def tinyddpm(*arguments, **options):
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            "import sys; from tinyddpm.cli import main; sys.exit(main())",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    done = tinyddpm("train", "--out", folder, "--steps", 4, *TINY)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_train_leaves_a_whole_run_folder(trained):
    folder, said = trained
    assert {p.name for p in folder.iterdir()} == PICTURES | {
        BEST,
        CHECKPOINT,
        "checkpoint-000002.safetensors",
        CONFIG,
        METRICS,
        LOCK,
    }
    assert "stopped at step 4: all 4 steps are done" in said and "of predict-the-mean's" in said
    for name in PICTURES:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200
    assert len((folder / METRICS).read_text().splitlines()) == 4 + 2


def test_train_again_needs_resume_and_then_goes_on(trained, tmp_path):
    folder, _ = trained
    again = tinyddpm("train", "--out", folder, *TINY)
    assert again.returncode == 2 and "holds a run already" in again.stderr
    more = tinyddpm("train", "--out", folder, "--resume", "--steps", 6, "--no-pictures")
    assert more.returncode == 0 and "stopped at step 6" in more.stdout


@pytest.mark.parametrize("name", ["grid.png", "chain.gif", "samples.npz"])
def test_sample_writes_what_the_name_says(trained, tmp_path, name):
    done = tinyddpm("sample", trained[0], "--n", 5, "--steps", 3, "--out", tmp_path / name)
    assert done.returncode == 0 and "5 images, 3 steps of ddim, seed 0" in done.stdout, done.stderr
    if name.endswith("npz"):
        with np.load(tmp_path / name) as arrays:
            assert arrays["images"].shape == (5, 1, 8, 8) and np.abs(arrays["images"]).max() <= 1
    else:
        with Image.open(tmp_path / name) as picture:
            assert getattr(picture, "n_frames", 1) == (3 if name.endswith("gif") else 1)


def test_info_and_plot(trained):
    folder, _ = trained
    said = tinyddpm("info", folder)
    assert said.returncode == 0 and "base = 4" in said.stdout and "parameters" in said.stdout
    (folder / "loss.png").unlink()
    assert tinyddpm("plot", folder).returncode == 0 and (folder / "loss.png").exists()


@pytest.mark.parametrize(
    "arguments, problem",
    [
        ("train --out x --base four", "'four' is not a valid integer"),
        ("train --out x --bse 4", "No such option"),
        ("train --out x --groups 3", "16 channels cannot be divided into 3 groups"),
        (
            "train --out x --levels 1,b",
            "expected whole numbers with commas between them, got '1,b'",
        ),
        (
            "train --out x --recipe nothing",
            "--recipe: expected one of cifar10, digits, digits_classes, emoji, fashion",
        ),
        ("train --out x --recipe digits --config y", "expected one of them, not both"),
        ("train --out x --config absent.toml", "absent.toml: cannot be read"),
        ("train --out x --data absent", "absent"),
        ("train --out x --noise-schedule square", "'square' is not one of 'linear', 'cosine'"),
        ("train --out x --steps 0", "steps: expected at least 1, got 0"),
        ("train --out x --device tpu", "device: expected cpu, cuda or cuda:INDEX, got 'tpu'"),
        ("train --out x --device cuda", "device cuda: CuPy"),
        ("train", "Missing option '--out'"),
        ("sample absent", "there is no such file"),
        ("sample absent --out x.jpg", "expected a name that ends in"),
        ("info absent", "there is no such file"),
        ("plot absent", "there is no such file"),
        ("fly", "No such command 'fly'"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, problem, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments.split()) == 2
    said = capsys.readouterr().err
    assert problem in said and said.startswith("tinyddpm: ") and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_input_for_a_trained_model(trained, capsys, tmp_path):
    for arguments, problem in (
        ("--steps 99", "steps: expected 1 to T = 12, got 99"),
        ("--n 0", "n: expected at least 1"),
        ("--sampler ddpm --steps 5", "ddpm takes all T = 12 steps"),
    ):
        assert (
            cli.main(
                ["sample", str(trained[0]), "--out", str(tmp_path / "s.png"), *arguments.split()]
            )
            == 2
        )
        assert problem in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", "train", "sample", "info", "plot"])
def test_help(command, capsys):
    assert cli.main([*command.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Usage: tinyddpm")
    if command == "train":
        from tinyddpm.runs.config import option_types

        assert all(
            f"--{name.replace('_', '-')}" in said
            for name in option_types()
            if name not in ("image", "class_names")
        )


def test_ctrl_c_anywhere_else_is_said_to_be_one(trained, monkeypatch, capsys):
    """click turns it into Abort, which is a RuntimeError: it must not be taken for one of ours."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "sample", interrupted)
    assert cli.main(["sample", str(trained[0])]) == 130
    assert capsys.readouterr().err.strip().endswith("interrupted")


def test_ctrl_c_stops_with_a_checkpoint(tmp_path):
    """In a process of its own: SIGINT after the first checkpoint, then the run says so and can be resumed."""
    import signal
    import time

    folder = tmp_path / "x"
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from tinyddpm.cli import main; sys.exit(main())",
            "train",
            "--out",
            folder,
            "--no-pictures",
            "--patience",
            "0",
            *TINY,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not (folder / BEST).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "interrupted" in out and "Traceback" not in err
    from tinyddpm.runs import checkpoint

    saved = checkpoint.load(folder / CHECKPOINT)
    steps = [line for line in (folder / METRICS).read_text().splitlines() if '"J"' in line]
    assert saved.step == len(steps) >= 2
