"""The command line: `tinyddpm train`, `sample`, `explore`, `eval`, `data`, `info` and so on.

    main(["train", "--recipe", "digits", "--out", "runs/digits"])    # returns the exit status

Whatever a person got wrong ends in one line that says what was expected and what came, and in exit
status 2. This is the uppermost room: it imports every other one, and none imports it.
"""

from .main import cli, main

__all__ = ["cli", "main"]
