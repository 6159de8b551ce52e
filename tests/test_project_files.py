"""The files that people work with: the public CI's workflow, pre-commit, and long_lines.py."""

import re
import subprocess
import sys

import pytest
import yaml
from test_architecture import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import long_lines


def test_the_workflow_calls_ci_run_on_two_systems_and_four_pythons():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1]["run"] == "bash .ci/run" and (ROOT / ".ci/run").is_file()
    assert len(job["strategy"]["matrix"]["os"]) == 2
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert job["runs-on"] == "${{ matrix.os }}" and workflow[True]["push"]["branches"] == ["main"]


def test_pre_commit_has_the_ruff_of_the_extra_lint():
    pinned = re.search(r'"ruff==([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["rev"] for repo in hooks if "ruff" in repo["repo"]] == [f"v{pinned}"]


@pytest.mark.parametrize(
    "line, markdown, found",
    [
        ("x" * 100, False, False),
        ("x" * 101, False, True),
        ("| " + "x" * 200, True, False),
        ("| " + "x" * 200, False, True),
        ("see https://example.org/" + "x" * 100, False, False),
        ("[a](" + "x" * 100 + ")", True, False),
        ("[a](" + "x" * 100 + ")" + "y" * 101, True, True),
    ],
)
def test_a_long_line_is_found_and_links_and_tables_are_not(line, markdown, found):
    assert long_lines.too_long(line, markdown) == found


def test_fmt_off_stands_in_ten_places_at_most():
    tracked = ["git", "grep", "-c", "# fmt: off", "--", "*.py"]
    counts = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    own = "tests/test_project_files.py"
    places = {line.split(":")[0]: int(line.split(":")[1]) for line in counts.splitlines()}
    assert sum(n for name, n in places.items() if name != own) <= 10, places
