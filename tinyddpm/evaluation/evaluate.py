"""A trained run, measured: its samples beside real images and beside simple baselines, and its J beside the memoriser's.

    result = evaluate("runs/x", n=1000)
    print(result.text())
    result.write()                # eval.json, eval.md and neighbours.png in the run folder

The reference is n test images: the data set's own test set where it has one (nothing was chosen on it), else the held-out images.
Every row of the table is n images against that same reference; the rows of real images say what no generator can be expected to beat.
"""
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autograd.backend import to_numpy

from .. import noise
from ..more.ideal import ideal_denoiser
from ..more.predictions import denoiser
from .. import data
from . import features, metrics
from ..pictures import images as pictures
from .baselines import baselines
from ..runs.computing import computing
from ..files import replacing
from ..runs.heldout import Draws, mean_image
from ..runs.opening import Run

COLUMNS = ["Fréchet", "precision", "recall", "density", "coverage", "1-NN", "memorisation"]
GOOD = """Good is: Fréchet as low as between real images, and the fewer images, the higher even theirs; precision, recall, density and coverage near 1;
1-NN near .5, which is chance; memorisation near 1: much less means copies (evaluation/metrics.py says what each is)."""
JSON, TABLE, NEIGHBOURS = "eval.json", "eval.md", "neighbours.png"
SHOWN = 12  # samples in the picture


@dataclass
class Evaluation:
    """What `evaluate` found. rows: (name, a number for each of COLUMNS); bands: (first t, last t, J of mean, memoriser, model)."""
    folder: Path
    about: dict
    rows: list
    bands: list
    neighbours: tuple

    def text(self):
        """Two Markdown tables, which a terminal shows well too."""
        n, reference = self.about["n"], self.about["reference"]
        head = f"{self.about['samples']}. Each row: {n} images against {n} {reference}, in {self.about['features']}."
        table = _table(["images", *COLUMNS], [[name, f"{f:.2f}", *(f"{x:.3f}" for x in rest)] for name, (f, *rest) in self.rows])
        totals = np.mean([J for _, _, *J in self.bands], axis=0)
        lines = [[f"{a}–{b}", *_shares(J)] for a, b, *J in self.bands] + [["all", *_shares(totals)]]
        J = _table(["t", "J of predict-the-mean", "the memoriser's share", "this model's share"], lines)
        return f"{head}\n\n{table}\n\n{GOOD}\n\nJ on {self.about['J images']} of the {reference}, as shares of predict-the-mean's:\n\n{J}\n"

    def write(self):
        """The tables and the picture, in the folder, which is made; returns their paths."""
        self.folder.mkdir(parents=True, exist_ok=True)
        values = self.about | {"rows": [{"images": name} | dict(zip(COLUMNS, row)) for name, row in self.rows],
                               "bands": [dict(zip(("first t", "last t", "mean", "memoriser", "model"), band)) for band in self.bands]}
        for name, content in ((JSON, json.dumps(values, indent=1, ensure_ascii=False) + "\n"), (TABLE, self.text())):
            with replacing(self.folder / name) as beside:
                beside.write_text(content, encoding="utf-8")
        samples, found = self.neighbours
        pictures.samples_beside_real(samples, found, self.folder / NEIGHBOURS, ("sample", "its nearest training images"), (1, len(found) // len(samples)))
        return [self.folder / name for name in (JSON, TABLE, NEIGHBOURS)]


def evaluate(folder, n=1000, sampler="ddim", steps=None, seed=0, device="cpu", with_baselines=True, watch=lambda chain, total: chain, out=None):
    """Draw n samples from the run in `folder` and measure them. n is lowered to the number of test images there are.

    sampler, steps, seed  as for `Run.sample`
    watch                 called with the sampling chain and its number of steps, returns the chain: a progress bar
    out                   the folder that `Evaluation.write` writes to, if it is not the run's
    """
    run = Run(folder, device)
    if out is None and not Path(folder).is_dir():
        raise ValueError(f"{folder}: expected a run folder, to write the tables to; for a model without one name another folder (--out)")
    source = run.config.data, run.config.size, run.config.channels
    dataset = data.load(*source)
    train, test = data.split(dataset)[0].images, data.load_test(*source).images
    if not 6 <= (n := min(n, len(test), len(train))):
        raise ValueError(f"n: expected at least 6 images to measure, and as many to measure against, got {n}")
    reference = "test images" if data.has_test_set(run.config.data) else "held-out images"
    bands = _bands(run, train, test)
    function, space = features.load(run.config.data, dataset)
    train, test = (x[_order(len(x), purpose)] for x, purpose in ((train, "evaluation: training"), (test, "evaluation: test")))
    real, known = function(test[:n]), function(train)

    total = run.schedule.T if sampler == "ddpm" else steps or min(50, run.schedule.T)
    for _, x, _ in watch(run.sample(n, sampler, steps, seed), total):
        pass
    samples = np.clip(to_numpy(x), -1, 1)
    points = function(samples)

    def row(name, p):
        return name, [metrics.frechet(real, p), metrics.precision(real, p), metrics.recall(real, p), metrics.density(real, p),
                      metrics.coverage(real, p), metrics.one_nn_accuracy(real, p), metrics.memorisation(p, real, known)]

    rows = [row("this model", points), row("real: training images", known[:n])]
    if len(test) >= 2 * n:
        rows.append(row(f"real: other {reference}", function(test[n:2 * n])))
    if with_baselines:
        rows += [row(name, function(images)) for name, images in baselines(train, n, seed)]

    _, nearest = metrics.nearest(points[:SHOWN], known, k=5)
    about = {"run": run.called, "step": run.step, "data": dataset.name, "n": n, "seed": seed, "J images": min(300, len(test)),
             "samples": f"{run.called}, step {run.step}: {total} steps of {sampler}, seed {seed}",
             "reference": reference, "features": space}
    return Evaluation(Path(out or folder), about, rows, bands, (samples[:SHOWN], train[nearest.ravel()]))


def _order(n, purpose):
    """The numbers below n, shuffled: data sets are often sorted, the digits by who wrote them. Always the same, so that runs compare."""
    return np.argsort(noise.uniform(0, purpose, 0, np.arange(n), dtype=np.float64), kind="stable")


def _bands(run, train, test):
    """(first t, last t, J of predict-the-mean, of the memoriser, of the model) for each band of t, on the first 300 test images."""
    draws = Draws(test, run.schedule)
    with computing(run.unet, run.unet, run.schedule, run.device, shards=run.config.shards) as (_, denoise):
        model = denoiser(denoise, run.schedule, run.predicts)
        J = [draws.evaluate(d) for d in (mean_image(train), ideal_denoiser(train, run.schedule), model)]
    return [(int(a) + 1, int(b), *map(float, values)) for a, b, *values in zip(draws.edges, draws.edges[1:], *J)]


def _shares(J):
    mean, *others = J
    return [f"{mean:.4f}", *(f"{x / mean:.3f}" for x in others)]


def _table(head, lines):
    """A Markdown table with its columns in line."""
    cells = [head, *lines]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    def shown(line):
        return "| " + " | ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))) + " |"
    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([shown(head), rule, *map(shown, lines)])
