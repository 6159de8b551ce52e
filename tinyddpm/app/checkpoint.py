"""Checkpoints: everything that a run is, in one safetensors file. Reading one runs no code.

    save("runs/x/checkpoint.safetensors", Checkpoint(...))
    checkpoint = load("runs/x/checkpoint.safetensors")

A file holds each parameter twice, as "theta.<name>" and, averaged, as "average.<name>", in the layout of `nn`
(convolutions kh kw Cin Cout), and as metadata the configuration, the step, and how far the run's convergence is.
"""
import json
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from . import config as configuration

FORMAT = "tinyddpm 1"


@dataclass
class Checkpoint:
    """config: Config;  step: how many are done;  theta, average: name -> array;  state: what else a resumed run needs, as JSON."""
    config: configuration.Config
    step: int
    theta: dict
    average: dict
    state: dict


class CheckpointError(ValueError):
    """The file is not a checkpoint of this program, or is damaged."""


def save(path, checkpoint):
    """Write beside the name, then rename over it: at every moment there is a whole file of that name, or the one before."""
    path = Path(path)
    tensors = {f"theta.{name}": a for name, a in checkpoint.theta.items()}
    tensors |= {f"average.{name}": a for name, a in checkpoint.average.items()}
    metadata = {"format": FORMAT, "config": json.dumps(configuration.to_dict(checkpoint.config)),
                "step": str(checkpoint.step), "state": json.dumps(checkpoint.state)}
    beside = path.with_name(path.name + ".writing")
    save_file(tensors, beside, metadata)
    with open(beside, "rb") as file:
        os.fsync(file.fileno())
    os.replace(beside, path)


def load(path):
    """Raises CheckpointError, naming the file and what is wrong with it."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path}: expected a file of the format {FORMAT!r}, got {metadata.get('format')!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            config = configuration.from_dict(json.loads(metadata["config"]))
            step, state = int(metadata["step"]), json.loads(metadata["state"])
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: not a whole checkpoint: {error}") from None
    parts = {part: {name.removeprefix(part + "."): a for name, a in tensors.items() if name.startswith(part + ".")}
             for part in ("theta", "average")}
    return Checkpoint(config, step, parts["theta"], parts["average"], state)


def fill(net, values, path=""):
    """Copy `values` (name -> array) into the parameters of a bound network. Every name and shape must match."""
    own = net.state()
    problems = [f"{name} is missing" for name in own.keys() - values.keys()]
    problems += [f"{name} is not of this network" for name in values.keys() - own.keys()]
    problems += [f"{name} has shape {values[name].shape}, expected {own[name].shape}"
                 for name in own.keys() & values.keys() if values[name].shape != own[name].shape]
    if problems:
        raise CheckpointError(f"{path}: {'; '.join(sorted(problems)[:3])}" + (f" and {len(problems) - 3} more" if problems[3:] else ""))
    for name, array in own.items():
        array[...] = values[name]
