"""A trained run, measured: its samples beside real images and baselines, and its held-out J.

    result = evaluate("runs/x", n=1000)
    print(result.text())
    result.write()                # eval.json, eval.md and neighbours.png in the run folder

The reference is n test images: the data set's own test set if it has one (no decision was made on
it), else the held-out images. Every row of the table is n images against that same reference. The
rows of real images show the best that a generator can be expected to reach.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autograd.backend import to_numpy

from ..alone import Alone, Comm
from ..data.labels import in_proportion
from ..files import replacing
from ..more.ideal import ideal_denoiser
from ..pictures.images import samples_beside_real
from ..runs.chains import said
from ..runs.config import Config
from ..runs.heldout import Draws, mean_image
from ..runs.opening import Run
from . import features, metrics
from .baselines import baselines
from .real import real

COLUMNS = ["Fréchet", "precision", "recall", "density", "coverage", "1-NN", "memorisation"]
BAND = ["first t", "last t", "predict-the-mean", "ideal denoiser", "model"]
GOOD = """\
Good values: Fréchet as low as between real images (with fewer images, even theirs is higher);
precision, recall, density and coverage near 1; 1-NN near .5, which is chance; memorisation near 1
(much less means copies). evaluation/metrics.py explains each column."""
JSON, TABLE, NEIGHBOURS = "eval.json", "eval.md", "neighbours.png"
SHOWN = 12  # samples in the picture
NEAREST = 5  # training images beside each of them
FEWEST = 6  # images: with fewer, some metrics are not defined
# With fewer images than these, samples of one Gaussian score about as well as real images do.
FEWEST_TO_COUNT = 100  # for precision, recall, density and coverage
PER_FEATURE = 2  # for the Fréchet distance, as many as there are features times this

Row = tuple[str, list[float | None]]  # None: not to be had from so few images
Band = tuple[int, int, float, float, float]
# watch(chain, steps): the sampling chain again, perhaps with a progress bar.
Watch = Callable[[Iterator[Any], int], Iterable[Any]]


@dataclass
class Evaluation:
    """What `evaluate` found.

    Attributes:
        folder: where `write` writes to.
        about: the run, the samples and the reference, as they stand in eval.json.
        rows: (name of the images, a number for each of COLUMNS).
        bands: for each band of t, first and last t, then J of predict-the-mean, of the ideal
            denoiser of the training set and of the model.
        neighbours: a few samples, and the training images nearest to each, one after the other.
    """

    folder: Path
    about: dict[str, Any]
    rows: list[Row]
    bands: list[Band]
    neighbours: tuple[np.ndarray, np.ndarray]

    def text(self) -> str:
        """Two Markdown tables, readable in a terminal too."""
        about = self.about
        n, reference = about["n"], about["reference"]
        head = (
            f"{about['samples']}. Each row compares {n} images with {n} {reference}, "
            f"in {about['features']}."
        )
        explained = (
            f"J on {about['J images']} of the {reference}{about['J without']}. The last two "
            "columns are fractions of predict-the-mean's J.\n"
            "The ideal denoiser is that of the training set."
        )
        if about["remark"]:
            head += f"\n\n{about['remark']}"
        return f"{head}\n\n{self._samples()}\n\n{GOOD}\n\n{explained}\n\n{self._J()}\n"

    def _samples(self) -> str:
        lines = []
        for name, (frechet, *others) in self.rows:
            distance = "–" if frechet is None else f"{frechet:.2f}"
            lines.append([name, distance, *("–" if x is None else f"{x:.3f}" for x in others)])
        return _table(["images", *COLUMNS], lines)

    def _J(self) -> str:
        lines = [[f"{first}–{last}", *_fractions(J)] for first, last, *J in self.bands]
        totals = np.mean([J for _, _, *J in self.bands], axis=0)
        head = ["t", "J of predict-the-mean", "ideal denoiser", "this model"]
        return _table(head, [*lines, ["all", *_fractions(totals)]])

    def write(self) -> list[Path]:
        """Write the tables and the picture; returns their paths. The folder is made if needed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        values = self.about | {
            "rows": [{"images": name} | dict(zip(COLUMNS, row)) for name, row in self.rows],
            "bands": [dict(zip(BAND, band)) for band in self.bands],
        }
        content = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
        for name, text in ((JSON, content), (TABLE, self.text())):
            with replacing(self.folder / name) as beside:
                beside.write_text(text, encoding="utf-8", errors="replace")
        samples, nearest = self.neighbours
        titles = "sample", "its nearest training images"
        columns = 1, len(nearest) // len(samples)
        samples_beside_real(samples, nearest, self.folder / NEIGHBOURS, titles, columns)
        return [self.folder / name for name in (JSON, TABLE, NEIGHBOURS)]


def evaluate(
    folder: str | Path,
    n: int = 1000,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    with_baselines: bool = True,
    components: bool = False,
    watch: Watch = lambda chain, total: chain,
    out: Path | None = None,
    eta: float | None = None,
    grid: str | None = None,
    clip: Literal["yes", "no"] | None = None,
    guidance: float | None = None,
    comm: Comm = Alone(),
) -> Evaluation | None:
    """Draw n samples from a run and measure them.

    Args:
        folder: the run folder, or a model that `Run` can open.
        n: the number of samples, lowered to the number of test images. A run with classes draws
            each as often as it occurs among the training images.
        sampler: as for `Run.chain`, like steps, eta, grid and clip. Without any, samples are those
            of `tinyddpm sample`.
        seed: of the samples and the baselines.
        device: where the network computes.
        with_baselines: whether to measure the simple baselines too.
        components: whether to measure in principal components, though there are labels.
        watch: called with the sampling chain and its number of steps; returns the chain.
        out: the folder that `Evaluation.write` writes to, if not the run's.
        guidance: as for `Run.sample`.
        comm: the ranks that compute together. Only rank 0 needs `folder`, and measures.

    Returns:
        What was found; None on ranks other than 0.

    Raises:
        ValueError: if there is no folder to write to, too few images to measure, or no such chain.
    """
    run = Run(folder, device, comm=comm)
    how = run.chain(sampler, steps, eta, grid, clip)  # raises now if there is none
    if not comm.rank and out is None and not Path(folder).is_dir():
        fix = "for a model without one, name a folder with --out"
        raise ValueError(f"{folder}: expected a run folder, to write the tables to; {fix}")
    images = real(run)
    if not components:
        features.check(images.dataset)
    comm.check_same(data=images.dataset.fingerprint())
    n = min(n, len(images.test), len(images.train))
    if n < FEWEST:
        expected = f"at least {FEWEST} images to measure, and as many to measure against"
        raise ValueError(f"n: expected {expected}, got {n}")
    bands = _bands(run, images.train, images.test)
    label = None if images.labels is None else in_proportion(images.labels, n)
    chain = run.sample(n, seed=seed, label=label, guidance=guidance, **how)
    for _, xt, _ in watch(chain, how["steps"]):
        last = xt  # in the end x_0; a list of all would take much memory
    if comm.rank:
        return None

    images.shuffle()
    train, test = images.train, images.test
    source = run.config.data if run.config.crop != "random" else ""
    function, space = features.load(source, images.dataset, components)
    samples = np.clip(to_numpy(last), -1, 1)
    points_of_test, known, points = function(test[:n]), function(train), function(samples)

    sets = {"this model": points, "real: training images": known[:n]}
    if len(test) >= 2 * n:
        sets[f"real: other {images.reference}"] = function(test[n : 2 * n])
    if with_baselines:
        sets |= {name: function(simple) for name, simple in baselines(train, n, seed)}
    rows = [(name, _scores(points_of_test, x, known)) for name, x in sets.items()]
    _, nearest = metrics.nearest(points[:SHOWN], known, k=NEAREST)

    about = {
        "run": run.called,
        "step": run.step,
        "data": images.dataset.name,
        "n": n,
        "seed": seed,
        "J images": min(300, len(test)),
        "J without": _without(run.config),
        "samples": f"{run.called}, step {run.step}: {said(**how, guidance=guidance)}, seed {seed}",
        "reference": images.reference,
        "features": space,
        "remark": images.remark + too_few(n, known.shape[1], len(test), images.known_test),
    }
    neighbours = samples[:SHOWN], train[nearest.ravel()]
    return Evaluation(Path(out or folder), about, rows, bands, neighbours)


def too_few(n: int, d: int, there: int, known_test: bool = False) -> str:
    """What to say of the figures of n images with d features; nothing if n is enough.

    Args:
        n: the number of images of each row.
        d: the number of features.
        there: how many test images there are.
        known_test: whether they are a data set's own test set, and not a run's held-out images.
    """
    needed = max(FEWEST_TO_COUNT, PER_FEATURE * d)
    if n >= needed:
        return ""
    said = [f"Too few images: {n} in each row, where {needed} are needed."]
    if n <= d:
        said.append(f"The Fréchet distance is left out, which takes more images than {d} features.")
    else:
        said.append("Differences of the Fréchet distance are mostly chance.")
    if n < FEWEST_TO_COUNT:
        said.append("In the other columns even a Gaussian may score like real images.")
    if there >= needed:
        said.append(f"Ask for --n {needed} or more.")
    elif not known_test:
        said.append(f"A new run holds out a sixth of its images: train on {6 * needed:,} or more.")
    return "\n".join(said)


def _scores(real: np.ndarray, points: np.ndarray, known: np.ndarray) -> list[float | None]:
    """A number for each of COLUMNS: points against the real ones; known are the training images.

    Up to d points span less than d dimensions, and the Fréchet distance is that of what they span.
    """
    n, d = points.shape
    return [
        metrics.frechet(real, points) if n > d else None,
        metrics.precision(real, points),
        metrics.recall(real, points),
        metrics.density(real, points),
        metrics.coverage(real, points),
        metrics.one_nn_accuracy(real, points),
        metrics.memorisation(points, real, known),
    ]


def _bands(run: Run, train: np.ndarray, test: np.ndarray) -> list[Band]:
    """J in each band of t, on the first 300 test images."""
    draws = Draws(test, run.schedule)
    mean, ideal = mean_image(train), ideal_denoiser(train, run.schedule)
    with run.denoiser() as model:
        J = [draws.evaluate(mean), draws.evaluate(ideal, comm=run.comm), draws.evaluate(model)]
    edges = [int(edge) for edge in draws.edges]
    ranges = zip(edges, edges[1:])
    return [
        (before + 1, max(before + 1, last), float(mean), float(ideal), float(model))
        for (before, last), mean, ideal, model in zip(ranges, *J)
    ]


# ---- text ----------------------------------------------------------------------------------------


def _without(config: Config) -> str:
    """What J leaves out of a network that is conditioned on the class."""
    if not config.classes:
        return ""
    never = ", which this one never learned (class_dropout = 0)" * (not config.class_dropout)
    return f", without telling the network the class{never}"


def _fractions(J: Sequence[float]) -> list[str]:
    """J of predict-the-mean, and of the other denoisers as fractions of it."""
    mean, *others = J
    return [f"{mean:.4f}", *(f"{x / mean:.3f}" if mean else "–" for x in others)]


def _table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table with aligned columns: the first to the left, the others to the right."""
    columns = list(zip(head, *lines))
    widths = [max(map(len, column)) for column in columns]
    rule = ["-" * (widths[0] + 1), *("-" * width + ":" for width in widths[1:])]

    def shown(line: list[str]) -> str:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        return f"| {' | '.join(cells)} |"

    return "\n".join([shown(head), "|-" + "|-".join(rule) + "|", *map(shown, lines)])
