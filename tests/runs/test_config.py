"""Configurations: names, types and values are checked, and what is written is what is read."""

import compileall
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinyddpm
from tinyddpm.nn import UNetConfig
from tinyddpm.runs import config as configuration, recipes
from tinyddpm.runs.config import Config, from_dict, to_dict

ROOT = Path(tinyddpm.__file__).parent.parent
no_caches = shutil.ignore_patterns("__pycache__", "assets")


def test_a_written_file_reads_back_as_the_same_configuration(tmp_path):
    config = Config(
        data="pictures",
        size=16,
        beta=0.3,
        minutes=2.5,
        unet=UNetConfig(image=(3, 16, 16), levels=(1, 2, 4), attention=()),
    )
    configuration.write(config, tmp_path / "config.toml")
    assert from_dict(configuration.read(tmp_path / "config.toml")) == config


def test_every_option_has_a_help_text_and_the_names_of_run_and_network_do_not_meet():
    run, unet = ({f.name for f in dataclasses.fields(c)} for c in (Config, UNetConfig))
    assert not run & unet
    assert configuration.option_types().keys() == (run | unet) - {"unet"}
    assert configuration.option_help().keys() == configuration.option_types().keys()
    assert all(type(text) is str and text for text in configuration.option_help().values())


def test_the_types_and_the_help_texts_are_those_of_the_fields():
    types, texts = configuration.option_types(), configuration.option_help()
    assert (types["beta"], types["size"], types["levels"]) == (
        float,
        int | str | None,
        tuple[int, ...],
    )
    assert texts["beta"].startswith("learning rate β") and texts["heads"] == "heads of attention"


def test_the_help_texts_need_no_source_file(tmp_path):
    """An installation may hold compiled files alone."""
    for package in ("autograd", "tinyddpm"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=no_caches)
        compileall.compile_dir(tmp_path / package, legacy=True, quiet=1)
        for path in (tmp_path / package).rglob("*.py"):
            path.unlink()
    program = "from tinyddpm.runs.config import option_help; print(option_help()['base'])"
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "channels at full resolution\n", done.stderr


WRONG = [
    ({"bse": 16}, "bse: there is no such option"),
    ({"base": "16"}, "base: expected a whole number, got '16'"),
    ({"base": 16.0}, "base: expected a whole number, got 16.0"),
    ({"base": True}, "base: expected a whole number, got True"),
    ({"beta": "much"}, "beta: expected a number, got 'much'"),
    ({"multipliers": 1}, "multipliers: expected hand or measured or none, got 1"),
    ({"levels": 2}, "levels: expected a list of whole numbers, got 2"),
    ({"levels": [1, "2"]}, "levels: expected a list of whole numbers"),
    (
        {"noise_schedule": "square"},
        "noise_schedule: expected linear or cosine or scaled_linear or quadratic "
        "or sigmoid or sigmoid_beta, got 'square'",
    ),
    ({"beta": 0}, "beta: expected a positive step size"),
    ({"beta": float("nan")}, "beta: expected a positive step size, got nan"),
    ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
    ({"ema_decay": 1.0}, "ema_decay: expected a decay"),
    ({"channels": 2}, "channels: expected 1 or 3"),
    ({"minutes": -1.0}, "minutes: expected a positive number"),
    (
        {"levels": [1, 2, 2, 2, 2], "image": [1, 8, 8]},
        "image: expected height and width divisible by 16, for 5 levels, got (1, 8, 8)",
    ),
    ({"classes": True, "time_conditioning": False}, "classes: expected a network conditioned"),
]


@pytest.mark.parametrize("values, problem", WRONG)
def test_a_wrong_value_is_named(values, problem):
    with pytest.raises(ValueError) as error:
        from_dict(values)
    assert problem in str(error.value)


def test_a_whole_number_serves_where_a_number_is_expected():
    assert from_dict({"beta": 1}).beta == 1.0


def test_a_file_that_is_not_toml_is_named(tmp_path):
    (tmp_path / "x.toml").write_text("beta = = 3")
    with pytest.raises(ValueError, match="x.toml: not a TOML file"):
        configuration.read(tmp_path / "x.toml")
    with pytest.raises(ValueError, match="absent.toml: cannot be read"):
        configuration.read(tmp_path / "absent.toml")


def test_the_step_size_rises_in_the_warm_up_and_then_stays():
    config = Config(beta=2.0, warmup=4)
    assert [config.step_size(k) for k in (1, 2, 4, 5, 1000)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    assert Config(beta=2.0, warmup=0).step_size(1) == 2.0


def test_the_recipe_of_the_main_job_is_a_configuration():
    main = from_dict(configuration.read(recipes.path("digits")))
    unet = main.unet
    assert (unet.base, unet.levels, unet.attention, main.batch_size) == (16, (1, 2), (4,), 64)
    assert to_dict(main)["data"] == "digits"


def test_where_the_data_are_and_how_they_are_read():
    config = Config(size=8, channels=1, megapixels=300.0, max_memory=4.0, crop="random")
    assert config.source() == ("digits", 8, 1, 300.0, 4.0, "random")
