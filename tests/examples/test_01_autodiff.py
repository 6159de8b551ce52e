"""What examples/01_autodiff.py finds, in its quick setting."""

import runpy

import pytest
from test_architecture import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples/01_autodiff.py"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    return EXAMPLE["main"](["--quick", "--out", str(path)]) | {"path": path}


def test_by_hand_and_by_the_engine(quick):
    assert quick["by_hand"] == quick["by_engine"] == (15.0, 10.0, 6.0)


def test_without_an_order_it_goes_wrong(quick):
    derivative = {name: [row[0] for row in rows] for name, rows in quick["walks"].items()}
    wrong, slow, right = (
        derivative[name] for name in ("as it comes", "along every path", "in order")
    )
    assert quick["engine"] == right[1] == slow[1] == 4
    assert wrong[:2] == [2, 6]  # one doubling is not enough to see it
    assert slow == right == [2**n for n in range(1, len(right) + 1)]
    assert all(w > r for w, r in zip(wrong[1:], right[1:], strict=True))


def test_an_order_visits_each_node_once_and_every_path_is_exponentially_many(quick):
    visits = {name: [row[1] for row in rows] for name, rows in quick["walks"].items()}
    n = range(1, 11)
    assert visits["in order"] == [k + 1 for k in n]
    assert visits["along every path"] == [2 ** (k + 1) - 1 for k in n]


def test_the_gradient_is_that_of_finite_differences(quick):
    assert quick["error"] < 1e-9


def test_the_picture_is_there(quick):
    assert 20_000 < quick["path"].stat().st_size < 200_000
