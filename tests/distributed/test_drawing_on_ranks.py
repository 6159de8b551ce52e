"""`tinyddpm sample` and `eval` on several ranks: the bytes of a command without MPI."""

import re
from contextlib import nullcontext

import numpy as np
import pytest
import samples
from mpi import launch, needs_mpi
from test_ranks import FakeComm
from test_training_on_ranks import TINY

from tinyddpm import cli, data, noise
from tinyddpm.alone import Alone
from tinyddpm.cli import models
from tinyddpm.cli.names import RunName
from tinyddpm.distributed.same import check_same
from tinyddpm.runs.heldout import Draws
from tinyddpm.runs.opening import Run
from tinyddpm.schedule import linear

WHO = r"rank 1 \(process \d+ on \S+\)"
# 41 images make four parts, 7 make two: with 5 ranks some have nothing to do.
SAMPLE = {
    "as it is": "sample {run} --n 41 --out {out}.npz",
    "guided": "sample {run} --n 7 --class 3 --guidance 2 --seed 1 --out {out}.npz",
    "few and guided": "sample {run} --n 1 --guidance 3 --sampler ddpm --out {out}.png",
    "a film": "sample {run} --n 9 --sampler heun --steps 3 --out {out}.gif",
    "noise of ddim": "sample {run} --n 19 --sampler ddim --steps 4 --eta .5 --out {out}.npz",
}
# Their 50 held-out images make two chunks of draws.
EVAL = {
    "all": "eval {run} --n 41 --steps 3 --components --out {out}",
    "guided": "eval {run} --n 20 --steps 2 --guidance 2 --no-baselines --components --out {out}",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on 300 digits, with their classes."""
    folder, file = tmp_path_factory.mktemp("runs") / "x", tmp_path_factory.mktemp("data") / "x.npz"
    digits = data.digits()
    np.savez(file, images=digits.images[:300, 0], labels=digits.labels[:300])
    options = f"--data {file} --classes --class-dropout 0.3 --no-pictures"
    assert cli.main([*TINY, *options.split(), "--out", str(folder)]) == 0
    return folder


def results(ranks, folder, run, commands):
    """What each command prints and writes: {command: (stdout, {file: bytes})}."""
    done = launch(ranks, samples.__file__, folder, run, *commands)
    assert not done.returncode, done.stderr
    assert not ({"Traceback", "tinyddpm:"} & set(done.stderr.split())), done.stderr
    idle = "ranks: at most 4 of 5 have work, one for each shard of the run"
    assert (idle in done.stderr) == ("arning" in done.stderr) == (ranks == 5), done.stderr
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return done.stdout.replace(str(folder), "FOLDER"), files


@pytest.fixture(scope="module")
def alone(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    found, files = results(0, folder, trained, [*SAMPLE.values(), *EVAL.values()])
    assert found.count("seed 0, from") + found.count("seed 1, ") == len(SAMPLE) and found.count(
        "eval.md"
    ) == len(EVAL)
    assert len(files) == len(SAMPLE) + 3 * len(EVAL)
    return found, files


@needs_mpi
@pytest.mark.parametrize("ranks", [3, 5, pytest.param(2, marks=pytest.mark.prove)])
def test_the_bytes_are_those_of_a_command_without_mpi(ranks, alone, trained, tmp_path):
    found, files = results(ranks, tmp_path, trained, [*SAMPLE.values(), *EVAL.values()])
    assert found == alone[0]
    assert files == alone[1]


@needs_mpi
@pytest.mark.parametrize(
    "command, harm, said",
    [
        (SAMPLE["as it is"], "1 memory", rf"tinyddpm: {WHO}: no room for this"),
        (SAMPLE["as it is"], "0 memory", "tinyddpm: out of memory: no room for this"),
        (EVAL["all"], "1 bug", rf"{WHO}: Traceback[^$]*LookupError: what nobody expected"),
        (EVAL["all"], "1 SIGKILL", ""),
    ],
)
def test_an_error_on_one_rank_ends_all(command, harm, said, trained, tmp_path):
    done = launch(3, samples.__file__, tmp_path, trained, command, environment={samples.HARM: harm})
    assert done.returncode and re.search(said, done.stderr), done.stderr
    assert str(tmp_path) not in done.stdout and not list(tmp_path.rglob("*"))


@needs_mpi
@pytest.mark.parametrize(
    "arguments, problem",
    [
        ("sample nowhere", "nowhere: there is no such file"),
        ("sample {run} --out {out}.png --device cuda", "device cuda: CuPy"),
        ("eval {run} --out {out} --n 2", "n: expected at least 6 images"),
        *(
            pytest.param(*row, marks=pytest.mark.prove)
            for row in [
                ("sample {run} --out {out}/x/y.png", "--out: expected a folder that exists"),
                ("eval digits", "digits: expected a run folder, to write the tables to"),
            ]
        ),
    ],
)
def test_bad_input_is_one_line_whatever_rank_finds_it(arguments, problem, trained, tmp_path):
    command = arguments.format(run=trained, out=tmp_path / "out").split()
    done = launch(2, "-m", "tinyddpm", *command)
    assert done.returncode == 2
    assert problem in done.stderr and not done.stdout
    assert done.stderr.startswith("tinyddpm: ") and done.stderr.count("tinyddpm: ") == 1
    assert not list(tmp_path.rglob("*"))


def test_ranks_with_other_options_do_not_begin(trained, monkeypatch, capsys):
    class Other(OneOf):
        def check_same(self, **values):
            check_same(FakeComm(0, 2, [values | {"seed": 1}]), **values)

    monkeypatch.setattr(models, "taking_part", lambda: nullcontext(Other(0, 2)))
    assert cli.main(["sample", str(trained)]) == 2
    said = capsys.readouterr().err
    assert "seed: expected the same on all ranks, but rank 0 has 0, and rank 1 has 1" in said


class OneOf(Alone):
    """One of some ranks that never hears of the others."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_each_rank_draws_only_the_noise_of_its_own_images(size, trained, monkeypatch):
    drawn = []
    normal = noise.normal

    def watched(seed, purpose, step, index, shape, *rest):
        drawn.append(index)
        return normal(seed, purpose, step, index, shape, *rest)

    runs = [Run(trained) for _ in range(size)]
    monkeypatch.setattr(noise, "normal", watched)
    for rank, run in enumerate(runs):
        run.comm = OneOf(rank, size)
        run.sample(13, first=5)
    assert np.concatenate(drawn).tolist() == list(range(5, 18))
    assert max(map(len, drawn)) - min(map(len, drawn)) <= 1


def test_each_rank_computes_only_its_own_chunks_of_held_out_draws():
    draws = Draws(np.zeros((23, 1, 4, 4), np.float32), linear(50))
    seen = []

    def denoiser(xt, t):
        seen.append(len(xt))
        return xt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "bincount", lambda *_, **__: np.ones(10))  # of all ranks' J
        for rank in range(3):
            draws.evaluate(denoiser, 40, OneOf(rank, 3))
    assert seen == [40, 40, 40, 40, 40, 30]


@pytest.mark.parametrize("words", [["info", "digits"], ["plot", "nowhere"], []])
def test_other_commands_are_rank_0s_alone(words, monkeypatch, capsys):
    monkeypatch.setenv("PMI_RANK", "1")
    assert cli.main(words) == 0
    assert not "".join(capsys.readouterr())
    monkeypatch.setenv("PMI_RANK", "0")
    assert cli.main(words) == (2 if "nowhere" in words else 0)
    assert "".join(capsys.readouterr())


def test_only_rank_0_needs_the_run(monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    asked = str(tmp_path / "mime")
    monkeypatch.setenv("PMI_RANK", "1")
    assert str(RunName().convert(asked, None, None)) == asked
    monkeypatch.setenv("PMI_RANK", "0")
    with pytest.raises(ValueError, match=r"mime: there is no run.*Did you mean .*mine\?"):
        RunName().convert(asked, None, None)
