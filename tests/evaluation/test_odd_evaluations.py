"""`tinyddpm eval` of data that have changed, that are of an odd shape, or that say little."""

import dataclasses
import json

import numpy as np
import pytest

from tinyddpm import cli, data
from tinyddpm.data import DataError
from tinyddpm.evaluation import features
from tinyddpm.evaluation.evaluate import Evaluation, evaluate
from tinyddpm.evaluation.metrics import memorisation
from tinyddpm.nn import UNetConfig
from tinyddpm.runs.checkpoint import Checkpoint
from tinyddpm.runs.config import Config
from tinyddpm.runs.known_data import compared
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run

UNET = UNetConfig(base=4, levels=(1,), attention=(), groups=2, blocks=1)
DIGITS = data.digits().images[:, 0]


def trained(folder, name="x", **settings):
    """A run of one step on what lies at `name`.npz in the folder."""
    config = Config(T=5, batch_size=4, steps=1, every=1, workers=1, unet=UNET)
    config = dataclasses.replace(config, data=str(folder / f"{name}.npz"), **settings)
    run(config, folder / "run")
    return folder / "run"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with an empty cache and classifiers of three steps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "STEPS", 3)
    return tmp_path


def put(folder, images, labels=None, name="x"):
    more = {} if labels is None else {"labels": labels}
    np.savez(folder / f"{name}.npz", images=images, **more)


def test_images_need_not_be_square(place):
    put(place, np.tile(DIGITS[:60], (1, 1, 2)), np.arange(60) % 3)
    folder = trained(place)
    for _ in range(2):  # the second time the classifier is read
        found = evaluate(folder, n=8, steps=2)
        assert "a classifier of" in found.about["features"]


def test_a_size_that_suits_no_classifier_is_refused_before_any_sample_is_drawn(
    place, monkeypatch, capsys
):
    put(place, DIGITS[:60, :6, :6], np.arange(60) % 3)
    folder = trained(place)
    assert cli.main(["eval", str(folder), "--n", "8", "--steps", "2", "--components"]) == 0
    monkeypatch.setattr(Run, "sample", None)
    assert cli.main(["eval", str(folder), "--n", "8", "--steps", "2"]) == 2
    said = capsys.readouterr().err
    assert "divisible by 4" in said and "got 6×6; --components does without" in said


def test_other_images_than_the_run_s_get_a_word(place, capsys):
    put(place, DIGITS[:60])
    folder = trained(place)
    assert "not the images" not in evaluate(folder, n=8, steps=2).text()
    put(place, DIGITS[1:90])
    assert "These are not the images that the run was trained on." in evaluate(folder, 8).text()
    assert cli.main(["plot", str(folder)]) == 0
    assert "These are not the images" in capsys.readouterr().out


def test_other_classes_than_the_run_s_are_refused(place):
    put(place, DIGITS[:60], np.arange(60) % 3 + 4)
    folder = trained(place, classes=True)
    evaluate(folder, n=8, steps=2)
    put(place, DIGITS[:60], np.arange(60) % 4 + 3)
    with pytest.raises(DataError, match=r"got others \(new: 3\)"):
        evaluate(folder, n=8, steps=2)


def test_how_other_classes_are_named():
    config = Config(classes=True, class_names=("ant", "bee", "cat"))
    saved = Checkpoint(config, 1, {}, {}, {})
    for names, said in (
        (("ant", "bee"), "missing: cat"),
        (("ant", "cat", "dog"), "new: dog; missing: bee"),
        (("bee", "ant", "cat"), "the same in another order"),
    ):
        with pytest.raises(DataError, match=said):
            compared(saved, data.digits(), names)
    assert compared(saved, data.digits(), config.class_names) == ""


@pytest.mark.parametrize("dropped, learned", [(0.1, True), (0.0, False)])
def test_it_says_that_J_is_without_the_class(dropped, learned, place):
    put(place, DIGITS[:60], np.arange(60) % 3)
    text = evaluate(trained(place, classes=True, class_dropout=dropped), n=8, steps=2).text()
    assert "of the held-out images, without telling the network the class" in text
    assert ("never learned" in text) == (not learned)


def test_where_every_test_image_is_a_training_image_there_is_no_memorisation(tmp_path):
    points = np.random.default_rng(0).standard_normal((9, 4))
    assert memorisation(points, points, points[::-1]) is None
    about = {"samples": "x", "n": 9, "reference": "images", "features": "f", "remark": ""}
    about |= {"J images": 9, "J without": ""}
    row = ("this model", [1.0, *[0.5] * 5, None])
    picture = np.zeros((2, 1, 8, 8)), np.zeros((4, 1, 8, 8))
    found = Evaluation(tmp_path, about, [row], [(1, 2, 0.3, 0.2, 0.1)], picture)
    assert found.text().count(" – |") == 1
    found.write()
    json.loads((tmp_path / "eval.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(("count", "T", "predicts"), [(1, "4", "eps"), (40, "20", "x0")])
def test_equal_images_are_trained_on_drawn_and_measured(count, T, predicts, place):
    put(place, np.repeat(DIGITS[:1], count, axis=0))
    options = f"--T {T} --predicts {predicts} --base 4 --groups 2 --levels 1 --steps 2".split()
    where = ["--workers", "1", "--data", str(place / "x.npz"), "--out", str(place / "run")]
    assert cli.main(["train", *options, *where]) == 0
    for name in ("loss.png", "unet_walk.png"):
        assert (place / "run" / name).exists()
    if count > 1:
        assert cli.main(["eval", str(place / "run"), "--n", "6", "--steps", "2"]) == 0
        assert "nan" not in (place / "run" / "eval.md").read_text()


def test_other_labels_of_the_same_images_make_another_classifier(place):
    put(place, DIGITS[:60], np.arange(60) % 3)
    put(place, DIGITS[:60], np.arange(60) // 30, name="y")
    spaces = []
    for name in "xy":
        found, _ = features.load(str(place / f"{name}.npz"), data.load(place / f"{name}.npz"))
        spaces.append(found(data.digits().images[60:70]))
    assert not np.array_equal(*spaces)


def test_one_class_is_nothing_to_classify(place):
    put(place, DIGITS[:60], np.zeros(60, int))
    _, space = features.load(str(place / "x.npz"), data.load(place / "x.npz"))
    assert "principal components" in space


def test_what_is_cut_out_of_the_digits_has_a_classifier_of_its_own(place):
    config = Config(data="digits", size=4, crop="random", T=5, batch_size=4, steps=1, unet=UNET)
    run(dataclasses.replace(config, every=1, workers=1), place / "run")
    assert "a classifier of" in evaluate(place / "run", n=8, steps=2).about["features"]


def test_few_t_have_bands_that_exist(place):
    put(place, DIGITS[:60])
    bands = evaluate(trained(place), n=8, steps=2).bands
    assert all(1 <= first <= last <= 5 for first, last, *_ in bands)


def test_guidance_and_clipping_stand_in_the_heading(place):
    put(place, DIGITS[:60], np.arange(60) % 3)
    folder = trained(place, classes=True)
    asked = {"n": 8, "steps": 2, "components": True}
    usual = evaluate(folder, **asked).about["samples"]
    other = evaluate(folder, **asked, guidance=3.0, clip="no").about["samples"]
    assert ", guidance" not in usual and "clipped" not in usual
    assert ", guidance 3" in other and "x̂₀ not clipped" in other
