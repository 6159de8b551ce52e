"""The names that a user may give: recipes, data sets, runs. Each is completed by the shell.

    _TINYDDPM_COMPLETE=bash_source tinyddpm    # what to put into ~/.bashrc

A name that nothing has gets the nearest one that something has. (Click does this for options and
commands.)
"""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..data import datasets
from ..runs import recipes, shipped
from ..runs.folder import CHECKPOINT, CONFIG, RunFolder
from .ranks import speaks

RUNS = Path("runs")  # where `train` puts them


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A question, such as ". Did you mean digits?", or nothing where no name is near.

    Of paths the last parts are compared: two files in one long folder are not near for that.
    """
    last = {name: Path(name).name for name in names}
    near = difflib.get_close_matches(Path(name).name, dict.fromkeys(last.values()), 3)
    meant = [name for part in near for name in last if last[name] == part]
    return f". Did you mean {' or '.join(meant)}?" if meant else ""


class Name(click.ParamType):
    """One of some names. A path may be given too, if `or_path`."""

    name = "name"
    or_path = False

    def known(self) -> list[str]:
        """All names."""
        raise NotImplementedError

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin like this; where there is none, the shell looks for files."""
        found = [CompletionItem(name) for name in self.known() if name.startswith(incomplete)]
        if self.or_path and not found:
            return [CompletionItem(incomplete, type="file")]
        return found


class Recipe(Name):
    """A recipe that comes with tinyddpm."""

    name = "recipe"

    def known(self) -> list[str]:
        """Their names."""
        return recipes.names()

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The name."""
        try:
            recipes.path(value)
        except ValueError as error:
            raise ValueError(f"{error}{did_you_mean(value, self.known())}") from None
        return value


class Data(Name):
    """What to train on. Where nothing has this name or a near one, `data.load` says so."""

    name, or_path = "data", True

    def known(self) -> list[str]:
        """The names of data sets; paths can be given too."""
        return ["digits", *datasets.SOURCES]

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The name or path."""
        if value not in self.known() and not os.path.lexists(value):
            near = did_you_mean(value, [*self.known(), *_beside(value)])
            if near:  # else the loader says what it expects
                raise ValueError(f"--data: there is no data set, file or folder {value!r}{near}")
        return value


class RunName(click.Path, Name):
    """A run folder, a checkpoint, or a shipped model. `runs.opening` says if there is none."""

    or_path = True
    shell_complete = Name.shell_complete

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def known(self) -> list[str]:
        """The shipped models, and the runs in runs/."""
        return [*shipped.names(), *runs()]

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The path."""
        path = Path(str(super().convert(value, param, ctx)))
        there = os.path.lexists(path) or shipped.is_meant(path)
        if not there and speaks():  # other ranks need not have it
            near = did_you_mean(str(path), [*self.known(), *_beside(str(path))])
            if near:
                raise ValueError(
                    f"{path}: there is no run, file or shipped model of this name{near}"
                )
        return path


class Folder(click.Path):
    """The folder that a run is written to. An empty text, such as an unset variable, is refused.

    It would otherwise mean the folder that one is in.
    """

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The path."""
        if value == "":
            self.fail("expected the name of a folder, got an empty text", param, ctx)
        return super().convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The runs that are there, to go on with; else the shell looks for folders."""
        found = [CompletionItem(name) for name in runs() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="dir")]


def no_names(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> None:
    """Refuse a name where options are all. (Other commands take one, so someone will try it.)"""
    if not given:
        return
    name, path = given[0], Path(given[0])
    ways = [
        (f"--recipe {name}", name in recipes.names()),
        (f"--out {name} --resume", RunFolder(path).holds_run()),
        (f"--config {name}", path.suffix == ".toml"),
        (f"--data {name}", name in datasets.SOURCES or path.exists()),
    ]
    way = next((f": say train {way}" for way, is_meant in ways if is_meant), "")
    raise ValueError(f"unexpected extra argument ({' '.join(given)}){way}")


def runs() -> list[str]:
    """The run folders in runs/."""
    marks = CONFIG, CHECKPOINT
    folders = (path for path in RUNS.glob("*") if any((path / mark).exists() for mark in marks))
    return sorted(map(str, folders))


def _beside(name: str) -> list[str]:
    """What there is in the folder in which `name` was sought, written as `name` is."""
    parent = os.path.dirname(name.rstrip("/"))
    try:
        return [os.path.join(parent, entry) for entry in os.listdir(parent or ".")]
    except (OSError, ValueError):
        return []
