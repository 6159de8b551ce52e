"""How good the samples of a shipped model are, and what they cost: the table in docs/samplers.md.

    python -m benchmarks.samplers fashion --n 500             # measures what is not there yet
    python -m benchmarks.samplers fashion --n 500 --tables    # prints what is there
    python -m benchmarks.samplers fashion --n 500 --sampler ddim --steps 50 --eta 1 --grid log-snr

Each row compares n samples of seed 0 with n test images, as `tinyddpm eval` does. A row's options
are also those of `tinyddpm sample`, except that it has no dynamic thresholding. The rows are kept
in docs/samplers.csv. The program can be stopped and started again.

Seconds are those of all processors together. *Detail* is the mean squared difference of
neighbouring pixels, over that of the test images: 1 is right.
"""

import argparse
import csv
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from tinyddpm import data
from tinyddpm.evaluation import features, metrics
from tinyddpm.evaluation.real import _order
from tinyddpm.files import replacing
from tinyddpm.more.reverse import thresholded
from tinyddpm.more.schedules import SPACINGS
from tinyddpm.runs.chains import SAMPLERS
from tinyddpm.runs.opening import Run
from tinyddpm.types import Denoiser

KEPT = Path("docs/samplers.csv")
PIECES = Path(tempfile.gettempdir(), "tinyddpm-samplers")  # of rows that are not complete
KEYS = ["model", "n", "sampler", "steps", "eta", "grid", "clip"]
MEASURED = ["calls", "frechet", "coverage", "precision", "detail", "seconds"]
CLIPS = {"yes": 1.0, "no": None, "dynamic": None}
HEAD = ["options", "calls", "Fréchet", "coverage", "precision", "detail", "CPU seconds"]


@dataclass(frozen=True)
class Row:
    """The options of `tinyddpm sample` that a row of the table is about."""

    sampler: str = "ddim"
    steps: int = 50
    eta: float = 0.0
    grid: str = "even"
    clip: str = "yes"

    def __str__(self) -> str:
        if self.sampler == "ddpm":
            said = "--sampler ddpm"
        else:
            said = f"--sampler {self.sampler} --steps {self.steps} --grid {self.grid}"
            said += f" --eta {self.eta:g}" if self.sampler != "heun" else ""
        return said + {"yes": "", "no": " --clip no", "dynamic": " (thresholded)"}[self.clip]

    def calls(self) -> int:
        """How often it calls the network."""
        return 2 * self.steps - 1 if self.sampler == "heun" else self.steps


# The rows. Each model is measured with all of them, in this order.
ROWS = [
    Row("dpm", 25, eta=1, grid="log-snr-6"),
    Row(steps=50),
    Row("dpm", 25, eta=1, grid="log-snr"),
    Row("dpm", 25, eta=0.5, grid="log-snr-6"),
    Row("dpm", 25, grid="log-snr-6"),
    Row(steps=50, eta=1, grid="log-snr-6"),
    Row(steps=50, eta=1),
    Row(steps=50, eta=1, grid="log-snr"),
    Row("dpm", 25, grid="log-snr"),
    Row("dpm", 25, eta=0.5, grid="log-snr"),
    Row("dpm", 25, eta=1, grid="log-snr-6", clip="no"),
    Row("dpm", 25, eta=1, grid="log-snr-6", clip="dynamic"),
    Row("dpm", 50, eta=1, grid="log-snr-6"),
    Row(steps=25),
    Row("dpm", 25),
    Row("heun", 13, grid="log-snr-6"),
    Row("heun", 13, grid="log-snr"),
    Row("dpm", 12, eta=1, grid="log-snr-6"),
    Row("dpm", 100, eta=1, grid="log-snr-6"),
    Row(steps=50, grid="karras"),
    Row(steps=50, eta=1, grid="karras"),
    Row(steps=50, eta=1, grid="quadratic"),
    Row("ddpm", 1000),
]
PIECE = 100  # images at a time: a long row can be stopped between two pieces
PERCENTILE = 99.5  # of dynamic thresholding: Saharia et al. 2022, "Imagen"


class Thresholded(Run):
    """A model with dynamic thresholding in place of a fixed bound."""

    @contextmanager
    def denoiser(
        self, labels: np.ndarray | None = None, guidance: float = 1.0
    ) -> Iterator[Denoiser]:
        """That of `Run`, thresholded."""
        with super().denoiser(labels, guidance) as denoise:
            yield thresholded(denoise, PERCENTILE)


class Judge:
    """Measures samples of one model against n test images.

    Attributes:
        run: the model.
        n: the number asked for, or of test images if there are fewer.
    """

    def __init__(self, model: str, n: int) -> None:
        self.model, self.run = model, Run(model)
        source = self.run.config.data
        self.test = data.load_test(source).images
        self.n = min(n, len(self.test))
        dataset = data.load(source)
        self.features, _ = features.load(source, dataset)
        order = _order(len(self.test), "evaluation: test")
        self.images = self.test[order[: self.n]]
        self.others = self.test[order[self.n : 2 * self.n]]
        train = data.split(dataset)[0].images
        self.train = train[_order(len(train), "evaluation: training")[: self.n]]
        self.real, self.detail = self.features(self.images), detail(self.images)

    def measure(self, images: np.ndarray) -> dict[str, float]:
        """What the table says of images (n, C, H, W)."""
        points = self.features(images)
        return {
            "frechet": metrics.frechet(self.real, points),
            "coverage": metrics.coverage(self.real, points),
            "precision": metrics.precision(self.real, points),
            "detail": detail(images) / self.detail,
        }

    def draw(self, row: Row, name: tuple[str, ...]) -> tuple[np.ndarray, float]:
        """The samples, and the seconds that all processors together computed.

        Pieces that an earlier call drew are taken from PIECES.
        """
        PIECES.mkdir(exist_ok=True)
        images, seconds = [], 0.0
        for first in range(0, self.n, PIECE):
            file = PIECES / f"{'_'.join(name)}_{first}.npz"
            if not file.exists():
                before = spent()
                piece = self._piece(row, first, min(PIECE, self.n - first))
                with replacing(file) as beside, open(beside, "wb") as out:
                    np.savez(out, images=piece, seconds=spent() - before)
            with np.load(file) as found:
                images.append(found["images"])
                seconds += float(found["seconds"])
        return np.concatenate(images), seconds

    def _piece(self, row: Row, first: int, n: int) -> np.ndarray:
        """The images from number `first` on."""
        run = Thresholded(self.model) if row.clip == "dynamic" else self.run
        steps, clip = (None if row.sampler == "ddpm" else row.steps), CLIPS[row.clip]
        how = {"eta": row.eta, "clip": clip, "grid": row.grid, "first": first}
        for _, xt, _ in run.sample(n, row.sampler, steps, **how):
            last = xt
        return np.clip(last, -1, 1)


def detail(images: np.ndarray) -> float:
    """The mean squared difference of neighbouring pixels."""
    return float(np.mean([(np.diff(images, axis=axis) ** 2).mean() for axis in (2, 3)]))


def spent() -> float:
    """Seconds of processor time, with those of child processes that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def read() -> dict[tuple[str, ...], dict[str, str]]:
    """What was measured: KEYS -> the whole line."""
    if not KEPT.exists():
        return {}
    with open(KEPT, newline="", encoding="utf-8") as file:
        return {tuple(line[key] for key in KEYS): line for line in csv.DictReader(file)}


def key(model: str, n: int, row: Row) -> tuple[str, ...]:
    """How a row is called in the file."""
    return (model, str(n), *(f"{x:g}" if isinstance(x, float | int) else x for x in astuple(row)))


def keep(name: tuple[str, ...], found: dict[str, float]) -> None:
    """Append a row to the file."""
    new = not KEPT.exists()
    with open(KEPT, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow([*KEYS, *MEASURED])
        writer.writerow([*name, *(f"{found[column]:.4g}" for column in MEASURED)])


def table(model: str, n: int) -> str:
    """The rows of a model that were measured, best first, as Markdown."""
    lines = [line for line in read().values() if (line["model"], line["n"]) == (model, str(n))]
    text = ["| " + " | ".join(HEAD) + " |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    for line in sorted(lines, key=lambda line: float(line["frechet"])):
        row = Row(
            line["sampler"], int(line["steps"]), float(line["eta"]), line["grid"], line["clip"]
        )
        places = {
            "calls": 0,
            "frechet": 2,
            "coverage": 3,
            "precision": 3,
            "detail": 2,
            "seconds": 0,
        }
        numbers = [
            f"{float(line[name]):.{digits}f}".removeprefix("0") for name, digits in places.items()
        ]
        text.append(f"| `{row}` | " + " | ".join(numbers) + " |")
    return "\n".join(text)


def main() -> None:
    """Measure rows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=["fashion", "digits"])
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--sampler", choices=SAMPLERS, help="measure this row alone")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--eta", type=float, default=0.0)
    parser.add_argument("--grid", choices=SPACINGS, default="even")
    parser.add_argument("--clip", choices=CLIPS, default="yes")
    parser.add_argument("--tables", action="store_true", help="only print")
    chosen = parser.parse_args()
    judge = Judge(chosen.model, chosen.n)
    rows = ROWS
    if chosen.sampler:
        steps = judge.run.schedule.T if chosen.sampler == "ddpm" else chosen.steps
        rows = [Row(chosen.sampler, steps, chosen.eta, chosen.grid, chosen.clip)]
    for row in [] if chosen.tables else rows:
        name = key(chosen.model, judge.n, row)
        if name in read():
            continue
        images, seconds = judge.draw(row, name)
        found = judge.measure(images) | {"calls": row.calls(), "seconds": seconds}
        keep(name, found)
        print(row, {what: round(value, 3) for what, value in found.items()}, flush=True)
    for what, images in (("training images", judge.train), ("other test images", judge.others)):
        if len(images) == judge.n:
            print(f"real: {what}: {judge.measure(images)}")
    print(table(chosen.model, judge.n))


if __name__ == "__main__":
    main()
