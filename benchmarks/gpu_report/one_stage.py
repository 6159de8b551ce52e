"""The process of one stage. It writes each thing that it finds at once, as a line of JSON.

    python -m benchmarks.gpu_report.one_stage step report --seconds 30

With TINYDDPM_GPU=simulated in the environment the GPU is the simulated one (tools/cupy_on_cpu).
"""

import argparse
import importlib
import json
import os
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

from .stages import STAGES

SIMULATED = os.environ.get("TINYDDPM_GPU") == "simulated"
MOST = 3  # failures one after the other: after a crash of the card everything fails
# These start the GPU themselves, or in a process of their own.
START_IT_THEMSELVES = ("tests",)


class GivenUp(Exception):
    """Too many failures in a row: the rest would fail too."""


class Report:
    """What a stage is given: its folder, its size, and how to say what it finds.

    Attributes:
        folder: where the report is written, for pictures and runs.
        tiny: whether to take tiny sizes.
    """

    def __init__(self, name, folder, seconds, tiny):
        self.folder, self.tiny = folder, tiny
        self.end = time.monotonic() + seconds
        self.file = (folder / "logs" / f"{name}.jsonl").open("a", encoding="utf-8")
        self.failures = 0

    def row(self, **values):
        """A row of the stage's table; rows with other names start another table."""
        self.file.write(json.dumps(values, ensure_ascii=False) + "\n")
        self.file.flush()

    def note(self, text):
        """A line of text."""
        self.row(note=text)

    def missing(self, what, why):
        """Something is not here that a part of the stage needs; the report goes on."""
        self.row(missing=what, why=why)

    @property
    def left(self):
        """Seconds until the stage is stopped."""
        return self.end - time.monotonic()

    @contextmanager
    def part(self, name):
        """A part of a stage: if it fails, that is a row, and the stage goes on."""
        try:
            yield
        except Exception as error:
            self.row(failed=name, error=f"{type(error).__name__}: {error}"[:2000])
            traceback.print_exc()
            self.failures += 1
            if self.failures == MOST:
                raise GivenUp(f"{MOST} failures in a row") from error
        else:
            self.failures = 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    if SIMULATED and options.stage not in START_IT_THEMSELVES:
        from tools.cupy_on_cpu import simulator

        simulator.start()
    module = importlib.import_module(f".{STAGES[options.stage].module}", __package__)
    report = Report(options.stage, options.folder, options.seconds, options.tiny)
    getattr(module, options.stage)(report)


if __name__ == "__main__":
    main()
