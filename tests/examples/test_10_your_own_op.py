"""What examples/10_your_own_op.py finds, in its quick setting."""

import runpy

import numpy as np
import pytest
from PIL import Image
from test_architecture import ROOT

from autograd.check import GradientError
from tinyddpm import data, schedule

EXAMPLE = runpy.run_path(str(ROOT / "examples/10_your_own_op.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return EXAMPLE["main"](["--quick", "--out", str(folder)]), folder


def test_the_right_pullback_stands_and_the_hasty_one_is_named(quick):
    found = quick[0]
    assert found.right is None
    assert 'hasty_mish breaks the rule "slope"' in found.wrong


def test_numerical_differences_approach_the_right_derivative_alone(quick):
    right, wrong = (quick[0].differences[name] for name in ("mish", "hasty_mish"))
    assert min(right) < 1e-9
    assert right[0] > 1e-6 < right[-1]  # rounding at one end, curvature at the other
    assert min(wrong) > 0.1


def test_the_network_of_the_new_op_learns(quick):
    _, fractions = quick[0].curves["Mish"]
    assert np.all(np.diff(fractions) < 0) and fractions[-1] < 1


def test_the_check_of_the_whole_network_finds_the_forgotten_term(monkeypatch):
    monkeypatch.setitem(EXAMPLE["NormMishConv"].forward.__globals__, "mish", EXAMPLE["hasty_mish"])
    # To find the worst element takes long, and we do not ask for it.
    monkeypatch.setattr("autograd.check._suspects", lambda *_: [0])
    with pytest.raises(GradientError):
        EXAMPLE["check_whole_network"](data.digits().images, schedule.linear(1000))


def test_the_picture_is_there(quick):
    with Image.open(quick[1] / "your_own_op.png") as picture:
        assert min(picture.size) > 150
