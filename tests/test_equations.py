"""docs/equations.md keeps its word.

Every function and every test that it names is there, and no numbered equation is left out.
"""

import ast
import importlib
import re

import pytest
from test_architecture import ROOT

PAGE = (ROOT / "docs/equations.md").read_text(encoding="utf-8")
FUNCTION, TEST = r"`([\w.]+):([\w.]+)`", r"`(tests/[\w/]+\.py)::(\w+)`"


def rows_of(page):
    """The cells of every table row that names a function."""
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`" in line]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


@pytest.mark.parametrize("module, name", sorted(set(re.findall(FUNCTION, PAGE))))
def test_every_function_is_there(module, name):
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)


@pytest.mark.parametrize("path, name", sorted(set(re.findall(TEST, PAGE))))
def test_every_test_is_there(path, name):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_names_a_function_and_a_test():
    rows = rows_of(PAGE)
    assert len(rows) > 40
    for row in rows:
        assert len(row) == 4, row
        assert re.search(FUNCTION, row[2]) and re.search(TEST, row[3]), row


def test_no_numbered_equation_of_ho_et_al_is_left_out():
    section = PAGE.split("## Ho et al. 2020")[1].split("\n## ")[0]
    cells = re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE)
    assert {int(n) for cell in cells for n in cell.split(",")} == set(range(1, 17))
    assert "algorithm 1" in section and "algorithm 2" in section
