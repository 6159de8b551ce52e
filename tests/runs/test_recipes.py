"""Recipes: what a run is compared with, what is said of it, and the curves that are stored."""

import dataclasses
import re

import numpy as np
import pytest
import small_runs

from tinyddpm import data
from tinyddpm.data import labels
from tinyddpm.pictures import plots, report
from tinyddpm.runs import config as configuration, ema, recipes
from tinyddpm.runs.training import run

TINY = dataclasses.replace(small_runs.TINY, T=20, warmup=3, every=4, steps=12)
WITH_CURVES = ["digits", "digits_classes", "emoji", "emoji_32", "fashion", "fashion_classes"]
# Options that a run may change without changing its J.
SAME_J = {
    "seed": 5,
    "steps": None,
    "minutes": 1.0,
    "workers": 1,
    "keep": 1,
    "every": 3,
    "shards": 1,
    "device": "cuda",
}
IMAGES = {
    "digits": (1, 8, 8),
    "fashion-mnist": (1, 28, 28),
    "emoji-16": (3, 16, 16),
    "emoji-32": (3, 32, 32),
    "cifar-10": (3, 32, 32),
}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    """A folder with one recipe, `tiny`, with a run of it and the curve of that run."""
    folder = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "FOLDER", folder / "recipes")
        recipes.FOLDER.mkdir()
        configuration.write(TINY, recipes.FOLDER / "tiny.toml")
        run(TINY, folder / "run", recipe="tiny")
        assert recipes.store("tiny", folder / "run") == recipes.FOLDER / "tiny.csv"
    return folder


@pytest.fixture
def tiny(kitchen, monkeypatch):
    monkeypatch.setattr(recipes, "FOLDER", kitchen / "recipes")
    return kitchen / "run"


def evaluations(text):
    return re.findall(r"step +(\d+) .*held-out J ([\d.]+),.*?(?:expected ([\d.]+))?\n", text)


def test_the_same_run_again_has_the_expected_J_at_each_evaluation(tiny, tmp_path, capsys):
    run(dataclasses.replace(TINY, steps=8), tmp_path / "x", recipe="tiny")
    run(TINY, tmp_path / "x", resume=True)  # --resume alone: no recipe is named
    said = capsys.readouterr()
    found = evaluations(said.out)
    assert [step for step, _, _ in found] == ["4", "8", "12"]
    assert all(J == expected for _, J, expected in found)
    assert "warning" not in said.err and "not compared" not in said.err


def test_a_run_that_learns_worse_is_warned_of_once(tiny, tmp_path, capsys, monkeypatch):
    """Another seed is still a run of the recipe. This one stands still, so it leaves the track."""
    monkeypatch.setattr(ema, "update", lambda average, theta, decay, k: None)
    run(dataclasses.replace(TINY, seed=1), tmp_path / "x", recipe="tiny")
    said = capsys.readouterr()
    found = evaluations(said.out)
    assert len(found) == 3 and all(expected for _, _, expected in found)
    [warning] = [line for line in said.err.splitlines() if "warning" in line]
    expected = r"after \d+ steps the held-out J is [\d.]+% above the curve of the recipe tiny; "
    assert re.search(expected + "chance explains 3%", warning)


@pytest.mark.parametrize(
    "changed, why",
    [
        ({"beta": 0.25}, "beta is not the recipe's"),
        ({"beta": 0.25, "T": 30}, "T, beta are not the recipe's"),
        ({"unet": dataclasses.replace(TINY.unet, blocks=2)}, "blocks is not the recipe's"),
        ({"data": "few"}, "its run had other images"),
    ],
)
def test_what_makes_another_run_is_not_compared_and_said_once(tiny, tmp_path, capsys, changed, why):
    np.save(tmp_path / "few.npy", data.digits().images[:60, 0])
    if changed == {"data": "few"}:
        changed = {"data": str(tmp_path / "few.npy")}
    config = dataclasses.replace(TINY, steps=4, **changed)
    run(config, tmp_path / "x", recipe="tiny")
    said = capsys.readouterr()
    assert said.err.count("not compared with the recipe tiny: ") == 1
    assert f": {why}\n" in said.err and "expected" not in said.out
    run(config, tmp_path / "y")  # of no recipe: nothing to explain
    assert "not compared" not in capsys.readouterr().err


def test_what_changes_no_J_is_compared(tiny):
    fingerprint = labels.fingerprint(TINY.load_data()[0])
    for name, value in SAME_J.items():
        config = dataclasses.replace(TINY, **{name: value})
        assert recipes.expected(config, fingerprint).name == "tiny", name
    curve = recipes.expected(TINY, fingerprint)
    assert curve.at(4) and curve.at(5) is None
    # Evaluated at other steps, there is nothing to compare with.
    assert recipes.Comparison(curve).see(5, 9.0) == ("", None)


def test_the_warning_begins_at_the_tolerance_and_J_that_is_no_number_is_off_the_track(tiny):
    curve = recipes.Curve("tiny")
    limit = (1 + recipes.TOLERANCE) * curve.at(4)

    def warned(step, J, **options):
        return recipes.Comparison(curve, **options).see(step, J)[1] is not None

    assert not warned(4, limit * 0.9999) and warned(4, limit * 1.0001)
    assert warned(4, float("nan"))
    assert not warned(4, 9.0, warmup=8) and warned(8, 9.0, warmup=8)
    comparison, Js = recipes.Comparison(curve), {4: 9.0, 8: 9.0, 12: 0.0}
    found = [bool(comparison.see(step, Js[step])[1]) for step in (4, 8, 12, 4)]
    assert found == [True, False, False, True]  # back on the track, it can be left again


def test_the_picture_shows_the_expected_curve(tiny, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: saved.append(figure))
    for pictures in report.draw(tiny):
        if pictures.name == "loss.png":
            break
    axes = saved[0].axes[0]
    lines = [line for line in axes.lines if line.get_color() == plots.INK]
    [line] = [line for line in lines if list(line.get_xdata()) == [4, 8, 12]]
    np.testing.assert_allclose(line.get_ydata(), recipes.Curve("tiny").J)
    texts = " ".join(text.get_text().replace("\n", " ") for text in axes.texts)
    assert re.search("expected .*recipe", texts)


# ---- those that come with tinyddpm ---------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.names())
def test_each_recipe_is_a_configuration_and_its_curve_is_compared_with_as_far_as_it_goes(name):
    config = configuration.from_dict(configuration.read(recipes.path(name)))
    classes = "0123456789" if config.classes else ()
    unet = config.for_images(IMAGES[config.data], classes).make_unet()
    assert 200_000 < unet.theta_size() < 10_000_000
    if name not in WITH_CURVES:
        assert "no curve was stored" in recipes.why_not(name, config, "")
        return
    curve = recipes.Curve(name)
    assert recipes.expected(config, curve.images).name == name
    assert re.fullmatch("[0-9a-f]{64}", curve.images)
    assert curve.steps.tolist() == list(range(config.every, config.steps + 1, config.every))
    assert 0 < curve.J[-1] < 0.95 * curve.J[0] and curve.J[-1] <= 1.01 * curve.J.min()


@pytest.mark.parametrize("name", ["digits", "digits_classes"])
def test_the_digits_are_those_of_the_curve(name):
    config = configuration.from_dict(configuration.read(recipes.path(name)))
    assert recipes.Curve(name).images == labels.fingerprint(config.load_data()[0])
