"""Whatever a person gets wrong: one line that says what was expected and what came, exit status 2, no traceback, nothing written."""
import os

import click
import numpy as np
import pytest

from tinyddpm import cli, data
from tinyddpm.runs.config import Config, from_dict
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.runs.folder import CHECKPOINT
from tinyddpm.runs.opening import Run
from tinyddpm.runs.training import run
from tinyddpm.nn import UNetConfig

OPTIONS = {  # what follows `tinyddpm train --out x` -> what must be said
    "--beta nan": "beta: expected a positive step size, got nan", "--beta inf": "got inf", "--beta -1": "got -1.0", "--beta 1e-400": "got 0.0", "--learning-rate 0": "beta: expected a positive",
    "--T 0": "T: expected at least 1", "--T 10000000000": "T: expected at most 1000000, got 10000000000", "--base 7": "base: expected an even number", "--base 0": "base: expected at least 1",
    "--base 100000": "base, levels: expected a network that fits", "--levels ,": "levels: expected one multiple", "--levels 1,0": "got (1, 0)", "--levels 1,1,1,1,1": "divisible by 16, got 8×8",
    "--levels 1000000": "base, levels: expected a network that fits", "--attention -4": "attention: expected resolutions", "--heads 3": "cannot be divided among 3 heads", "--heads 0": "heads: expected at least 1",
    "--groups 5": "cannot be divided into 5 groups", "--dropout 1": "dropout: expected a share", "--dropout nan": "dropout: expected a share", "--blocks 1000000": "blocks: expected at most 100",
    "--batch-size 0": "batch_size: expected at least 1", "--batch-size 1000000000000": "batch_size: expected a mini-batch that fits", "--minutes nan": "minutes: expected a positive", "--minutes 0": "minutes: expected a positive",
    "--ema-decay 1": "ema_decay: expected a decay", "--ema nan": "ema_decay: expected a decay", "--shards 0": "shards: expected at least 1", "--shards 99999999": "shards: expected at most 1024", "--workers -1": "workers: expected at least 1",
    "--keep 0": "keep: expected at least 1", "--every 0": "every: expected at least 1", "--patience -1": "patience: expected at least 0", "--warmup -1": "warmup: expected at least 0", "--seed 1.5": "'1.5' is not a valid integer",
    "--seed " + "9" * 50: "seed: expected a number of at most 63 bits", "--seed " + "9" * 5000: "is not a valid integer", "--size 0": "size: expected at least 1", "--size 16": "is not resized, got a request for (16, 16)",
    "--channels 3": "is not converted, got a request for 3", "--channels 2": "channels: expected 1 or 3", "--device cuda:x": "got 'cuda:x'", "--device gpu": "device: expected cpu, cuda or cuda:INDEX", "--recipe ../digits": "--recipe: expected one of",
    "--objective l1": "'l1' is not one of", "extra": "unexpected extra argument", "--recipe=": "--recipe: expected one of", "--out=": "'--out': expected the name of a folder, got an empty text",  "--data /dev/null": "expected a file or a folder, this is neither", "--data=": "got an empty string", "--data pipe": "this is neither", "--data a\nb": "a?b: expected a file",
    "--config pipe": "pipe: cannot be read: expected a file, this is none", "--config .": "expected a file, this is none", "--config /dev/zero": "expected a file, this is none", "--multipliers=1": "does not take a value",
}
FILES = {  # a configuration file -> what must be said
    "x = " + "[" * 5000: "not a TOML file", "beta = 1" + "0" * 400: "beta: expected a number of at most 63 bits, got one of 1329", "seed = 0x" + "f" * 9000: "seed: expected a number of at most 63 bits", "data = 0x" + "f" * 9000: "data: expected text, got a int",
    "beta = 2020-01-01": "beta: expected a number, got datetime.date(2020, 1, 1)", "[unet]\nbase = 3": "unet: there is no such option", '"a\\nb" = 1': "a?b: there is no such option", "\0": "not a TOML file", "T = 1\nT = 2": "not a TOML file",
    "T = " + "9" * 5000: "not a TOML file", "device = ''": "device: expected", "levels = [[1]]": "levels: expected a list of whole numbers", "image = [1, 8]": "image: expected channels, height and width", "base = nan": "base: expected a whole number",
    "attention = 4": "attention: expected a list", "noise_schedule = 3": "noise_schedule: expected linear", "time_conditioning = 'no'": "time_conditioning: expected true or false", "#" * 2**20 + "#": "expected at most 1048576 bytes", "image = [1, 1000000, 1000000]": "batch_size: expected a mini-batch that fits",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    return tmp_path


def refused(arguments, problem, place, capsys):
    before = {p.name for p in place.iterdir()}
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert problem in said.err and said.err.startswith("tinyddpm: ") and said.err.count("\n") == 1 and len(said.err) < 9000 and not said.out, said.err
    assert {p.name for p in place.iterdir()} == before


@pytest.mark.parametrize("command", [name for name, command in cli.cli.commands.items() if any(getattr(p, "is_flag", None) is False for p in command.params)])
def test_every_option_of_every_command_refuses_what_is_no_value_for_it(command, place, capsys):
    """No number, no name and no path has a NUL in it; and none but --attention may be empty."""
    arguments = {"train": ["--out", "x"], "sample": ["absent"], "import": ["absent", "--out", "x"], "eval": ["absent"], "explore": ["absent", "--no-open"], "data": ["mnist"]}[command]
    seen = 0
    for option in cli.cli.commands[command].params:
        if getattr(option, "is_flag", True):  # arguments and flags
            continue
        for value in ("\0", "", "…") if isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType, click.Choice)) else ("\0",):
            refused([command, *arguments, f"{option.opts[0]}={value}"], "", place, capsys)
            seen += 1
    assert seen >= 1


@pytest.mark.parametrize("options", OPTIONS, ids=lambda text: ascii(text[:30]))
def test_options(options, place, capsys):
    refused(["train", "--out", "x", *options.split(" ")], OPTIONS[options], place, capsys)


@pytest.mark.parametrize("text", FILES, ids=lambda text: ascii(text[:30]))
def test_configuration_files(text, place, capsys):
    (place / "c.toml").write_text(text)
    refused(["train", "--out", "x", "--config", "c.toml"], FILES[text], place, capsys)


@pytest.mark.parametrize("out, problem", [("file", "is a file"), ("file/x", "file/x: Not a directory"), ("\0", "")])
def test_run_folders(out, problem, place, capsys):
    (place / "file").write_text("x")
    refused(["train", "--out", out], problem, place, capsys)


@pytest.mark.parametrize("command", ["sample", "info", "plot"])
@pytest.mark.parametrize("run, problem", [("file", "not a whole checkpoint: a file of 1 bytes"), ("pipe", "expected a checkpoint, this is no file"), ("absent", "there is no such file"), (".", "there is no such file")])
def test_runs(command, run, problem, place, capsys):
    (place / "file").write_text("x")
    refused([command, run], problem, place, capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(Config(T=12, batch_size=2, every=1, steps=1, workers=1, unet=UNetConfig(base=4, levels=(1,), attention=(), groups=2, blocks=1)), folder)
    return folder


@pytest.mark.parametrize("options, problem", [
    ("--n 0", "n: expected at least 1"), ("--n 999999999999", "n: expected at least 1, and at most the 8388608 images"), ("--steps 0", "steps: expected 1 to T = 12, got 0"), ("--steps 13", "got 13"), ("--eta 2", "eta: expected 0 to 1, got 2.0"),
    ("--eta nan", "eta: expected 0 to 1, got nan"), ("--eta -0.1", "eta: expected 0 to 1"), ("--sampler ddpm --eta 0.5", "eta: ddpm always adds its noise"), ("--sampler ddpm --steps 5", "ddpm takes all T = 12 steps"), ("--out absent/x.png", "--out: expected a folder that exists"),
    ("--out x.txt", "expected a name that ends in"), ("--clip maybe", "'maybe' is not one of"), ("--device cuda:x", "device: expected cpu"),
])
def test_requests_for_samples(options, problem, trained, place, capsys):
    refused(["sample", str(trained), *options.split()], problem, place, capsys)


def test_not_enough_memory_is_one_line(trained, place, capsys, monkeypatch):
    def no_room(*args):
        raise MemoryError("Unable to allocate 3 EiB")
    monkeypatch.setattr("tinyddpm.runs.opening.noise.normal", no_room)
    refused(["sample", str(trained)], "not enough memory: Unable to allocate 3 EiB", place, capsys)


def test_a_run_from_another_data_set_is_named(trained, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((7, 8, 8), np.float32))
    before = (trained / CHECKPOINT).read_bytes()
    assert cli.main(["train", "--out", str(trained), "--resume", "--data", str(tmp_path / "x.npy")]) == 2
    assert "data: the run to resume has 'digits', not" in capsys.readouterr().err
    assert (trained / CHECKPOINT).read_bytes() == before


def test_many_levels_are_allowed_where_the_images_are_large_enough(tmp_path):
    assert from_dict({"levels": [1] * 5, "size": 32}).for_images((3, 32, 32)).unet.levels == (1,) * 5
    with pytest.raises(ValueError, match="5 levels need height and width divisible by 16, got 8×8"):
        from_dict({"levels": [1] * 5}).for_images((1, 8, 8))


@pytest.mark.parametrize("images", [np.zeros((9, 1, 4, 4), np.float32), np.full((9, 1, 4, 4), -1, np.float32), np.ones((1, 1, 4, 4), np.float32), np.zeros((7, 3, 1, 1), np.float32)], ids=["grey", "black", "one white", "one pixel"])
def test_images_that_teach_nothing_train_without_a_crash_or_a_nan(images, tmp_path):
    np.save(tmp_path / "x.npy", images)
    config = Config(data=str(tmp_path / "x.npy"), T=5, batch_size=3, every=2, steps=4, workers=1, unet=UNetConfig(base=4, levels=(1,), attention=(), groups=2, blocks=1))
    summary = run(config, tmp_path / "run")
    assert summary.step == 4 and np.isfinite(summary.held_out)
    *_, (t, x0, _) = Run(tmp_path / "run").sample(2, "ddim", 3)
    assert np.isfinite(x0).all() and x0.shape == (2, *data.load(tmp_path / "x.npy").images.shape[1:])


def test_a_denoiser_of_another_shape_is_noticed():
    from tinyddpm import schedule
    draws = Draws(data.digits().images[:4], schedule.linear(10))
    with pytest.raises(ValueError):
        draws.evaluate(lambda xt, t: np.zeros((len(xt), 3, 5, 5), np.float32))
    assert draws.evaluate(mean_image(data.digits().images)).shape == (10,)
