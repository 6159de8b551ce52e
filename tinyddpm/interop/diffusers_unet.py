"""A UNet2DModel of Hugging Face's diffusers as a U-Net of ours, and the other way round.

    unet = read("ddpm-cifar10-32")     # a folder with config.json and the .safetensors
    unet.denoise(xt, t)                # what it predicts (mostly ε), at our t in {1..T}
    write(unet, "folder")              # a folder that diffusers loads; any `nn.UNet` will do

It is no second network: `DiffusersUNet` is `nn.UNet` with a few other layers, and `DiffusersConfig`
holds the differences. The original network of Ho et al. 2020 (google/ddpm-cifar10-32) is one of its
settings.

**Time.** diffusers counts t from 0 and we count from 1. `ZeroBasedTimeEmbedding` is the only place
that converts.

What we cannot express is a ValueError that names it: another type of block, an unknown option, a
missing or unknown tensor, a wrong shape. Files are JSON and safetensors, which hold no code.
"""

import dataclasses
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from autograd import backend
from autograd.backend import Array, array_module

from ..files import for_others_too
from ..more.variance import LearnsVariance, VarianceUNet
from ..nn.attention import SelfAttention
from ..nn.block import Downsample
from ..nn.multipliers import ONES, Multipliers
from ..nn.norm import GroupNorm
from ..nn.time import TimeEmbedding, sinusoidal
from ..nn.unet import UNet
from .diffusers_config import DiffusersConfig, from_options, to_options
from .diffusers_files import CONFIG, WEIGHTS, model_folder, read_json, tensors_in
from .diffusers_tensors import fill, layers, tensors

# What diffusers' EMAModel writes into the config.json of its network: how the average was taken.
EMA_NOTES = {"decay", "min_decay", "inv_gamma", "power", "use_ema_warmup"}
EMA_NOTES |= {"optimization_step", "update_after_step"}


class DiffusersUNet(UNet):
    """xt (N, C, H, W), t (N,) in {1..T} -> what it predicts, (N, C, H, W)."""

    config: DiffusersConfig
    # Which layers these are depends on the config, so each instance has its own.
    TimeEmbedding: Any
    SelfAttention: Any
    Downsample: Any

    def __init__(self, config: DiffusersConfig, c: Multipliers = ONES) -> None:
        shift, cosine_first = config.frequency_shift, config.cosine_first
        self.TimeEmbedding = partial(ZeroBasedTimeEmbedding, shift, cosine_first)
        self.SelfAttention = partial(attention_with_heads_of, config.head_channels)
        self.Downsample = DownsamplePaddedAtTheEnd if config.pad_end_only else Downsample
        super().__init__(config, c)
        for _, layer in layers(self):
            if isinstance(layer, GroupNorm):
                layer.eps = config.eps


class DiffusersVarianceUNet(LearnsVariance, DiffusersUNet):
    """The same with a learned variance: v beside what it predicts."""


class ZeroBasedTimeEmbedding(TimeEmbedding):
    """Our t in {1..T} is t − 1 to a network of diffusers: this is the only place that converts."""

    def __init__(self, shift: int, cosine_first: bool, channels: int, c: float) -> None:
        super().__init__(channels, c)
        self.shift, self.cosine_first = shift, cosine_first

    def waves(self, t: Array) -> Array:
        """What the linear layers see of t: (N, channels)."""
        waves = sinusoidal(t - 1, self.channels, self.linear1.weight.dtype, self.shift)
        if not self.cosine_first:
            return waves
        return array_module(t).roll(waves, self.channels // 2, axis=1)


class DownsamplePaddedAtTheEnd(Downsample):
    """Ho et al. 2020 halve the resolution as TensorFlow does.

    They pad with a row of zeros below the image and a column to its right.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.padding = ((0, 1), (0, 1))


def attention_with_heads_of(
    head_channels: int | None, channels: int, heads: int, groups: int, c: Multipliers
) -> SelfAttention:
    """SelfAttention with heads of so many channels each, or with one head (None).

    Our own networks state `heads` instead, which is not used here.
    """
    return SelfAttention(channels, channels // head_channels if head_channels else 1, groups, c)


# ---- files ---------------------------------------------------------------------------------------


def from_config(options: Mapping[str, Any]) -> DiffusersUNet:
    """A DiffusersUNet without parameters yet, from the options in config.json."""
    return of_shape(from_options(options))


def of_shape(config: DiffusersConfig) -> DiffusersUNet:
    """A DiffusersUNet without parameters yet."""
    return (DiffusersVarianceUNet if config.learned_variance else DiffusersUNet)(config)


def read(folder: str | Path, dtype: Any = np.float32) -> DiffusersUNet:
    """The DiffusersUNet in a folder that diffusers wrote.

    Its parameters are constants. To train it, `unet.bind(unet.theta, np.zeros_like(unet.theta))`.

    Args:
        folder: of a model, or of a pipeline, which has the model in unet/. The tensors may lie in
            several files or be of half precision; see `diffusers_files`.
        dtype: of the parameters.

    Raises:
        ValueError: naming the file, and the option or the tensor that is wrong.
    """
    folder = model_folder(folder)
    options = read_json(folder / CONFIG)
    try:
        unet = from_config({k: v for k, v in options.items() if k not in EMA_NOTES})
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    values = tensors_in(folder)
    try:
        unet.bind(np.zeros(unet.theta_size(), dtype))
        fill(unet, values)
    except (ValueError, KeyError, TypeError) as error:
        file = folder / WEIGHTS  # not there if they lie in shards or in a variant
        raise ValueError(f"{file if file.exists() else folder}: {error}") from None
    return unet


def write(unet: UNet, folder: str | Path) -> None:
    """Write config.json and the safetensors file of a U-Net.

    `UNet2DModel.from_pretrained(folder)` loads them.
    """
    folder, twin = Path(folder), converted(unet)
    values = {
        name: np.ascontiguousarray(backend.to_numpy(view)) * c
        for name, (c, view) in tensors(twin).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    options = json.dumps(to_options(twin.config), indent=2, sort_keys=True)
    (folder / CONFIG).write_text(options + "\n", encoding="utf-8")
    # diffusers asks for this note: layouts are PyTorch's.
    with for_others_too(folder / WEIGHTS):
        save_file(values, folder / WEIGHTS, {"format": "pt"})


# ---- our own networks ----------------------------------------------------------------------------


def converted(unet: UNet) -> DiffusersUNet:
    """The DiffusersUNet that computes what a bound `nn.UNet` does; a DiffusersUNet is itself.

    Raises:
        ValueError: if diffusers has no equivalent.
    """
    if isinstance(unet, DiffusersUNet):
        return unet
    config = unet.config
    if type(unet) not in (UNet, VarianceUNet):
        kind = type(unet).__name__
        raise ValueError(
            "expected a network without classes (--classes), because diffusers has no equivalent "
            f"of a {kind}"
        )
    if not config.time_conditioning:
        raise ValueError(
            "time_conditioning: expected true, got false: "
            "a network that is unconditional in t has no equivalent in diffusers"
        )
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    values |= {"cosine_first": False, "head_channels": _head_channels(unet)}
    twin = of_shape(DiffusersConfig(**values, learned_variance=type(unet) is VarianceUNet))
    twin.bind(np.zeros(unet.theta_size(), unet.theta.dtype))
    fill(twin, {name: c * backend.to_numpy(view) for name, (c, view) in tensors(unet).items()})
    time: Any = twin.time  # not None: the network is conditioned on t
    _start_at_zero(time.linear1.weight.data)
    return twin


def _head_channels(unet: UNet) -> int | None:
    """None for one head; else the channels of each, which must be the same everywhere."""
    heads = unet.config.heads
    if heads == 1:
        return None
    queries = [layer for name, layer in layers(unet) if name.endswith(".to_q")]
    found = {layer.weight.shape[0] // heads for layer in queries}
    if len(found) > 1:
        raise ValueError(
            f"heads: {heads} heads in layers of different widths have no equivalent in diffusers, "
            f"where all heads have the same number of channels, here {sorted(found)}"
        )
    return found.pop() if found else None


def _start_at_zero(weight: Array) -> None:
    """Let the time embedding's first linear map (channels, ·) expect t − 1, in place.

    sin ft = sin f(t−1)·cos f + cos f(t−1)·sin f, and cos ft likewise: the waves of t are those of
    t − 1, rotated.
    """
    half = len(weight) // 2
    waves = sinusoidal(np.ones(1), len(weight), np.float64)[0]
    sin, cos = waves[:half, None], waves[half:, None]
    for_sin, for_cos = weight[:half].astype(np.float64), weight[half:].astype(np.float64)
    weight[:half] = cos * for_sin - sin * for_cos
    weight[half:] = sin * for_sin + cos * for_cos
