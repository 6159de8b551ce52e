"""The pictures of a run folder: curves, samples, the reverse chain, the forward process, one step.

    for path in draw("runs/x"):
        print(path)

`plots.py`, `images.py` and `unet_walk.py` draw them. Here is where their contents come from.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autograd.backend import to_numpy

from .. import data, noise
from ..data import labels
from ..more.classes import by_class
from ..more.ideal import ideal_denoiser
from ..more.predictions import denoiser
from ..runs import recipes
from ..runs.computing import computing
from ..runs.config import Config
from ..runs.folder import METRICS, read_metrics
from ..runs.heldout import Draws, mean_image
from ..runs.known_data import compared, has_data
from ..runs.opening import Run
from ..schedule import Schedule
from ..types import Array, Images
from . import images as pictures, plots
from .unet_walk import unet_walk

PICTURES = 6
FILM = 16  # images in the film
# What samples.png takes, from the best to the quickest: (images, steps of the chain that
# `tinyddpm sample` takes; None: ddpm).
PLANS = ((64, None), (64, 100), (64, 50), (64, 25), (32, 25), (16, 25))
# Of the time that is left, this is for the chain, the rest for the workers' start and the film.
CHAIN = 0.5
GRADIENT = 3  # a step of training takes about as long as denoising its images this often
FORWARD = (0, 0.05, 0.1, 0.2, 0.35, 0.5, 1)  # the timesteps of forward.png, as fractions of T

Records = list[dict[str, Any]]  # lines of metrics.jsonl

# denoise(xt, t), or denoise(xt, t, labels) of one that is conditioned on the class -> x̂_0.
Denoise = Callable[..., Array]

# watch(chain, total): the same chain of `total` steps, with a progress bar.
Watch = Callable[[Iterable[pictures.Frame], int], Iterable[pictures.Frame]]


@dataclass(frozen=True)
class Reference:
    """What the model's held-out J is compared with.

    Attributes:
        mean: J in each band of t of predicting the training images' mean, on held-out draws.
        ideal: J in each band of the ideal denoiser of the training set, on held-out draws.
        floor: J of this ideal denoiser on training draws.
        note: text for the titles, where all of them are conditioned on the class.
    """

    mean: Array
    ideal: Array
    floor: float
    note: str


def draw(
    folder: str | Path,
    watch: Watch = lambda chain, total: chain,
    fraction: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Path]:
    """Draw all pictures of a run.

    Args:
        folder: the run folder.
        watch: called with the sampling chain and its number of steps, returns the chain: the place
            for a progress bar.
        fraction: draw fewer samples, or with fewer steps, so that all this takes at most this
            fraction of the training time, if it can; None: take the time that it needs.
        say: is told if there are fewer.

    Yields:
        The path of each picture once it is there.
    """
    began = time.monotonic()
    run, folder = Run(folder), Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a run folder, to draw the pictures of its record in")
    has_data(run.saved, run.called)
    dataset, names = run.config.load_data()
    if others := compared(run.saved, dataset, names):
        say(others)
    training, held_out = run.config.split_data(dataset)
    draws = Draws(held_out.images, run.schedule, labels=held_out.labels)
    reference = _reference(training, run.config, run.schedule, draws)

    steps, evaluations = read_metrics(folder / METRICS)
    curve = recipes.expected(run.config, labels.fingerprint(dataset))
    weighted = run.config.weight != "none" or run.config.learn_sigma
    yield _loss(folder, (steps, evaluations), reference, curve, weighted)
    yield _loss_by_t(folder, reference, draws, _bands(run, draws, evaluations))
    yield _forward(folder, training.images[0], run.schedule, run.config.seed)
    yield _walk(folder, run, training.images[:1])

    n, number = PLANS[0]
    if fraction is not None:
        left = fraction * _seconds(steps) - (time.monotonic() - began)
        n, number = _plan(left, run.schedule.T, _seconds(steps), len(steps) * run.config.batch_size)
    if (n, number) != PLANS[0]:
        how = f"{n} samples" + (f" with {number} steps of DPM-Solver++" if number else "")
        say(f"To keep drawing short: {how}. All of it: tinyddpm plot {folder}")
    samples, film = _sampled(run, n, number, watch)
    yield _samples(folder, samples, training.images, dataset.name)
    yield _film(folder, film)


# ---- the model's J -------------------------------------------------------------------------------


def _loss(
    folder: Path,
    record: tuple[Records, Records],
    reference: Reference,
    expected: recipes.Curve | None,
    weighted: bool,
) -> Path:
    """J of every step and held-out J of every evaluation, with what was expected of the recipe."""
    path, (steps, evaluations) = folder / "loss.png", record
    note = reference.note
    if weighted:
        why = "weighted, or has the bound in it"
        steps, note = [], f"{note} (training J is {why}, so it is not shown)"
    plots.loss(
        path,
        [s["k"] for s in steps],
        [s["J"] for s in steps],
        [e["k"] for e in evaluations],
        [e["held_out"] for e in evaluations],
        mean_J=reference.mean.mean(),
        floor_J=None if weighted else reference.floor,
        ideal_J=reference.ideal.mean(),
        expected=(expected.steps, expected.J) if expected else ((), ()),
        note=note,
    )
    return path


def _loss_by_t(folder: Path, reference: Reference, draws: Draws, model: Array) -> Path:
    """The model's held-out J in each band of t."""
    path, bands = folder / "loss_by_t.png", list(zip(draws.edges[:-1] + 1, draws.edges[1:]))
    plots.loss_by_t(path, bands, model, reference.mean, reference.ideal, reference.note)
    return path


def _bands(run: Run, draws: Draws, evaluations: Records) -> Array:
    """The model's held-out J in each band of t: recorded if it was evaluated, as the best is."""
    for evaluation in evaluations:
        if evaluation["k"] == run.step:
            return np.array(evaluation["bands"])
    where = run.unet, run.unet, run.schedule, run.device
    with computing(*where, shards=run.config.shards) as (_, prediction):
        return draws.evaluate(denoiser(prediction, run.schedule, run.predicts))


def _reference(
    training: data.Dataset, config: Config, schedule: Schedule, draws: Draws
) -> Reference:
    """J of the mean image and of the ideal denoiser, conditioned as the model is."""
    known = data.at_most(training)
    images = known.images
    ideal = _conditioned(known, config, lambda images: ideal_denoiser(images, schedule))
    mean = _conditioned(known, config, mean_image)
    mean_J, ideal_J = draws.evaluate(mean), draws.evaluate(ideal)

    # (fraction of the draws, their labels): in training a fraction of the labels is dropped.
    parts: list[tuple[float, Array | None]] = [(1, None)]
    if config.classes:
        parts = [(1 - config.class_dropout, known.labels), (config.class_dropout, None)]
    floor = sum(
        fraction * Draws(images, schedule, purpose="training", labels=cond).evaluate(ideal).mean()
        for fraction, cond in parts
    )
    note = ", all conditioned on the class" * config.classes
    if len(images) < len(training.images):
        note = f" of {len(images):,} training images{note}"
    return Reference(mean_J, ideal_J, floor, note)


def _conditioned(
    training: data.Dataset, config: Config, make: Callable[[Array], Denoise]
) -> Denoise:
    """The denoiser that `make` makes of the training images.

    Where the network is conditioned on the class, so is this denoiser: it is one of the images of
    each class, and one of all images for the null class.
    """
    images = training.images[:]
    if not config.classes:
        return make(images)
    of_class = [images[training.labels == c] for c in range(len(config.class_names))]
    return by_class([make(some if len(some) else images) for some in (*of_class, images)])


# ---- images --------------------------------------------------------------------------------------


def _forward(folder: Path, x0: Array, schedule: Schedule, seed: int) -> Path:
    """One training image (C, H, W) on its way to noise."""
    path, ts = folder / "forward.png", [round(schedule.T * fraction) for fraction in FORWARD]
    pictures.forward(path, x0, schedule, ts, _eps(seed, x0.shape)[0])
    return path


def _walk(folder: Path, run: Run, x0: Array) -> Path:
    """One training step on x0 (1, C, H, W), by a copy of the network that can have a gradient."""
    path, theta = folder / "unet_walk.png", run.unet.theta
    unet = run.config.make_unet().bind(theta.copy(), np.zeros_like(theta))
    t, eps = np.array([max(1, run.schedule.T // 5)]), _eps(run.config.seed, x0.shape[1:])
    unet_walk(path, unet, run.schedule, x0, t, eps, run.predicts, run.config.weight)
    return path


def _eps(seed: int, shape: tuple[int, ...]) -> Array:
    """The noise (1, C, H, W) of both pictures."""
    return noise.normal(seed, "forward.png", 0, np.arange(1), shape)


def _seconds(steps: Records) -> float:
    """How long the recorded steps took. Where a run was resumed, the clock began at 0 again."""
    clock = [0.0, *(step.get("seconds", 0.0) for step in steps)]
    return sum(now - before if now >= before else now for before, now in zip(clock, clock[1:]))


def _plan(left: float, T: int, seconds: float, images: int) -> tuple[int, int | None]:
    """The best of PLANS that takes at most the `left` seconds, else the quickest.

    Args:
        left: how many seconds there are.
        T: how many steps ddpm takes.
        seconds: how long the training took.
        images: how many images it saw.
    """
    plans = [(n, steps) for n, steps in PLANS if steps is None or steps < T]
    plans += [(n, None) for n in (32, 16)]
    cost = seconds / max(images, 1) / GRADIENT  # of one image in one step
    within = (plan for plan in plans if plan[0] * (plan[1] or T) * cost <= CHAIN * left)
    return next(within, min(plans, key=lambda plan: plan[0] * (plan[1] or T)))


def _sampled(
    run: Run, n: int, steps: int | None, watch: Watch
) -> tuple[Array, list[pictures.Frame]]:
    """n samples (n, C, H, W), and the whole chain of the first few of them."""
    film, chain = [], run.sample(n)
    if steps is not None:
        chain = run.sample(n, **run.chain(steps=steps))
    for t, xt, x0_hat in watch(chain, steps or run.schedule.T):
        film.append((t, to_numpy(xt[:FILM]), to_numpy(x0_hat[:FILM])))
    return to_numpy(xt), film


def _samples(folder: Path, samples: Array, real: Images, name: str) -> Path:
    """The samples beside as many real images, evenly chosen: some data sets are sorted."""
    path, n = folder / "samples.png", min(len(samples), len(real))
    chosen = np.linspace(0, len(real) - 1, n).astype(int)
    titles = f"{len(samples)} samples", f"real {name}"
    pictures.samples_beside_real(samples, real[chosen], path, titles)
    return path


def _film(folder: Path, film: list[pictures.Frame]) -> Path:
    """The reverse chain."""
    path = folder / "denoising.gif"
    pictures.denoising(path, film)
    return path
