"""What a run changes with every step, and a checkpoint keeps."""

import hashlib
import math
from pathlib import Path
from typing import Any

from autograd import backend

from ...alone import Comm
from ...nn.module import Module
from .. import checkpoint, config as configuration
from ..checkpoint import Checkpoint, CheckpointError
from ..config import Config
from ..folder import BEST, FOUND, RunFolder
from . import method, start
from .lines import tell
from .progress import Progress


class Model:
    """A U-Net with its θ, a second one with the EMA of θ, the steps done, and the progress.

    It has the update too, because an optimiser remembers something of each step.

    Args:
        config: the configuration, completed by the data.
        fingerprint: of the images and labels.

    Attributes:
        update: what is done with the gradient.
        timesteps: what draws t in place of `train`, or None.
        parts: what may remember something of the steps before, by the name in a checkpoint.
        from_step: how many steps the run of `config.from_run` had done; 0 without one.
    """

    def __init__(self, config: Config, fingerprint: str) -> None:
        self.config, self.fingerprint = config, fingerprint
        self.unet = config.make_unet().initialise(config.seed)
        self.ema = config.make_unet().bind(self.unet.theta.copy())
        self.step, self.progress, self.from_step = 0, Progress(), 0
        self.update = method.update_of(config)
        self.timesteps = method.timesteps_of(config)
        self.parts: dict[str, Any] = {"optimiser": self.update}
        if self.timesteps:
            self.parts["timesteps"] = self.timesteps

    def move(self, device: str) -> None:
        """Move both networks to the device, and the optimiser's vectors."""
        theta, grad = self.unet.theta, self.unet.grad
        self.unet.bind(backend.to_device(theta, device), backend.to_device(grad, device))
        self.ema.bind(backend.to_device(self.ema.theta, device))
        for part in self.parts.values():
            method.move(part, self.unet, device)

    def checkpoint(self) -> Checkpoint:
        """All of it, for `become`.

        Raises:
            FloatingPointError: θ is no longer finite. Such a state is not worth keeping.
        """
        if not (_finite(self.unet) and _finite(self.ema)):
            beta = self.config.step_size(self.step)
            raise FloatingPointError(
                f"θ is no longer finite after step {self.step}: β = {beta} is probably too large"
            )
        theta, ema = (
            {name: backend.to_numpy(array) for name, array in net.state().items()}
            for net in (self.unet, self.ema)
        )
        state: dict[str, Any] = {"progress": vars(self.progress), "data": self.fingerprint}
        if self.from_step:
            state["from_step"] = self.from_step
        memory = method.remembered(self.parts, self.unet)
        return Checkpoint(self.config, self.step, theta, ema, state, memory)

    def start_from(self, run: str) -> None:
        """Begin with θ and the EMA of another run. An optimiser begins anew.

        Raises:
            ValueError: there is no such run, or its network is another.
        """
        file, saved = start.source(run)
        theta, ema = start.state(saved, file, self.unet, self.config)
        checkpoint.fill(self.unet, theta, file)
        checkpoint.fill(self.ema, ema, file)
        self.from_step = saved.step

    def become(self, saved: Checkpoint, path: str | Path) -> None:
        """Take over everything from a Checkpoint, which comes from the file `path`.

        Raises:
            ValueError: it is a checkpoint of another run.
        """
        self._check_same_run(saved)
        checkpoint.fill(self.unet, saved.theta, path)
        checkpoint.fill(self.ema, saved.ema, path)
        if saved.step or saved.memory:  # before the first step there is nothing to remember
            method.remember(self.parts, saved.memory, self.unet, path)
        self.step, self.progress = saved.step, Progress.of(saved, path)
        self.from_step = saved.state.get("from_step", 0)
        if type(self.from_step) is not int or self.from_step < 0:
            raise CheckpointError(f"{path}: expected a from_step, got {self.from_step!r:.80}")

    def go_on(self, folder: RunFolder) -> None:
        """Become what the folder's newest whole checkpoint says, if there is one."""
        found = folder.newest()
        if not found:
            return
        self.become(found.checkpoint, found.path)
        for line in folder.go_on_from(found):
            tell(line)
        if self.progress.best_step and not folder.has_best(self.progress.best_step):
            self.progress.best = math.inf
            tell(
                f"{folder.path / BEST} is not whole: "
                "the next evaluation will be the best until there is a better one"
            )

    def share(self, comm: Comm) -> None:
        """Become, on all ranks, what it is on rank 0. Theirs are overwritten."""
        state = self.step, self.progress, self.from_step
        self.step, self.progress, self.from_step = comm.bcast(state)
        for net in (self.unet, self.ema):
            comm.Bcast(net.theta)
        for part in self.parts.values():
            method.share(part, comm)

    def digest(self) -> str:
        """The beginning of the sha256 of θ and its EMA."""
        found = hashlib.sha256()
        for net in (self.unet, self.ema):
            found.update(backend.to_numpy(net.theta).data)
        return found.hexdigest()[:12]

    def _check_same_run(self, saved: Checkpoint) -> None:
        """Only a run that is the same in all that its numbers depend on may go on.

        Where the images lie is not among it: their fingerprint says whether they are the same.
        """
        before, now = configuration.to_dict(saved.config), configuration.to_dict(self.config)
        differ = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
        differ -= {*configuration.MAY_CHANGE}
        if "gpu_shards" not in before.keys() & now.keys():  # it ran, or runs, on a CPU
            differ.discard("gpu_shards")
        of_images = {*configuration.WHERE_THE_DATA_ARE}
        found_in_them = {*configuration.THE_DATA_SAYS}
        for name in sorted(differ - of_images - found_in_them):
            raise ValueError(
                f"{name}: the run to resume has {before.get(name)!r}, not {now.get(name)!r}; "
                "--from in place of --resume starts a new run from its state"
            )
        if saved.state.get("data") != self.fingerprint:
            what = "images and labels" if self.config.classes else "images"
            holds = "does not hold" if differ & of_images else "no longer holds"
            were = ", ".join(f"{name} {before.get(name)}" for name in sorted(differ & of_images))
            raise ValueError(
                f"data: {self.config.data} {holds} the {what} that the run to resume was trained on"
                + (f" (it had {were})" if were else f"; the run's {FOUND} says what they were")
            )
        for name in sorted(differ & found_in_them):  # sub-folders with other names
            raise ValueError(
                f"{name}: the run to resume has {before.get(name)!r}, not {now.get(name)!r}"
            )


def _finite(net: Module) -> bool:
    return bool(backend.array_module(net.theta).isfinite(net.theta).all())
