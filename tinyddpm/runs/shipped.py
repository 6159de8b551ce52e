"""Trained models that come with tinyddpm, so that there is something to draw with before there is a run.

    Run("fashion")           # the shipped model, unless there is a file or a folder called fashion here

Each is a checkpoint of the averaged θ alone, in half precision; `data/README.md` says where it comes from. One is made of a run folder by

    python -m tinyddpm.runs.shipped fashion runs/fashion
"""
import dataclasses
import sys
from pathlib import Path

import numpy as np

from . import checkpoint
from .folder import BEST

FOLDER, PREFIX = Path(__file__).parent.parent / "assets", "model-"


def names():
    return sorted(path.stem.removeprefix(PREFIX) for path in FOLDER.glob(f"{PREFIX}*.safetensors"))


def file(name):
    return FOLDER / f"{PREFIX}{name}.safetensors"


def is_meant(path):
    """Whether this path, at which nothing lies, is the name of a shipped model. What lies in the way wins."""
    return not path.exists() and str(path) in names()


def ship(name, folder):
    """Make the file of the best model in a run folder. Returns its path."""
    saved = checkpoint.load(Path(folder) / BEST)
    half = {n: a.astype(np.float16) for n, a in saved.ema.items()}
    checkpoint.save(file(name), dataclasses.replace(saved, theta={}, ema=half))
    return file(name)


if __name__ == "__main__":
    print(ship(*sys.argv[1:]))
