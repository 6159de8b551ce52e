"""Models that come with tinyddpm: found by name where nothing lies in the way, half as large, as good, and in every package that is built."""

import fnmatch
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinyddpm
from tinyddpm import cli, data
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import checkpoint, recipes, shipped
from tinyddpm.runs.config import Config
from tinyddpm.runs.folder import BEST, CHECKPOINT
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run

TINY = Config(
    T=12,
    batch_size=8,
    beta=0.5,
    warmup=2,
    every=2,
    steps=4,
    unet=UNetConfig(base=4, groups=2, blocks=1),
)
ROOT = Path(tinyddpm.__file__).parent
RECIPE = {"digits": "digits_classes", "fashion": "fashion"}  # that it is a run of


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
    assert (
        Run("tiny").called == "tiny, which comes with tinyddpm"
        and Run("tiny").step == Run(tiny).step
    )
    Path("tiny").mkdir()
    with pytest.raises(
        checkpoint.CheckpointError, match="tiny: there is no such file in it as a checkpoint"
    ):
        Run("tiny")  # a folder that is there is meant, whatever it holds
    with pytest.raises(
        checkpoint.CheckpointError,
        match="^tiniest: there is no such file; of the models that come with tinyddpm there are tiny$",
    ):
        Run("tiniest")


def test_it_holds_the_average_in_half_precision_and_nothing_else(tiny):
    whole, half = checkpoint.load(tiny / BEST), checkpoint.load(shipped.file("tiny"))
    assert half.theta == {} and (half.config, half.step, half.state) == (
        whole.config,
        whole.step,
        whole.state,
    )
    for name, a in whole.ema.items():
        assert half.ema[name].dtype == np.float32 and np.array_equal(
            half.ema[name], a.astype(np.float16)
        )
    header = int.from_bytes((tiny / BEST).read_bytes()[:8], "little")
    assert (
        shipped.file("tiny").stat().st_size < ((tiny / BEST).stat().st_size - header) / 4 + header
    )


def test_every_command_that_takes_a_model_takes_the_name(tiny, capsys):
    assert (
        cli.main(["info", "tiny"]) == 0
        and cli.main(["sample", "tiny", "--n", "3", "--steps", "2"]) == 0
    )
    said = capsys.readouterr().out
    assert (
        "tiny, which comes with tinyddpm: step" in said
        and "3 images, 2 steps of ddim, seed 0, from tiny, which comes with tinyddpm" in said
    )
    assert (
        cli.main(["eval", "tiny", "--n", "20", "--steps", "2", "--no-baselines", "--out", "found"])
        == 0
    )
    assert (
        json.loads(Path("found/eval.json").read_text())["run"] == "tiny, which comes with tinyddpm"
    )
    assert cli.main(["export", "tiny", "exported"]) == 0
    assert not Path("tiny").exists()  # or the name would mean that folder from now on


@pytest.mark.parametrize(
    "command, problem",
    [
        (
            "eval",
            "tiny: expected a run folder, to write the tables to; for a model without one name another folder (--out)",
        ),
        ("plot", "tiny: expected a run folder, to draw the pictures of its record in"),
    ],
)
def test_what_needs_the_folder_of_a_run_says_so(tiny, capsys, command, problem):
    assert cli.main([command, "tiny"]) == 2
    assert problem in capsys.readouterr().err and not any(Path().iterdir())


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


# ---- those that are there -----------------------------------------------------------------------


def test_they_are_small_and_their_origin_is_told():
    assert shipped.names() == sorted(RECIPE)
    assert sum(shipped.file(name).stat().st_size for name in RECIPE) < 2e6
    text = (shipped.FOLDER / "README.md").read_text(encoding="utf-8")
    for name, recipe in RECIPE.items():
        assert f"| `{shipped.file(name).name}` | `--recipe {recipe}` | {Run(name).step:,} |" in text


@pytest.mark.parametrize("name", RECIPE)
def test_it_is_a_run_of_its_recipe_and_as_good_as_its_curve_says(name):
    """The images' fingerprint and J are those that its own run noted; of the digits, whose images are here, J is measured again."""
    saved = Run(name).saved
    curve = recipes.expected(saved.config, saved.state["data"])
    assert curve and curve.name == RECIPE[name]
    if name == "digits":
        training, held_out = data.split(saved.config.load_data()[0])
        draws = Draws(held_out.images, saved.config.make_schedule(), labels=held_out.labels)
        J = draws.evaluate(Run(name).unet.denoise).mean()
        assert (
            abs(J / saved.state["progress"]["best"] - 1) < 1e-3
            and J < 0.8 * draws.evaluate(mean_image(training.images)).mean()
        )


@pytest.mark.parametrize(
    "arguments, size", [(["digits", "--class", "3", "--guidance", "2"], 8), (["fashion"], 28)]
)
def test_it_draws_at_once(arguments, size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sample", *arguments, "--n", "4", "--steps", "3", "--out", "x.png"]) == 0
    with Image.open("x.png") as picture:
        assert picture.width > 4 * size
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


# ---- the package --------------------------------------------------------------------------------


def test_what_is_no_code_is_named_as_package_data():
    """Each file that is not Python, so a wheel has it; setuptools puts what is named here into the sdist too."""
    patterns = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "setuptools"
    ]["package-data"]["tinyddpm"]
    files = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    ]
    assert (
        len(files) > 10
        and [
            file
            for file in files
            if not any(fnmatch.fnmatch(file, pattern) for pattern in patterns)
        ]
        == []
    )
