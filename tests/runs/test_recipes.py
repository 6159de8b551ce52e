"""Recipes: what a run is compared with, what is said of it, and that the stored curves are those of the recipes."""

import dataclasses
import re

import numpy as np
import pytest

from tinyddpm import data
from tinyddpm.data import labels
from tinyddpm.nn import UNetConfig
from tinyddpm.pictures import plots, report
from tinyddpm.runs import config as configuration, recipes
from tinyddpm.runs.config import Config
from tinyddpm.runs.training import run

TINY = Config(
    T=20,
    batch_size=8,
    beta=0.5,
    warmup=3,
    every=4,
    steps=12,
    unet=UNetConfig(base=4, groups=2, blocks=1),
)
WITH_CURVES = ["digits", "digits_classes", "emoji", "fashion"]


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    """A folder with one recipe, `tiny`, and its curve, stored from a run of it; and that run's folder."""
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
    assert [step for step, _, _ in found] == ["4", "8", "12"] and all(
        J == expected for _, J, expected in found
    )
    assert "warning" not in said.err and "not compared" not in said.err


def test_a_run_that_learns_worse_is_told_so_once(tiny, tmp_path, capsys, monkeypatch):
    """Of another seed it is still a run of the recipe. One whose gradient points nowhere leaves the track."""
    import tinyddpm.runs.training as training

    monkeypatch.setattr(
        training.ema, "update", lambda ema, theta, decay, k: None
    )  # the averaged θ stays as it was at the start
    run(dataclasses.replace(TINY, seed=1), tmp_path / "x", recipe="tiny")
    said = capsys.readouterr()
    assert len(evaluations(said.out)) == 3 and all(
        expected for _, _, expected in evaluations(said.out)
    )
    [warning] = [line for line in said.err.splitlines() if "warning" in line]
    assert re.search(
        r"after \d+ steps the held-out J is [\d.]+% above that of the recipe tiny; chance explains 3%",
        warning,
    )


@pytest.mark.parametrize(
    "changed, why",
    [
        ({"beta": 0.25}, "beta is not the recipe's"),
        ({"beta": 0.25, "T": 30}, "T, beta are not the recipe's"),
        ({"unet": dataclasses.replace(TINY.unet, blocks=2)}, "blocks is not the recipe's"),
        ({"data": "few"}, "the images are not those of the recipe's run"),
    ],
)
def test_what_makes_another_run_is_not_compared_and_said_once(tiny, tmp_path, capsys, changed, why):
    np.save(tmp_path / "few.npy", data.digits().images[:60, 0])
    if changed == {"data": "few"}:
        changed = {"data": str(tmp_path / "few.npy")}
    run(dataclasses.replace(TINY, steps=4, **changed), tmp_path / "x", recipe="tiny")
    said = capsys.readouterr()
    assert (
        said.err.count("not compared with the recipe tiny: ") == 1
        and f": {why}\n" in said.err
        and "expected" not in said.out
    )
    run(
        dataclasses.replace(TINY, steps=4, **changed), tmp_path / "y"
    )  # of no recipe: nothing to explain
    assert "not compared" not in capsys.readouterr().err


def test_what_changes_no_J_is_compared(tiny):
    fingerprint = labels.fingerprint(TINY.load_data()[0])
    for same in (
        {"seed": 5},
        {"steps": None},
        {"minutes": 1.0},
        {"workers": 1},
        {"keep": 1},
        {"every": 3},
        {"shards": 1},
        {"device": "cuda"},
    ):
        assert recipes.expected(dataclasses.replace(TINY, **same), fingerprint).name == "tiny", same
    curve = recipes.expected(TINY, fingerprint)
    assert curve.at(4) and curve.at(5) is None
    assert recipes.Comparison(curve).see(5, 9.0) == (
        "",
        None,
    )  # evaluated at other steps: nothing to hold it against


def test_the_warning_begins_at_the_tolerance_and_J_that_is_no_number_is_off_the_track(tiny):
    curve = recipes.Curve("tiny")
    at = (1 + recipes.TOLERANCE) * curve.at(4)
    assert (
        recipes.Comparison(curve).see(4, at * 0.9999)[1] is None
        and recipes.Comparison(curve).see(4, at * 1.0001)[1]
    )
    assert recipes.Comparison(curve).see(4, float("nan"))[1]
    assert (
        recipes.Comparison(curve, warmup=8).see(4, 9.0)[1] is None
        and recipes.Comparison(curve, warmup=8).see(8, 9.0)[1]
    )
    comparison = recipes.Comparison(curve)
    warned = [
        bool(comparison.see(step, J)[1]) for step, J in ((4, 9.0), (8, 9.0), (12, 0.0), (4, 9.0))
    ]
    assert warned == [True, False, False, True]  # back on the track, it can be left again


def test_the_picture_shows_the_expected_curve(tiny, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: saved.append(figure))
    for pictures in report.draw(tiny):
        if pictures.name == "loss.png":
            break
    [line] = [
        line
        for line in saved[0].axes[0].lines
        if list(line.get_xdata()) == [4, 8, 12] and line.get_color() == plots.INK
    ]
    np.testing.assert_allclose(line.get_ydata(), recipes.Curve("tiny").J)
    assert "held-out J expected of this recipe" in " ".join(
        text.get_text().replace("\n", " ") for text in saved[0].axes[0].texts
    )


# ---- those that come with tinyddpm --------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.names())
def test_each_recipe_is_a_configuration_and_its_curve_is_compared_with_as_far_as_it_goes(name):
    config = configuration.from_dict(configuration.read(recipes.path(name)))
    image = {
        "digits": (1, 8, 8),
        "fashion-mnist": (1, 28, 28),
        "emoji-16": (3, 16, 16),
        "cifar-10": (3, 32, 32),
    }[config.data]
    assert (
        200_000
        < config.for_images(image, "0123456789" if config.classes else ()).make_unet().theta_size()
        < 10_000_000
    )
    if name not in WITH_CURVES:
        assert "no curve was stored" in recipes.why_not(name, config, "")
        return
    curve = recipes.Curve(name)
    assert recipes.expected(config, curve.images).name == name and re.fullmatch(
        "[0-9a-f]{64}", curve.images
    )
    assert curve.steps.tolist() == list(range(config.every, config.steps + 1, config.every))
    assert 0 < curve.J[-1] < 0.95 * curve.J[0] and curve.J[-1] <= 1.01 * curve.J.min()


@pytest.mark.parametrize("name", ["digits", "digits_classes"])
def test_the_digits_are_those_of_the_curve(name):
    config = configuration.from_dict(configuration.read(recipes.path(name)))
    assert recipes.Curve(name).images == labels.fingerprint(config.load_data()[0])
