"""--from RUN: a new run that starts from the state of another, with any options that still fit."""

import dataclasses
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import TINY as DIGITS, assert_same_run, records

from tinyddpm import cli, data
from tinyddpm.interop.imported import IMPORTED
from tinyddpm.runs import checkpoint, config as configuration
from tinyddpm.runs.divergence import IN_A_ROW
from tinyddpm.runs.folder import BEST, CHECKPOINT, CONFIG, METRICS
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import options_of, run, start, trainer

STILL = {"beta": 1e-40, "warmup": 0, "ema_decay": 0.5, "steps": 1}  # θ does not move


def train(*arguments):
    return cli.main(["train", "--no-pictures", *map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with runs/x, whose best state is that of step 4 of 6, and runs/c, with classes."""
    place = tmp_path_factory.mktemp("made")
    few = data.digits()
    np.savez(place / "few.npz", images=few.images[:40, 0], labels=few.labels[:40])
    np.savez(place / "odd.npz", images=few.images[:40, 0], labels=2 * few.labels[:40] + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        config = dataclasses.replace(DIGITS, data="few.npz", steps=4)
        run(config, "runs/x")
        with patch.context() as worse:
            worse.setattr(trainer.Trainer, "evaluate", lambda *_: None)
            run(dataclasses.replace(config, steps=6), "runs/x", resume=True)
        classes = dataclasses.replace(config, classes=True, beta=3.0, steps=6, ema_decay=0.0)
        run(classes, "runs/c")
    return place


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """The current folder: a copy of it."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "here"))
    return Path()


def begun(other, **changes):
    """The checkpoint of a run that starts from another and does not move."""
    values = options_of(other) | STILL | changes | {"from_run": str(other)}
    run(configuration.from_dict(values), "new")
    return checkpoint.load(Path("new") / CHECKPOINT)


def test_it_begins_as_the_best_state_and_at_its_own_first_step(here):
    best, new = checkpoint.load(here / "runs/x" / BEST), begun("runs/x")
    assert best.step == 4 != checkpoint.load(here / "runs/x" / CHECKPOINT).step
    d = min(0.5, (1 + 5) / (10 + 5))  # the EMA's own step is the fifth
    for name, theta in best.theta.items():
        np.testing.assert_array_equal(new.theta[name], theta)
        expected = best.ema[name] + np.float32(1 - d) * (theta - best.ema[name])
        np.testing.assert_allclose(new.ema[name], expected, rtol=1e-6, atol=1e-7)
    assert new.step == 1 and new.state["from_step"] == 4
    assert new.config.from_run == "runs/x" and new.config.steps == 1
    assert configuration.read("new/config.toml")["from_run"] == "runs/x"
    assert json.loads((here / "new" / METRICS).read_text().splitlines()[0])["k"] == 1


def test_a_file_can_be_given_and_then_it_is_that_state(here):
    last = checkpoint.load(here / "runs/x" / CHECKPOINT)
    new = begun(here / "runs/x" / CHECKPOINT)
    assert new.state["from_step"] == 6
    assert all((new.theta[name] == last.theta[name]).all() for name in last.theta)


ANY = (
    "--beta 0.1 --T 30 --noise-schedule cosine --batch-size 3 --seed 7 --objective sum "
    "--ema 0.9 --warmup 1 --dropout 0.2 --every 1 --shards 3 --data odd.npz --split every_sixth "
    "--steps 2"
).split()


def test_any_option_may_change_and_the_configuration_says_so(here, capsys):
    assert train("--from", "runs/x", "--out", "y", *ANY) == 0
    assert "It starts as runs/x was after 4 steps." in capsys.readouterr().err
    before, now = (configuration.read(f"{folder}/config.toml") for folder in ("runs/x", "y"))
    changed = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    named = {option[2:].replace("-", "_") for option in ANY if option.startswith("--")}
    assert changed == named - {"ema"} | {"ema_decay", "from_run"}
    assert len(before) > len(changed) + 10


def test_a_resumed_one_is_the_one_that_was_never_stopped_and_needs_the_other_no_more(here):
    options = ["--from", "runs/x", "--beta", "0.3", "--resume-if-there", "--steps"]
    assert train("--out", "whole", *options, 7) == 0
    assert train("--out", "broken", *options, 3) == 0
    shutil.rmtree("runs/x")
    assert train("--out", "broken", *options, 5) == 0
    assert train("--out", "broken", "--resume", "--steps", 7) == 0
    assert_same_run(here / "broken", here / "whole")


def test_a_job_script_with_a_file_goes_on_with_the_run_that_it_started(here):
    Path("x.toml").write_text("beta = 0.3\nwarmup = 1\n", encoding="utf-8")
    options = ["--config", "x.toml", "--from", "runs/x", "--resume-if-there", "--out", "y"]
    assert train(*options, "--steps", 2) == train(*options, "--steps", 3) == 0
    assert train("--config", "x.toml", "--resume", "--out", "y", "--steps", 4) == 0
    assert checkpoint.load(Path("y") / CHECKPOINT).config.beta == 0.3


def test_so_does_one_whose_file_has_a_beta_for_another_optimiser(here):
    Path("x.toml").write_text("beta = 0.3\nwarmup = 1\n", encoding="utf-8")
    assert train("--from", "runs/x", "--optimiser", "adam", "--steps", 1, "--out", "adam") == 0
    options = ["--config", "x.toml", "--from", "adam", "--resume-if-there", "--out", "y"]
    assert train(*options, "--steps", 2) == train(*options, "--steps", 3) == 0
    assert checkpoint.load(Path("y") / CHECKPOINT).config.beta == 0.004
    assert train("--config", "x.toml", "--resume", "--out", "adam", "--steps", 2) == 2


def test_effective_weights_stay_where_multipliers_change(here):
    began, other = Run("runs/x"), begun("runs/x", multipliers="none", ema_decay=0.995)
    theta = other.config.make_unet().initialise(0)
    file, saved = start.source("runs/x")
    _, ema = start.state(saved, file, theta, other.config)
    checkpoint.fill(theta, ema)
    xt, t = np.ones((3, 1, 8, 8), np.float32), np.array([1, 5, 12])
    np.testing.assert_allclose(theta.denoise(xt, t), began.unet.denoise(xt, t), atol=1e-5)
    assert max(abs(ema[name] - saved.ema[name]).max() for name in ema) > 1e-3


def test_classes_keep_what_was_learned_for_their_names(here):
    table = checkpoint.load(here / "runs/c" / BEST).theta["classes.table"]
    assert len(table) == 11 and (table != table[-1]).any(axis=1).sum() > 5
    new = begun("runs/c", data="odd.npz")  # the classes 1, 3, …, 19
    rows = [1, 3, 5, 7, 9, 10, 10, 10, 10, 10, 10]
    np.testing.assert_array_equal(new.theta["classes.table"], table[rows])
    assert new.config.class_names == tuple(str(2 * i + 1) for i in range(10))


def test_classes_can_be_added_and_left_out(here):
    assert abs(begun("runs/x", classes=True).theta["classes.table"]).max() < 1e-20
    shutil.rmtree("new")
    assert "classes.table" not in begun("runs/c", classes=False).theta


def test_fine_tuning_a_model_that_comes_with_tinyddpm_begins_where_it_was(here, capsys):
    options = "--steps 1 --every 1 --beta 1e-6 --warmup 0 --workers 1".split()
    assert train("--from", "digits", "--out", "y", *options) == 0
    [held_out] = [r["held_out"] for r in records(here / "y") if "held_out" in r]
    assert held_out == pytest.approx(0.1251, abs=5e-4)  # docs/guide.md has the model's
    assert np.isfinite(next(Run("y").sample(1))[1]).all()


def test_other_images_are_split_in_todays_way_and_the_same_ones_as_before():
    old = options_of("digits")
    assert old["split"] == "every_sixth" == options_of("digits", "digits")["split"]
    assert "split" not in options_of("digits", "other.npz")


def test_pictures_of_a_folder_get_the_size_that_the_model_knows(here):
    Path("pics").mkdir()
    for i in range(3):
        Image.new("RGB", (30, 20), (70 * i, 9, 9)).save(f"pics/{i}.png")
    assert train("--from", "runs/x", "--data", "pics", "--out", "y", "--steps", 1) == 0
    config = checkpoint.load(here / "y" / CHECKPOINT).config
    assert (config.size, config.channels, config.unet.image) == (8, 1, (1, 8, 8))


@pytest.mark.parametrize(
    "options, problem",
    [
        ("--from runs/x --base 8", "the network of runs/x is another: it has base = 4, not 8"),
        ("--from runs/x --levels 1", "it has levels = (1, 2), not (1,)"),
        ("--from runs/x --resume", "--from and --resume: expected one of them"),
        ("--from runs/x --resume-if-there", "--out: expected the run that --resume-if-there"),
        ("--from absent", "absent: there is no such file"),
        ("--from runs/xx", "Did you mean runs/x?"),
        ("--from few.npz", "few.npz: not a whole checkpoint"),
        ("--from .", "expected a run folder, there is no checkpoint in it"),
        ("--from imported", "expected a model that tinyddpm trained, got imported"),
        ("--from runs/x --out runs/x", "runs/x holds a run already"),
    ],
)
def test_what_cannot_be_is_said_before_a_folder_is_made(options, problem, here, capsys):
    file = here / "runs/x" / CHECKPOINT
    saved = checkpoint.load(file)
    (here / "imported").mkdir()
    foreign = dataclasses.replace(saved, state=saved.state | {IMPORTED: {}})
    checkpoint.save(here / "imported" / CHECKPOINT, foreign)
    before = sorted(here.rglob("*"))
    out = [] if "--out" in options or "if-there" in options else ["--out", "y"]
    assert train(*options.split(), *out) == 2
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1
    assert [path for path in sorted(here.rglob("*")) if path.name != ".lock"] == [
        path for path in before if path.name != ".lock"
    ]


def test_a_run_goes_to_the_next_free_name_by_default(here, capsys):
    for name in ("runs/x-2", "runs/x-3"):
        assert train("--from", "runs/x", "--steps", 1) == 0
        assert checkpoint.load(here / name / CHECKPOINT).step == 1


def test_a_step_that_a_forged_file_claims_to_have_started_from_is_refused(here):
    saved = begun("runs/x")
    for claimed in (-1, "4", 1.5, None):
        forged = dataclasses.replace(saved, state=saved.state | {"from_step": claimed})
        checkpoint.save(here / "new" / CHECKPOINT, forged)
        with pytest.raises(checkpoint.CheckpointError, match="expected a from_step"):
            run(saved.config, "new", resume=True)


# ---- a run that diverges -------------------------------------------------------------------------


def advised(said):
    """The command at the end of a message."""
    return shlex.split(said.strip().splitlines()[-1].partition(": tinyddpm ")[2])


@pytest.mark.parametrize("learned", [True, False])
def test_what_a_run_that_stopped_advises_works(learned, here, monkeypatch, capsys):
    """It goes on from the best state; where that is no better than the mean image, from none."""
    if learned:
        monkeypatch.setattr(trainer, "mean_of", lambda images: np.full_like(images[0], 9))
    options = "--data few.npz --beta 3e3 --warmup 3000 --every 2 --base 4 --groups 2 --shards 1"
    assert train("--out", "an y", *options.split()) == 2
    said = capsys.readouterr().err
    assert "J is " in said and "is kept" in said
    command = advised(said)
    assert ("--from" in command) == learned and command[-4:] == [
        "--beta",
        "1e+03",
        "--out",
        "an y-2",
    ]
    assert train(*command[1:], "--steps", "1", "--beta", "0.1") == 0
    assert configuration.read(here / "an y-2" / CONFIG)["base"] == 4


def test_what_a_run_that_diverges_slowly_advises_works_too(here, monkeypatch, capsys):
    strict = trainer.Divergence(0.5)
    strict.limit = 0.0
    monkeypatch.setattr(trainer, "Divergence", lambda mean, steady: strict)
    steps = str(2 * IN_A_ROW)
    assert train("--from", "runs/x", "--beta", "0.3", "--out", "y", "--steps", steps) == 0
    [warning] = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "this run diverges. Try a smaller β, or a longer --warmup: " in warning
    command = advised(warning)
    assert "0.1" in command and train(*command[1:]) == 0


def test_an_option_that_a_resumed_run_may_not_change_names_the_way(here, capsys):
    assert train("--out", "runs/x", "--resume", "--beta", "0.1") == 2
    said = capsys.readouterr().err
    assert "beta: the run to resume has 0.5, not 0.1; --from in place of --resume" in said
