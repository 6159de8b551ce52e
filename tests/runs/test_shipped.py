"""Models that ship: found by name, half as large, as good, and in every package that is built."""

import fnmatch
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import TINY

import tinyddpm
from tinyddpm import cli, data
from tinyddpm.runs import checkpoint, recipes, shipped
from tinyddpm.runs.folder import BEST, CHECKPOINT
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run

ROOT = Path(tinyddpm.__file__).parent
RECIPE = {  # which each is a run of
    "digits": "digits_classes",
    "fashion": "fashion",
    "fashion_classes": "fashion_classes",
}
CALLED = "tiny, which comes with tinyddpm"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A run folder, whose model is shipped as `tiny`; the current folder is empty."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "data")
    shipped.FOLDER.mkdir()
    run(TINY, tmp_path / "run")
    assert shipped.ship("tiny", tmp_path / "run") == tmp_path / "data" / "model-tiny.safetensors"
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "run"


def test_a_name_is_a_shipped_model_only_where_nothing_lies(tiny):
    assert Run("tiny").called == CALLED and Run("tiny").step == Run(tiny).step
    Path("tiny").mkdir()
    said = "tiny: expected a run folder, there is no .*; it hides the model tiny that comes with"
    with pytest.raises(checkpoint.CheckpointError, match=said):
        Run("tiny")  # a folder that is there is meant, whatever it holds
    problem = "^tiniest: there is no such file, and no shipped model of this name; there are tiny$"
    with pytest.raises(checkpoint.CheckpointError, match=problem):
        Run("tiniest")


def test_it_holds_the_EMA_in_half_precision_and_nothing_else(tiny):
    whole, half = checkpoint.load(tiny / BEST), checkpoint.load(shipped.file("tiny"))
    assert half.theta == {}
    assert (half.config, half.step, half.state) == (whole.config, whole.step, whole.state)
    for name, a in whole.ema.items():
        assert half.ema[name].dtype == np.float32
        assert np.array_equal(half.ema[name], a.astype(np.float16))
    header = int.from_bytes((tiny / BEST).read_bytes()[:8], "little")
    numbers = (tiny / BEST).stat().st_size - header  # of θ and its EMA, four bytes each
    assert shipped.file("tiny").stat().st_size < numbers / 4 + header


def test_every_command_that_takes_a_model_takes_the_name(tiny, capsys):
    assert cli.main(["info", "tiny"]) == 0
    assert cli.main(["sample", "tiny", "--n", "3", "--steps", "2"]) == 0
    said = capsys.readouterr().out
    assert f"{CALLED}: step" in said
    assert f"3 images, 2 steps of dpm, η = 1, grid log-snr-6, seed 0, from {CALLED}" in said
    options = "--n 20 --steps 2 --no-baselines --out found".split()
    assert cli.main(["eval", "tiny", *options]) == 0
    assert json.loads(Path("found/eval.json").read_text(encoding="utf-8"))["run"] == CALLED
    assert cli.main(["export", "tiny", "exported"]) == 0
    assert not Path("tiny").exists()  # or the name would mean that folder from now on


@pytest.mark.parametrize("command, problem", [("eval", "a folder with --out"), ("plot", "record")])
def test_what_needs_the_folder_of_a_run_says_so(tiny, capsys, command, problem):
    assert cli.main([command, "tiny"]) == 2
    said = capsys.readouterr().err
    assert "tiny: expected a run folder" in said and problem in said
    assert not any(Path().iterdir())


def test_training_does_not_go_on_from_it(tiny):
    Path("x").mkdir()
    Path("x", CHECKPOINT).write_bytes(shipped.file("tiny").read_bytes())
    with pytest.raises(checkpoint.CheckpointError, match="is missing"):
        run(TINY, "x", resume=True)


def test_a_half_precision_number_that_was_changed_is_noticed(tiny):
    content = bytearray(shipped.file("tiny").read_bytes())
    content[-3] ^= 1
    shipped.file("tiny").write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match="its checksum does not match"):
        Run("tiny")


# ---- those that are there ------------------------------------------------------------------------


def test_they_are_small_and_their_origin_is_documented():
    assert shipped.names() == sorted(RECIPE)
    assert sum(shipped.file(name).stat().st_size for name in RECIPE) < 4e6
    text = (shipped.FOLDER / "README.md").read_text(encoding="utf-8")
    for name, recipe in RECIPE.items():
        assert f"| `{shipped.file(name).name}` | `--recipe {recipe}` | {Run(name).step:,} |" in text


@pytest.mark.parametrize("name", RECIPE)
def test_it_is_a_run_of_its_recipe_and_as_good_as_its_curve_says(name):
    """For the digits, whose images are here, J is measured again."""
    saved = Run(name).saved
    curve = recipes.expected(saved.config, saved.state["data"])
    assert curve and curve.name == RECIPE[name]
    if name == "digits":
        training, held_out = data.split(saved.config.load_data()[0])
        draws = Draws(held_out.images, saved.config.make_schedule(), labels=held_out.labels)
        J = draws.evaluate(Run(name).unet.denoise).mean()
        assert abs(J / saved.state["progress"]["best"] - 1) < 1e-3
        assert J < 0.8 * draws.evaluate(mean_image(training.images)).mean()


@pytest.mark.parametrize(
    "arguments, size",
    [
        (["digits", "--class", "3", "--guidance", "2"], 8),
        (["fashion"], 28),
        (["fashion_classes", "--class", "bag"], 28),
    ],
)
def test_it_draws_at_once(arguments, size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sample", *arguments, "--n", "4", "--steps", "3", "--out", "x.png"]) == 0
    with Image.open("x.png") as picture:
        assert picture.width > 4 * size
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


# ---- the package ---------------------------------------------------------------------------------


def test_what_is_no_code_is_named_as_package_data():
    """Files other than Python: so a wheel has them, and setuptools puts them into the sdist too."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["tinyddpm"]
    paths = [path for path in ROOT.rglob("*") if path.is_file() and path.suffix != ".py"]
    files = [str(p.relative_to(ROOT)) for p in paths if "__pycache__" not in p.parts]
    assert len(files) > 10
    for file in files:
        assert any(fnmatch.fnmatch(file, pattern) for pattern in patterns), file
