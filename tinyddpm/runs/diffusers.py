"""A network from diffusers as a run folder, and a run as diffusers stores its networks.

    tinyddpm import PATH --out RUN
    tinyddpm export RUN PATH

The folder of an imported run holds one checkpoint. Its tensors have diffusers' names, so that
nothing takes it for a network of ours. Its `state` says under IMPORTED which network they make and
what it predicts; `interop.imported.network` makes it.
"""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from ..interop import diffusers_scheduler, diffusers_unet
from ..interop.diffusers_files import model_folder, read_json, scheduler_file
from ..interop.diffusers_scheduler import Scheduler
from ..interop.diffusers_unet import DiffusersUNet
from ..interop.imported import IMPORTED, network
from ..nn.unet import UNet, UNetConfig
from ..schedule import linear
from . import checkpoint
from .config import Config
from .folder import CHECKPOINT
from .opening import Run, find

PIPELINE = {
    "_class_name": "DDPMPipeline",
    "scheduler": ["diffusers", "DDPMScheduler"],
    "unet": ["diffusers", "UNet2DModel"],
}


def import_folder(path: str | Path, out: str | Path) -> tuple[DiffusersUNet, Scheduler]:
    """Make the run folder `out` from a folder of diffusers; write nothing if anything is wrong.

    Without a scheduler_config.json the network is taken to predict ε on the schedule of Ho et al.
    2020.
    """
    path, out = Path(path), Path(out)
    _check_free(out)
    unet = diffusers_unet.read(path)
    scheduler = _scheduler(path, unet)
    own = UNetConfig(**{f.name: getattr(unet.config, f.name) for f in fields(UNetConfig)})
    config = Config(data=str(path), T=scheduler.schedule.T, unet=own)
    description = {
        "unet": diffusers_unet.to_options(unet.config),
        "scheduler": diffusers_scheduler.to_options(scheduler),
    }
    state = {"progress": {"best": 0.0, "best_step": 0}, IMPORTED: description}
    tensors = diffusers_unet.tensors(unet)
    values = {name: np.ascontiguousarray(view) for name, (_, view) in tensors.items()}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint.save(out / CHECKPOINT, checkpoint.Checkpoint(config, 0, values, values, state))
    return unet, scheduler


def import_notes(path: str | Path) -> list[str]:
    """What a user should know of the folder that `import_folder` read, a sentence each."""
    folder, scheduler = model_folder(path), scheduler_file(path)
    notes = [f"scheduler: {scheduler}"]
    if scheduler is None:
        notes = [
            "scheduler: there is no scheduler_config.json, so the network is taken to predict the "
            "noise, with the 1,000 steps of Ho et al. 2020"
        ]
    average = folder.parent / "unet_ema"
    if folder.name == "unet" and average.is_dir():
        notes.append(f"{average} holds the EMA of these weights: import that for better images")
    return notes


def _scheduler(path: Path, unet: DiffusersUNet) -> Scheduler:
    """The Scheduler beside the network, or that of Ho et al. 2020."""
    file, learned = scheduler_file(path), unet.config.learned_variance
    scheduler = diffusers_scheduler.read(path)
    if file is None or scheduler is None:
        return Scheduler(linear(1000), learned_variance=learned)
    if scheduler.learned_variance and not learned:
        raise ValueError(
            f"{file}: variance_type: expected fixed_small or fixed_large, since the network has as "
            "many output channels as input channels, got learned_range"
        )
    # A DDIMScheduler has no such option. Its network's second half is v all the same.
    named = "variance_type" in read_json(file)
    return scheduler if named else scheduler._replace(learned_variance=learned)


def variance_note(unet: DiffusersUNet, scheduler: Scheduler) -> list[str]:
    """What becomes of the variance that a network learned, in a sentence, if it did."""
    if not unet.config.learned_variance:
        return []
    if not scheduler.learned_variance:
        return [
            "variance: half of the network's output is a learned variance, which is not used, "
            "because the scheduler's variance_type is a fixed one"
        ]
    return [
        "variance: learned; `tinyddpm sample --sampler ddpm` draws with it, in T steps or fewer "
        "(--steps), and other samplers ignore it"
    ]


def export_run(run: str | Path, path: str | Path) -> int:
    """Write the network that `tinyddpm sample` uses, the EMA of a run, into the new folder `path`.

    `diffusers.DDPMPipeline.from_pretrained(path)` loads it.

    Returns:
        T. The pipeline asks for 1,000 steps unless it is told, and refuses more than T.

    Raises:
        ValueError: the network has something that diffusers has no equivalent of. The message says
            what.
    """
    path, run = Path(path), Path(run)
    if not path.name:  # "." cannot be renamed
        raise ValueError(f"{path}: expected the name of a folder that is new or empty")
    _check_free(path)
    unet, scheduler = _network(run)
    beside = path.with_name(path.name + ".writing")  # renamed when everything is there
    diffusers_unet.write(unet, beside)
    diffusers_scheduler.write(scheduler, beside)
    index = json.dumps(PIPELINE, indent=2) + "\n"
    (beside / "model_index.json").write_text(index, encoding="utf-8")
    beside.replace(path)
    return scheduler.schedule.T


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a folder that is new or empty")


def _network(run: Path) -> tuple[UNet, Scheduler]:
    """The network of a run: as it was imported, or one of our own with its EMA."""
    _, _, saved = find(run)
    imported = network(saved.state, saved.ema)
    if imported:
        return imported
    own = Run(run)
    return own.unet, Scheduler(own.schedule, own.predicts, learned_variance=own.learned)
