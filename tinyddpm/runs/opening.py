"""Images from a trained run.

    run = Run("runs/x")                                                                 # or Run("fashion"), which is shipped: see shipped.py
    *_, (t, x0, x0_hat) = run.sample(n=64, sampler="ddim", steps=50, seed=0)
    *_, (t, x0, x0_hat) = run.sample(n=64, label="3", guidance=3.0)                     # of a run that was trained with classes
    with run.denoiser(labels=np.arange(10), guidance=3.0) as denoiser: …                # for samplers of your own choice
"""
import math
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from autograd import backend

from .. import noise
from ..more.classes import guided
from ..more.predictions import denoiser
from ..sampler import ancestral, ddim, timestep_grid
from . import checkpoint, shipped
from .computing import computing
from ..data.image_files import MAX_BYTES
from ..data.labels import number
from ..interop.imported import network
from .folder import BEST, RunFolder


class Run:
    """A run folder, a checkpoint file, or by its name a shipped model, ready to be sampled from: with the averaged θ of its best evaluation.

    Attributes: called, in words; config, step, schedule, unet, what it predicts ("x0", but "eps" or "v" of an imported one), and the variance of its
    ancestral sampler (see `ancestral`). tf32: on a GPU, see `backend.tf32`.
    """

    def __init__(self, path, device="cpu", tf32=False):
        self.called = str(path)
        if shipped.is_meant(path := Path(path)):
            self.called, path = f"{path}, which comes with tinyddpm", shipped.file(path)
        path, saved = _read(path)
        self.config, self.step, self.saved = saved.config, saved.step, saved
        imported = network(saved.state, saved.ema)
        if imported:
            self.unet, scheduler = imported
            self.schedule, self.predicts = scheduler.schedule, scheduler.predicts
            self.variance = scheduler.schedule.beta if scheduler.large_variance else None
        else:
            self.schedule, self.predicts, self.variance = self.config.make_schedule(), "x0", None
            self.unet = self.config.make_unet()
            checkpoint.check(self.unet, saved.ema, path)  # before there is room made for what the file claims
            checkpoint.fill(self.unet.bind(np.zeros(self.unet.theta_size(), np.float32)), saved.ema, path)
        self.unet.bind(backend.to_device(self.unet.theta, device))
        self.device, self.tf32 = device, tf32

    def sample(self, n, sampler="ddpm", steps=None, seed=0, eta=0.0, clip=1.0, label=None, guidance=None):
        """A generator of (t, x_t, x̂_0), each (n, C, H, W); the last has t = 0.

        sampler  "ddpm": all T steps, with noise; "ddim": `steps` of them (50 if None), with noise according to eta
        seed     image i is a function of seed and i, so the first 8 of 64 are those of n = 8
        label, guidance  of a run with classes: the class to draw, by name or number, each in turn if None; and w (see `guided`), 1 if None
        """
        shape = self.config.unet.image
        most = MAX_BYTES // (4 * math.prod(shape))
        if not isinstance(n, int) or not 1 <= n <= most:
            raise ValueError(f"n: expected at least 1, and at most the {most} images that fit in {MAX_BYTES} bytes, got {n}")
        if not 0 <= eta <= 1:
            raise ValueError(f"eta: expected 0 to 1, got {eta}")
        if sampler not in ("ddpm", "ddim"):
            raise ValueError(f"sampler: expected ddpm or ddim, got {sampler!r}")
        if sampler == "ddpm" and steps not in (None, self.schedule.T):
            raise ValueError(f"steps: ddpm takes all T = {self.schedule.T} steps; choose ddim for {steps}")
        if sampler == "ddpm" and eta:
            raise ValueError(f"eta: ddpm always adds its noise; choose ddim for {eta}")
        steps = min(50, self.schedule.T) if steps is None else steps
        timestep_grid(self.schedule.T, steps)  # raises now, and not at the first step, what is wrong with steps
        if not self.config.classes and (label is not None or guidance is not None):
            raise ValueError("class, guidance: expected a run that was trained with --classes, this one was not")
        guidance = 1.0 if guidance is None else guidance
        if not math.isfinite(guidance):
            raise ValueError(f"guidance: expected a finite number, got {guidance}")
        if guidance != 1 and not self.config.class_dropout:
            raise ValueError(f"guidance: this run was trained with class_dropout = 0 and never saw an image without its class: expected 1, got {guidance}")
        index, labels = np.arange(n), None
        if self.config.classes:
            names = self.config.class_names
            labels = index % len(names) if label is None else np.full(n, number(str(label), names))

        def draw(step):
            return backend.to_device(noise.normal(seed, "sampling", step, index, shape), self.device)

        x_T = draw(0)  # steps of the chain are 1..T, so address 0 is free for the start
        if sampler == "ddpm":
            return self._computed(labels, guidance, ancestral, x_T, draw, clip=clip, variance=self.variance)
        return self._computed(labels, guidance, ddim, x_T, draw, steps=steps, eta=eta, clip=clip)

    def _computed(self, labels, guidance, sampler, x_T, draw, **options):
        """The sampler's chain, on all cores for as long as it lasts."""
        with self.denoiser(labels, guidance) as denoise:
            yield from sampler(denoise, self.schedule, x_T, draw, **options)

    @contextmanager
    def denoiser(self, labels=None, guidance=1.0):
        """The denoiser(xt, t) -> x̂_0 that samplers take, computed on all cores within the block.

        labels  (n,) numbers of classes, for batches of n images, of a run that was trained with them; None: no class is told
        """
        with computing(self.unet, self.unet, self.schedule, self.device, shards=self.config.shards, tf32=self.tf32) as (_, denoise):
            denoise = denoiser(denoise, self.schedule, self.predicts)
            yield denoise if labels is None else guided(denoise, backend.to_device(labels, self.device), len(self.config.class_names), guidance)


def _read(path):
    """The Checkpoint in a file, or in a run folder its best, or its newest if none was evaluated yet; and where it lay."""
    if not path.exists():
        raise checkpoint.CheckpointError(f"{path}: there is no such file; of the models that come with tinyddpm there are {', '.join(shipped.names())}")
    if not path.is_dir():
        return path, checkpoint.load(path)
    if not (path / BEST).exists():
        found = RunFolder(path).newest()
        if found:
            return found.path, found.checkpoint
        raise checkpoint.CheckpointError(f"{path}: there is no such file in it as a checkpoint: expected a run folder")
    try:
        return path / BEST, checkpoint.load(path / BEST)
    except checkpoint.CheckpointError as error:
        others = [other for other in RunFolder(path).checkpoints() if other.name != BEST]
        raise checkpoint.CheckpointError(f"{error}" + (f"; {others[0]} can be given instead" if others else "")) from None
