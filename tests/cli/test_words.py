"""What a run says before its first step, on its way and at its end, and what its pictures cost."""

import dataclasses
import re
import shlex

import numpy as np
import pytest
from few_digits import FEW
from hypothesis import given, strategies as st

from tinyddpm import cli
from tinyddpm.pictures import report
from tinyddpm.runs import checkpoint
from tinyddpm.runs.folder import CHECKPOINT
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import Progress, Summary, next_commands, outcome, trainer, words
from tinyddpm.runs.training.lines import wrapped
from tinyddpm.runs.training.progress import Limits

NETWORK = "--T 12 --base 4 --groups 2 --blocks 1".split()
LEARNING = "--batch-size 8 --every 2 --beta 0.5 --warmup 2 --workers 1 --shards 2".split()
TINY = [*NETWORK, *LEARNING, "--data", FEW]
END = Summary(300, "all 300 steps are done", 0.1, 0.2, Progress(0.1, 290), at_last_step=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs with spaces") / "x"
    assert cli.main(["train", "--out", str(folder), "--steps", "4", "--no-pictures", *TINY]) == 0
    return folder


def test_before_its_first_step_it_says_what_it_will_do(tmp_path, capsys):
    out = str(tmp_path / "x")
    cli.main(["train", "--out", out, "--steps", "2", "--minutes", "9", "--no-pictures", *TINY])
    said = capsys.readouterr().err
    assert "It trains on the CPU with 1 worker, from step 1 on, with 8 images in a step" in said
    assert "stops at step 2 or after 9 minutes or when the held-out J no longer improves." in said
    theta = checkpoint.load(tmp_path / "x" / CHECKPOINT).theta
    size = sum(array.size for array in theta.values())
    assert f"The network has {size:,} parameters" in said


def test_what_was_found_fits_the_terminal_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    options = [*TINY, "--data", "digits", "--steps", "1", "--no-pictures"]
    cli.main(["train", "--out", str(tmp_path / "x"), *options])
    said = capsys.readouterr().out.split("Next:")[0]
    assert "1797 images" in said.replace(",", "") and max(map(len, said.splitlines())) <= 40


def test_after_some_steps_it_says_once_how_long_it_will_take(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trainer, "SOON", 0.0)
    cli.main(["train", "--out", str(tmp_path / "x"), "--steps", "4", "--no-pictures", *TINY])
    assert len(re.findall("steps/s, about .* left", capsys.readouterr().err)) == 1


def test_the_time_left_is_that_of_the_steps_or_of_the_minutes_whichever_is_shorter():
    for steps, minutes, left in ((150, None, 20), (None, 1, 50), (150, 1, 20), (1000, 1, 50)):
        assert Limits(steps, minutes, 0).left(step=50, seconds=10.0, done=50) == left
    assert Limits(None, None, 3).left(50, 10.0, 50) is None
    assert Limits(150, None, 0).left(step=50, seconds=10.0, done=10) == 100  # it was resumed
    assert [words.about(s) for s in (20, 200, 9999)] == ["about 20 s", "about 3 min", "about 3 h"]


def test_the_commands_that_it_names_next_can_be_typed(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summary = dataclasses.replace(END, step=4)
    (sample, _), (explore, _), (resume, _) = next_commands(summary, trained)
    assert cli.main([*shlex.split(sample)[1:], "--n", "2", "--steps", "2"]) == 0
    assert cli.main([*shlex.split(explore)[1:], "--help"]) == 0
    assert cli.main([*shlex.split(resume)[1:], "--no-pictures"]) == 0
    said = capsys.readouterr().out
    assert "stopped at step 8" in said and "Next:" in said
    assert "tinyddpm sample" in said and "--resume --steps 16" in said


def test_every_run_can_go_on():
    done = dataclasses.replace(END, converged=True)
    assert next_commands(done, "x")[-1][0].endswith("--resume --steps 600 --patience 0")
    stopped = dataclasses.replace(END, at_last_step=False)
    assert next_commands(stopped, "x")[-1][0].endswith("--out x --resume")
    stopped.converged = True
    assert next_commands(stopped, "x")[-1][0].endswith("--out x --resume --patience 0")


def test_what_came_of_it():
    assert "step 290, of held-out J 0.1000" in outcome(END) and "still improving" in outcome(END)
    slow = dataclasses.replace(END, progress=Progress(0.1, 200, 0.1, 7))
    assert "hardly improved for 7 evaluations" in outcome(slow)
    assert "improv" not in outcome(dataclasses.replace(END, converged=True))
    assert outcome(dataclasses.replace(END, progress=Progress())) == ""


def test_lines_are_broken_at_spaces_where_the_terminal_ends(monkeypatch):
    text = "the held-out J of /a/very/long-path/" + 60 * "x" + " no longer improves at all, it says"
    monkeypatch.setenv("COLUMNS", "40")
    assert wrapped(text).split() == text.split()
    assert sum(len(line) > 40 for line in wrapped(text).splitlines()) == 1  # the path alone
    command = "tinyddpm train --from runs/x --out " + 40 * "y"
    said = wrapped(f"{text}: {command}")
    assert said.splitlines()[-1].strip() == command and wrapped(text + ":") in said
    monkeypatch.delenv("COLUMNS")
    assert wrapped(text) == text  # a file or a pipe is no terminal


# ---- the pictures at the end ---------------------------------------------------------------------

seconds = st.floats(0, 1e6)


@given(left=seconds, more=seconds, T=st.integers(1, 2000), trained=seconds, M=st.integers(1, 9999))
def test_samples_fit_in_the_time_that_is_left_and_more_time_never_gives_fewer(
    left, more, T, trained, M
):
    def work(plan):
        return plan[0] * (plan[1] or T)

    plan, other = (report._plan(time, T, trained, M) for time in (left, left + more))
    assert work(plan) * trained / M / report.GRADIENT <= left or work(plan) <= 16 * min(T, 25)
    assert work(other) >= work(plan)
    assert report._plan(np.inf, T, trained, M) == report.PLANS[0]


def test_fewer_samples_are_those_of_the_samplers_default(trained):
    run = Run(trained)
    samples, film = report._sampled(run, 3, 5, lambda chain, _: chain)
    *_, (_, expected, _) = run.sample(3, **run.chain(steps=5))
    assert np.array_equal(samples, expected) and len(film) == 5


def test_the_training_time_of_a_run_that_was_resumed_is_that_of_all_its_parts():
    assert report._seconds([{"seconds": s} for s in (1, 2, 5, 0.5, 3)]) == 8
    assert report._seconds([]) == 0


def test_pictures_are_drawn_whole_or_it_says_what_was_left_out(trained):
    said = []
    whole = list(report.draw(trained, say=said.append))
    assert len(whole) == report.PICTURES and not said
    short = list(report.draw(trained, fraction=1e-9, say=said.append))
    assert short == whole
    assert said == [f"To keep drawing short: 16 samples. All of it: tinyddpm plot {trained}"]


def test_ctrl_c_leaves_the_pictures_out_and_nothing_else(tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "_walk", interrupted)
    folder = tmp_path / "x"
    assert cli.main(["train", "--out", str(folder), "--steps", "2", *TINY]) == 0
    said = capsys.readouterr().out
    assert said.index("Ctrl-C leaves them out") < said.index("forward.png") < said.index("Next:")
    assert f"tinyddpm plot {folder}" in said and not (folder / "samples.png").exists()
