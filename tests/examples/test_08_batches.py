"""What examples/08_batches.py finds, in its quick setting."""

import runpy

import numpy as np
import pytest
from PIL import Image
from test_architecture import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples/08_batches.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return EXAMPLE["main"](["--quick", "--out", str(folder)]), folder


def test_sum_and_mean_are_one_run_if_beta_is_divided_and_the_sum_diverges_if_not(quick):
    assert quick[0].difference < 1e-4
    assert quick[0].diverged is not None


def test_a_mini_batch_errs_as_one_over_the_root_of_its_size(quick):
    assert quick[0].slope == pytest.approx(-0.5, abs=0.1)


def test_one_at_a_time_works_and_a_large_batch_bears_a_larger_step(quick):
    found = quick[0]
    assert found.ends[1, found.best[1]] < 0.97  # after 600 points; it goes on falling
    assert found.largest[64] > found.largest[1]
    assert np.isinf(found.ends[1, 1.0])


def test_the_picture_is_there(quick):
    with Image.open(quick[1] / "batches.png") as picture:
        assert min(picture.size) > 150
