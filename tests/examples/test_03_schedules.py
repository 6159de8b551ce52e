"""What examples/03_schedules.py finds, in its quick setting."""

import runpy

import numpy as np
import pytest
from test_architecture import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples/03_schedules.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    return EXAMPLE["main"](["--quick", "--out", str(path)]) | {"path": path}


def test_the_ideal_denoiser_goes_from_certain_to_ignorant(quick):
    J = quick["J"]
    assert J[0] < 1e-6 and J[-1] > 0.99
    assert (np.diff(J) > -0.02).all()  # each level has more noise than the one before
    assert -5 < quick["low"] < quick["high"] < 3


def test_linear_spends_more_steps_than_any_where_nothing_can_be_seen(quick):
    much = {name: row["much"] for name, row in quick["schedules"].items()}
    assert max(much, key=much.get) == "linear" and much["linear"] > 0.3 > 2 * much["cosine"]


def test_cosine_has_half_its_steps_on_either_side_of_snr_1_and_linear_a_quarter(quick):
    half = {name: row["half"] for name, row in quick["schedules"].items()}
    assert half["linear"] == 260  # its ᾱ is above 1/2 up to t = 259
    assert abs(half["cosine"] - 500) < 10 and abs(half["sigmoid"] - 500) < 10


def test_the_fractions_are_of_all_steps_and_something_remains_at_T_of_scaled_linear(quick):
    for row in quick["schedules"].values():
        assert row["much"] + row["middle"] + row["little"] == pytest.approx(1)
    at_T = {name: row["alpha_bar_T"] for name, row in quick["schedules"].items()}
    assert at_T["scaled_linear"] > 100 * at_T["linear"]


def test_the_picture_is_there(quick):
    assert 20_000 < quick["path"].stat().st_size < 300_000
