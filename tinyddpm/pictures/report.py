"""The pictures that a run folder is given: curves, samples, the reverse chain, the forward process, one step through the U-Net.

    for path in draw("runs/x"):
        print(path)
"""
from pathlib import Path

import numpy as np

from autograd.backend import to_numpy

from .. import noise
from ..more.ideal import ideal_denoiser
from ..more.classes import by_class
from .. import data
from ..data import labels
from . import images as pictures, plots
from ..runs import recipes
from ..runs.heldout import Draws, mean_image
from ..runs.folder import METRICS, read_metrics
from ..runs.opening import Run
from .unet_walk import unet_walk

SAMPLES, FILM = 64, 16  # images in samples.png and in the film


def draw(folder, watch=lambda chain, total: chain):
    """Draw all pictures of the run in `folder`; yields the path of each once it is there.

    watch  called with the sampling chain and its number of steps, returns the chain: a progress bar
    """
    run, folder = Run(folder), Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a run folder, to draw the pictures of its record in")
    config, schedule = run.config, run.schedule
    dataset, _ = config.load_data()
    training, held_out = data.split(dataset)
    images, draws = training.images, Draws(held_out.images, schedule, labels=held_out.labels)
    memoriser = _told(training, config, lambda images: ideal_denoiser(images, schedule))
    mean, memorised = draws.evaluate(_told(training, config, mean_image)), draws.evaluate(memoriser)
    shares = [(1 - config.class_dropout, training.labels), (config.class_dropout, None)] if config.classes else [(1, None)]  # as in training
    floor = sum(share * Draws(images, schedule, purpose="training", labels=cond).evaluate(memoriser).mean() for share, cond in shares)
    note = ", all told the class" if config.classes else ""

    steps, evaluations = read_metrics(folder / METRICS)
    curve = recipes.expected(config, labels.fingerprint(dataset))
    plots.loss(folder / "loss.png", [s["k"] for s in steps], [s["J"] for s in steps],
               [e["k"] for e in evaluations], [e["held_out"] for e in evaluations],
               mean_J=mean.mean(), floor_J=floor, memoriser_J=memorised.mean(), expected=(curve.steps, curve.J) if curve else ((), ()), note=note)
    yield folder / "loss.png"
    bands = list(zip(draws.edges[:-1] + 1, draws.edges[1:]))
    plots.loss_by_t(folder / "loss_by_t.png", bands, draws.evaluate(run.unet.denoise), mean, memorised, note)
    yield folder / "loss_by_t.png"

    x0, t, eps = images[:1], np.array([schedule.T // 5]), noise.normal(config.seed, "forward.png", 0, np.arange(1), images.shape[1:])
    ts = [round(schedule.T * share) for share in (0, 0.05, 0.1, 0.2, 0.35, 0.5, 1)]
    pictures.forward(folder / "forward.png", x0[0], schedule, ts, eps[0])
    yield folder / "forward.png"
    unet_walk(folder / "unet_walk.png", config.make_unet().bind(run.unet.theta.copy(), np.zeros_like(run.unet.theta)),
                   schedule, x0, t, eps)
    yield folder / "unet_walk.png"

    film = []
    for t, xt, x0_hat in watch(run.sample(SAMPLES), schedule.T):
        film.append((t, to_numpy(xt[:FILM]), to_numpy(x0_hat[:FILM])))
    spread = np.linspace(0, len(images) - 1, min(SAMPLES, len(images))).astype(int)  # some data sets are sorted, so not the first ones
    pictures.samples_beside_real(to_numpy(xt), images[spread], folder / "samples.png", (f"{SAMPLES} samples", f"real {dataset.name}"))
    yield folder / "samples.png"
    pictures.denoising(folder / "denoising.gif", film)
    yield folder / "denoising.gif"


def _told(training, config, make):
    """The denoiser that `make` makes of the images; where the network is told their class, so is this: it is made of those of the class."""
    images = training.images
    if not config.classes:
        return make(images)
    of_class = [images[training.labels == c] for c in range(len(config.class_names))]
    return by_class([make(some if len(some) else images) for some in (*of_class, images)])
