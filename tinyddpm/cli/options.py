"""Options: those of the configuration, made from its fields, and the types of their values."""

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from ..runs import config as configuration

ALIASES = {"beta": ["--learning-rate", "--lr"], "ema_decay": ["--ema"]}

Command = TypeVar("Command", bound=Callable[..., Any])


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


class Folder(click.Path):
    """The path of a folder. An empty text, such as an unset variable of the shell, is refused.

    It would otherwise mean the folder that one is in.
    """

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if value == "":
            self.fail("expected the name of a folder, got an empty text", param, ctx)
        return super().convert(value, param, ctx)


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
            option = click.option(*names, default=None, type=_click_type(kind), help=text)
        command = option(command)
    return command


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
