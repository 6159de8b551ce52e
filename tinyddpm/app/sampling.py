"""Images from a trained run.

    run = Run("runs/x")
    *_, (t, x0, x0_hat) = run.sample(n=64, sampler="ddim", steps=50, seed=0)
"""
from pathlib import Path

import numpy as np

from autograd import backend

from .. import noise
from ..sampler import ancestral, ddim, timestep_grid
from . import checkpoint
from .computing import computing
from .training import BEST, CHECKPOINT


class Run:
    """A run folder, or a checkpoint file, ready to be sampled from: with the averaged θ of its best evaluation.

    Attributes: config, step, schedule, unet.
    """

    def __init__(self, path, device="cpu"):
        path = Path(path)
        if path.is_dir():
            path = path / BEST if (path / BEST).exists() else path / CHECKPOINT
        saved = checkpoint.load(path)
        self.config, self.step, self.saved = saved.config, saved.step, saved
        self.schedule = self.config.make_schedule()
        self.unet = self.config.make_unet().initialise(0)
        checkpoint.fill(self.unet, saved.average, path)
        self.unet.bind(backend.to_device(self.unet.theta, device))
        self.device = device

    def sample(self, n, sampler="ddpm", steps=None, seed=0, eta=0.0, clip=1.0):
        """A generator of (t, x_t, x̂_0), each (n, C, H, W); the last has t = 0.

        sampler  "ddpm": all T steps, with noise; "ddim": `steps` of them (50 if None), with noise according to eta
        seed     image i is a function of seed and i, so the first 8 of 64 are those of n = 8
        """
        if n < 1:
            raise ValueError(f"n: expected at least 1, got {n}")
        index, shape = np.arange(n), self.config.unet.image

        def draw(step):
            return backend.to_device(noise.normal(seed, "sampling", step, index, shape), self.device)

        x_T = draw(0)  # steps of the chain are 1..T, so address 0 is free for the start
        if sampler == "ddpm":
            if steps not in (None, self.schedule.T):
                raise ValueError(f"steps: ddpm takes all T = {self.schedule.T} steps; choose ddim for {steps}")
            return self._computed(ancestral, x_T, draw, clip=clip)
        if sampler == "ddim":
            steps = min(50, self.schedule.T) if steps is None else steps
            timestep_grid(self.schedule.T, steps)  # raises now, and not at the first step, what is wrong with steps
            return self._computed(ddim, x_T, draw, steps=steps, eta=eta, clip=clip)
        raise ValueError(f"sampler: expected ddpm or ddim, got {sampler!r}")

    def _computed(self, sampler, x_T, draw, **options):
        """The sampler's chain, on all cores for as long as it lasts."""
        with computing(self.unet, self.unet, self.schedule, self.device, shards=self.config.shards) as (_, denoise):
            yield from sampler(denoise, self.schedule, x_T, draw, **options)
