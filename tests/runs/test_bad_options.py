"""A wrong option or configuration file: one line that says so, exit status 2, nothing written."""

import click
import pytest
from small_runs import assert_refused

from tinyddpm import cli

# What follows `tinyddpm train --out x`, and what must be said.
OPTIONS = {
    "--beta nan": "beta: expected a positive step size, got nan",
    "--beta inf": "got inf",
    "--beta -1": "got -1.0",
    "--beta 1e-400": "got 0.0",
    "--learning-rate 0": "beta: expected a positive",
    "--lr 0": "beta: expected a positive",
    "--T 0": "T: expected at least 1",
    "--T 10000000000": "T: expected at most 1000000, got 10000000000",
    "--base 7": "base: expected an even number",
    "--base 0": "base: expected at least 1",
    "--base 100000": "base, levels: expected a network that fits",
    "--levels ,": "levels: expected multiples of base",
    "--levels 1,0": "got (1, 0)",
    "--levels 1,1,1,1,1": "image: expected height and width divisible by 16, for 5 levels",
    "--levels 1000000": "base, levels: expected a network that fits",
    "--attention -4": "attention: expected resolutions",
    "--heads 3": "heads: expected a divisor of 32 channels, got 3",
    "--heads 0": "heads: expected at least 1",
    "--groups 5": "groups: expected a divisor of 16 channels, got 5",
    "--dropout 1": "dropout: expected a fraction",
    "--dropout nan": "dropout: expected a fraction",
    "--class-dropout 1": "class_dropout: expected a fraction",
    "--class-dropout nan": "class_dropout: expected a fraction",
    "--blocks 1000000": "blocks: expected at most 100",
    "--batch-size 0": "batch_size: expected at least 1",
    "--batch-size 1000000000000": "batch_size: expected a mini-batch that fits",
    "--minutes nan": "minutes: expected a positive",
    "--minutes 0": "minutes: expected a positive",
    "--minutes inf": "minutes: expected a positive",
    "--ema-decay 1": "ema_decay: expected a decay",
    "--ema nan": "ema_decay: expected a decay",
    "--average 0.9": "No such option",
    "--shards 0": "shards: expected at least 1",
    "--shards 99999999": "shards: expected at most 1024",
    "--workers -1": "workers: expected at least 1",
    "--keep 0": "keep: expected at least 1",
    "--every 0": "every: expected at least 1",
    "--patience -1": "patience: expected at least 0",
    "--warmup -1": "warmup: expected at least 0",
    "--seed 1.5": "'1.5' is not a valid integer",
    "--seed " + "9" * 50: "seed: expected a number of at most 63 bits",
    "--seed " + "9" * 5000: "is not a valid integer",
    "--size 0": "size: expected at least 1",
    "--size 16": "is not resized, got a request for (16, 16)",
    "--channels 3": "is not converted, got a request for 3",
    "--channels 2": "channels: expected 1 or 3",
    "--device cuda:x": "got 'cuda:x'",
    "--graph": "graph: expected --device cuda with it, got cpu",
    "--graph --learn-sigma --device cuda": "graph: expected no learned variance with it",
    "--objective sum": "expected one with --objective sum, whose ∇J is batch_size·C·H·W times",
    "--objective batch_mean --optimiser momentum": "whose ∇J is C·H·W times that of",
    "--device gpu": "device: expected cpu, cuda or cuda:INDEX",
    "--recipe ../digits": "--recipe: expected one of",
    "--recipe=": "--recipe: expected one of",
    "--objective l1": "'l1' is not one of",
    "extra": "unexpected extra argument (extra)\n",
    "--levels 1 2 2": "unexpected extra argument (2 2)\n",
    "--seed 1 digits": "unexpected extra argument (digits): say train --recipe digits\n",
    "mnist": "unexpected extra argument (mnist): say train --data mnist\n",
    "c.toml": "unexpected extra argument (c.toml): say train --config c.toml\n",
    "pipe": "unexpected extra argument (pipe): say train --data pipe\n",
    "--out=": "'--out': expected the name of a folder, got an empty text",
    "--data /dev/null": "expected a file or a folder, this is neither",
    "--data=": "got an empty string",
    "--data pipe": "this is neither",
    "--data a\nb": "a?b: expected a file",
    "--config pipe": "pipe: cannot be read: expected a file, got a folder, a pipe or a device",
    "--config .": "expected a file, got a folder, a pipe or a device",
    "--config /dev/zero": "expected a file, got a folder, a pipe or a device",
    "--multipliers=1": "'1' is not one of 'hand', 'measured', 'none'",
    "--no-multipliers": "--no-multipliers: say --multipliers none",
    "--optimiser rmsprop": "is not one of 'sgd', 'momentum', 'adam'",
    "--predicts noise": "is not one of 'x0', 'eps', 'v'",
    "--decay linear": "decay: expected --steps with linear, because β falls to 0 at the last step",
    "--decay cosine --steps 300": "expected more steps than the warm-up's 300, got 300",
    "--decay-steps 500": "decay_steps: expected --decay linear or cosine with it",
    "--decay linear --decay-steps 500 --steps 501": "steps: expected at most 500, where β has",
}
# A configuration file, and what must be said.
FILES = {
    "x = " + "[" * 5000: "not a TOML file",
    "beta = 1" + "0" * 400: "beta: expected a number of at most 63 bits, got one of 1329",
    "seed = 0x" + "f" * 9000: "seed: expected a number of at most 63 bits",
    "data = 0x" + "f" * 9000: "data: expected text, got a int",
    "beta = 2020-01-01": "beta: expected a number, got datetime.date(2020, 1, 1)",
    "[unet]\nbase = 3": "unet: there is no such option",
    '"a\\nb" = 1': "a?b: there is no such option",
    "\0": "not a TOML file",
    "T = 1\nT = 2": "not a TOML file",
    "T = " + "9" * 5000: "not a TOML file",
    "device = ''": "device: expected",
    "levels = [[1]]": "levels: expected a list of whole numbers",
    "image = [1, 8]": "image: expected channels, height and width",
    "base = nan": "base: expected a whole number",
    "attention = 4": "attention: expected a list",
    "noise_schedule = 3": "noise_schedule: expected linear",
    "time_conditioning = 'no'": "time_conditioning: expected true or false",
    "#" * 2**20 + "#": "expected at most 1048576 bytes",
    "image = [1, 1000000, 1000000]": "batch_size: expected a mini-batch that fits",
}
# What each command needs besides the option that is wrong.
ARGUMENTS = {
    "train": ["--out", "x"],
    "sample": ["digits"],
    "import": ["absent", "--out", "x"],
    "eval": ["digits", "--out", "x"],
    "explore": ["absent", "--no-open"],
    "data": ["digits"],
}
CHECKED_BY_CLICK = click.types.IntParamType, click.types.FloatParamType, click.Choice


def options_with_values(command):
    """Its options that take a value: no arguments, and no flags."""
    return [p for p in cli.cli.commands[command].params if not getattr(p, "is_flag", True)]


def test_every_command_that_has_options_is_among_those_below():
    assert ARGUMENTS.keys() == {name for name in cli.cli.commands if options_with_values(name)}


@pytest.mark.parametrize("command", ARGUMENTS)
def test_every_option_of_every_command_refuses_what_is_no_value_for_it(command, place, capsys):
    """No number, no name and no path has a NUL in it; and none but --attention may be empty."""
    for option in options_with_values(command):
        values = ("\0", "", "…") if isinstance(option.type, CHECKED_BY_CLICK) else ("\0",)
        for value in values:
            arguments = [command, *ARGUMENTS[command], f"{option.opts[0]}={value}"]
            said = assert_refused(arguments, "", place, capsys)
            name = option.opts[0].removeprefix("--")
            about_it = name, name.replace("-", "_"), "embedded null byte", "?: expected a file"
            assert any(words in said for words in about_it), said


@pytest.mark.parametrize("options", OPTIONS, ids=lambda text: ascii(text[:30]))
def test_options(options, place, capsys):
    arguments = ["train", "--out", "x", *options.split(" ")]
    assert_refused(arguments, OPTIONS[options], place, capsys)


def test_a_run_folder_without_an_option_is_to_be_gone_on_with(place, capsys):
    (place / "a").mkdir()
    (place / "a" / "config.toml").write_text("")
    assert_refused(["train", "a"], "(a): say train --out a --resume", place, capsys)


@pytest.mark.parametrize("text", FILES, ids=lambda text: ascii(text[:30]))
def test_configuration_files(text, place, capsys):
    (place / "c.toml").write_text(text)
    assert_refused(["train", "--out", "x", "--config", "c.toml"], FILES[text], place, capsys)
