"""A trained run, opened to draw images with.

    run = Run("runs/x")                  # or Run("fashion"), a model that ships (shipped.py)
    *_, (t, x0, x0_hat) = run.sample(n=64, seed=0, **run.chain())  # as `tinyddpm sample` does
    *_, (t, x0, x0_hat) = run.sample(n=64, sampler="dpm", steps=25, grid="log-snr")
    *_, (t, x0, x0_hat) = run.sample(n=64, label="3", guidance=3.0)    # trained with --classes
    with run.denoiser(labels=np.arange(10), guidance=3.0) as denoiser:
        …                                # for samplers of your own choice

A Run knows its network, its schedule and its classes: nothing else need be said to draw.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from autograd import backend

from .. import noise
from ..alone import Alone, Comm
from ..data.image_files import MAX_BYTES
from ..data.labels import number
from ..interop.imported import IMPORTED, network
from ..more.classes import guided
from ..more.predictions import denoiser
from ..more.schedules import spaced_grid, timestep_grid
from ..more.solvers import ddim, dpm_solver, heun
from ..more.variance import LearnsVariance, VarianceDenoiser, ancestral_learned
from ..nn.unet import UNet
from ..sampler import ancestral
from ..schedule import Schedule
from ..types import Array, Denoiser
from . import checkpoint, shipped
from .chains import chain_length, default_chain
from .checkpoint import Checkpoint, CheckpointError
from .computing import computing
from .config import Config
from .folder import RunFolder

Chain = Iterator[tuple[int, Array, Array]]  # (t, x_t, x̂_0) after each step


class Run:
    """A trained network with the EMA of θ from its best evaluation, ready to be sampled from.

    Args:
        path: a run folder, a checkpoint file, or the name of a shipped model.
        device: cpu, cuda or cuda:1. With "cuda" each rank takes a GPU of its own.
        tf32: on a GPU: see `backend.tf32`.
        comm: the ranks that draw together: `with world() as comm`. Only rank 0 needs `path`.

    Attributes:
        called: what to call it in a sentence.
        saved: the Checkpoint; config, step: as in it.
        unet: the network, bound to the EMA on the device.
        schedule: its noise schedule.
        predicts: what the network predicts: "x0", "eps" or "v".
        variance: of the ancestral sampler (see `ancestral`), if it is a table.
        learned: whether the ancestral sampler's variance is what the network says.
        clip: the bound of x̂_0: 1, or what an imported scheduler says, None for none.
        imported: whether the network came from diffusers.
    """

    def __init__(
        self, path: str | Path, device: str = "cpu", tf32: bool = False, comm: Comm = Alone()
    ) -> None:
        device = comm.device(device)
        self.called, file, self.saved = comm.bcast(None if comm.rank else find(Path(path)))
        self.config, self.step = self.saved.config, self.saved.step
        self.imported = IMPORTED in self.saved.state
        net = _network(self.saved, file)
        self.unet, self.schedule, self.predicts = net.unet, net.schedule, net.predicts
        self.variance, self.learned, self.clip = net.variance, net.learned, net.clip
        self._timesteps = net.timesteps
        self.unet.bind(backend.to_device(self.unet.theta, device))
        self.device, self.tf32, self.comm = device, tf32, comm

    def chain(
        self,
        sampler: str | None = None,
        steps: int | None = None,
        eta: float | None = None,
        grid: str | None = None,
        clip: Literal["yes", "no"] | None = None,
    ) -> dict[str, Any]:
        """The chain that options of the command line mean, as arguments of `sample`.

        Without a sampler it is what looks best for its time (`default_chain`), with the changes
        that are named. For an imported model it is what DDIM of diffusers draws: 50 steps without
        noise, at the timesteps of its scheduler.
        """
        how: dict[str, Any] = {"sampler": sampler or "ddim"}
        if sampler is None and not self.imported:
            how = default_chain(self.schedule.T)
        named = {"steps": steps, "eta": eta, "grid": grid}
        how |= {name: value for name, value in named.items() if value is not None}
        how["clip"] = {None: self.clip, "yes": self.clip or 1.0, "no": None}[clip]
        # It raises now what is wrong.
        how["steps"] = chain_length(self.schedule.T, **how, learned=self.learned)
        return how

    def sample(
        self,
        n: int,
        sampler: str = "ddpm",
        steps: int | None = None,
        seed: int = 0,
        eta: float = 0.0,
        clip: float | Literal["model's"] | None = "model's",
        label: str | int | np.ndarray | None = None,
        guidance: float | None = None,
        grid: str = "even",
        first: int = 0,
    ) -> Chain:
        """Draw n images.

        Args:
            n: how many, on all ranks together. Each draws the noise of its part.
            sampler: "ddpm": all T steps, with noise, and with a learned variance also fewer;
                "ddim": fewer, with noise according to eta;
                "dpm" (DPM-Solver++(2M)): the same to second order; "heun": another of second
                order, without noise.
            steps: how many; 50 if None, but T for ddpm. Heun calls the network twice in each.
                An imported scheduler says which t the even ones are.
            seed: image i is a function of seed and i, so the first 8 of 64 are those of n = 8.
            eta: noise of ddim and dpm, from 0 to 1.
            clip: x̂_0 is held within [−clip, clip]; None leaves it free; "model's" is `self.clip`.
            label: the class to draw, by name or number, of a run with classes; None: each in turn;
                an array (n,): the number of each image's class.
            guidance: the weight of the class (see `guided`), of a run with classes; 1 if None.
            grid: which timesteps to visit: see `spaced_grid`. ddpm visits all.
            first: the number of the first image, to draw many in pieces.

        Returns:
            A generator of (t, x_t, x̂_0), each array (n, C, H, W). The last one has t = 0.

        Raises:
            ValueError: an argument is wrong or does not fit the run. This comes at once, and not
                with the first step.
        """
        shape = self.config.unet.image
        _check_number(n, shape)
        steps = chain_length(self.schedule.T, sampler, steps, eta, grid, learned=self.learned)
        index = first + np.arange(n)
        labels, weight = _labels(self.config, index, label), _weight(self.config, guidance)
        own = np.array_split(index, self.comm.size)[self.comm.rank]

        def draw(step: int) -> Array:
            eps = self.comm.allgather(noise.normal(seed, "sampling", step, own, shape))
            return backend.to_device(np.concatenate(eps), self.device)

        x_T = draw(0)  # the chain draws for the steps 1..T, so address 0 is free for its start
        clip = self.clip if clip == "model's" else clip
        visited = spaced_grid(self.schedule, steps, grid)
        if grid == "even":
            visited = timestep_grid(self.schedule.T, self._timesteps(steps))
        chains: dict[str, Callable[..., Chain]] = {
            "ddpm": partial(ancestral, noise=draw, variance=self.variance),
            "ddim": partial(ddim, noise=draw, eta=eta, steps=visited),
            "dpm": partial(dpm_solver, noise=draw, eta=eta, steps=visited),
            "heun": partial(heun, steps=visited),
        }
        if self.learned:
            chains["ddpm"] = partial(ancestral_learned, noise=draw, steps=visited)
        return self._chain(partial(chains[sampler], x_T=x_T, clip=clip), labels, weight)

    def _chain(self, sampler: Callable[..., Chain], labels: Array | None, weight: float) -> Chain:
        """The sampler's chain. All cores work for as long as it lasts."""
        with self.denoiser(labels, weight) as denoise:
            yield from sampler(denoise, self.schedule)

    @contextmanager
    def denoiser(self, labels: Array | None = None, guidance: float = 1.0) -> Iterator[Denoiser]:
        """The function (xt, t) -> x̂_0 that samplers take. Within the block it uses all cores.

        Args:
            labels: (n,) numbers of classes, for batches of n images; None: unconditional.
            guidance: their weight, see `guided`.
        """
        # A part for each GPU: a run's own gpu_shards, mostly 1, would leave the others idle.
        how: dict[str, Any] = {"shards": self.config.shards, "gpu_shards": self.comm.size}
        how |= {"tf32": self.tf32, "comm": self.comm}
        nets = self.unet, self.unet
        with computing(*nets, self.schedule, self.device, **how) as (_, denoise):
            there = None if labels is None else backend.to_device(labels, self.device)
            yield self.to_x0(denoise, there, guidance)

    def to_x0(
        self, denoise: Callable[..., Array], labels: Array | None = None, guidance: float = 1.0
    ) -> Denoiser:
        """The denoiser of a function that computes what the network predicts.

        Args:
            denoise: the network's denoise(xt, t), or denoise(xt, t, labels).
            labels: as for `denoiser`, on the network's device.
            guidance: as for `denoiser`.
        """
        guide: Callable[..., Denoiser] | None = None
        if labels is not None:
            classes = len(self.config.class_names)
            guide = partial(guided, labels=labels, classes=classes, weight=guidance)
        if isinstance(self.unet, LearnsVariance):
            return VarianceDenoiser(denoise, self.schedule, self.predicts, guide)
        plain = denoiser(denoise, self.schedule, self.predicts)
        return guide(plain) if guide else plain


def _check_number(n: int, shape: tuple[int, ...]) -> None:
    most = MAX_BYTES // (4 * math.prod(shape))
    if not isinstance(n, int) or not 1 <= n <= most:
        raise ValueError(
            f"n: expected at least 1, and at most the {most} images that fit in "
            f"{MAX_BYTES} bytes, got {n}"
        )


def _labels(config: Config, index: Array, label: str | int | Array | None) -> Array | None:
    """The class of each image (n,) by their numbers, or None for a run without classes."""
    if not config.classes:
        if label is not None:
            raise ValueError(
                "class: expected a run that was trained with --classes, got one without"
            )
        return None
    if label is None:
        return index % len(config.class_names)
    if isinstance(label, np.ndarray):
        known = np.isin(label, range(len(config.class_names))).all()
        fine = label.shape == index.shape and bool(known)
        backend.expect(fine, "label", f"numbers of classes, one for each of {len(index)}", label)
        return label
    return np.full(len(index), number(str(label), config.class_names))


def _weight(config: Config, guidance: float | None) -> float:
    """The weight of the class."""
    if guidance is None:
        return 1.0
    if not config.classes:
        raise ValueError(
            "guidance: expected a run that was trained with --classes, got one without"
        )
    if not math.isfinite(guidance):
        raise ValueError(f"guidance: expected a finite number, got {guidance}")
    if guidance != 1 and not config.class_dropout:
        raise ValueError(
            "guidance: expected 1 for a run trained with class_dropout = 0, which knows no "
            f"image without its class, got {guidance}"
        )
    return guidance


class _Network(NamedTuple):
    unet: UNet
    schedule: Schedule
    predicts: str
    variance: Array | None
    learned: bool
    clip: float | None
    timesteps: Callable[[int], Sequence[int]]  # of a chain of so many steps, see `ddim`


def _network(saved: Checkpoint, path: Path) -> _Network:
    """The network in a checkpoint, ours or an imported one, and how to sample from it."""
    imported = network(saved.state, saved.ema)
    if imported:
        foreign, scheduler = imported
        variance = scheduler.schedule.beta if scheduler.large_variance else None
        learned = scheduler.learned_variance
        rest = scheduler.predicts, variance, learned, scheduler.clip, scheduler.timesteps
        return _Network(foreign, scheduler.schedule, *rest)
    unet = saved.config.make_unet()
    checkpoint.check(unet, saved.ema, path)  # before there is room for what the file claims
    unet.bind(np.zeros(unet.theta_size(), np.float32))
    checkpoint.fill(unet, saved.ema, path)
    schedule, predicts = saved.config.make_schedule(), saved.config.predicts
    grid = partial(timestep_grid, schedule.T)
    return _Network(unet, schedule, predicts, None, saved.config.learn_sigma, 1.0, grid)


def find(path: Path) -> tuple[str, Path, Checkpoint]:
    """What to call the model at `path`, the file that it is in, and its Checkpoint."""
    if shipped.is_meant(path):
        file = shipped.file(path)
        return f"{path}, which comes with tinyddpm", file, checkpoint.load(file)
    if not path.exists():
        names = ", ".join(shipped.names())
        raise CheckpointError(
            f"{path}: there is no such file, and no shipped model of this name; there are {names}"
        )
    with shipped.hidden(path):
        if path.is_dir():
            return str(path), *RunFolder(path).best()
        return str(path), path, checkpoint.load(path)
