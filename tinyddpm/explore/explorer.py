"""What the interactive page shows, as functions of a run: no browser here, and nothing that waits for one.

    explorer = Explorer("runs/x")
    look = explorer.look(image=3, t=400, seed=0)              # x_t, and what the network and the ideal denoiser make of it
    chain = Chain(explorer, seed=0)
    while chain.t:
        chain.step(Settings(sampler="ddim", steps=50))        # the settings may change from step to step
    walk = explorer.walk(image=3, t=400, seed=0)              # one training step: each layer's output and gradient
"""
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw

from .. import noise
from ..diffusion import q_sample
from ..more.classes import guided
from ..more.editing import truncated
from ..more.ideal import ideal_denoiser
from ..more.predictions import denoiser
from ..more.solvers import dpm_solver, heun
from ..nn.unet import UNet
from ..sampler import ancestral, ddim, timestep_grid
from .. import data
from ..data import labels
from ..data.image_files import DataError
from ..runs.opening import Run
from ..pictures.unet_walk import kind_of, norm, overheard, top_layers, walk_gradient

SAMPLERS = {"ddpm": ancestral, "ddim": ddim, "dpm_solver": dpm_solver, "heun": heun}
MOST = 10_000  # training images that the ideal denoiser is made of: it holds them as float64
PEN = 0.16     # the width of a stroke, as a share of the image's shorter side: about that of the digits' own
SHOWN = 60     # images to choose from: half of them training images, half held out


@dataclass(frozen=True)
class Look:
    """One image at one t: x0, xt, and four guesses at x_0, each (C, H, W); and the squared error per value of each guess, by name."""
    x0: np.ndarray
    xt: np.ndarray
    network: np.ndarray
    ideal: np.ndarray | None
    mean: np.ndarray | None
    errors: dict


@dataclass(frozen=True)
class Layer:
    """A layer of the walk: what kind it is, its output and ∂J/∂output (C, H, W), and their norms."""
    kind: str
    output: np.ndarray
    gradient: np.ndarray
    norm: float


@dataclass(frozen=True)
class Walk:
    """One training step on one image: x0, xt, x0_hat (C, H, W), t, J, and the layers by name."""
    x0: np.ndarray
    xt: np.ndarray
    x0_hat: np.ndarray
    t: int
    J: float
    layers: dict


@dataclass(frozen=True)
class Settings:
    """How the chain goes on. steps: of a whole chain from T; label: a class's number, or that of the null class, to tell none (it is the
    number of classes), or None for each class in turn."""
    sampler: str = "ddim"
    steps: int = 50
    label: int | None = None
    guidance: float = 1.0


class Explorer:
    """A run, with its images and the two denoisers to compare: its network, and the ideal one of its training images.

    Attributes: run, schedule, shape (C, H, W), names of the classes or (), images (n, C, H, W) to choose from, with labels (n,) or None,
    the first `known` of which were trained on; note: what is amiss, or "".

    Where the run's data are gone, as those of an imported network are, the images are its own samples and there is no ideal denoiser.
    Not for several threads at once: `walk` binds the network to another vector while it lasts.
    """

    def __init__(self, path):
        if find_spec("tinyddpm.fast"):
            from .. import fast
            fast.enable()
        self.run = Run(path)
        self.schedule, self.shape, config = self.run.schedule, self.run.config.unet.image, self.run.config
        self.names = tuple(config.class_names) if config.classes else ()
        self.guidable = bool(self.names) and config.class_dropout > 0
        self.steps_back = isinstance(self.run.unet, UNet) and self.run.predicts == "x0"  # or its training step is not ours to show
        self.training, self.note = None, ""
        try:
            training, held_out = data.split(config.load_data()[0])
            if training.images.shape[1:] != self.shape:
                raise DataError(f"{config.data}: expected images of shape {self.shape}, got {training.images.shape[1:]}")
        except (DataError, OSError) as error:
            self.note = f"The images below are the network's own samples, and there is no ideal denoiser, since its data were not to be had: {error}"
            *_, (_, samples, _) = Chain(self, seed=0, n=8).rest(Settings(steps=min(20, self.schedule.T)))
            self.images, self.labels, self.known = samples.clip(-1, 1), None, 0
        else:
            self.training = training
            pick = [_spread(len(part.images), SHOWN // 2) for part in (training, held_out)]
            self.images = np.concatenate([part.images[i] for part, i in zip((training, held_out), pick)])
            self.labels = np.concatenate([part.labels[i] for part, i in zip((training, held_out), pick)]) if self.names else None
            self.known = len(pick[0])

    # ---- denoisers -----------------------------------------------------------------------------------

    def network(self, cond=None, guidance=1.0):
        """The run's denoiser(xt, t). given: (N,) classes of the images, or None: it is told none, as it is of a run without classes."""
        denoise = denoiser(self.run.unet.denoise, self.schedule, self.run.predicts)
        return denoise if cond is None or not self.names else guided(denoise, cond, len(self.names), guidance)

    @lru_cache(maxsize=4)
    def ideal(self, label=None):
        """The ideal denoiser of the training images, or of those of one class, and their mean (C, H, W). Without data (None, None)."""
        if self.training is None:
            return None, None
        images = self.training.images
        if label is not None and self.names and (self.training.labels == label).any():
            images = images[self.training.labels == label]
        images = images[:MOST]
        return ideal_denoiser(images, self.schedule), images.mean(axis=0)

    # ---- one image -----------------------------------------------------------------------------------

    def noised(self, x0, t, seed):
        """x_t (n, C, H, W) of the images x0: the same ε at every t, so that moving t shows one path."""
        return q_sample(self.schedule, x0, np.full(len(x0), t), self._eps(seed, np.arange(len(x0))))

    def _eps(self, seed, index):
        return noise.normal(seed, "explore: eps", 0, index, self.shape)

    def look(self, image, t, seed=0, label=None):
        """A Look at an image, by its number, at t. label: the class that both denoisers are told, or None."""
        x0 = self.images[image:image + 1]
        xt = self.noised(x0, t, seed)
        guesses = self.guesses(xt, t, label)
        errors = {name: float(np.square(guess - x0).mean()) for name, guess in guesses.items()}
        guesses = {name: guess[0] for name, guess in guesses.items()}
        return Look(x0[0], xt[0], guesses["network"], guesses.get("ideal"), guesses.get("mean"), errors)

    def guesses(self, xt, t, label=None):
        """name -> x̂_0 of x_t (N, C, H, W) at t, a number or (N,): what the network says, and, if there are data, the ideal denoiser, and the mean image."""
        ts = np.broadcast_to(t, len(xt))
        found = {"network": self.network(_every(label, len(xt)))(xt, ts)}
        ideal, mean = self.ideal(label)
        return found | ({"ideal": ideal(xt, ts), "mean": mean[None].repeat(len(xt), 0)} if ideal else {})

    def errors(self, image, seed=0, label=None, points=25):
        """(t's, name -> errors): the squared error per value of each guess at an image, for t's from 1 to T."""
        ts = np.unique(np.linspace(1, self.schedule.T, points).round().astype(int))
        x0 = self.images[image:image + 1].repeat(len(ts), 0)
        xt = q_sample(self.schedule, x0, ts, self._eps(seed, np.zeros_like(ts)))
        guesses = self.guesses(xt, ts, label)
        return ts, {name: np.square(guess - x0).mean(axis=(1, 2, 3)) for name, guess in guesses.items()}

    # ---- one training step ---------------------------------------------------------------------------

    def walk(self, image, t, seed=0, label=None):
        """The Walk of one training step on an image, by its number, form "mse". θ is left as it is."""
        if not self.steps_back:
            raise ValueError("this network came from elsewhere or predicts something other than x̂_0: its training step is not shown")
        unet, x0, ts = self.run.unet, self.images[image:image + 1], np.array([t])
        with overheard(unet) as (outputs, gradients):
            J = walk_gradient(unet, self.schedule, x0, ts, self._eps(seed, np.arange(1)), _every(label, 1) if self.names else None)
        kinds = {name: kind_of(layer) for name, layer in top_layers(unet).items()}
        layers = {name: Layer(kinds[name], _first(h), _first(gradients[name]), norm(gradients[name])) for name, h in outputs.items()}
        return Walk(x0[0], self.noised(x0, t, seed)[0], layers["last"].output, t, J, layers)

    @cached_property
    def paper(self):
        """The grey of an empty drawing, −1 or 1: what the corners of the images mostly are."""
        return 1.0 if self.images[..., [0, 0, -1, -1], [0, -1, 0, -1]].mean() > 0 else -1.0


class Chain:
    """The reverse chain of n images, one step at a time, with settings that may change on the way.

    A change takes effect at the next step: the chain goes on from its x_t, as if the schedule ended there (`truncated`), with as large a
    share of the new number of steps as is left of T. Without a change it is the chain of `Run.sample` with the same seed.
    Attributes: t, xt, x0_hat (None before the first step).

    start   (t, x_t (n, C, H, W)): from where; None: from noise at T
    """

    def __init__(self, explorer, seed, n=8, start=None):
        self.explorer, self.seed, self.n = explorer, seed, n
        self.t, self.xt = start or (explorer.schedule.T, self._noise(0))
        self.x0_hat = self._settings = self._steps = None

    def step(self, settings, times=1):
        """Take so many steps, or as many as are left. Raises ValueError for settings that the sampler refuses, and then goes no further."""
        if settings != self._settings:
            self._steps, self._settings = self._begin(settings), settings
        try:
            for _ in range(min(times, self.t)):
                self.t, self.xt, self.x0_hat = next(self._steps)
                if self.t == 0:
                    return
        except Exception:
            self._settings = None  # a generator that raised is at its end: the next step needs a new one
            raise

    def rest(self, settings):
        """Yields (t, x_t, x̂_0) of all steps that are left."""
        while self.t:
            self.step(settings)
            yield self.t, self.xt, self.x0_hat

    def left(self, settings):
        """How many steps are left to take from here."""
        T = self.explorer.schedule.T
        if settings.sampler == "ddpm":
            return self.t
        timestep_grid(T, settings.steps)  # raises what is wrong with it
        return max(1, round(settings.steps * self.t / T)) if self.t else 0

    def _begin(self, settings):
        explorer, schedule = self.explorer, truncated(self.explorer.schedule, self.t)
        if settings.sampler not in SAMPLERS:
            raise ValueError(f"sampler: expected one of {', '.join(SAMPLERS)}, got {settings.sampler!r}")
        cond = None
        if explorer.names:
            each = np.arange(self.n) % len(explorer.names)
            cond = each if settings.label is None else _every(settings.label, self.n)
        denoise = explorer.network(cond, settings.guidance)
        if settings.sampler == "ddpm":
            variance = explorer.run.variance
            return ancestral(denoise, schedule, self.xt, self._noise, variance=None if variance is None else variance[:self.t + 1])
        return SAMPLERS[settings.sampler](denoise, schedule, self.xt, steps=self.left(settings))

    def _noise(self, step):
        return noise.normal(self.seed, "sampling", step, np.arange(self.n), self.explorer.shape)


def rasterised(strokes, shape, paper=-1.0, width=PEN, zoom=8):
    """Strokes as an image (C, H, W) in [−1, 1], the later over the earlier ones, each pixel covered to the share that ink covers of it.

    strokes  [(ink, points), …]: ink (C,) in [−1, 1], points [(x, y), …] in shares of width and height; a single one is a dot, and
             one outside is drawn as far as its ink reaches in
    paper    the value of an empty sheet;  width  of the pen, as a share of the image's shorter side;  zoom  pixels drawn for one across
    """
    channels, high, wide = shape
    x, pen = np.full(shape, paper, np.float32), max(1, round(width * min(high, wide) * zoom))
    for ink, together in groupby(strokes, key=lambda stroke: stroke[0]):
        sheet = Image.new("L", (wide * zoom, high * zoom), 0)
        draw = ImageDraw.Draw(sheet)
        for _, points in together:
            points = [(min(max(a, -1.0), 2.0) * sheet.width, min(max(b, -1.0), 2.0) * sheet.height) for a, b in points]
            if len(points) > 1:
                draw.line(points, fill=255, width=pen, joint="curve")
            for a, b in points[:1] + points[-1:]:  # round ends
                draw.ellipse((a - pen / 2, b - pen / 2, a + pen / 2 - 1, b + pen / 2 - 1), fill=255)  # Pillow counts the last pixel in
        covered = np.asarray(sheet, np.float32).reshape(high, zoom, wide, zoom).mean(axis=(1, 3)) / 255
        x += covered * (np.float32(ink).reshape(channels, 1, 1) - x)
    return x


def whole(value, low, high, otherwise):
    """What a browser sent as a whole number from low to high: the nearest one, or `otherwise` if it is no number at all."""
    try:
        return min(max(int(value), low), high)
    except (TypeError, ValueError, OverflowError):  # not a number; NaN; infinity
        return otherwise


def _every(label, n):
    """The class of each of n images, (n,); None for none."""
    return None if label is None else np.full(n, label)


def _first(h):
    """(H, W, N, C) -> (C, H, W), of the first image."""
    return h[:, :, 0].transpose(2, 0, 1).copy()


def _spread(n, most):
    """Up to `most` of the numbers below n, evenly chosen."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
