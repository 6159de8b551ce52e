"""A J that is not finite stops the run and says why; one that only grows gets one warning."""

import contextlib
import dataclasses
import itertools
import re

import numpy as np
import pytest
from small_runs import WHOLE

from tinyddpm import cli, data, noise
from tinyddpm.runs import checkpoint, ema
from tinyddpm.runs.config import Config
from tinyddpm.runs.divergence import IN_A_ROW, Divergence, Watched, first_not_finite
from tinyddpm.runs.folder import CHECKPOINT, RunFolder
from tinyddpm.runs.training import run, trainer
from tinyddpm.schedule import linear
from tinyddpm.train import gradient, train

UNET = dataclasses.replace(WHOLE, dropout=0.1)
CONFIG = Config(
    T=20, batch_size=8, beta=0.5, warmup=0, every=4, steps=12, workers=1, shards=2, unet=UNET
)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.npy"
    np.save(path, data.digits().images[:60, 0])
    return dataclasses.replace(CONFIG, data=str(path))


@pytest.mark.filterwarnings("ignore:.*encountered")
def test_the_layer_that_holds_a_bad_number_is_the_first_to_go():
    # It has attention, a shortcut, skips and both changes of resolution. Let no layer be zero.
    unet = CONFIG.make_unet().initialise(0)
    shake = noise.normal(0, "test", 0, np.arange(1), unet.theta.shape)[0]
    unet.theta += np.float32(0.05) * shake
    x, t = noise.normal(0, "x", 0, np.arange(2), (1, 8, 8)), np.array([3, 17])
    assert first_not_finite(unet, x, t) is None
    for name, array in unet.state().items():
        before, array.flat[0] = array.flat[0], np.inf
        layer = first_not_finite(unet, x, t)
        assert layer and name.startswith(layer + "."), (name, layer)
        array.flat[0] = before
    assert all("forward" not in vars(m) for m in (unet, unet.first, unet.down[0], unet.last))


def test_the_t_are_those_of_the_images_whose_error_is_not_finite():
    """The U-Net's x̂_0 is made infinite for some t: exactly these must be named."""
    unet, schedule = CONFIG.make_unet().initialise(0), linear(20)
    of_step_1 = 1 + noise.integers(0, "t", 1, np.arange(32), 20)
    spoilt_t = sorted({*range(1, 21)} - {*of_step_1.tolist()})

    def spoilt(*args, **options):
        J, errors = gradient(*args, **options)
        errors = np.where(np.isin(args[3], spoilt_t), np.nan, errors)
        return errors.sum(), errors

    watched, last, images = Watched(spoilt), 0, data.digits().images
    with pytest.raises(FloatingPointError):
        for step in train(unet, images, schedule, 0.1, seed=0, batch_size=32, gradient=watched):
            assert not set(step.t) & {*spoilt_t}
            last = step.k
    assert last  # not the first step's t, but those of the step that failed
    t = 1 + noise.integers(0, "t", last + 1, np.arange(32), 20)
    bad = t[np.isin(t, spoilt_t)]
    said = watched.account(unet, schedule)
    assert f"from {len(bad)} of 32 images, at t = {', '.join(map(str, np.unique(bad)))};" in said
    assert "every layer's output is finite, only the squared error is not" in said


def test_a_step_size_far_too_large_stops_the_run_before_the_update(few, tmp_path, capsys):
    config = dataclasses.replace(few, beta=30.0, steps=500)
    with pytest.raises(FloatingPointError) as caught:
        run(config, tmp_path / "x")
    said = str(caught.value)
    assert "\n" not in said
    assert all(words in said for words in ("at t = ", "--beta 10 ", "is not finite"))
    found = RunFolder(tmp_path / "x").newest()
    if found:
        assert all(np.isfinite(array).all() for array in found.checkpoint.theta.values())
        assert f"{found.checkpoint.step} is kept" in said


def spoil(monkeypatch, number):
    """Make the J and the errors of step `number` infinite."""
    before = trainer.computing

    @contextlib.contextmanager
    def computing(*args):
        steps = itertools.count(1)
        with before(*args) as (compute, denoise):

            def spoilt(*args, **options):
                J, errors = compute(*args, **options)
                if next(steps) == number:
                    return np.float32(np.inf), errors + np.float32(np.inf)
                return J, errors

            yield spoilt, denoise

    monkeypatch.setattr(trainer, "computing", computing)


def test_the_state_kept_is_that_of_the_step_before(few, tmp_path, monkeypatch):
    run(dataclasses.replace(few, steps=6), tmp_path / "six")
    with monkeypatch.context() as patch:
        spoil(patch, 7)
        with pytest.raises(FloatingPointError, match="J is inf at step 7: ") as caught:
            run(few, tmp_path / "x")
    said = str(caught.value)
    assert re.search(r"comes from 8 of 8 images, at t = .* The state after step 6 is kept\. ", said)
    kept, six = (checkpoint.load(tmp_path / name / CHECKPOINT) for name in ("x", "six"))
    for part in ("theta", "ema"):
        assert all((getattr(kept, part)[n] == a).all() for n, a in getattr(six, part).items())
    assert kept.step == 6
    # It was an accident: the run goes on.
    run(dataclasses.replace(few, steps=7), tmp_path / "x", resume=True)
    assert checkpoint.load(tmp_path / "x" / CHECKPOINT).step == 7


def test_a_theta_that_is_lost_replaces_no_checkpoint(few, tmp_path, monkeypatch):
    update = ema.update

    def losing(average, theta, decay, k):
        update(average, theta, decay, k)
        if k == 7:
            theta[3] = np.nan

    monkeypatch.setattr(ema, "update", losing)
    problem = "the parameter .* is not finite itself.* The checkpoint of step 4 is kept"
    with pytest.raises(FloatingPointError, match=problem):
        run(few, tmp_path / "x")
    assert RunFolder(tmp_path / "x").newest().checkpoint.step == 4


def test_the_command_line_says_it_in_one_line(few, tmp_path, monkeypatch, capsys):
    spoil(monkeypatch, 2)
    options = "--T 12 --base 4 --groups 2 --blocks 1 --batch-size 8 --warmup 0 --workers 1".split()
    assert cli.main(["train", "--data", few.data, "--out", str(tmp_path / "x"), *options]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("tinyddpm: J is inf at step 2: β = 1.4 is probably too large. ")
    assert "large. It comes from 8 of 8 images, at t = " in said


# ---- finite, but growing -------------------------------------------------------------------------


def test_one_warning_after_several_bad_evaluations_in_a_row():
    divergence = Divergence(simple=0.8, steady=False)  # the limit is twice that
    bad = [9.0] * (IN_A_ROW - 1)
    for J in [*bad, 1.5, *bad]:
        assert divergence.see(J) is None
    warning = divergence.see(float("nan"))
    assert "above 1.6 for 3 evaluations" in warning and "diverges" in warning
    assert all(divergence.see(99.0) is None for _ in range(9))


def test_one_warning_where_J_jumps():
    divergence = Divergence(simple=0.8)
    for J in (0.7, 0.3, 0.35, 0.4, 0.2):  # each less than 1.2 times the one before
        assert divergence.see(J) is None
    warning = divergence.see(0.25)
    assert "jumped from 0.2 at the last evaluation to 0.25: this run diverges" in warning
    assert divergence.see(0.6) is None
    unsteady = Divergence(simple=20.0, steady=False)
    assert all(unsteady.see(J) is None for J in (9.0, 12.0, 30.0, 9.0))


def test_data_that_the_mean_predicts_perfectly_are_no_divergence():
    divergence = Divergence(simple=0.0)
    assert all(divergence.see(J) is None for J in (0.9, 0.5, 0.2, 0.1, 0.01))


@pytest.mark.parametrize(("predicts", "steady"), [("x0", True), ("eps", False), ("v", True)])
def test_only_a_run_that_predicts_eps_is_not_steady(few, predicts, steady, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        trainer, "Divergence", lambda *given, **how: told.append(how) or Divergence(*given, **how)
    )
    run(dataclasses.replace(few, predicts=predicts, weight=None, steps=1), tmp_path / "x")
    assert told == [{"steady": steady}]


def test_a_run_that_diverges_warns_once_and_goes_on(few, tmp_path, monkeypatch, capsys):
    strict = Divergence(0.5)
    strict.limit = 0.0
    monkeypatch.setattr(trainer, "Divergence", lambda mean, steady: strict)
    assert run(dataclasses.replace(few, every=2), tmp_path / "x").step == 12
    assert capsys.readouterr().err.count("warning: the held-out J") == 1
