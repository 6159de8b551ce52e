"""Config: every option of a run, with its type, its default, its help text and its bounds."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from ...data import Dataset, labels, load, split
from ...data.asked import Crop, request
from ...data.dataset import SplitKind
from ...data.image_files import MAX_BYTES, MEGAPIXELS
from ...more.classes import ClassConfig, ClassUNet
from ...more.schedules import SCHEDULES
from ...more.variance import VarianceClassUNet, VarianceUNet
from ...nn.multipliers import ONES, Multipliers
from ...nn.unet import UNet, UNetConfig
from ...schedule import Schedule
from .choices import Decay, KindOfMultipliers, Optimiser, Predicts, Weight, completed, fitting

# name -> (least, most). Nobody has a use for more than these: a larger number is a slip of the
# finger, and would fill the machine's memory before anyone notices.
BOUNDS = {
    "size": (1, math.inf),
    "T": (1, 10**6),
    "grey_levels": (2, 2**16),
    "warmup": (0, math.inf),
    "batch_size": (1, math.inf),
    "steps": (1, math.inf),
    "decay_steps": (1, math.inf),
    "patience": (0, math.inf),
    "every": (1, math.inf),
    "keep": (1, math.inf),
    "workers": (1, 1024),
    "shards": (1, 1024),
    "gpu_shards": (1, 1024),
    "blocks": (1, 100),
}
BELOW_1 = "from 0 to below 1"
NoiseSchedule = Literal["linear", "cosine", "scaled_linear", "quadratic", "sigmoid", "sigmoid_beta"]
Objective = Literal["sum", "batch_mean", "mse"]


@dataclass(frozen=True)
class Config:
    """Everything that a training run is a function of.

    `multipliers`, `weight` and `beta` that are None become what suits the other options, and
    `decay_steps` becomes `steps`. So none of them is None in a Config, but `decay_steps` of a
    constant β.
    """

    data: Annotated[
        str,
        "digits, fashion-mnist, mnist, cifar-10, emoji-16 or emoji-32 (see `tinyddpm data`), "
        "an IDX, .npy or .npz file, or a folder or archive of images",
    ] = "digits"
    size: Annotated[int | str | None, "side or HxW to crop and resize a folder's images to"] = None
    megapixels: Annotated[float, "pictures of more are refused"] = MEGAPIXELS
    max_memory: Annotated[float | None, "gigabytes that images may take in memory, or 2"] = None
    split: Annotated[SplitKind, "held out: a sixth of each class, or every_sixth"] = "stratified"
    channels: Annotated[int | None, "1: greyscale, 3: RGB; default: as the images are"] = None
    crop: Annotated[
        Crop, "part of larger images that is trained on; random: another one each time"
    ] = "centre"
    flip: Annotated[bool, "train on each image flipped from left to right half of the time"] = False
    noise_schedule: Annotated[NoiseSchedule, "how much noise each of the T steps adds"] = "linear"
    T: Annotated[int, "number of noise steps"] = 1000
    beta: Annotated[
        float,
        "learning rate β in θ ← θ − β∇J (for --objective mse); with adam 0.004, with momentum "
        "0.14, with measured multipliers 0.001, with both 0.004, without multipliers 0.1, with "
        "another prediction or weight 0.7, else",
    ] = None  # type: ignore[assignment]
    warmup: Annotated[int, "steps in which β rises from 0"] = 300
    decay: Annotated[Decay, "how β falls to 0 after that"] = "constant"
    decay_steps: Annotated[
        int | None, "with --decay: the step at which β has fallen to 0; default: --steps"
    ] = None
    optimiser: Annotated[
        Optimiser, "what is done with ∇J; sgd: plain gradient descent, as in the lecture"
    ] = "sgd"
    predicts: Annotated[
        Predicts, "what the network predicts: the image x₀, the noise ε or the velocity v"
    ] = "x0"
    weight: Annotated[
        Weight,
        "by what the squared error of x̂₀ is multiplied at each t; by default J is the squared "
        "error of the prediction itself: of eps snr, of v snr_plus_1, of x0",
    ] = None  # type: ignore[assignment]
    learn_sigma: Annotated[
        bool,
        "learn the variance of each pixel as well, between β̃ and β (more/variance.py): ddpm draws "
        "its noise with it",
    ] = False
    grey_levels: Annotated[int | None, "values that a pixel can take"] = None
    loss_aware_t: Annotated[
        bool,
        "draw t more often where the loss is large, weighted so that J stays the same on average",
    ] = False
    objective: Annotated[Objective, "J: sum or mean over a batch, or mean over all values"] = "mse"
    batch_size: Annotated[int, "images in a mini-batch"] = 64
    classes: Annotated[
        bool, "condition on each image's class: its label, or the sub-folder it lies in"
    ] = False
    class_dropout: Annotated[
        float, "with --classes: fraction of images trained without their class, for --guidance"
    ] = 0.1
    class_names: Annotated[tuple[str, ...], "names of the classes 0, 1, …"] = ()
    multipliers: Annotated[
        KindOfMultipliers,
        "what evens out the layers' step sizes: found by hand (nn/multipliers.py), measured in the "
        "warm-up and then frozen, or none, as with adam, which evens them out itself; else",
    ] = None  # type: ignore[assignment]
    ema_decay: Annotated[
        float, "decay of the EMA of θ, with which samples are drawn; 0: no EMA"
    ] = 0.995
    seed: Annotated[int, "every random number is a function of it"] = 0
    steps: Annotated[int | None, "stop after this many steps in all"] = None
    minutes: Annotated[float | None, "stop after this many minutes; --resume starts at 0"] = None
    patience: Annotated[
        int, "stop after this many evaluations without a better held-out J; 0: never"
    ] = 10
    every: Annotated[int, "steps between evaluations, and between checkpoints"] = 100
    keep: Annotated[int, "checkpoints to keep: the newest ones, and the best besides"] = 3
    device: Annotated[str, "cpu, cuda or cuda:1"] = "cpu"
    tf32: Annotated[
        bool, "on a GPU: multiply on tensor cores, faster, with factors rounded to 10 bits"
    ] = False
    graph: Annotated[
        bool, "on a GPU: ask for a step's launches all at once, as a CUDA graph; the same results"
    ] = False
    workers: Annotated[int | None, "processes on a CPU; default: one for each core"] = None
    shards: Annotated[
        int, "parts into which a batch is cut; the last digits of results depend on it"
    ] = 4
    gpu_shards: Annotated[
        int | None, "the same on GPUs; default: 1, and with several ranks as many as --shards"
    ] = None
    # Its fields are options too.
    unet: UNetConfig = field(default_factory=UNetConfig)
    from_run: Annotated[
        str | None,
        "start from the state of a run, a checkpoint or a model that comes with tinyddpm, and with "
        "its options, any of which may change",
    ] = None

    def __post_init__(self) -> None:
        self._complete()
        values = vars(self) | vars(self.unet)
        for name, (least, most) in BOUNDS.items():
            value = values[name]
            if isinstance(value, str):
                continue  # a size such as 48x64
            if value is not None and value < least:
                raise ValueError(f"{name}: expected at least {least}, got {value}")
            if value is not None and value > most:
                raise ValueError(f"{name}: expected at most {most}, got {value}")

        rules = [
            ("attention", min(self.unet.attention, default=1) >= 1, "resolutions of at least 1"),
            ("channels", self.channels in (None, 1, 3), "1 or 3"),
            ("T", self.T > 1 or not self.learn_sigma, "at least 2 with learn_sigma"),
            ("beta", 0 < self.beta < math.inf, "a positive step size"),
            ("ema_decay", 0 <= self.ema_decay < 1, f"a decay {BELOW_1}"),
            ("class_dropout", 0 <= self.class_dropout < 1, f"a fraction {BELOW_1}"),
            ("megapixels", self.megapixels > 0, "a positive number"),
            ("minutes", self.minutes is None or 0 < self.minutes < math.inf, "a positive number"),
        ]
        for name, holds, expected in rules:
            if not holds:
                raise ValueError(f"{name}: expected {expected}, got {values[name]}")

        request(self.size, self.channels, self.crop)
        image = self.unet.image
        if 4 * self.batch_size * math.prod(image) > MAX_BYTES:
            raise ValueError(
                f"batch_size: expected a mini-batch that fits in {MAX_BYTES} bytes, "
                f"got {self.batch_size} images of {image}"
            )
        if self.graph and self.device == "cpu":
            raise ValueError(
                "graph: expected --device cuda with it, got cpu; --no-graph computes without it"
            )
        if self.graph and self.learn_sigma:
            raise ValueError(
                "graph: expected no learned variance with it, because that looks at t on the host "
                "in every step, got learn_sigma; --no-graph computes without it"
            )
        if self.classes and not self.unet.time_conditioning:
            raise ValueError(
                "classes: expected a network conditioned on t, because the class enters it with t, "
                "got time_conditioning = False"
            )

    def _complete(self) -> None:
        """Give a value to the fields whose default depends on others."""
        given = self.optimiser, self.predicts, self.multipliers, self.weight, self.beta
        found = completed(*given, self.objective)._asdict()
        if found["multipliers"] == "measured" and not self.warmup:
            raise ValueError("warmup: expected steps in which to measure multipliers, got 0")
        falls, end = self.decay != "constant", self.decay_steps or self.steps
        if falls and end is None:
            raise ValueError(
                f"decay: expected --steps with {self.decay}, because β falls to 0 at the last step"
            )
        if self.decay_steps and not falls:
            raise ValueError("decay_steps: expected --decay linear or cosine with it, got constant")
        if falls and end:
            found |= {"decay_steps": end, "steps": self.steps or end}
            if end <= self.warmup:
                raise ValueError(
                    f"decay_steps: expected more steps than the warm-up's {self.warmup}, got {end}"
                )
            if found["steps"] > end:
                raise ValueError(
                    f"steps: expected at most {end}, where β has fallen to 0, "
                    f"got {found['steps']}; --from in place of --resume starts a new run, "
                    "whose β falls anew"
                )
        for name, value in found.items():
            object.__setattr__(self, name, value)  # the dataclass is frozen for others

    def for_images(
        self, image: Sequence[int], class_names: Sequence[str] = (), grey_levels: int = 0
    ) -> "Config":
        """This configuration for images of shape (C, H, W), with these classes and grey levels.

        Only a run that learns its variance uses the levels: 256 if the data have no fixed ones.
        """
        channels, height, width = image
        try:
            unet = dataclasses.replace(self.unet, image=(channels, height, width))
        except ValueError as error:
            fits = fitting(height, width, len(self.unet.levels))
            raise ValueError(f"{error}; {fits}") from None
        levels = (grey_levels or 256) if self.learn_sigma else None
        names = tuple(class_names)
        return dataclasses.replace(self, unet=unet, class_names=names, grey_levels=levels)

    def for_ranks(self, ranks: int) -> "Config":
        """This configuration for so many ranks: on a GPU, gpu_shards is no longer None."""
        if self.device == "cpu":
            return self
        count = self.gpu_shards or (self.shards if ranks > 1 else 1)
        if count < ranks:
            raise ValueError(f"gpu_shards: expected one for each of {ranks} ranks, got {count}")
        return dataclasses.replace(self, gpu_shards=count)

    @property
    def parts(self) -> int:
        """Into how many parts a batch is cut on this device."""
        return self.shards if self.device == "cpu" else self.gpu_shards or 1

    def load_data(self) -> tuple[Dataset, tuple[str, ...]]:
        """The data set, labelled if the network is conditioned on classes, and their names."""
        return self.labelled(load(*self.source()))

    def source(
        self,
    ) -> tuple[str, int | str | None, int | None, float, float | None, Crop]:
        """Where the data are, and how they are read: the arguments of `data.load`."""
        return self.data, self.size, self.channels, self.megapixels, self.max_memory, self.crop

    def labelled(self, dataset: Dataset) -> tuple[Dataset, tuple[str, ...]]:
        """What `load_data` gives, of what `data.load` has found."""
        # Older runs had a class for every number up to the largest label.
        known = self.class_names if self.split == "every_sixth" else ()
        return labels.labelled_if(self.classes, dataset, self.data, known)

    def split_data(self, dataset: Dataset) -> tuple[Dataset, Dataset]:
        """(training, held_out) of what `load_data` gives."""
        return split(dataset, self.split)

    def make_schedule(self) -> Schedule:
        """The noise schedule."""
        return SCHEDULES[self.noise_schedule](self.T)

    def make_unet(self) -> UNet:
        """The U-Net. It has no numbers yet: `initialise` it or `bind` it."""
        c = Multipliers() if self.multipliers == "hand" else ONES
        if self.classes:
            shape = ClassConfig(**vars(self.unet), classes=len(self.class_names))
            unet: UNet = (VarianceClassUNet if self.learn_sigma else ClassUNet)(shape, c)
        else:
            unet = (VarianceUNet if self.learn_sigma else UNet)(self.unet, c)
        if 4 * unet.theta_size() > MAX_BYTES:
            raise ValueError(
                f"base, levels: expected a network that fits in {MAX_BYTES} bytes, "
                f"got one of {unet.theta_size():,} parameters"
            )
        return unet

    def step_size(self, k: int) -> float:
        """β at step k: it rises linearly during the warm-up, then stays or falls to 0."""
        beta = self.beta * min(1.0, k / self.warmup) if self.warmup else self.beta
        if not self.decay_steps:
            return beta
        done = min(1.0, max(0.0, (k - self.warmup) / (self.decay_steps - self.warmup)))
        return beta * (1 - done if self.decay == "linear" else (1 + math.cos(math.pi * done)) / 2)
