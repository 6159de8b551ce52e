"""`benchmarks.ranks`: its model, and that it runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mpi import needs_mpi

from benchmarks import ranks
from benchmarks.ranks import Costs, efficiency

PAGE = Path(__file__).parents[2] / "docs/distributed.md"


def test_the_model_counts_what_happens_one_after_another():
    """A network of 1 byte a second, and nothing else that takes time: count the vectors sent."""
    sent = Costs(latency=0, bandwidth=1, memory=float("inf"), meeting=0)
    assert [sent.exchange(1, R) for R in (1, 2, 3, 4, 5, 8, 64)] == [0, 2, 4, 4, 6, 6, 12]
    messages = Costs(latency=1, bandwidth=float("inf"), memory=float("inf"), meeting=0)
    assert messages.exchange(10, 64) == 12
    added = Costs(latency=0, bandwidth=float("inf"), memory=1, meeting=0)
    assert added.exchange(1, 8) == 9
    met = Costs(latency=0, bandwidth=float("inf"), memory=float("inf"), meeting=1)
    assert met.overhead(10, 64) == 63
    assert efficiency(9, 1) == 0.9 and efficiency(9, 0) == 1


def test_the_page_has_room_for_the_tables(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    for text in ("| a table |\n", "| another |\n"):
        ranks.put_into(page, text)
    found = page.read_text(encoding="utf-8")
    assert "| another |" in found and "| a table |" not in found
    assert found.count(ranks.BEGIN) == found.count(ranks.END) == 1
    assert found.startswith("# Several machines") and "## A program of your own" in found
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="expected the lines"):
        ranks.put_into(page, "")


@needs_mpi
@pytest.mark.prove
def test_it_prints_its_tables():
    small = "--rounds 1 --steps 2 --images 4 --bases 0"
    command = [sys.executable, "-m", "benchmarks.ranks", *small.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=PAGE.parents[1])
    assert not done.returncode, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == (2 + 4) + (2 + 1) + (2 + 2)
    assert [row.split(" | ")[1] for row in rows[2:6]] == ["4", "8", "8", "16"]
    assert re.search(r"2 ranks × 1 worker reach \d\.\d+ of the speed of 1 × 2", done.stdout)
