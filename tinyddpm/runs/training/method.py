"""What a run does in place of the lecture's gradient and update, and what that remembers.

    gradient, update = gradient_of(config), update_of(config)
    arrays = remembered({"optimiser": update}, unet)     # for a checkpoint
    remember({"optimiser": update}, arrays, unet, path)  # from one

A vector like θ is saved parameter by parameter, as θ is: "optimiser.m.last.conv.weight". Anything
smaller is saved whole: "optimiser.steps".
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autograd import backend

from ... import train
from ...alone import Comm
from ...more import predictions
from ...more.training import hybrid
from ...more.training.calibration import Measured, by_kind
from ...more.training.optimisers import Adam, Momentum
from ...more.training.state import Remembers
from ...more.training.timesteps import LossAware
from ...nn.module import Module
from ...nn.unet import UNet
from ...types import Array, Gradient, Update
from .. import checkpoint
from ..checkpoint import Arrays, Checkpoint, CheckpointError
from ..config import Config


def gradient_of(config: Config) -> Gradient:
    """The gradient of one shard, for a network that predicts what `config` says."""
    how: dict[str, Any] = {"predicts": config.predicts, "weight": config.weight}
    if config.learn_sigma:
        return partial(hybrid.gradient, **how, grey_levels=config.grey_levels or 256)
    if (config.predicts, config.weight, config.loss_aware_t) == ("x0", "none", False):
        return train.gradient
    return partial(predictions.gradient, **how)


def update_of(config: Config) -> Update:
    """The update: the lecture's line, or another that has not made a step yet."""
    if config.multipliers == "measured":
        return Measured(config.warmup, momentum=0.9 if config.optimiser == "momentum" else 0.0)
    if config.optimiser == "sgd":
        return train.gradient_descent
    return {"momentum": Momentum, "adam": Adam}[config.optimiser]()


def measured(saved: Checkpoint, net: UNet, path: str | Path) -> dict[str, tuple[float, ...]]:
    """How large c² is for each kind of layer (`calibration.by_kind`), if it was measured at all."""
    update = update_of(saved.config)
    if not isinstance(update, Measured) or not saved.memory:
        return {}
    own = {name: array for name, array in saved.memory.items() if name.startswith("optimiser.")}
    remember({"optimiser": update}, own, net, path)
    return dict(by_kind(net, update.measured(net)))


def timesteps_of(config: Config) -> LossAware | None:
    """What draws t in place of `train`, if anything does."""
    if not config.loss_aware_t:
        return None
    weights = predictions.weights(config.make_schedule(), config.weight)
    return LossAware(config.T, weights)


def remembered(parts: Mapping[str, Any], net: Module) -> dict[str, Array]:
    """What the parts remember, in main memory, under names for a checkpoint.

    Raises:
        FloatingPointError: a number is no longer finite.
    """
    found: dict[str, Array] = {}
    slices, parameters = net.slices(), net.parameters()
    for part, owner in parts.items():
        state = owner.state() if isinstance(owner, Remembers) else {}
        for name, array in state.items():
            if not bool(backend.array_module(array).isfinite(array).all()):
                raise FloatingPointError(f"{name} of the {part} is no longer finite")
            array = backend.to_numpy(array)
            if array.shape != net.theta.shape:
                found[f"{part}.{name}"] = array
                continue
            for parameter, where in slices.items():
                shape = parameters[parameter].initial_shape
                found[f"{part}.{name}.{parameter}"] = array[where].reshape(shape)
    return found


def remember(parts: Mapping[str, Any], saved: Arrays, net: Module, path: str | Path) -> None:
    """Let the parts go on from what a checkpoint holds, which comes from the file `path`.

    Raises:
        CheckpointError: something is missing, left over, or not of such a part.
    """
    for part in {name.partition(".")[0] for name in saved} - parts.keys():
        raise CheckpointError(f"{path}: {part}.… is not of this run, which has no such part")
    for part, owner in parts.items():
        own = {n.removeprefix(f"{part}."): a for n, a in saved.items() if n.startswith(f"{part}.")}
        if not isinstance(owner, Remembers):
            if own:
                raise CheckpointError(f"{path}: {part}.{min(own)} is not of this run")
            continue
        if not own:
            raise CheckpointError(
                f"{path}: the state of the {part} is missing, so the run cannot go on exactly; "
                "--from in place of --resume starts a new run from its θ"
            )
        try:
            owner.load(_whole(own, net, f"{path}: {part}"))
        except CheckpointError:
            raise
        except ValueError as error:
            raise CheckpointError(f"{path}: {part}: {error}") from None


def share(owner: Any, comm: Comm) -> None:
    """Give all ranks what it remembers on rank 0: arrays in main memory."""
    if not isinstance(owner, Remembers):
        return
    state = owner.state()
    kinds = comm.bcast({name: (array.shape, array.dtype) for name, array in state.items()})
    if comm.rank:
        state = {name: np.empty(*kind) for name, kind in kinds.items()}
    for array in state.values():
        comm.Bcast(array)
    if comm.rank:
        owner.load(state)


def move(owner: Any, net: Module, device: str) -> None:
    """Move the vectors like θ that it remembers to the device."""
    if isinstance(owner, Remembers) and (state := owner.state()):
        owner.load(
            {
                name: backend.to_device(a, device) if a.shape == net.theta.shape else a
                for name, a in state.items()
            }
        )


def _whole(arrays: Arrays, net: Module, place: str) -> dict[str, Array]:
    """The state whose arrays these are: those of one name, one for each parameter, are a vector."""
    vectors: dict[str, dict[str, Array]] = {}
    state = {}
    for name, array in arrays.items():
        of, _, parameter = name.partition(".")
        if parameter:
            vectors.setdefault(of, {})[parameter] = array
        else:
            state[of] = array
    for name, values in vectors.items():
        checkpoint.check(net, values, f"{place}.{name}")
        if name in state:
            raise CheckpointError(f"{place}.{name}: expected one of this name, got two")
        state[name] = vector = backend.to_numpy(net.theta) * 0
        for parameter, where in net.slices().items():
            vector[where] = values[parameter].ravel()
    return state
