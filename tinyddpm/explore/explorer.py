"""What the interactive page shows, as functions of a run, without a browser.

    explorer = Explorer("runs/x")
    look = explorer.look(image=3, t=400, seed=0)       # x_t, and the guesses of both denoisers
    walk = explorer.walk(image=3, t=400, seed=0)       # one training step, layer by layer

The reverse chain is `chain.Chain(explorer, seed=0)`.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import data, noise
from ..data.image_files import DataError
from ..diffusion import q_sample
from ..more.ideal import ideal_denoiser
from ..pictures.images import evenly_chosen
from ..pictures.overhearing import Kind, kinds_of, norm, overheard, walk_gradient
from ..runs.known_data import compared
from ..runs.opening import Run
from ..types import Array, Denoiser
from .chain import Chain, Settings

MOST = 10_000  # training images that the ideal denoiser is made of: it holds them as float64
MOST_VALUES = 2**25  # and as many values in them
SHOWN = 60  # images to choose from: half of them training images, half held out


@dataclass(frozen=True)
class Look:
    """One image at one t, each array (C, H, W).

    Attributes:
        t, label: the timestep, and the class that both denoisers are conditioned on, or None.
        x0, xt: the image, and the image with noise.
        network: the network's guess at x_0.
        ideal, mean: the ideal denoiser's, and the mean training image. None without data.
        errors: the squared error per value of each guess, by its name here.
        spread: the mean squared distance of the training images from their mean, per value.
        nearest: the squared distance per value from the ideal guess to the nearest training image.
    """

    t: int
    label: int | None
    x0: Array
    xt: Array
    network: Array
    ideal: Array | None
    mean: Array | None
    errors: dict[str, float]
    spread: float = 0.0
    nearest: float = 0.0


class Ideal(NamedTuple):
    """The ideal denoiser of these images (n, C, H, W), their mean, and their spread about it."""

    denoise: Denoiser
    images: Array
    mean: Array
    spread: float


@dataclass(frozen=True)
class Layer:
    """A layer of the walk: its output and ∂J/∂output (C, H, W), and the norm of the latter."""

    kind: Kind
    output: Array
    gradient: Array
    norm: float


@dataclass(frozen=True)
class Walk:
    """One training step on one image, conditioned on `label` or None, and the layers by name."""

    x0: Array
    xt: Array
    x0_hat: Array
    t: int
    label: int | None
    J: float
    layers: dict[str, Layer]


class Explorer:
    """A run, its images, and two denoisers: its network, and the ideal one of its training images.

    If the run's data cannot be loaded (an imported network has none), the images are its own
    samples and there is no ideal denoiser. Use an Explorer from one thread at a time: `walk` binds
    the network to another vector while it computes.

    Attributes:
        run: the trained run.
        schedule: how much noise there is at each t.
        shape: (C, H, W) of an image.
        names: of the classes, or ().
        guidable: whether guidance has a meaning for this run.
        can_walk: whether `walk` can show its training step.
        training: the training set, or None.
        images: (n, C, H, W) to choose from.
        labels: (n,) their classes, or None.
        known: how many of the images, the first ones, are training images.
        note: why there are no data, or that they are others; or "".
    """

    def __init__(self, path: str | Path) -> None:
        self.run = Run(path)
        config = self.run.config
        self.schedule, self.shape = self.run.schedule, config.unet.image
        self.names = tuple(config.class_names) if config.classes else ()
        self.guidable = bool(self.names) and config.class_dropout > 0
        own = self.run.predicts, config.weight, config.learn_sigma
        self.can_walk = not self.run.imported and own == ("x0", "none", False)
        self.most = max(1, min(MOST, MOST_VALUES // int(np.prod(self.shape))))
        self.training: data.Dataset | None = None
        self.note = ""
        # The training images of each of the last few classes that were asked for.
        self._ideals = lru_cache(maxsize=4)(self._ideal)
        try:
            self.training, held_out = self._data()
        except (DataError, OSError) as error:
            self.note = (
                f"The run's data could not be loaded: {error}. So the images below are the "
                "network's own samples, and there is no ideal denoiser."
            )
            self._choose_from_samples()
        else:
            self._choose_from_data(self.training, held_out)

    def _data(self) -> tuple[data.Dataset, data.Dataset]:
        """The training images and the held-out ones."""
        config = self.run.config
        dataset, names = config.load_data()
        self.note = compared(self.run.saved, dataset, names)
        training, held_out = config.split_data(dataset)
        if (found := training.images.shape[1:]) != self.shape:
            raise DataError(f"{config.data}: expected images of shape {self.shape}, got {found}")
        return training, held_out

    def _choose_from_data(self, training: data.Dataset, held_out: data.Dataset) -> None:
        parts = training, held_out
        seen = [evenly_chosen(len(part.images), self.most) for part in parts]  # as in `_ideal`
        chosen = [some[evenly_chosen(len(some), SHOWN // 2)] for some in seen]
        self.images = np.concatenate([part.images[i] for part, i in zip(parts, chosen)])
        labels = [part.labels[i] for part, i in zip(parts, chosen) if part.labels is not None]
        self.labels = np.concatenate(labels) if labels else None
        self.known = len(chosen[0])

    def _choose_from_samples(self) -> None:
        settings = Settings(steps=min(20, self.schedule.T))
        *_, (_, samples, _) = Chain(self, seed=0, n=8).rest(settings)
        self.images, self.known = samples.clip(-1, 1), 0
        self.labels = np.arange(8) % len(self.names) if self.names else None

    # ---- denoisers -------------------------------------------------------------------------------

    def network(self, cond: Array | None = None, guidance: float = 1.0) -> Denoiser:
        """The run's denoiser.

        Args:
            cond: the class (N,) of each image of the batches to come. None is the null class.
                A run without classes ignores it.
            guidance: see `more.classes.guided`.
        """
        return self.run.to_x0(self._denoise, cond if self.names else None, guidance)

    def _denoise(self, xt: Array, t: Array, *cond: Array) -> Array:
        with _sooner():
            return self.run.unet.denoise(xt, t, *cond)

    def ideal(self, label: int | None = None) -> Ideal | None:
        """The Ideal of the training images, or of one class. None if there are no data."""
        return self._ideals(label)

    def _ideal(self, label: int | None) -> Ideal | None:
        if self.training is None:
            return None
        images, labels = self.training.images, self.training.labels
        seen = evenly_chosen(len(images), self.most)
        if label is not None and len(of_class := np.flatnonzero(labels == label)):
            seen = of_class if len(of_class) <= self.most else np.intersect1d(of_class, seen)
        some = images[seen]
        mean = some.mean(axis=0)
        denoise = ideal_denoiser(some, self.schedule)
        return Ideal(denoise, some, mean, float(np.square(some - mean).mean()))

    # ---- one image -------------------------------------------------------------------------------

    def noised(self, x0: Array, t: int, seed: int) -> Array:
        """x_t (n, C, H, W) of the images x0. ε is the same at every t: moving t shows one path."""
        eps = self._eps(seed, np.arange(len(x0)))
        return q_sample(self.schedule, x0, np.full(len(x0), t), eps)

    def _eps(self, seed: int, index: Array) -> Array:
        return noise.normal(seed, "explore: eps", 0, index, self.shape)

    def look(self, image: int, t: int, seed: int = 0, label: int | None = None) -> Look:
        """A Look at an image, by its number. Both denoisers are conditioned on the label."""
        return self.look_at(self.images[image], t, seed, label)

    def look_at(self, x: Array, t: int, seed: int = 0, label: int | None = None) -> Look:
        """A Look at any image x (C, H, W)."""
        xt = self.noised(x[None], t, seed)
        found = {name: guess[0] for name, guess in self.guesses(xt, t, label).items()}
        errors = {name: float(np.square(guess - x).mean()) for name, guess in found.items()}
        look = Look(t, label, x, xt[0], found["network"], None, None, errors)
        if not (ideal := self.ideal(label)):
            return look
        nearest = np.square(ideal.images - found["ideal"]).mean(axis=(1, 2, 3)).min()
        more = {"ideal": found["ideal"], "mean": found["mean"], "spread": ideal.spread}
        return replace(look, **more, nearest=float(nearest))

    def guesses(self, xt: Array, t: int | Array, label: int | None = None) -> dict[str, Array]:
        """x̂_0 (N, C, H, W) of each denoiser, by name.

        Args:
            xt: x_t (N, C, H, W).
            t: a number, or (N,).
            label: the class that the denoisers are conditioned on, or None.
        """
        ts = np.broadcast_to(t, len(xt))
        found = {"network": self.network(_every(label, len(xt)))(xt, ts)}
        if ideal := self.ideal(label):
            mean = ideal.mean[None].repeat(len(xt), 0)
            found |= {"ideal": ideal.denoise(xt, ts), "mean": mean}
        return found

    def errors(
        self, image: int, seed: int = 0, label: int | None = None, points: int = 25
    ) -> tuple[Array, dict[str, Array]]:
        """Timesteps from 1 to T, and the squared error per value of each guess at each of them."""
        ts = np.unique(np.linspace(1, self.schedule.T, points).round().astype(int))
        x0 = self.images[image : image + 1].repeat(len(ts), 0)
        xt = q_sample(self.schedule, x0, ts, self._eps(seed, np.zeros_like(ts)))
        guesses = self.guesses(xt, ts, label)
        errors = {name: np.square(g - x0).mean(axis=(1, 2, 3)) for name, g in guesses.items()}
        return ts, errors

    # ---- one training step -----------------------------------------------------------------------

    def walk(self, image: int, t: int, seed: int = 0, label: int | None = None) -> Walk:
        """The Walk of one training step on an image, by its number. J has the form "mse"."""
        if not self.can_walk:
            raise ValueError(
                "walk: expected a network of our own with the lecture's J, got another one"
            )
        unet, x0 = self.run.unet, self.images[image : image + 1]
        eps, cond = self._eps(seed, np.arange(1)), _every(label, 1) if self.names else None
        with _sooner(), overheard(unet) as (outputs, gradients):
            J = walk_gradient(unet, self.schedule, x0, np.array([t]), eps, cond)
        layers = {
            name: Layer(kind, _first(outputs[name]), _first(g := gradients[name]), norm(g))
            for name, kind in kinds_of(unet).items()
        }
        return Walk(x0[0], self.noised(x0, t, seed)[0], layers["last"].output, t, label, J, layers)

    @cached_property
    def start(self) -> tuple[int, int]:
        """An image and a t to begin with: the guess is good, though the noise is strong."""
        middling = int(np.abs(self.schedule.alpha_bar[1:] - 0.5).argmin()) + 1
        if self.training is None:
            return 0, middling
        few = [int(i) for i in evenly_chosen(len(self.images), 8)]
        best = min(few, key=lambda i: self.look(i, middling).errors["network"])
        ts, errors = self.errors(best)
        good = ts[errors["network"] < 0.25 * errors["mean"]]  # the largest of them
        return best, int(good.max(initial=0)) or middling

    @cached_property
    def paper(self) -> float:
        """The grey of an empty drawing, −1 or 1: that of most corners of the images."""
        corners = self.images[..., [0, 0, -1, -1], [0, -1, 0, -1]]
        return 1.0 if corners.mean() > 0 else -1.0


def _sooner() -> AbstractContextManager[None]:
    """Within the block networks compute with the faster layers of `fast/`, if that is there."""
    if not find_spec("tinyddpm.fast"):
        return nullcontext()
    from .. import fast

    return fast.enabled()


def _every(label: int | None, n: int) -> Array | None:
    """The class of each of n images (n,), or None for none."""
    return None if label is None else np.full(n, label)


def _first(h: Array) -> Array:
    """(H, W, N, C) -> (C, H, W), of the first image."""
    return h[:, :, 0].transpose(2, 0, 1).copy()
