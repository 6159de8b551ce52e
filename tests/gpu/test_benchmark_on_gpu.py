"""`benchmarks/gpu.py` runs; its figures are nobody's concern here."""
from benchmarks import gpu


def test_the_benchmark_runs(capsys):
    gpu.main(["--ours", "--repeats", "1", "--op", "3", "8", "1", "--cases", "make train", "--batch", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(gpu.OPS) + 1 and "ours, fast, TF32" in lines[-1]
