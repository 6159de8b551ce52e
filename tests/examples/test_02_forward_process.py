"""What examples/02_forward_process.py finds, in its quick setting."""

import contextlib
import io
import runpy

import numpy as np
import pytest
from test_architecture import ROOT

from tinyddpm import data

EXAMPLE = runpy.run_path(str(ROOT / "examples/02_forward_process.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        found = EXAMPLE["main"](["--quick", "--out", str(path)])
    return found | {"path": path, "said": said.getvalue()}


def test_a_noised_image_comes_first_and_is_drawn_both_ways(quick):
    assert quick["said"].startswith("1. One digit with more and more noise")
    x0 = data.digits().images[0]
    for images in quick["seen"].values():
        assert list(images) == [0, *EXAMPLE["SHOWN"]]
        np.testing.assert_array_equal(images[0], x0)
        away = [np.sqrt(np.square(x - x0).mean()) for x in images.values()]
        assert away == sorted(away) and away[1] < 0.05 and away[-1] > 0.8
        left = [np.corrcoef(images[t].ravel(), x0.ravel())[0, 1] for t in (1, 100, 1000)]
        assert left[0] > 0.99 and left[1] > 0.7 and abs(left[2]) < 0.3
    chain, closed = (images[300] for images in quick["seen"].values())
    assert abs(chain - closed).max() > 0.1  # two draws, not one


def test_both_ways_have_the_mean_and_the_variance_that_the_formula_says(quick):
    for row in quick["distribution"].values():
        assert max(row["chain"] + row["closed"]) < 4.5


def test_the_two_sample_test_cannot_tell_them_apart(quick):
    for row in quick["distribution"].values():
        assert row["p"]["closed form"] > 0.01  # the draws are the same in every run


def test_it_can_tell_mistakes_apart_where_they_matter(quick):
    of_t = quick["distribution"]
    for t in (1, 10, 100, 300):
        assert of_t[t]["p"]["without the roots"] < 1e-6
    assert of_t[1]["p"]["one step behind"] < 1e-6
    assert of_t[1000]["p"]["one step behind"] > 0.01  # almost no difference, as the example says


def test_the_chain_draws_t_times_as_many_numbers(quick):
    for t, ((_, chain), (_, closed)) in quick["cost"].items():
        assert closed == 64 * 64 and chain == t * closed


def test_the_picture_is_there(quick):
    assert 20_000 < quick["path"].stat().st_size < 200_000
