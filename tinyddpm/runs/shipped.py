"""Trained models that come with tinyddpm, so that there is something to draw with at once.

    Run("fashion")           # the shipped model, unless a file or folder here is called fashion

Each is a checkpoint of the EMA of θ alone, in half precision; `assets/README.md` says where it
comes from. This makes one from a run folder:

    python -m tinyddpm.runs.shipped fashion runs/fashion
"""

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from . import checkpoint
from .folder import BEST

FOLDER, PREFIX = Path(__file__).parent.parent / "assets", "model-"


def names() -> list[str]:
    """The names of all of them, sorted."""
    return sorted(path.stem.removeprefix(PREFIX) for path in FOLDER.glob(f"{PREFIX}*.safetensors"))


def file(name: str | Path) -> Path:
    """The path of one of them."""
    return FOLDER / f"{PREFIX}{name}.safetensors"


def is_meant(path: Path) -> bool:
    """Whether this path is the name of a shipped model. A file or folder of the name wins."""
    return not path.exists() and str(path) in names()


@contextmanager
def hidden(path: Path) -> Iterator[None]:
    """If what is here is no run, and hides a shipped model, the error says so."""
    try:
        yield
    except checkpoint.CheckpointError as error:
        if str(path) not in names():
            raise
        why = f"it hides the model {path} that comes with tinyddpm"
        raise checkpoint.CheckpointError(f"{error}; {why}") from None


def ship(name: str, folder: str | Path) -> Path:
    """Make the file from the best model in a run folder. Returns its path."""
    saved = checkpoint.load(Path(folder) / BEST)
    half = {name: array.astype(np.float16) for name, array in saved.ema.items()}
    checkpoint.save(file(name), dataclasses.replace(saved, theta={}, ema=half, memory={}))
    return file(name)


if __name__ == "__main__":
    print(ship(*sys.argv[1:]))
