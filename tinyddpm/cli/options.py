"""Options: those of the configuration, made from its fields, and the types of their values."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from ..nn.unet import UNetConfig
from ..runs import config as configuration
from .names import Data, RunName, did_you_mean

ALIASES = {
    "beta": ["--learning-rate", "--lr"],
    "ema_decay": ["--ema"],
    "from_run": ["--from"],
}
LONGEST_CHOICES = 25  # characters; more of them stand in the text

Command = TypeVar("Command", bound=Callable[..., Any])


# As in runs/chains.py and more/schedules.py (a test compares): help must not wait for them.
SAMPLERS = ("ddpm", "ddim", "dpm", "heun")
GRIDS = ("even", "log-snr-6", "log-snr", "quadratic", "karras")


class Choice(click.Choice[str]):
    """One of some names. One that is none of them gets the nearest."""

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The name."""
        if value not in self.choices:
            meant = did_you_mean(str(value), self.choices)
            expected = f"expected one of {', '.join(self.choices)}"
            raise ValueError(f"{param.opts[0]}: {expected}, got {value!r}{meant}")
        return str(value)


def of_chain(command: Command) -> Command:
    """Add the options that say how images are drawn. One that is not given stays None."""
    for option in reversed(CHAIN):  # the last option that is added is the first in --help
        command = option(command)
    return command


CHAIN = (
    click.option(
        "--sampler",
        type=Choice(SAMPLERS),
        help="ddpm: all T steps, with noise; ddim: fewer; dpm (DPM-Solver++) and heun: of second "
        "order [dpm with --steps 25 --eta 1 --grid log-snr-6, which looks best for its time; an "
        "imported model: ddim]",
    ),
    click.option(
        "--steps",
        type=int,
        help="how many; of ddpm only if the run learned its variance [25; 50 if --sampler is "
        "named, T for ddpm]",
    ),
    click.option(
        "--eta", type=float, help="noise of ddim and dpm, from 0 to 1 [1; 0 if --sampler is named]"
    ),
    click.option(
        "--grid",
        type=Choice(GRIDS),
        metavar="NAME",
        help="timesteps are even in t, in log-SNR (as far as 6, or to t = 1), in √t or in σ^(1/7): "
        f"{', '.join(GRIDS)} [log-snr-6; even if --sampler is named]",
    ),
    click.option(
        "--clip",
        type=click.Choice(["yes", "no"]),
        help="hold x̂_0 within [-1, 1] [yes; an imported model has its own bound or none]",
    ),
    click.option(
        "--guidance",
        type=float,
        help="weight of the class: 0: none, 1: as learned, 3: clearer images with less variety [1]",
    ),
)


class Numbers(click.ParamType):
    """Whole numbers with commas between them, such as 1,2,2. An empty text is none."""

    name = "N,N,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers as a tuple."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in value.split(",") if part)
        except ValueError:
            self.fail(f"expected whole numbers with commas between them, got {value!r}", param, ctx)


class Size(click.ParamType):
    """A side, such as 32, or height x width, such as 48x64."""

    name = "N|HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """The side, or the text."""
        return int(value) if isinstance(value, int) or value.isdecimal() else value.lower()

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """As it is typed: click would show capitals."""
        return self.name


OWN_TYPES = {"data": Data, "from_run": RunName, "size": Size}


def of_configuration(command: Command) -> Command:
    """Add an option for every field of the configuration. One that is not given stays None."""
    types, texts = configuration.option_types(), configuration.option_help()
    defaults = configuration.to_dict(configuration.Config())
    for name in reversed(types):  # the last option that is added is the first in --help
        if name in configuration.THE_DATA_SAYS:
            continue
        flag, kind, text = name.replace("_", "-"), types[name], texts[name]
        if name in defaults:
            text = f"{text} [{_shown(defaults[name])}]"
        if kind is bool:
            option = click.option(f"--{flag}/--no-{flag}", name, default=None, help=text)
        else:
            names = f"--{flag}", *ALIASES.get(name, []), name
            of_click = OWN_TYPES[name]() if name in OWN_TYPES else _click_type(kind)
            metavar = "RUN" if name == "from_run" else None
            if isinstance(of_click, click.Choice):
                others = [choice for choice in of_click.choices if choice != defaults.get(name)]
                if len("|".join(of_click.choices)) > LONGEST_CHOICES:
                    metavar, text = "NAME", f"{text}, or {', '.join(others)}"
            option = click.option(*names, default=None, type=of_click, metavar=metavar, help=text)
        command = option(command)
    return command


def groups() -> dict[str, list[str]]:
    """The options of `train` in groups: title -> names. A new one is of "Training"."""
    fields = [field.name for field in dataclasses.fields(UNetConfig)]
    return {
        "What most people need": [
            *("recipe", "data", "size", "classes", "out"),
            *("steps", "minutes", "resume", "device", "base"),
        ],
        "Data": ["channels", "crop", "flip", "max_memory", "class_dropout"],
        "Network": [name for name in fields if name != "base"],
        "Learning": [
            *("beta", "warmup", "decay", "decay_steps", "optimiser", "multipliers"),
            *("predicts", "weight", "learn_sigma", "loss_aware_t", "objective", "batch_size"),
            "ema_decay",
        ],
        "Training": [],
        "Where it runs": ["workers", "shards", "gpu_shards", "tf32", "graph"],
    }


def _shown(default: Any) -> str:
    if isinstance(default, list):
        return ",".join(map(str, default))
    return str(default).lower() if isinstance(default, bool) else str(default)


def _click_type(kind: Any) -> Any:
    """How click reads an option of this type."""
    options = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return Numbers()
    if typing.get_origin(kind) is Literal:
        return click.Choice(options)
    return options[0] if options else kind  # `int | None` reads as an int
