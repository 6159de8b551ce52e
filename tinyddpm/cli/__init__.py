"""The command line: `tinyddpm train`, `sample`, `explore`, `eval`, `data`, `info` and so on.

    main(["train", "--recipe", "digits", "--out", "runs/digits"])    # returns the exit status

Whatever a person got wrong ends in one line that says what was expected and what came, and in exit
status 2. This is the uppermost room: it imports every other one, and none imports it.

`group.py` has the group of all commands. It is loaded when it is needed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..starting import end_at_ctrl_c
from .streams import open_closed

if TYPE_CHECKING:
    from .group import cli

__all__ = ["cli", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The console command. Returns the exit status.

    Args:
        arguments: None: those of this process, whose streams and whose Ctrl-C are then seen to.
    """
    if arguments is None:
        end_at_ctrl_c()  # until it is loaded
        open_closed()  # what it loads may look at the streams
    from . import group

    return group.program() if arguments is None else group.run(arguments)


def __getattr__(name: str) -> Any:
    if name == "cli":
        from .group import cli

        return cli
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
