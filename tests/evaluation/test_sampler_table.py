"""The table of samplers: its rows are commands, and docs/samplers.md has what was measured."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import network_error, samplers
from benchmarks.samplers import ROWS, Row, detail, key
from tinyddpm.cli.models import sample
from tinyddpm.runs.chains import chain_length, default_chain

ROOT = Path(__file__).parents[2]
MEASURED = [("fashion", 500), ("digits", 300)]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_row_is_a_command_that_draws_it(row):
    said, clip = str(row), row.clip
    if clip == "dynamic":  # which is for programs alone
        said, clip = said.removesuffix(" (thresholded)"), "yes"
    asked = sample.make_context("sample", ["digits", *said.split()]).params
    assert asked["sampler"] == row.sampler and (asked["clip"] or "yes") == clip
    assert (asked["grid"] or "even", asked["eta"] or 0) == (row.grid, row.eta)
    assert chain_length(1000, row.sampler, asked["steps"], row.eta, row.grid) == row.steps


def test_the_default_is_among_the_rows():
    assert Row(**default_chain(1000)) in ROWS


@pytest.mark.parametrize("model, n", MEASURED)
def test_every_row_was_measured_or_is_named_as_missing(model, n, monkeypatch):
    monkeypatch.setattr(samplers, "KEPT", ROOT / "docs" / "samplers.csv")
    kept = samplers.read()
    missing = [row for row in ROWS if key(model, n, row) not in kept]
    assert all(line[column] for line in kept.values() for column in samplers.MEASURED)
    text = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
    said = "".join(f"- `{row}`\n" for row in missing)
    assert f"Not measured yet on `{model}`:\n\n{said}" in text or not missing


@pytest.mark.parametrize("model, n", MEASURED)
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


def test_a_row_in_pieces_is_what_sample_draws(tmp_path, monkeypatch):
    """Stopped after a piece, it goes on from there."""
    monkeypatch.setattr(samplers, "PIECES", tmp_path)
    monkeypatch.setattr(samplers, "PIECE", 8)
    judge, row = samplers.Judge("digits", 20), Row("dpm", 3, 1, "log-snr-6")
    images, seconds = judge.draw(row, ("x",))
    *_, (_, expected, _) = judge.run.sample(20, "dpm", 3, eta=1, grid="log-snr-6")
    np.testing.assert_allclose(images, expected.clip(-1, 1), atol=1e-4)
    assert seconds > 0 and len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(samplers.Judge, "_piece", None)
    again, as_long = judge.draw(row, ("x",))
    assert as_long == seconds and np.array_equal(again, images)


def test_a_thresholded_row_keeps_to_the_range_in_another_way(tmp_path, monkeypatch):
    monkeypatch.setattr(samplers, "PIECES", tmp_path)
    judge = samplers.Judge("digits", 6)
    clipped, scaled = (
        judge.draw(Row("dpm", 3, 1, "log-snr-6", clip), (clip,))[0] for clip in ("yes", "dynamic")
    )
    assert abs(scaled).max() <= 1 and abs(scaled - clipped).max() > 0.01


def test_detail_is_that_of_neighbouring_pixels():
    stripes = np.tile(np.float32([0, 1]), (3, 1, 4, 2))  # 1 from column to column, 0 down
    assert detail(stripes) == 0.5


def test_the_network_errors_in_the_document_are_those_of_the_digits(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["network_error", "digits"])
    network_error.main()
    text = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8")
    lines = [line for line in capsys.readouterr().out.splitlines() if "0." in line]
    assert len(lines) > 8
    for line in lines:
        name, *numbers = line.rsplit("|", 3)[:-1]
        same = [other for other in text.splitlines() if other.startswith(f"{name}|")]
        assert len(same) == 1, line
        for found, kept in zip(numbers, same[0].rsplit("|", 3)[1:]):
            assert found == kept or float(found) == pytest.approx(float(kept), abs=0.003)
