"""`tinyddpm import PATH --out RUN` and `tinyddpm export RUN PATH`: a network from diffusers as a run folder, and a run for diffusers.

A run folder that was imported holds one checkpoint. Its tensors have diffusers' names, so that nothing takes it for a network of
our own, and its `state` says under IMPORTED what network they make and what it predicts: `interop.imported.network` is that network.
"""
import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from . import checkpoint
from .config import Config
from .folder import CHECKPOINT, RunFolder
from .opening import Run
from ..nn.unet import UNetConfig
from ..schedule import linear
from ..interop import diffusers_scheduler, diffusers_unet
from ..interop.diffusers_scheduler import Scheduler
from ..interop.imported import IMPORTED, network

PIPELINE = {"_class_name": "DDPMPipeline", "scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}


def import_folder(path, out):
    """Make the run folder `out` from a folder of diffusers. Without a scheduler_config.json the network is taken to predict ε on
    the schedule of Ho et al. 2020. Returns the DiffusersUNet and its Scheduler. Nothing is written if anything is wrong."""
    path, out = Path(path), Path(out)
    _check_free(out)
    unet = diffusers_unet.read(path)
    scheduler = diffusers_scheduler.read(path) or Scheduler(linear(1000))
    own = UNetConfig(**{f.name: getattr(unet.config, f.name) for f in fields(UNetConfig)})
    config = Config(data=str(path), T=scheduler.schedule.T, unet=own)
    state = {"progress": {"best": 0.0, "best_step": 0}, IMPORTED: {
        "unet": diffusers_unet.to_options(unet.config), "scheduler": diffusers_scheduler.to_options(scheduler)}}
    values = {name: np.ascontiguousarray(view) for name, (_, view) in diffusers_unet.tensors(unet).items()}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint.save(out / CHECKPOINT, checkpoint.Checkpoint(config, 0, values, values, state))
    return unet, scheduler


def export_run(run, path):
    """Write the averaged network of a run folder, the one that `tinyddpm sample` uses, into the new folder `path`, which
    `diffusers.DDPMPipeline.from_pretrained(path)` loads. ValueError, naming it, for what diffusers has no equivalent of."""
    path, run = Path(path), Path(run)
    _check_free(path)
    newest = RunFolder(run).newest() if run.is_dir() else None
    found = newest and network(newest.checkpoint.state, newest.checkpoint.ema)
    if not found:
        own = Run(run)
        found = own.unet, Scheduler(own.schedule, predicts="x0")
    unet, scheduler = found
    beside = path.with_name(path.name + ".writing")  # and renamed when all is there
    diffusers_unet.write(unet, beside)
    diffusers_scheduler.write(scheduler, beside)
    (beside / "model_index.json").write_text(json.dumps(PIPELINE, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def _check_free(folder):
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a folder that is new or empty")
