"""What somebody meets who tries things: words where nothing is wrong, and remedies where it is."""

import json
import os
import shutil
import stat
import zipfile

import numpy as np
import pytest
from few_digits import FEW
from PIL import Image

from tinyddpm import cli, data
from tinyddpm.nn.unet import UNetConfig
from tinyddpm.pictures.images import in_film, write_samples
from tinyddpm.runs import checkpoint
from tinyddpm.runs.config import Config
from tinyddpm.runs.folder import BEST, CHECKPOINT, CONFIG, METRICS
from tinyddpm.runs.opening import Run
from tinyddpm.runs.record import read_metrics
from tinyddpm.runs.training import options_of

NETWORK = "--T 12 --base 4 --groups 2 --blocks 1 --levels 1 --attention=".split()
TINY = [*NETWORK, *"--batch-size 8 --every 2 --warmup 0 --workers 1 --no-pictures".split()]


def train(*options):
    return cli.main(["train", *TINY, "--data", FEW, *options])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of four steps."""
    folder = tmp_path_factory.mktemp("runs") / "x"
    assert train("--out", str(folder), "--steps", "4") == 0
    return folder


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made, tmp_path / "x")


def refused(capsys, *words):
    said = capsys.readouterr().err
    assert said.startswith("tinyddpm: ") and "Traceback" not in said
    for word in words:
        assert word in said, said


# ---- train ---------------------------------------------------------------------------------------


def test_a_run_with_nothing_left_to_do_says_how_it_goes_on(run, capsys):
    assert train("--out", str(run), "--resume") == 0
    said = capsys.readouterr().err
    assert "Nothing is left to do: all 4 steps are done; with --resume, a larger --steps" in said
    assert train("--out", str(run), "--resume", "--steps", "6", "--beta", "1e-9") == 2


def test_a_run_that_has_converged_goes_on_without_patience(tmp_path, capsys):
    still = ["--out", str(tmp_path / "x"), "--beta", "1e-12", "--ema", "0", "--patience", "1"]
    assert train(*still, "--steps", "40") == 0
    assert "--resume --patience 0" in capsys.readouterr().out
    again = ["--out", str(tmp_path / "x"), "--resume"]
    assert cli.main(["train", "--no-pictures", *again]) == 0
    assert "Nothing is left to do: converged" in capsys.readouterr().err
    assert cli.main(["train", "--no-pictures", *again, "--patience", "0", "--steps", "6"]) == 0
    assert checkpoint.load(tmp_path / "x" / CHECKPOINT).step == 6


def test_attention_that_no_level_has_gets_a_word(tmp_path, capsys):
    options = ["--attention", "7", "--levels", "1,1", "--steps", "1", "--out", str(tmp_path / "x")]
    assert train(*options) == 0
    assert "No level has attention at 7: they are at 8, 4." in capsys.readouterr().err
    assert train(*options[:-1], str(tmp_path / "y"), "--attention", "4") == 0
    assert "No level has" not in capsys.readouterr().err


def test_a_beta_that_is_left_out_gets_a_word(tmp_path, capsys):
    (tmp_path / "c.toml").write_text("beta = 1.2\n")
    options = ["--config", str(tmp_path / "c.toml"), "--steps", "1", "--out"]
    assert train(*options, str(tmp_path / "a"), "--optimiser", "adam") == 0
    assert "c.toml suits another optimiser" in capsys.readouterr().err
    assert train(*options, str(tmp_path / "b")) == 0
    assert "suits another" not in capsys.readouterr().err


def test_names_that_cannot_be_are_refused_before_anything_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Run, "sample", None)
    assert cli.main(["sample", "digits", "--out", 300 * "x" + ".png"]) == 2
    refused(capsys, "--out: nothing can be written", "name too long")
    (tmp_path / "fashion").touch()
    assert cli.main(["sample", "fashion", "--out", "a.png"]) == 2
    refused(capsys, "it hides the model fashion that comes with tinyddpm")


def test_a_checkpoint_that_was_cut_off_may_have_been_one(run):
    path = run / CHECKPOINT
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(checkpoint.CheckpointError, match="300 bytes that is cut off, or no"):
        checkpoint.load(path)


def test_pictures_get_the_height_and_the_width_of_the_run_before(tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((9, 8, 16), np.uint8))
    options = ["--data", str(tmp_path / "wide.npy"), "--steps", "1", "--out", str(tmp_path / "x")]
    assert train(*options) == 0
    (tmp_path / "pictures").mkdir()
    assert options_of(tmp_path / "x", str(tmp_path / "pictures"))["size"] == "8x16"


def test_options_that_change_nothing_get_a_word(tmp_path, capsys):
    given = ("--class-dropout=0.2", "--tf32")
    assert train(*given, "--steps", "1", "--out", str(tmp_path / "a")) == 0
    said = capsys.readouterr().err
    for option in ("--class-dropout", "--tf32"):
        assert f" {option} does nothing " in said
    assert train("--steps", "1", "--out", str(tmp_path / "b")) == 0
    assert "does nothing" not in capsys.readouterr().err


def test_a_size_that_levels_cannot_halve_has_a_remedy(tmp_path, capsys):
    np.save(tmp_path / "odd.npy", np.zeros((9, 7, 9), np.uint8))
    options = ["--data", str(tmp_path / "odd.npy"), "--levels", "1,1", "--steps", "1"]
    assert train(*options, "--out", str(tmp_path / "x")) == 2
    refused(capsys, "divisible by 2, for 2 levels", "--levels of 1 number fits", "--size 6x8")

    image = (1, 28, 28)
    with pytest.raises(ValueError, match="for 4 levels.*; --levels of 3 numbers fits.*24x24"):
        Config(unet=UNetConfig(levels=(1,) * 4, image=(1, 8, 8))).for_images(image)


def test_one_small_picture_does_not_decide_on_the_size(tmp_path, capsys):
    for i, side in enumerate((2, 40, 41, 42)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{i}.png")
    assert cli.main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    refused(capsys, "give a size, such as --size 32")


@pytest.mark.parametrize("size", ["4X8", "4x8"])
def test_a_size_may_have_a_capital_x(size, tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "0.png")
    options = ["--data", str(tmp_path), "--size", size, "--steps", "1", "--out"]
    assert train(*options, str(tmp_path / "run")) == 0
    assert Run(tmp_path / "run").config.unet.image == (1, 4, 8)


def test_an_archive_starts_from_another_run_as_its_folder_does(run, tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        Image.new("RGB", (20, 20)).save(tmp_path / "0.png")
        archive.write(tmp_path / "0.png", "0.png")
    options = ["--from", str(run), "--data", str(tmp_path / "pets.zip"), "--steps", "1"]
    more = ["--no-pictures", "--out", str(tmp_path / "y")]
    assert cli.main(["train", *options, *more]) == 0
    assert Run(tmp_path / "y").config.unet.image == (1, 8, 8)


# ---- what is there afterwards --------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_others_may_read_a_model_as_any_file(run, tmp_path):
    (tmp_path / "any").touch()
    usual = stat.S_IMODE((tmp_path / "any").stat().st_mode)
    for name in (CHECKPOINT, BEST, CONFIG, METRICS):
        assert stat.S_IMODE((run / name).stat().st_mode) == usual, name
    assert cli.main(["export", str(run), str(tmp_path / "diffusers")]) == 0
    for path in (tmp_path / "diffusers").rglob("*.*"):
        assert stat.S_IMODE(path.stat().st_mode) == usual, path


def test_before_the_first_checkpoint_a_run_is_a_run(run, capsys):
    for path in run.glob("*.safetensors"):
        path.unlink()
    assert cli.main(["sample", str(run)]) == 2
    refused(capsys, "no checkpoint yet: the first comes at step --every, or at Ctrl-C")


def test_a_network_from_diffusers_is_not_called_a_run(run, tmp_path, capsys):
    folder = str(tmp_path / "y")
    assert cli.main(["export", str(run), str(tmp_path / "diffusers")]) == 0
    assert cli.main(["import", str(tmp_path / "diffusers"), "--out", folder]) == 0
    capsys.readouterr()
    assert cli.main(["info", folder]) == 0
    said = capsys.readouterr().out
    assert "a network from diffusers" in said and 'predicts = "x0"' in said and "beta" not in said
    for command in (["plot", folder], ["eval", folder, "--out", str(tmp_path / "z")]):
        assert cli.main(command) == 2
        refused(capsys, "a network from diffusers, which has no images here")


def test_half_a_line_of_the_record_is_none_and_a_wrong_one_is_named(run):
    path = run / METRICS
    whole, steps = path.read_text(), len(read_metrics(path)[0])
    path.write_text(whole + '{"k": 5, "J"')
    assert len(read_metrics(path)[0]) == steps
    path.write_text("no JSON\n" + whole)
    with pytest.raises(ValueError, match="metrics.jsonl: expected JSON in line 1, got 'no JSON"):
        read_metrics(path)


# ---- sample --------------------------------------------------------------------------------------


def test_a_film_says_how_many_images_it_shows(run, tmp_path, capsys):
    for n, some in (
        (20, "20 images, the first 16 of them in the film, 2 steps"),
        (3, "3 images, 2"),
    ):
        out = str(tmp_path / "x.gif")
        assert cli.main(["sample", str(run), "--n", str(n), "--steps", "2", "--out", out]) == 0
        assert some in capsys.readouterr().out


def test_a_film_holds_no_more_images_than_it_shows(tmp_path, monkeypatch):
    """Of 64 images of 32×32 and 200 steps, 1.6 GB would be held otherwise."""
    held = []
    monkeypatch.setattr(
        "tinyddpm.pictures.images.denoising", lambda path, frames: held.extend(frames)
    )
    chain = ((t, *np.zeros((2, 64, 3, 32, 32), np.float32)) for t in (2, 1, 0))
    write_samples(chain, tmp_path / "x.gif")
    assert [t for t, *_ in held] == [2, 1, 0]
    for _, *images in held:
        assert {len(x) for x in images} == {in_film((3, 32, 32))} == {4}
        assert all(x.base is None or x.base.nbytes == x.nbytes for x in images)


def test_a_place_that_cannot_be_written_to_is_found_before_anything_is_drawn(
    run, capsys, monkeypatch
):
    def read_only(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tinyddpm.cli.models.TemporaryFile", read_only)
    monkeypatch.setattr(Run, "sample", None)
    assert cli.main(["sample", str(run), "--out", str(run / "x.png")]) == 2
    refused(capsys, "--out: nothing can be written to ", "(Read-only file system)")


def test_images_that_are_others_by_now_are_said_to_be(tmp_path, capsys):
    few = data.digits().images[:20, 0]
    np.save(tmp_path / "x.npy", few)
    options = ["--data", str(tmp_path / "x.npy"), "--out", str(tmp_path / "x"), "--steps", "2"]
    assert train(*options) == 0
    np.save(tmp_path / "x.npy", few[:19])
    capsys.readouterr()
    assert cli.main(["train", "--out", str(tmp_path / "x"), "--resume", "--steps", "4"]) == 2
    refused(capsys, "no longer holds the images", "the run's data.txt says what they were")
    assert json.loads((tmp_path / "x" / METRICS).read_text().splitlines()[0])["k"] == 1
