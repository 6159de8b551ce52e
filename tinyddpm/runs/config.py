"""The configuration of a run: a frozen dataclass, a TOML file, and the command line's options.

    config = from_dict({"data": "digits", "base": 32, "beta": 1.0})
    write(config, "runs/x/config.toml")

All three use the same names. The text beside a field's type is the help text of its option. Names
are flat: those of the U-Net (`nn.UNetConfig`) stand beside those of the run.

`values.py` checks the types, and not pydantic: to turn its errors into our one line, to make the
names flat and to bound every number would take as many lines as it saves, and a dependency more.
"""

import dataclasses
import errno
import functools
import math
import tomllib
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w

from ..data import Dataset, labels, split
from ..data.asked import request
from ..data.dataset import SplitKind
from ..data.folders import as_path, as_seen
from ..data.image_files import MAX_BYTES, MEGAPIXELS
from ..more.classes import ClassConfig, ClassUNet
from ..more.schedules import SCHEDULES
from ..nn.multipliers import ONES, Multipliers
from ..nn.unet import UNet, UNetConfig
from ..schedule import Schedule
from .values import checked

# What may change when a run is resumed. Everything else would make it another run.
MAY_CHANGE = (
    *("steps", "minutes", "patience", "keep", "device", "tf32", "workers"),
    *("megapixels", "max_memory"),
)
# These may change too, if the images are still the same: their fingerprint says so.
WHERE_THE_DATA_ARE = ("data", "size", "channels")
# Names that are no options of the command line, because the data decide them.
THE_DATA_SAYS = ("image", "class_names")
# What names were called in files of older versions.
FORMER_NAMES = {"average": "ema_decay", "told_t": "time_conditioning"}
# name -> (least, most). Nobody has a use for more than these: a larger number is a slip of the
# finger, and would fill the machine's memory before anyone notices.
BOUNDS = {
    "size": (1, math.inf),
    "T": (1, 10**6),
    "warmup": (0, math.inf),
    "batch_size": (1, math.inf),
    "steps": (1, math.inf),
    "patience": (0, math.inf),
    "every": (1, math.inf),
    "keep": (1, math.inf),
    "workers": (1, 1024),
    "shards": (1, 1024),
    "blocks": (1, 100),
}
BELOW_1 = "from 0 to below 1"
LONGEST_FILE = 2**20  # bytes
# Names that another system wrote, as this one has them.
NAMES: dict[str, Callable[[Any], Any]] = {
    "data": as_path,
    "class_names": lambda names: tuple(map(as_seen, names)),
}

NoiseSchedule = Literal["linear", "cosine", "scaled_linear", "quadratic", "sigmoid", "sigmoid_beta"]
Objective = Literal["sum", "batch_mean", "mse"]


@dataclass(frozen=True)
class Config:
    """Everything that a training run is a function of."""

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
    flip: Annotated[bool, "train on each image flipped from left to right half of the time"] = False
    noise_schedule: Annotated[NoiseSchedule, "how much noise each of the T steps adds"] = "linear"
    T: Annotated[int, "number of noise steps"] = 1000
    beta: Annotated[float, "learning rate β in θ ← θ − β∇J (for --objective mse)"] = 1.4
    warmup: Annotated[int, "steps in which β rises from 0"] = 300
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
        bool, "even out the layers' step sizes (nn/multipliers.py); without, β must be about 0.1"
    ] = True
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
    workers: Annotated[int | None, "processes on a CPU; default: one for each core"] = None
    shards: Annotated[
        int, "parts into which a batch is cut; the last digits of results depend on it"
    ] = 4
    # Its fields are options too.
    unet: UNetConfig = field(default_factory=UNetConfig)
    from_run: Annotated[
        str | None,
        "start from the state of a run, a checkpoint or a model that comes with tinyddpm, and with "
        "its options, any of which may change",
    ] = None

    def __post_init__(self) -> None:
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
            ("beta", 0 < self.beta < math.inf, "a positive step size"),
            ("ema_decay", 0 <= self.ema_decay < 1, f"a decay {BELOW_1}"),
            ("class_dropout", 0 <= self.class_dropout < 1, f"a fraction {BELOW_1}"),
            ("megapixels", self.megapixels > 0, "a positive number"),
            ("minutes", self.minutes is None or self.minutes > 0, "a positive number"),
        ]
        for name, holds, expected in rules:
            if not holds:
                raise ValueError(f"{name}: expected {expected}, got {values[name]}")

        request(self.size, self.channels)
        image = self.unet.image
        if 4 * self.batch_size * math.prod(image) > MAX_BYTES:
            raise ValueError(
                f"batch_size: expected a mini-batch that fits in {MAX_BYTES} bytes, "
                f"got {self.batch_size} images of {image}"
            )
        if self.classes and not self.unet.time_conditioning:
            raise ValueError(
                "classes: expected a network conditioned on t, because the class enters it with t, "
                "got time_conditioning = False"
            )

    def for_images(self, image: Sequence[int], class_names: Sequence[str] = ()) -> "Config":
        """This configuration for images of shape (C, H, W), with these classes."""
        channels, height, width = image
        unet = dataclasses.replace(self.unet, image=(channels, height, width))
        return dataclasses.replace(self, class_names=tuple(class_names), unet=unet)

    def load_data(self) -> tuple[Dataset, tuple[str, ...]]:
        """The data set, labelled if the network is conditioned on classes, and their names."""
        # Older runs had a class for every number up to the largest label.
        known = self.class_names if self.split == "every_sixth" else ()
        return labels.load(
            *(self.data, self.size, self.channels, self.classes, self.megapixels, known),
            max_memory=self.max_memory,
        )

    def split_data(self, dataset: Dataset) -> tuple[Dataset, Dataset]:
        """(training, held_out) of what `load_data` gives."""
        return split(dataset, self.split)

    def make_schedule(self) -> Schedule:
        """The noise schedule."""
        return SCHEDULES[self.noise_schedule](self.T)

    def make_unet(self) -> UNet:
        """The U-Net. It has no numbers yet: `initialise` it or `bind` it."""
        c = Multipliers() if self.multipliers else ONES
        if self.classes:
            shape = ClassConfig(**vars(self.unet), classes=len(self.class_names))
            unet: UNet = ClassUNet(shape, c)
        else:
            unet = UNet(self.unet, c)
        if 4 * unet.theta_size() > MAX_BYTES:
            raise ValueError(
                f"base, levels: expected a network that fits in {MAX_BYTES} bytes, "
                f"got one of {unet.theta_size():,} parameters"
            )
        return unet

    def step_size(self, k: int) -> float:
        """β at step k: it rises linearly during the warm-up, then stays."""
        return self.beta * min(1.0, k / self.warmup) if self.warmup else self.beta


@functools.cache
def option_types() -> dict[str, Any]:
    """Every name that can be set, with its type, such as `int` or `float | None`."""
    return {name: hint.__origin__ for name, hint in _hints().items()}


def option_help() -> dict[str, str]:
    """Every name that can be set, with its help text."""
    return {name: hint.__metadata__[0] for name, hint in _hints().items()}


def _hints() -> dict[str, Any]:
    """Every name that can be set, with its Annotated[type, text]."""
    hints = [typing.get_type_hints(kind, include_extras=True) for kind in (Config, UNetConfig)]
    return {name: hint for name, hint in (hints[0] | hints[1]).items() if name != "unet"}


def to_dict(config: Config) -> dict[str, Any]:
    """The flat names and values, ready for TOML or JSON; names that are None are left out."""
    values = dataclasses.asdict(config)
    values |= values.pop("unet")
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value is not None
    }


def from_dict(values: Mapping[str, Any]) -> Config:
    """A Config from flat names.

    Raises:
        ValueError: there is no option of a name, or a value has the wrong type or is out of bounds.
            The message begins with the option's name.
    """
    types = option_types()
    for name in values:
        if name not in types:
            known = ", ".join(sorted(types))
            raise ValueError(f"{name}: there is no such option; there are {known}")
    found = {name: checked(name, value, types[name]) for name, value in values.items()}
    found |= {name: read(found[name]) for name, read in NAMES.items() if name in found}

    levels = len(found.get("levels", ()))
    if "image" not in found and 4 < levels < 12:
        side = 2 ** (levels - 1)  # the smallest image with this many levels, until the data say
        found["image"] = (1, side, side)
    unet = {f.name: found.pop(f.name) for f in dataclasses.fields(UNetConfig) if f.name in found}
    return Config(**found, unet=UNetConfig(**unet))


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values from an older version's file, under the names of today.

    A run of an older version, whose file always has the image's shape, held out every sixth image.
    """
    found = {FORMER_NAMES.get(name, name): value for name, value in dict(values).items()}
    return {"split": "every_sixth"} | found if "image" in found else found


def read(path: str | Path) -> dict[str, Any]:
    """The flat names and values in a TOML file, unchecked.

    Raises:
        ValueError: the file cannot be read or is not TOML. The message begins with its path.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # to read a pipe or a device may never end
            raise OSError(errno.EINVAL, "expected a file, got a folder, a pipe or a device")
        if path.stat().st_size > LONGEST_FILE:
            raise OSError(errno.EFBIG, f"expected at most {LONGEST_FILE} bytes")
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        return renamed(tomllib.loads(text))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    # Its syntax, its encoding, a number of too many digits, too many brackets within brackets.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}") from None


def write(config: Config, path: str | Path) -> None:
    """Write the configuration as a TOML file. A path has the bytes that the system has for it."""
    text = tomli_w.dumps(to_dict(config))
    Path(path).write_text(text, encoding="utf-8", errors="surrogateescape")
