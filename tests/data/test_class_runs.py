"""Runs that are conditioned on the class, and samples of a class that is asked for."""

import dataclasses
import json

import numpy as np
import pytest
from data_files import DIGIT_IMAGES, DIGIT_LABELS

from tinyddpm import cli, data
from tinyddpm.data import labels
from tinyddpm.evaluation.evaluate import evaluate
from tinyddpm.evaluation.real import real
from tinyddpm.more.classes import ClassUNet, guided
from tinyddpm.nn import UNetConfig
from tinyddpm.pictures import report
from tinyddpm.runs import checkpoint
from tinyddpm.runs.chains import default_chain
from tinyddpm.runs.config import Config, from_dict
from tinyddpm.runs.folder import BEST, CHECKPOINT, CONFIG, METRICS
from tinyddpm.runs.heldout import Draws
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run
from tinyddpm.schedule import linear

SMALL = Config(
    classes=True,
    class_dropout=0.3,
    T=20,
    batch_size=8,
    beta=1.0,
    warmup=3,
    ema_decay=0.5,
    every=10,
    steps=20,
    workers=1,
    shards=2,
    unet=UNetConfig(base=4, groups=2, blocks=1),
)


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, images=DIGIT_IMAGES, labels=DIGIT_LABELS)
    return dataclasses.replace(SMALL, data=str(path))


@pytest.fixture(scope="module")
def trained(few_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(few_digits, folder)
    return folder


# ---- a run ---------------------------------------------------------------------------------------


def test_the_folder_says_what_the_classes_are_and_the_network_is_conditioned_on_them(trained):
    loaded = Run(trained)
    assert loaded.config.class_names == tuple("0123456789")
    assert type(loaded.unet) is ClassUNet and loaded.unet.config.classes == 10
    written = (trained / CONFIG).read_text()
    assert 'class_names = [\n    "0",' in written and "classes = true" in written
    table = checkpoint.load(trained / CHECKPOINT).theta["classes.table"]
    # It starts as zeros: each class was trained, and so was the row for no class.
    assert table.shape == (11, 16) and abs(table).max(axis=1).all()


def test_the_held_out_J_is_that_of_a_network_conditioned_on_the_class(trained, few_digits):
    dataset, _ = labels.labelled(data.load(few_digits.data), few_digits.data)
    held_out = data.split(dataset, "stratified")[1]
    loaded = Run(trained)

    def J(classes):
        draws = Draws(held_out.images, loaded.schedule, labels=classes)
        return draws.evaluate(loaded.unet.denoise).mean()

    lines = [json.loads(line) for line in (trained / METRICS).read_text().splitlines()]
    evaluations = [line for line in lines if "held_out" in line]
    recorded = [line["held_out"] for line in evaluations if line.get("k") == loaded.step]
    right, wrong = J(held_out.labels), J(9 - held_out.labels)
    assert recorded == [pytest.approx(right, rel=1e-7)]
    assert abs(wrong - right) > 1e-5 * right  # even so short a run tells classes apart a little


def test_resumed_is_bit_identical_to_unbroken(few_digits, trained, tmp_path):
    run(dataclasses.replace(few_digits, steps=13), tmp_path)
    run(few_digits, tmp_path, resume=True)
    whole, broken = (checkpoint.load(folder / CHECKPOINT) for folder in (trained, tmp_path))
    assert whole.step == broken.step == 20
    for name in whole.theta:
        assert whole.theta[name].tobytes() == broken.theta[name].tobytes()


def test_with_other_labels_it_is_another_run(few_digits, tmp_path):
    copy = tmp_path / "copy.npz"
    np.savez(copy, images=DIGIT_IMAGES, labels=DIGIT_LABELS)
    config = dataclasses.replace(few_digits, data=str(copy), steps=1)
    run(config, tmp_path / "x")
    np.savez(copy, images=DIGIT_IMAGES, labels=DIGIT_LABELS[::-1])
    for changes, problem in (
        ({"steps": 60}, "no longer holds the images and labels"),
        ({"classes": False}, "classes: the run to resume has True, not False"),
        ({"class_dropout": 0.5}, "class_dropout: the run to resume has 0.3, not 0.5"),
    ):
        with pytest.raises(ValueError, match=problem):
            run(dataclasses.replace(config, **changes), tmp_path / "x", resume=True)


def test_without_classes_the_network_has_no_table_of_classes(few_digits, tmp_path):
    run(dataclasses.replace(few_digits, classes=False, steps=1, every=1), tmp_path)
    assert "classes.table" not in checkpoint.load(tmp_path / BEST).theta


def test_the_curves_compare_it_with_denoisers_conditioned_on_the_class(trained, monkeypatch):
    seen = {}
    monkeypatch.setattr(report.plots, "loss", lambda *args, **names: seen.update(names))
    list(report.draw(trained))
    assert (trained / "samples.png").exists() and seen["note"] == ", all conditioned on the class"
    dataset = data.load(Run(trained).config.data)
    training, held_out = data.split(dataset, "stratified")
    of_class = [training.images[training.labels == c].mean(axis=0) for c in held_out.labels]
    expected = np.square(held_out.images - of_class).mean()
    assert seen["mean_J"] == pytest.approx(expected, rel=1e-5)
    assert seen["floor_J"] < seen["mean_J"]


def test_the_held_out_draws_are_the_same_with_and_without_labels():
    digits = data.digits()
    images, classes = digits.images[:20], digits.labels[:20]
    plain, conditional = Draws(images, linear(20)), Draws(images, linear(20), labels=classes)
    assert (plain.xt == conditional.xt).all()
    assert (conditional.cond[0] == np.repeat(classes, 10)).all()


# ---- samples -------------------------------------------------------------------------------------


def test_guidance_is_that_of_the_weight_and_the_class_asked_for(trained):
    loaded = Run(trained)
    xt, t, threes = np.ones((4, 1, 8, 8), np.float32), np.full(4, 15), np.full(4, 3)
    for weight in (0.0, 1.0, 2.5):
        expected = guided(loaded.unet.denoise, threes, 10, weight)(xt, t)
        with loaded.denoiser(threes, weight) as denoise:
            np.testing.assert_allclose(denoise(xt, t), expected, atol=1e-5)

    def draw(**options):
        *_, (_, x, _) = loaded.sample(12, steps=3, sampler="ddim", **options)
        return x

    each, three = draw(), draw(label="3")
    # Classes come in turn: image 3 is a 3 in both, image 2 is not.
    np.testing.assert_allclose(each[3], three[3], atol=1e-5)
    assert abs(each[2] - three[2]).max() > 1e-4
    without = draw(label=3, guidance=0)
    np.testing.assert_allclose(without, draw(label=5, guidance=0), atol=1e-6)
    assert abs(draw(label=3, guidance=4.0) - three).max() > 1e-4
    np.testing.assert_array_equal(draw(label=np.arange(12) % 10), each)
    np.testing.assert_allclose(draw(label=np.full(12, 3)), three, atol=1e-6)
    for wrong in (np.zeros(11, int), np.full(12, 10), np.full(12, -1)):
        with pytest.raises(ValueError, match="numbers of classes, one for each of 12"):
            draw(label=wrong)


def test_eval_draws_each_class_as_often_as_it_occurs(trained, monkeypatch):
    asked, sample = [], Run.sample

    def noted(self, *args, label, **options):
        asked.append(label.tolist())
        assert options["guidance"] == 2.0
        return sample(self, *args, label=label, **options)

    monkeypatch.setattr(Run, "sample", noted)
    # In principal components: a classifier of these images would have to be trained first.
    evaluate(trained, n=9, steps=2, with_baselines=False, components=True, guidance=2.0)
    in_proportion = labels.in_proportion(real(Run(trained)).labels, 9).tolist()
    assert asked == [in_proportion] and in_proportion != list(range(9))


def test_the_command_line_samples_a_class(trained, tmp_path, capsys):
    out = tmp_path / "x.npz"
    options = f"sample {trained} --class 3 --guidance 3 --n 4 --steps 3 --out {out}"
    assert cli.main(options.split()) == 0
    assert (
        "4 images, 3 steps of dpm, η = 1, grid log-snr-6, guidance 3, seed 0, class 3"
        in capsys.readouterr().out
    )
    how = default_chain(12) | {"steps": 3}
    *_, (_, expected, _) = Run(trained).sample(4, label="3", guidance=3.0, **how)
    with np.load(out) as found:
        np.testing.assert_allclose(found["images"], expected, atol=1e-5)


# ---- what cannot be asked for --------------------------------------------------------------------

BAD_OPTIONS = {
    "--class 10": "class: expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, got '10'",
    "--class cat": "got 'cat'",
    "--guidance nan": "guidance: expected a finite number, got nan",
    "--guidance much": "'much' is not a valid float",
}


@pytest.mark.parametrize("options, problem", BAD_OPTIONS.items())
def test_a_class_that_is_not_there(options, problem, trained, tmp_path, capsys):
    out = str(tmp_path / "x.png")
    assert cli.main(["sample", str(trained), "--out", out, *options.split()]) == 2
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_run_that_has_no_classes_or_never_dropped_them(few_digits, tmp_path, capsys):
    unconditional, undropped = str(tmp_path / "unconditional"), str(tmp_path / "undropped")
    run(dataclasses.replace(few_digits, classes=False, steps=1), unconditional)
    run(dataclasses.replace(few_digits, class_dropout=0.0, steps=1), undropped)
    for folder, options, problem in (
        (unconditional, "--class 3", "expected a run that was trained with --classes"),
        (unconditional, "--guidance 2", "expected a run that was trained with --classes"),
        (undropped, "--guidance 2", "trained with class_dropout = 0"),
    ):
        out = str(tmp_path / "x.png")
        assert cli.main(["sample", folder, "--out", out, *options.split()]) == 2
        assert problem in capsys.readouterr().err


BAD_VALUES = [
    ({"classes": 10}, "classes: expected true or false, got 10"),
    ({"class_dropout": 1.0}, "class_dropout: expected a fraction from 0"),
    ({"class_dropout": float("nan")}, "class_dropout: expected a fraction"),
    ({"class_names": [1, 2]}, "class_names: expected a list of texts, got [1, 2]"),
    ({"class_names": "cat"}, "class_names: expected a list of texts"),
    (
        {"classes": True, "time_conditioning": False},
        "classes: expected a network conditioned on t",
    ),
]


@pytest.mark.parametrize("values, problem", BAD_VALUES)
def test_a_wrong_configuration_is_named(values, problem):
    with pytest.raises(ValueError) as error:
        from_dict(values)
    assert problem in str(error.value)


def test_a_file_that_claims_classes_without_names_is_refused():
    with pytest.raises(ValueError, match="classes: expected at least 1, got 0"):
        from_dict({"classes": True}).make_unet()
