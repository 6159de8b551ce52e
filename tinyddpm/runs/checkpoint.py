"""Checkpoints: everything that a run is, in one safetensors file. Reading one runs no code.

    save("runs/x/checkpoint.safetensors", Checkpoint(...))
    checkpoint = load("runs/x/checkpoint.safetensors")

A file holds each parameter twice, as "theta.<name>" and, averaged, as "ema.<name>", in the layout of `nn`
(convolutions kh kw Cin Cout), and one JSON object as metadata, under the key "tinyddpm": the configuration, the step, the state
(how far the convergence is, the fingerprint of the images), the version, and the sha256 of all that. There is no state of a
random generator to keep, since each number is addressed by seed and step, and none of an optimiser, since gradient descent has
none. The same checkpoint gives the same bytes. A file may hold the average alone, and numbers in half precision, which are float32
once they are loaded: enough to sample from, not to go on from (`shipped.py`).
"""
import errno
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .. import __version__
from . import config as configuration
from ..files import replacing

FORMAT, KEY = "tinyddpm 3", "tinyddpm"
FORMER = "tinyddpm 2"  # is read too: it said "average." for "ema.", and some options had other names (config.FORMER_NAMES)
LONGEST_HEADER = 2**22  # bytes; 35 million parameters in 328 arrays need 70,000


@dataclass
class Checkpoint:
    """config: Config;  step: how many are done;  theta, ema: name -> array;  state: what else a resumed run needs, as JSON."""
    config: configuration.Config
    step: int
    theta: dict
    ema: dict
    state: dict


class CheckpointError(ValueError):
    """The file is not a checkpoint of this program, or is damaged."""


def save(path, checkpoint):
    """At every moment there is a whole file of that name, or the one before. OSError, naming the file, if it cannot be written."""
    tensors = {f"theta.{name}": a for name, a in checkpoint.theta.items()}
    tensors |= {f"ema.{name}": a for name, a in checkpoint.ema.items()}
    content = {"format": FORMAT, "version": __version__, "config": configuration.to_dict(checkpoint.config),
               "step": checkpoint.step, "state": checkpoint.state}
    content["sha256"] = _digest(content, tensors)
    with replacing(path) as beside:
        try:
            save_file(tensors, beside, {KEY: json.dumps(content, sort_keys=True)})  # one key: the order of several would be random
        except SafetensorError as error:  # which is how it reports a full disk
            number = re.search(r"\(os error (\d+)\)", str(error))
            raise OSError(int(number[1]) if number else errno.EIO, os.strerror(int(number[1])) if number else str(error), str(path)) from None


def load(path):
    """Raises CheckpointError, naming the file, if what is there is no whole checkpoint. What it claims is not believed unseen."""
    try:
        _check_header(Path(path))
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if KEY not in metadata:
                raise CheckpointError(f"{path}: expected a file of the format {FORMAT!r}, got {metadata.get('format')!r}")
            tensors = {name: _read(file, name) for name in file.keys()}
        return _checked(json.loads(metadata[KEY]), tensors)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except CheckpointError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise CheckpointError(f"{path}: not a whole checkpoint: {error}") from None


def check(net, values, path=""):
    """CheckpointError unless `values` (name -> array) are the parameters of `net`, which need not have any numbers yet."""
    own = {name: p.initial_shape for name, p in net.parameters().items()}
    problems = [f"{name} is missing" for name in own.keys() - values.keys()]
    problems += [f"{name} is not of this network" for name in values.keys() - own.keys()]
    problems += [f"{name} has shape {values[name].shape}, expected {own[name]}"
                 for name in own.keys() & values.keys() if values[name].shape != own[name]]
    if problems:
        raise CheckpointError(f"{path}: {'; '.join(sorted(problems)[:3])}" + (f" and {len(problems) - 3} more" if problems[3:] else ""))


def fill(net, values, path=""):
    """Copy `values` (name -> array) into the parameters of a bound network. Every name and shape must match."""
    check(net, values, path)
    for name, array in net.state().items():
        array[...] = values[name]


def _check_header(path):
    """What the header's length must be, before anyone makes room for it. (That of a zip file or a pickle is astronomical.)"""
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path}: expected a checkpoint, this is no file")  # to open a pipe may never end
    with path.open("rb") as file:
        head = file.read(8)
    length, size = int.from_bytes(head, "little"), path.stat().st_size
    if len(head) < 8 or length > min(size - 8, LONGEST_HEADER):
        raise ValueError(f"a file of {size} bytes whose header claims {length}")


def _read(file, name):
    """One array of a safetensors file, if it is one of a checkpoint."""
    kind = file.get_slice(name).get_dtype()
    if kind not in ("F16", "F32", "F64") or not name.startswith(("theta.", "ema.", "average.")):
        raise ValueError(f"expected arrays of F32 or F16 called theta.… or ema.…, got {name[:80]} of {kind}")
    return file.get_tensor(name)


def _checked(content, tensors):
    """The Checkpoint, if the sum is right and everything has the type that it should have: a sum proves no good intentions."""
    if type(content) is not dict:
        raise ValueError(f"expected an object as metadata, got a {type(content).__name__}")
    claimed = content.pop("sha256")
    if content["format"] not in (FORMAT, FORMER):
        raise ValueError(f"expected the format {FORMAT!r}, got {content['format']!r}")
    if claimed != _digest(content, tensors):
        raise ValueError("its checksum does not match what it holds: it was damaged after it was written")
    if content["format"] == FORMER:
        content["config"] = configuration.renamed(content["config"])
        tensors = {re.sub(r"^average\.", "ema.", name): a for name, a in tensors.items()}
    config, step, state = configuration.from_dict(content["config"]), content["step"], content["state"]
    if type(step) is not int or step < 0 or type(state) is not dict or type(state.get("progress")) is not dict:
        raise ValueError("expected a step, and a state with the progress in it")
    parts = {part: {name.removeprefix(part + "."): a.astype(np.float32) if a.dtype == np.float16 else a
                    for name, a in tensors.items() if name.startswith(part + ".")} for part in ("theta", "ema")}
    if config.unet.blocks * len(config.unet.levels) > len(parts["ema"]):  # or a small file could ask for a huge network
        raise ValueError(f"its network has {config.unet.blocks} blocks at each of {len(config.unet.levels)} levels, but only {len(parts['ema'])} arrays")
    return Checkpoint(config, step, parts["theta"], parts["ema"], state)


def _digest(content, tensors):
    """sha256 of the metadata and of each array's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name, a in sorted(tensors.items()):
        digest.update(f"\n{name} {a.dtype.str} {a.shape}\n".encode())
        digest.update(np.ascontiguousarray(a).reshape(-1).view(np.uint8))
    return digest.hexdigest()
