"""The configuration of a run: a frozen dataclass, a TOML file, and the command line's options.

    config = from_dict({"data": "digits", "base": 32, "beta": 1.0})
    write(config, "runs/x/config.toml")

All three use the same names. The text beside a field's type is the help text of its option. Names
are flat: those of the U-Net (`nn.UNetConfig`) stand beside those of the run.

    fields.py    Config itself: each option with its type, default, help text and bounds
    choices.py   options whose default depends on others, such as β on the optimiser
    files.py     TOML files, those of older versions included
    values.py    checks of types

We check types ourselves, and not with pydantic: to turn its errors into our one line, to make the
names flat and to bound every number would take as many lines as it saves, and a dependency more.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from ...data.folders import as_path, as_seen
from ...nn.unet import UNetConfig
from . import choices
from .fields import Config as Config
from .files import read as read, renamed as renamed
from .values import checked

# What may change when a run is resumed. Everything else would make it another run.
MAY_CHANGE = (
    *("steps", "minutes", "patience", "keep", "device", "tf32", "graph", "workers"),
    *("megapixels", "max_memory"),
)
# These may change too, if the images are still the same: their fingerprint says so.
WHERE_THE_DATA_ARE = ("data", "size", "channels")
# Names that are no options of the command line, because the data decide them.
THE_DATA_SAYS = ("image", "class_names", "grey_levels")
# Names that another system wrote, as this one has them.
NAMES: dict[str, Callable[[Any], Any]] = {
    "data": as_path,
    "class_names": lambda names: tuple(map(as_seen, names)),
}


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


def over(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The flat values of a run or a file, with those given over them (`choices.over`)."""
    return choices.over(values, given, to_dict(Config()))


def over_a_run(
    run: Mapping[str, Any], file: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The flat values of a run for a new one, with those of a file and those given over them."""
    return over(run, over(_suiting(file, over(run, given)), given))


def resumed(
    run: Mapping[str, Any], file: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The flat values of a run that goes on, with those of a file and those given over them."""
    return {**run, **over(_suiting(file, over(run, given)), given)}


def _suiting(file: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """A file's values, but without a β that suits another optimiser than the run has."""
    both = over(run, file)
    deciding = {*choices.FOLLOWS["beta"]} & both.keys() - file.keys()
    kept = over(file, {name: both[name] for name in deciding})
    return {name: value for name, value in file.items() if name != "beta" or name in kept}


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


def write(config: Config, path: str | Path) -> None:
    """Write the configuration as a TOML file. A path has the bytes that the system has for it."""
    text = tomli_w.dumps(to_dict(config))
    Path(path).write_text(text, encoding="utf-8", errors="surrogateescape")
