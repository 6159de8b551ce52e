"""A new run that starts from the state of another: `tinyddpm train --from RUN`.

    values = options_of("runs/x") | {"beta": 0.1}       # any option may change …
    file, saved = source("runs/x")          # the model that `tinyddpm sample runs/x` draws with
    theta, ema = state(saved, file, model.unet, config)     # … if the network still fits

The new run begins at its own step 1, with its own warm-up. Its EMA goes on: it does not forget the
other's as it would forget random numbers. A file that holds the EMA alone, such as a shipped model,
gives θ too.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from ...data import archives
from ...interop.imported import IMPORTED
from ...nn.module import Module
from ...nn.unet import UNet
from ...types import Array
from .. import checkpoint, config as configuration
from ..checkpoint import Arrays, Checkpoint, CheckpointError
from ..config import Config
from ..divergence import layers
from ..opening import find

LAST = {"last.conv.weight", "last.conv.bias"}  # their last axis is the output channels
TABLE = "classes.table"  # a row for each class, and the last for none (more/classes.py)


def source(run: str | Path) -> tuple[Path, Checkpoint]:
    """The file and the Checkpoint that a run folder, a file or a shipped model's name stands for.

    Raises:
        CheckpointError: there is none, or it is no model of ours.
    """
    called, file, saved = find(Path(run))
    if IMPORTED in saved.state:
        raise CheckpointError(
            f"--from: expected a model that tinyddpm trained, got {called}, which was imported "
            "and is to sample from"
        )
    return file, saved


def options_of(run: str | Path, data: str | None = None) -> dict[str, Any]:
    """The options of a run, as those that a new one begins with.

    Args:
        run: a run folder, a file or a shipped model's name.
        data: what the new run trains on; None: the same. Other images are split in today's way, and
            pictures of a folder get the size and channels of the run's. The same ones keep the
            split, because the model has not seen those held out.
    """
    found = configuration.to_dict(source(run)[1].config)
    dropped = {*configuration.THE_DATA_SAYS, "gpu_shards"}  # the ranks may be others
    if data not in (None, found["data"]):
        dropped |= {"split", "size", "channels"}
        if Path(data).is_dir() or archives.is_one(Path(data)):
            dropped -= {"size", "channels"}
            found["channels"], h, w = found["image"]
            found["size"] = h if h == w else f"{h}x{w}"
    return {name: value for name, value in found.items() if name not in dropped}


def state(saved: Checkpoint, file: Path, unet: UNet, config: Config) -> tuple[Arrays, Arrays]:
    """The parameters and their EMA for `unet`, which a run of `config` trains.

    Multipliers, classes and learn_sigma may differ. Effective weights stay the same, and classes
    keep what was learned for the class of their name; a new one begins as an image without a class.

    Raises:
        CheckpointError: the network is of another shape. The message says which options differ.
    """
    ratio = _ratio(saved.config.make_unet(), unet)
    found = []
    for arrays in (saved.theta or saved.ema, saved.ema):
        values = {name: a * ratio.get(name, a.dtype.type(1)) for name, a in arrays.items()}
        _with_or_without_v(values, config.learn_sigma, unet.config.image[0])
        table = values.pop(TABLE, None)
        if config.classes:
            width = math.prod(unet.parameters()[TABLE].initial_shape[1:])
            values[TABLE] = _rows(table, width, saved.config.class_names, config.class_names)
        found.append(values)
    for values in found:
        try:
            checkpoint.check(unet, values, file)
        except CheckpointError as error:
            raise CheckpointError(_what_differs(saved, config) or str(error)) from None
    return found[0], found[1]


def _ratio(before: Module, now: Module) -> dict[str, np.float32]:
    """c before / c now, by which a parameter changes if its effective weight is not to."""
    c_before, c_now = (
        {name: getattr(layer, "c", 1.0) for name, layer in layers(net)} for net in (before, now)
    )
    return {
        name: np.float32(c_before[layer] / c_now[layer])
        for name in now.parameters()
        if (layer := name.rpartition(".")[0]) in c_before
    }


def _with_or_without_v(values: dict[str, Array], wanted: bool, channels: int) -> None:
    """Let the last layer have channels for v or not, in place. New ones start at zero."""
    for name in LAST & values.keys():
        array = values[name]
        if not wanted:
            values[name] = array[..., :channels]
        elif array.shape[-1] == channels:
            values[name] = np.concatenate([array, 0 * array], axis=-1)


def _rows(table: Array | None, width: int, before: Any, now: Any) -> Array:
    """The table of classes for the names `now`: each has its row, or the last, that of no class."""
    if table is None:
        return np.zeros((len(now) + 1, width), np.float32)
    place = {name: i for i, name in enumerate(before)}
    return table[[place.get(name, len(table) - 1) for name in (*now, None)]]


def _what_differs(saved: Checkpoint, config: Config) -> str:
    """Which options of the network differ, in words."""
    before, now = vars(saved.config.unet), vars(config.unet)
    found = [f"{n} = {before[n]}, not {now[n]}" for n in before if before[n] != now[n]]
    if not found:
        return ""
    return f"--from: the network of {config.from_run} is another: it has {'; '.join(found)}"
