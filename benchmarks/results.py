"""The files that keep what the study's runs found: docs/study.csv and docs/curvature.csv.

keep(row, {"test": 0.72})
read(RESULTS)[str(row)]["test"]
"""

import csv
from pathlib import Path

from tinyddpm.more import curvature

RESULTS = Path(__file__).parent.parent / "docs" / "study.csv"
CURVATURES = RESULTS.with_name("curvature.csv")
FOUND = [
    "validation_1",
    "validation_2",
    "validation_3",
    "test",
    "test_last_theta",
    "frechet",
    "coverage",
    "diverged",
]
COLUMNS = {
    RESULTS: ["row", *FOUND],
    CURVATURES: ["row", *curvature.KINDS, curvature.REST, curvature.ALL],
}


def read(path):
    """{row: {column: text}} of a file of results; {} if there is no file."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {line.pop("row"): line for line in csv.DictReader(file)}


def append(path, values):
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS[path], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(values)


def keep(row, found):
    """Write down what a run found."""
    values = {name: x if isinstance(x, int) else f"{x:.5g}" for name, x in found.items()}
    append(RESULTS, {"row": str(row)} | values)


def keep_curvature(row, found):
    """Write down the curvatures that were measured at the end of a run."""
    append(CURVATURES, {"row": str(row)} | {kind: f"{x:.4g}" for kind, x in found.items()})
