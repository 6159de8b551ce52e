"""The table of samplers: its rows are commands, and docs/samplers.md has what was measured."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import samplers
from benchmarks.samplers import ROWS, Row, detail, key
from tinyddpm.cli.models import sample
from tinyddpm.runs.opening import chain_length, default_chain

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_is_a_command_that_draws_it(row):
    asked = sample.make_context("sample", ["digits", *str(row).split()]).params
    assert asked["sampler"] == row.sampler and (asked["clip"] or "yes") == row.clip
    assert (asked["grid"] or "even", asked["eta"] or 0) == (row.grid, row.eta)
    assert chain_length(1000, row.sampler, asked["steps"], row.eta, row.grid) == row.steps


def test_the_default_is_among_the_rows():
    assert Row(**default_chain(1000)) in ROWS


@pytest.mark.parametrize("model, n", [("fashion", 500), ("digits", 300)])
def test_the_document_shows_what_was_measured(model, n, monkeypatch):
    monkeypatch.setattr(samplers, "KEPT", ROOT / "docs" / "samplers.csv")
    table = samplers.table(model, n)
    assert table.count("\n") > 5
    assert table in (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")


def test_what_was_measured_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(samplers, "KEPT", tmp_path / "x.csv")
    row, numbers = Row("dpm", 25, 0.5, "log-snr"), dict.fromkeys(samplers.MEASURED, 2.0)
    samplers.keep(key("digits", 300, row), numbers)
    assert list(samplers.read()) == [key("digits", 300, row)]
    assert f"| `{row}` | 2 | 2.00 |" in samplers.table("digits", 300)


def test_detail_is_that_of_neighbouring_pixels():
    stripes = np.tile(np.float32([0, 1]), (3, 1, 4, 2))  # 1 from column to column, 0 down
    assert detail(stripes) == 0.5
