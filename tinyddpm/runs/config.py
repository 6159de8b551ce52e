"""The configuration of a run: one frozen dataclass, a TOML file with the same names, and the command line's options.

    config = from_dict({"data": "digits", "base": 32, "beta": 1.0})
    write(config, "runs/x/config.toml")

The comment beside each field is the help text of its option. Names are flat: those of the U-Net (`nn.UNetConfig`) stand
beside those of the run.
"""
import dataclasses
import errno
import functools
import inspect
import math
import re
import reprlib
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tomli_w

from ..more.classes import ClassConfig, ClassUNet
from ..more.schedules import SCHEDULES
from ..nn.unet import UNet, UNetConfig
from ..nn.multipliers import ONES, Multipliers
from ..data import labels
from ..data.image_files import MAX_BYTES


@dataclass(frozen=True)
class Config:
    """Everything that a training run is a function of."""
    data: str = "digits"            # "digits", fashion-mnist, mnist, cifar-10, emoji-16 or emoji-32 (see `tinyddpm data`), an IDX, .npy or .npz file, or a folder of images
    size: int | None = None         # side to which the images of a folder are resized and cropped
    channels: int | None = None     # 1: greyscale, 3: RGB; the images' own if not given
    noise_schedule: Literal["linear", "cosine", "scaled_linear", "quadratic", "sigmoid", "sigmoid_beta"] = "linear"  # how much noise each of the T steps adds
    T: int = 1000                   # number of noise steps
    beta: float = 1.4               # step size of gradient descent, θ ← θ − β∇J (for --objective mse)
    warmup: int = 300               # steps over which β rises from 0
    objective: Literal["sum", "batch_mean", "mse"] = "mse"  # J: sum or mean over the batch, or mean over every value
    batch_size: int = 64            # images in a mini-batch
    classes: bool = False           # tell the network the class of each image: the label in the data, or the sub-folder it lies in
    class_dropout: float = 0.1      # with --classes: share of images whose class is kept from it, so that --guidance has something to start from
    class_names: tuple[str, ...] = ()  # of the classes, numbered in this order
    multipliers: bool = True        # even out the layers' step sizes (nn/multipliers.py); without, β must be about 0.1
    ema_decay: float = 0.995          # decay of the running average of θ that samples are drawn with; 0: no average
    seed: int = 0                   # every random number is a function of it
    steps: int | None = None        # stop after so many steps in all
    minutes: float | None = None    # stop after so many minutes, counted anew when resumed
    patience: int = 10              # stop after so many evaluations without a better held-out J; 0: never
    every: int = 100                # steps from one evaluation and checkpoint to the next
    keep: int = 3                   # how many checkpoints to keep, the newest included and the best besides
    device: str = "cpu"             # cpu, cuda or cuda:1
    tf32: bool = False              # on a GPU: let its tensor cores multiply, faster, with factors rounded to 10 bits after the point
    workers: int | None = None      # processes to compute with on a CPU; one for each core if not given
    shards: int = 4                 # parts into which they cut a batch; results depend on it in their last digits
    unet: UNetConfig = field(default_factory=UNetConfig)

    def __post_init__(self):
        at_least = {"size": 1, "T": 1, "warmup": 0, "batch_size": 1, "steps": 1, "patience": 0, "every": 1, "keep": 1, "workers": 1, "shards": 1}
        for name, least in at_least.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}: expected at least {least}, got {value}")
        for name, most in AT_MOST.items():
            value = getattr(self, name, None) or getattr(self.unet, name, 0)
            if value > most:
                raise ValueError(f"{name}: expected at most {most}, got {value}")
        if 4 * self.batch_size * math.prod(self.unet.image) > MAX_BYTES:
            raise ValueError(f"batch_size: expected a mini-batch that fits in {MAX_BYTES} bytes, got {self.batch_size} images of {self.unet.image}")
        if any(resolution < 1 for resolution in self.unet.attention):
            raise ValueError(f"attention: expected resolutions of at least 1, got {self.unet.attention}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels: expected 1 or 3, got {self.channels}")
        if not 0 < self.beta < float("inf"):
            raise ValueError(f"beta: expected a positive step size, got {self.beta}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay: expected a decay from 0 up to, but not including, 1, got {self.ema_decay}")
        if not 0 <= self.class_dropout < 1:
            raise ValueError(f"class_dropout: expected a share from 0 up to, but not including, 1, got {self.class_dropout}")
        if self.classes and not self.unet.time_conditioning:
            raise ValueError("classes: expected a network that is told t, since it is told the class together with it, got time_conditioning = False")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes: expected a positive number, got {self.minutes}")

    def for_images(self, image, class_names=()):
        """This configuration for images of shape (C, H, W), and of these classes if it has a use for them."""
        return dataclasses.replace(self, class_names=tuple(class_names), unet=dataclasses.replace(self.unet, image=tuple(image)))

    def load_data(self):
        """The Dataset to train on, with labels if the network is conditioned on them, and the names of the classes."""
        return labels.load(self.data, self.size, self.channels, self.classes)

    def make_schedule(self):
        return SCHEDULES[self.noise_schedule](self.T)

    def make_unet(self):
        """The U-Net, with no numbers in it yet: `initialise` it or `bind` it."""
        c = Multipliers() if self.multipliers else ONES
        if self.classes:
            unet = ClassUNet(ClassConfig(**vars(self.unet), classes=len(self.class_names)), c)
        else:
            unet = UNet(self.unet, c)
        if 4 * unet.theta_size() > MAX_BYTES:
            raise ValueError(f"base, levels: expected a network that fits in {MAX_BYTES} bytes, got one of {unet.theta_size():,} parameters")
        return unet

    def step_size(self, k):
        """β at step k: it rises linearly during the warm-up, then stays."""
        return self.beta * min(1.0, k / self.warmup) if self.warmup else self.beta


# What may change when a run is resumed: all else would make it another run.
MAY_CHANGE = ("steps", "minutes", "patience", "keep", "device", "tf32", "workers")
# More than anyone has a use for. A larger number is a slip, and would take the machine's memory before it is noticed.
AT_MOST = {"T": 10**6, "blocks": 100, "workers": 1024, "shards": 1024}
LONGEST_FILE = 2**20  # bytes
FORMER_NAMES = {"average": "ema_decay", "told_t": "time_conditioning"}  # in files of older versions
THE_DATA_SAYS = ("image", "class_names")  # names that are no options of the command line


@functools.cache
def option_types():
    """Every name that can be set, with its type, such as int or `float | None`."""
    run = typing.get_type_hints(Config)
    return {name: kind for name, kind in (run | typing.get_type_hints(UNetConfig)).items() if name != "unet"}


def option_help():
    """name -> the comment beside its field."""
    source = inspect.getsource(Config) + inspect.getsource(UNetConfig)
    return dict(re.findall(r"^    (\w+): .*?  # (.*)$", source, flags=re.MULTILINE))


def to_dict(config):
    """Flat, ready for TOML or JSON; names that are None are left out."""
    values = dataclasses.asdict(config)
    values |= values.pop("unet")
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items() if v is not None}


def from_dict(values):
    """A Config from flat names. Raises ValueError, naming the option, for an unknown one or a wrong type or value."""
    types, unet = option_types(), {f.name for f in dataclasses.fields(UNetConfig)}
    for name in values:
        if name not in types:
            raise ValueError(f"{name}: there is no such option; there are {', '.join(sorted(types))}")
    checked = {name: _checked(name, value, types[name]) for name, value in values.items()}
    if "image" not in checked and 4 < len(checked.get("levels", ())) < 12:
        checked["image"] = (1, *[2 ** (len(checked["levels"]) - 1)] * 2)  # the smallest with so many levels, until the data says
    return Config(unet=UNetConfig(**{n: v for n, v in checked.items() if n in unet}),
                  **{n: v for n, v in checked.items() if n not in unet})


def renamed(values):
    """The flat names of an older version's file under the names that they have today."""
    return {FORMER_NAMES.get(name, name): value for name, value in dict(values).items()}


def read(path):
    """The flat names in a TOML file, unchecked. Raises ValueError, naming the file, if it is not TOML."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "expected a file, this is none")  # to read a pipe or a device may never end
        if path.stat().st_size > LONGEST_FILE:
            raise OSError(errno.EFBIG, f"expected at most {LONGEST_FILE} bytes")
        return renamed(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of its syntax, its encoding, a number of too many digits, brackets in brackets
        raise ValueError(f"{path}: not a TOML file: {error}") from None


def write(config, path):
    Path(path).write_text(tomli_w.dumps(to_dict(config)), encoding="utf-8")


def _checked(name, value, kind):
    """`value` if it is of the type that the option has; whole numbers serve as float, lists as tuples."""
    options = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        if isinstance(value, (list, tuple)) and all(type(v) is options[0] and (type(v) is str or abs(v) < 2**63) for v in value):
            return tuple(value)
        raise ValueError(f"{name}: expected a list of {'texts' if options[0] is str else 'whole numbers'}, got {_shown(value)}")
    if typing.get_origin(kind) is Literal:
        if value in options:
            return value
        raise ValueError(f"{name}: expected {' or '.join(options)}, got {_shown(value)}")
    accepted = options or (kind,)  # `int | None` has two
    if type(value) is int and abs(value) >= 2**63 and accepted[0] in (int, float):
        raise ValueError(f"{name}: expected a number of at most 63 bits, got one of {value.bit_length()}")
    if float in accepted and type(value) is int:
        return float(value)
    if type(value) in accepted:
        return value
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "nothing"}
    raise ValueError(f"{name}: expected {words[accepted[0]]}, got {_shown(value)}")


def _shown(value):
    """`value` as Python would write it, cut if it is long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # a number of more digits than Python is willing to write
        return f"a {type(value).__name__}"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
