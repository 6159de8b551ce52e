"""The code of docs/derivatives.md runs as it stands, and the page has what the kit has."""

import re
from pathlib import Path

import numpy as np
import pytest
from mistakes import MISTAKES

from autograd import more_ops, ops, primitive, testing
from tinyddpm.nn.linear import Linear

PAGE = (Path(__file__).parents[2] / "docs" / "derivatives.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LINES = re.findall(r"^\| [^|`]+ \| `((?:gradient_test|check_\w+)\(.*\))` \|$", PAGE, re.MULTILINE)


@primitive
def fast_square(x):
    return x**2, lambda g: (g * 2 * x,)


@pytest.fixture(scope="module")
def names():
    """What a reader has after the page's code, from top to bottom."""
    names = {name: getattr(testing, name) for name in testing.__all__}
    names |= {"np": np, "ops": ops, "more_ops": more_ops, "Linear": Linear}
    for block in BLOCKS:
        exec(block, names)
    return names | {"fast_square": fast_square}


def test_its_tests_do_what_it_says(names):
    with pytest.raises(testing.GradientError) as error:
        wrong = {}
        exec(BLOCKS[0], wrong)
        wrong["test_mish"]()
    message = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1].strip()
    assert message in str(error.value)
    for name in ("test_pool", "test_take"):
        names[name]()
    names["gradient_test"](names["mish"])()


@pytest.mark.parametrize("line", [line for line in LINES if "cuda" not in line])
def test_each_line_of_the_table_runs(names, line):
    made = eval(line, names)
    assert made is None or made() is None


def test_it_has_every_rule_and_every_mistake():
    assert len(LINES) > 10
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(testing.RULES)
    assert set(MISTAKES) <= set(re.findall(r"^\| ([^|]+?) \|", PAGE, re.MULTILINE))
