"""`python -m benchmarks.gpu_report` runs, whole, with tiny sizes: so it will on a card."""

import json
import subprocess
import sys

import pytest

from benchmarks.cases import CASES
from benchmarks.gpu_report import count, model, speed
from benchmarks.gpu_report.one_stage import Report
from benchmarks.gpu_report.stages import ROOT, STAGES
from tinyddpm.fast.cuda import graph
from tools.cupy_on_cpu import launches

NEED_PYTORCH = ("torch", "compile", "sampling")


def test_the_report_runs_whole(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu_report", "--tiny", "--out", str(tmp_path)]
    command += ["--minutes", "60"]  # a limit, which a busy machine shall not reach
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = json.loads((tmp_path / "report.json").read_text("utf-8"))["stages"]
    assert list(found) == list(STAGES), result.stdout + result.stderr
    for name, stage in found.items():
        expected = "done, without PyTorch" if name in NEED_PYTORCH else "done"
        assert stage["ended"] == expected and stage["rows"], f"{name}: {stage}"
    assert result.returncode == 0
    (as_graph,) = [row for row in found["step"]["rows"] if "as a CUDA graph" in row]
    assert as_graph["float32, ms"] > 0 and as_graph["without, float32, ms"] > 0
    page = (tmp_path / "report.md").read_text("utf-8")
    for part in (
        "# tinyddpm on no GPU: CuPy on a CPU",
        "| **ours** |",
        "![samples](samples-fashion.png)",
    ):
        assert part in page
    assert all(f"## {stage.title}" in page for stage in STAGES.values())
    assert (tmp_path / "samples-digits.png").exists()


def test_a_graph_that_fails_leaves_the_other_times(monkeypatch, tmp_path):
    def fails(work, cupy):
        raise RuntimeError("no graphs today")

    monkeypatch.setattr(graph, "captured", fails)
    (tmp_path / "logs").mkdir()
    report = Report("step", tmp_path, 60, tiny=True)
    speed.step(report)
    report.file.close()
    times, failed = map(json.loads, (tmp_path / "logs" / "step.jsonl").read_text().splitlines())
    assert times["float32, ms"] > 0 and "no graphs today" in failed["error"]


@pytest.mark.parametrize("name", CASES)
def test_the_counts_are_those_of_the_code(name):
    """If not: make gpu-counts writes them anew, for the model and docs/gpu.md."""
    assert sorted(count.ours(name)) == sorted(model.counts(name))


def test_a_step_of_the_default_network_has_few_launches():
    counts = launches.of_a_step(fast=True)
    assert launches.launches(counts) <= 560, counts
