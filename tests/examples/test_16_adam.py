"""What examples/16_adam.py finds: `make prove` shows it in its quick setting.

`make test` shows in a shorter one what does not take as many steps.
"""

import runpy

import numpy as np
import pytest
from PIL import Image
from test_architecture import ROOT

from tinyddpm import data, fast
from tinyddpm.more.training.calibration import Measured

EXAMPLE = runpy.run_path(str(ROOT / "examples/16_adam.py"))


def found_in(folder):
    path = folder / "picture.png"
    with fast.enabled():
        return EXAMPLE["main"](["--quick", "--out", str(path)]), path


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return found_in(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"steps": 20, "trial": 6, "images": 20}.items():
            patch.setattr(EXAMPLE["QUICK"], name, value)
        return found_in(tmp_path_factory.mktemp("pictures"))


@pytest.mark.prove
def test_step_sizes_measured_once_are_most_of_what_adam_knows(quick):
    found, closed = quick[0].found, quick[0].closed
    assert np.mean(found["Adam"]) < np.mean(found["plain"])
    assert closed["measured"] > 0.4 and closed["measured + mean"] > 0.7


def test_each_rule_has_three_seeds_and_a_beta_of_its_list(short):
    for rule, values in short[0].found.items():
        assert len(set(values)) == 3 and short[0].betas[rule] in EXAMPLE["BETAS"][rule]
    lists = [EXAMPLE["BETAS"][rule] for rule in ("measured", "measured + mean", "Adam")]
    assert lists[0] == lists[1] == lists[2]


def test_the_last_layer_has_the_smallest_step_size(short):
    """Its gradient is the largest, so one β for all must suit it."""
    medians = {kind: middle for kind, (_, middle, _) in short[0].known.items()}
    assert min(medians, key=medians.get) == "last"
    assert max(medians.values()) > 100 * medians["last"]


def test_what_is_measured_is_frozen_when_beta_is_up():
    """β is up after a quarter of the steps."""
    unet, update = EXAMPLE["learn"]("measured", data.digits().images[:50], 8, 0.005, 0)
    assert isinstance(update, Measured) and update.steps == update.done == 2
    assert unet is not None


def test_the_picture_is_there(short):
    with Image.open(short[1]) as picture:
        assert min(picture.size) > 400
