"""Checkpoints: everything that a run is, in one safetensors file. Reading one runs no code.

    save("runs/x/checkpoint.safetensors", Checkpoint(...))
    checkpoint = load("runs/x/checkpoint.safetensors")

A file holds each parameter twice: as "theta.<name>", and its EMA as "ema.<name>". Both have the
layout of `nn` (convolutions kh kw Cin Cout). Under the key "tinyddpm" the metadata hold one JSON
object: the configuration, the step, the state (how far the convergence is, and the fingerprint of
the images), the version, and the sha256 of all this. The same checkpoint gives the same bytes.

There is no state of a random generator, because every number is addressed by seed and step. There
is none of an optimiser, because gradient descent has none. But where a run has another, its vectors
are there too, such as "optimiser.m.<name>" (`training/method.py`).

A file may hold the EMA alone, and in half precision; it is float32 once loaded. That is enough to
sample from, but not to go on from (`shipped.py`).
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .. import __version__
from ..files import for_others_too, replacing
from ..nn.module import Module
from ..types import Array
from . import config as configuration

KEY = "tinyddpm"
FORMAT = "tinyddpm 3"
# Is read too. Its EMA was called "average.<name>", and two options had other names
# (config.FORMER_NAMES).
FORMER = "tinyddpm 2"
MEMORY = ("optimiser.", "timesteps.")  # how the names of what training remembers begin
LONGEST_HEADER = 2**22  # bytes; 35 million parameters in 328 arrays need 70,000
# What reading may raise if a file is cut, changed or forged.
DAMAGE = (SafetensorError, KeyError, TypeError, ValueError, RecursionError, OverflowError)

Arrays = Mapping[str, Array]  # name -> array


@dataclass
class Checkpoint:
    """A run after one of its steps.

    Attributes:
        config: the configuration.
        step: how many steps are done.
        theta: the parameters by name; empty if the file is only to sample from.
        ema: their EMA by name.
        state: what else a resumed run needs, ready for JSON.
        memory: what training remembers besides θ, by names that begin with one of MEMORY.
    """

    config: configuration.Config
    step: int
    theta: Arrays
    ema: Arrays
    state: dict[str, Any]
    memory: Arrays = field(default_factory=dict)


class CheckpointError(ValueError):
    """The file is not a checkpoint of this program, or it is damaged."""


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write the file. At every moment there is a whole file of this name, or the one before.

    Raises:
        OSError: the file cannot be written. The error names it.
    """
    tensors = {f"theta.{name}": array for name, array in checkpoint.theta.items()}
    tensors |= {f"ema.{name}": array for name, array in checkpoint.ema.items()}
    tensors |= checkpoint.memory
    content = {
        "format": FORMAT,
        "version": __version__,
        "config": configuration.to_dict(checkpoint.config),
        "step": checkpoint.step,
        "state": checkpoint.state,
    }
    content["sha256"] = _digest(content, tensors)
    # One key, because safetensors would write several in a random order.
    metadata = {KEY: json.dumps(content, sort_keys=True)}
    with replacing(path) as beside:
        try:
            with for_others_too(beside):
                save_file(tensors, beside, metadata)
        except SafetensorError as error:
            raise _as_os_error(error, path) from None


def _as_os_error(error: SafetensorError, path: str | Path) -> OSError:
    """What safetensors says of a full disk, as Python would say it."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    if not number:
        return OSError(errno.EIO, str(error), str(path))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path))


def load(path: str | Path) -> Checkpoint:
    """Read a file. Nothing that it claims is believed before it is checked.

    Raises:
        CheckpointError: there is no whole checkpoint. The message begins with the path.
    """
    try:
        _check_header(Path(path))
        content, tensors = _read(path)
        _check_sum(content, tensors)
        if content["format"] == FORMER:
            content, tensors = _converted(content, tensors)
        return _checkpoint(content, tensors)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except CheckpointError:
        raise
    except DAMAGE as error:
        raise CheckpointError(f"{path}: not a whole checkpoint: {error}") from None


def check(net: Module, values: Arrays, path: str | Path = "") -> None:
    """Check that `values` are the parameters of `net`, which need not have any numbers yet.

    Raises:
        CheckpointError: a name or a shape differs. The message begins with `path`.
    """
    own = {name: p.initial_shape for name, p in net.parameters().items()}
    problems = [f"{name} is missing" for name in own.keys() - values.keys()]
    problems += [f"{name} is not of this network" for name in values.keys() - own.keys()]
    problems += [
        f"{name} has shape {values[name].shape}, expected {own[name]}"
        for name in own.keys() & values.keys()
        if values[name].shape != own[name]
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:3])
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{path}: {shown}{more}")


def fill(net: Module, values: Arrays, path: str | Path = "") -> None:
    """Copy `values` into the parameters of a bound network, whose names and shapes must match.

    Raises:
        CheckpointError: as for `check`.
    """
    check(net, values, path)
    for name, array in net.state().items():
        array[...] = values[name]


def _check_header(path: Path) -> None:
    """Look at the header's length before anyone makes room for it.

    That of a zip file or a pickle is astronomical.
    """
    if path.exists() and not path.is_file():  # to open a pipe may never end
        raise CheckpointError(
            f"{path}: expected a checkpoint file, got a folder, a pipe or a device"
        )
    with path.open("rb") as file:
        head = file.read(8)
    length, size = int.from_bytes(head, "little"), path.stat().st_size
    if len(head) < 8 or length > min(size - 8, LONGEST_HEADER):
        cut = "cut off, or " if len(head) == 8 and length <= LONGEST_HEADER else ""
        raise ValueError(f"a file of {size} bytes that is {cut}no .safetensors file")


def _read(path: str | Path) -> tuple[Any, Arrays]:
    """The JSON object and the arrays in a safetensors file, unchecked but for their names."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if KEY not in metadata:
            found = metadata.get("format")
            raise CheckpointError(
                f"{path}: expected a file of the format {FORMAT!r}, got {found!r}"
            )
        names = file.keys()
        return json.loads(metadata[KEY]), {name: _read_array(file, name) for name in names}


def _read_array(file: Any, name: str) -> Array:
    """One array of an open safetensors file, if a checkpoint may hold one of its name and type."""
    kind = file.get_slice(name).get_dtype()
    ours = name.startswith(("theta.", "ema.", "average.", *MEMORY))
    if kind not in ("F16", "F32", "F64") or not ours:
        raise ValueError(
            "expected arrays of F32 or F16 called theta.…, ema.…, "
            f"{'…, '.join(MEMORY)}…, got {name[:80]} of {kind}"
        )
    return file.get_tensor(name)


def _check_sum(content: Any, tensors: Arrays) -> None:
    """Take the checksum out of the metadata and compare it with what the file holds."""
    if type(content) is not dict:
        raise ValueError(f"expected an object as metadata, got a {type(content).__name__}")
    claimed = content.pop("sha256")
    if content["format"] not in (FORMAT, FORMER):
        raise ValueError(f"expected the format {FORMAT!r}, got {content['format']!r}")
    if claimed != _digest(content, tensors):
        raise ValueError("its checksum does not match: it was damaged after it was written")


def _converted(content: dict[str, Any], tensors: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Metadata and arrays of the format FORMER, as they are in today's format."""
    content = content | {"config": configuration.renamed(content["config"])}
    return content, {re.sub(r"^average\.", "ema.", name): a for name, a in tensors.items()}


def _checkpoint(content: dict[str, Any], tensors: Arrays) -> Checkpoint:
    """The Checkpoint, if everything has the type that it should have.

    A right checksum proves no good intentions.
    """
    config = configuration.from_dict(configuration.renamed(content["config"]))
    step, state = content["step"], content["state"]
    if type(step) is not int or step < 0:
        raise ValueError(f"expected a step, got {step!r:.80}")
    if type(state) is not dict or type(state.get("progress")) is not dict:
        raise ValueError("expected a state with the progress in it")
    theta, ema = (_part(tensors, prefix) for prefix in ("theta.", "ema."))
    blocks, levels = config.unet.blocks, len(config.unet.levels)
    if blocks * levels > len(ema):  # or a small file could ask for a huge network
        raise ValueError(
            f"its network has {blocks} blocks at each of {levels} levels, "
            f"but only {len(ema)} arrays"
        )
    memory = {name: a for name, a in tensors.items() if name.startswith(MEMORY)}
    return Checkpoint(config, step, theta, ema, state, memory)


def _part(tensors: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin with `prefix`, without it, and those of float16 as float32."""
    return {
        name.removeprefix(prefix): a.astype(np.float32) if a.dtype == np.float16 else a
        for name, a in tensors.items()
        if name.startswith(prefix)
    }


def _digest(content: Mapping[str, Any], tensors: Arrays) -> str:
    """The sha256 of the metadata and of each array's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, a in sorted(tensors.items()):
        digest.update(f"\n{name} {a.dtype.str} {a.shape}\n".encode())
        digest.update(np.ascontiguousarray(a).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
