"""The report on a GPU where there is none: what its stages survive, its model, its page."""

import json
import os
import sys
import time

import numpy as np
import pytest

from benchmarks.cases import CASES
from benchmarks.gpu_report import __main__ as report, model, page
from benchmarks.gpu_report.correct import beside_curve, worst_difference
from benchmarks.gpu_report.stages import ROOT, STAGES

ROW = "open({file!r}, 'a').write('{{\"case\": 1}}\\n')"
WAYS_TO_END = {
    "done": "",
    "ended by SIGSEGV": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "failed (exit status 3)": "raise SystemExit(3)",
    "failed (exit status 1)": "print('a hint'); 1 / 0",
    "stopped after 2 s": "import time; time.sleep(60)",
}


def run_with(monkeypatch, folder, code, seconds=2.0):
    (folder / "logs").mkdir(exist_ok=True)
    file = str(folder / "logs" / "step.jsonl")
    command = [sys.executable, "-c", f"{ROW.format(file=file)}\n{code}"]
    monkeypatch.setattr(report, "command_of", lambda *_: command)
    return report.run_stage("step", folder, seconds, tiny=True)


@pytest.mark.parametrize("ended", WAYS_TO_END)
def test_however_a_stage_ends_what_it_found_is_kept(ended, monkeypatch, tmp_path):
    stage = run_with(monkeypatch, tmp_path, WAYS_TO_END[ended])
    assert stage["ended"] == ended and stage["rows"] == [{"case": 1}]
    assert ("a hint" in stage["printed"]) == ("print" in WAYS_TO_END[ended])


def test_what_a_stage_started_ends_with_it(monkeypatch, tmp_path):
    """Or a hanging child would take the card from the stages after it."""
    child = f"subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(60)'])"
    note = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))"
    run_with(monkeypatch, tmp_path, f"import subprocess, time; p = {child}; {note}; time.sleep(60)")
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not running(pid):
            break
        time.sleep(0.05)
    assert not running(pid)


def running(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().split()[2] != "Z"
    except OSError:
        return False


def test_half_a_line_of_a_killed_process_is_no_row(tmp_path):
    file = tmp_path / "rows"
    file.write_text('{"a": 1}\n{"a": 2}\n{"a"', "utf-8")
    assert report.read_rows(file) == [{"a": 1}, {"a": 2}]


def test_times_that_a_stage_leaves_go_to_those_after_it():
    names = list(STAGES)
    assert sum(stage.seconds for stage in STAGES.values()) == 480
    assert report.limit_of(names[0], names, 480) == STAGES[names[0]].seconds
    assert report.limit_of(names[-1], names, 300) == 300
    assert report.limit_of("step", ["step", "torch"], 70) == pytest.approx(25)


def test_without_a_card_the_report_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINYDDPM_GPU", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert report.main(["--out", str(tmp_path), "--stages", "card", "step"]) == 1
    found = json.loads((tmp_path / "report.json").read_text("utf-8"))["stages"]
    assert found["card"]["ended"] == "no card" and "step" not in found
    assert "device cuda: " in capsys.readouterr().out
    assert "device cuda: " in (tmp_path / "report.md").read_text("utf-8")


# ---- the model -----------------------------------------------------------------------------------


def test_the_prediction_by_hand():
    card = model.Card(
        "c",
        1e12,
        {"float32": 1e13, "TF32": 6e13},
        2.0,
        {"op": 10.0, "product": 20.0, "kernel": 5.0},
    )
    small, large = (
        model.Launch("kernel cupy_add", 5, 1000, 0),
        model.Launch("kernel cupy_x", 1, 10**9, 0),
    )
    product = model.Launch("matrix product", 2, 1000, 4e10)
    own = model.Launch("kernel convolve", 1, 1000, 4e10)
    found = model.predict([small, large, product, own], card)
    assert found.gpu == pytest.approx(5 * 0.002 + 1.0 + 2 * 4.0 + 2.0)
    assert found.host == pytest.approx(6 * 0.01 + 2 * 0.02 + 0.005) and found.step == found.gpu
    assert model.predict([own], card, "TF32").gpu == pytest.approx(4 / 6)


def test_the_page_on_the_gpu_has_the_tables_of_these_counts():
    """If not: `python -m benchmarks.gpu_report.model` prints them."""
    on_the_page = (ROOT / "docs/gpu.md").read_text("utf-8")
    for table in model.tables():
        assert table in on_the_page


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_counted_for_both(name):
    from benchmarks.cases import Case

    convolutions = 3 * Case(name).flops()
    for who in (model.OURS, model.PEER):
        n, size, flop = model.total(model.counts(name, who))
        assert n > 100 and size > 0
        # Not quite three times: the first convolution's input needs no gradient.
        assert 0.9 * convolutions < flop < 1.5 * convolutions, who


LIMITS = {
    "copy, GB/s": 4300.0,
    "float32 product, TFLOP/s": 50.0,
    "TF32 product, TFLOP/s": 400.0,
    "a kernel of ours: host, µs": 5.0,
    "a kernel of ours: GPU, µs": 2.0,
    "an op of CuPy: host, µs": 7.0,
    "a product: host, µs": 12.0,
}


def test_what_was_measured_takes_the_place_of_a_data_sheet():
    card = model.measured(LIMITS)
    assert card.bandwidth == 4.3e12 and card.peak["TF32"] == 4e14 and card.host["op"] == 7.0
    assert model.measured({}) is None and model.measured(LIMITS | {"copy, GB/s": 0.0}) is None


# ---- what the stages compute, and the page -------------------------------------------------------


class Net:
    def slices(self):
        return {"a": slice(0, 2), "b": slice(2, 4), "x.k.bias": slice(4, 5)}


def test_the_worst_gradient_is_found_and_nan_is_the_worst():
    expected = np.float32([1, 2, 10, 20, 1])
    assert worst_difference(Net(), np.float32([1, 2.2, 10, 21, 9]), expected)[1] == "a"
    for found, name in (([np.nan, 2, 10, 25, 1], "a"), ([1, 2.2, np.nan, 20, 1], "b")):
        worst, where = worst_difference(Net(), np.float32(found), expected)
        assert np.isnan(worst) and where == name


class Curve:
    def at(self, step):
        return {100: 0.5, 200: 0.4}.get(step)


def test_a_run_stands_beside_its_recipe():
    evaluations = [{"k": k, "held_out": J} for k, J in ((100, 0.5), (150, 0.45), (200, 0.404))]
    rows = beside_curve(evaluations, Curve())
    assert [(r["step"], r["by"]) for r in rows] == [(100, "+0.00%"), (200, "+1.00%")]


def test_the_page_has_predictions_beside_measurements():
    stages = {
        "card": [{"card": "X"}, *({"limit": k, "value": v} for k, v in LIMITS.items())],
        "tests": [{"passed": 3, "failed tests": 1, "skipped": 0, "status": 1}],
        "step": [{"case": "make train", "float32, ms": 5.0, "TF32, ms": 4.0}],
        "torch": [
            {"case": "make train", "peer": peer, "how": "float32", "ms": ms}
            for peer, ms in (("PyTorch eager", 12.0), ("PyTorch eager, channels last", 10.0))
        ],
    }
    stages = {
        name: {"ended": "done", "seconds": 1, "rows": rows, "printed": ""}
        for name, rows in stages.items()
    }
    text = page.text({"made": "today", "stages": stages})
    (row,) = [line for line in text.splitlines() if line.startswith("| make train | float32 |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[4] == "5" and cells[6] == "10" and cells[8] == "0.50"
    assert all(float(cells[i]) > 0 for i in (2, 3, 5))
    assert "tests: 3 passed, 1 failed" in text
