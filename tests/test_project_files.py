"""The files that people work with: the public CI's workflow, pre-commit, and long_lines.py."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from test_architecture import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import long_lines
import newest_python


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


def test_every_command_of_contributing_is_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = re.findall(
        r"^\| `make (\S+)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M
    )
    assert {"test", "test-lowest", "test-newest", "prove"} <= set(commands)
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.M), command


def test_the_lowest_python_and_versions_are_those_that_are_stated():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert (
        project["requires-python"] == f">={re.search(r'LOWEST_PYTHON .= python(.*)', makefile)[1]}"
    )
    extras = project["optional-dependencies"]
    stated = [*project["dependencies"], *extras["check"], *extras["test"], *extras["docs"]]
    lowest = {}
    for name, version in (
        re.fullmatch(r"([\w-]+)>=([\d.]+)(?:;.*)?", package).groups() for package in stated
    ):
        assert lowest.setdefault(name, version) == version, f"{name} has two lowest versions"


def test_the_newest_python_is_the_newest_that_runs(tmp_path, monkeypatch):
    for name, answer in {
        "3.9": "3 9 1 final",
        "3.12": "3 12 0 final",
        "3.14": "3 14 0 beta",
    }.items():
        stub = tmp_path / f"python{name}"
        stub.write_text(f"#!/bin/sh\necho {answer}\n", "utf-8")
        stub.chmod(0o755)
    absent = tmp_path / "python3.13"  # as pyenv's stand-ins for what is not active
    absent.write_text("#!/bin/sh\nexit 127\n", "utf-8")
    absent.chmod(0o755)
    monkeypatch.setattr("os.get_exec_path", lambda: [str(tmp_path)])
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    found = {path.name: newest_python.version(path) for path in newest_python.candidates()}
    assert found["python3.12"] == (3, 12, 0) and found["python3.13"] == found["python3.14"] == ()
    assert max(newest_python.candidates(), key=newest_python.version).name == "python3.12"
