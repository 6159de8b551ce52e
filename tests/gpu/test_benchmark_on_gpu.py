"""`benchmarks/gpu.py` runs; its figures do not matter here."""

from benchmarks import gpu


def test_the_benchmark_runs(capsys):
    quick = ["--repeats", "1", "--op", "3", "8", "1", "--batch", "1"]
    gpu.main(["--ours", "--cases", "make train", *quick])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(gpu.OPS) + 1 and "ours, fast, TF32" in lines[-1]
