"""`tinyddpm train` on several ranks: every byte that it writes is that of a run without MPI."""

import subprocess

import pytest
import trains
from mpi import assert_same, command as command_of, launch, needs_mpi

from tinyddpm import cli

TINY = (
    "train --T 12 --base 4 --levels 1 --attention= --groups 2 --blocks 1 --batch-size 8 --every 2 "
    "--warmup 2 --beta 0.5 --patience 0 --workers 1 --steps 5"
).split()


@needs_mpi
def test_a_run_that_goes_on_with_other_ranks_has_the_bytes_of_one_without_mpi(
    images, alone, tmp_path
):
    for ranks, steps in ((3, 5), (2, 9)):
        done = launch(ranks, trains.__file__, tmp_path, images, steps, 1)
        assert not done.returncode, done.stderr
    assert_same(tmp_path, alone, trains.CASES)


@pytest.fixture(scope="module")
def by_command(images, tmp_path_factory):
    """What the command line prints and writes on two ranks."""
    folder = tmp_path_factory.mktemp("command") / "x"
    return launch(2, "-m", "tinyddpm", *TINY, "--data", images, "--out", folder), folder


@needs_mpi
def test_rank_0_alone_prints_and_draws(by_command):
    done, folder = by_command
    assert not done.returncode, done.stderr
    assert "trains on 2 ranks with 1 worker each" in done.stderr
    for words in ("digits.npz: 1 file used", "step      4", "stopped at step 5", "Next:"):
        assert done.stdout.count(words) == 1, done.stdout
    assert done.stdout.count("samples.png") == 1 and (folder / "samples.png").exists()
    assert "Traceback" not in done.stderr and "arning" not in done.stderr


@needs_mpi
def test_the_command_writes_what_it_writes_without_mpi(by_command, images, tmp_path):
    here = ["--data", images, "--out", str(tmp_path / "x"), "--no-pictures"]
    assert cli.main([*TINY, *here]) == 0
    for path in (tmp_path / "x").glob("*.safetensors"):
        assert path.read_bytes() == (by_command[1] / path.name).read_bytes()


@needs_mpi
def test_one_rank_may_be_told_its_workers(images, tmp_path):
    at = TINY.index("--workers")
    tiny = [*TINY[:at], *TINY[at + 2 :]]
    program = ["-m", "tinyddpm", *tiny, "--data", images, "--no-pictures", "--out", tmp_path / "x"]
    command = command_of(2, *program)
    at = command.index("-n") + 1
    here = command[at + 1 :]
    parts = [*command[:at], "1", *here, ":", "-n", "1", *here, "--workers", "1"]
    done = subprocess.run(parts, capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr


@needs_mpi
@pytest.mark.parametrize(
    "arguments, problem",
    [
        (["--base", "-3"], "base: expected"),
        (["--data", "nowhere.npy"], "nowhere.npy"),
        (["--shards", "1"], "shards: expected at least one for each of 2 ranks, got 1"),
        pytest.param(["--bose", "3"], "No such option", marks=pytest.mark.prove),
        pytest.param(["--device", "cuda"], "device cuda: CuPy", marks=pytest.mark.prove),
    ],
)
def test_bad_input_is_one_line_whatever_rank_finds_it(arguments, problem, tmp_path):
    done = launch(2, "-m", "tinyddpm", *TINY, "--out", tmp_path / "x", *arguments)
    assert done.returncode == 2
    assert problem in done.stderr and not done.stdout
    assert done.stderr.startswith("tinyddpm: ") and done.stderr.count("tinyddpm: ") == 1
    assert not (tmp_path / "x").exists()
