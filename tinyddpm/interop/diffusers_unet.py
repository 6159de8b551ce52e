"""A UNet2DModel of Hugging Face's diffusers as a U-Net of ours, and the other way round.

    unet = read("ddpm-cifar10-32")            # config.json and diffusion_pytorch_model.safetensors -> a U-Net with its numbers
    unet.denoise(xt, t)                       # what it was taught to predict (mostly ε), at our t in {1..T}
    write(unet, "folder")                     # a folder that diffusers loads; any `nn.UNet` will do

It is no second network: `DiffusersUNet` is `nn.UNet` with the few layers named that differ, and `DiffusersConfig` holds what
the differences are. The original network of Ho et al. 2020, which google/ddpm-cifar10-32 is, is one of its settings.

**Time.** diffusers counts t from 0 and we from 1. `ZeroBasedTimeEmbedding` is the only place that converts.

Whatever cannot be expressed (another type of block, an unknown option, a missing or a foreign tensor, a wrong shape) is a
ValueError that names it. Files are JSON and safetensors, which hold no code.
"""
import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from autograd import backend
from autograd.backend import array_module

from ..nn.attention import SelfAttention
from ..nn.block import Downsample
from ..nn.multipliers import ONES
from ..nn.norm import GroupNorm
from ..nn.time import TimeEmbedding, sinusoidal
from ..nn.unet import UNet
from .diffusers_config import DiffusersConfig, from_options, to_options

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"

# Attention's layers, as files from before 2023 call them -> as they are called now.
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

# Axes of a weight of so many dimensions, to bring ours into PyTorch's order: GroupNorm; Linear; Conv2d, kh kw Cin Cout -> Cout Cin kh kw.
AXES = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}


class DiffusersUNet(UNet):
    """xt (N, C, H, W), t (N,) in {1..T} -> what it was taught to predict, (N, C, H, W). `config` is a DiffusersConfig."""

    def __init__(self, config, c=ONES):
        self.TimeEmbedding = partial(ZeroBasedTimeEmbedding, config.frequency_shift, config.cosine_first)
        self.SelfAttention = partial(attention_with_heads_of, config.head_channels)
        self.Downsample = DownsamplePaddedAtTheEnd if config.pad_end_only else Downsample
        super().__init__(config, c)
        for _, layer in layers(self):
            if isinstance(layer, GroupNorm):
                layer.eps = config.eps


class ZeroBasedTimeEmbedding(TimeEmbedding):
    """Our t in {1..T} is t − 1 to a network of diffusers: here, and nowhere else, that is converted."""

    def __init__(self, shift, cosine_first, channels, c):
        super().__init__(channels, c)
        self.shift, self.cosine_first = shift, cosine_first

    def waves(self, t):
        waves = sinusoidal(t - 1, self.channels, self.linear1.weight.dtype, self.shift)
        return array_module(t).roll(waves, self.channels // 2, axis=1) if self.cosine_first else waves


class DownsamplePaddedAtTheEnd(Downsample):
    """Ho et al. 2020 halve the resolution as TensorFlow does: a row of zeros below the image and a column to the right."""

    def __init__(self, channels):
        super().__init__(channels)
        self.padding = ((0, 1), (0, 1))


def attention_with_heads_of(head_channels, channels, heads, groups, c):
    """SelfAttention with heads of so many channels, or one (None). `heads` is what our own networks have instead."""
    return SelfAttention(channels, channels // head_channels if head_channels else 1, groups, c)


# ---- which layer is which ------------------------------------------------------------------------


def layers(unet):
    """(diffusers' name, our layer) for every layer that has parameters, in the order in which diffusers makes them."""
    levels, blocks = len(unet.config.levels), unet.config.blocks
    yield "conv_in", unet.first
    yield "time_embedding.linear_1", unet.time.linear1
    yield "time_embedding.linear_2", unet.time.linear2
    down, up = iter(unet.down), iter(unet.up)
    for level in range(levels):
        for i in range(blocks):
            yield from _stage(f"down_blocks.{level}", i, next(down))
        if level < levels - 1:
            yield f"down_blocks.{level}.downsamplers.0.conv", next(down)
    yield from _residual("mid_block.resnets.0", unet.middle1)
    if unet.middle2:
        yield from _attention("mid_block.attentions.0", unet.middle2)
    yield from _residual("mid_block.resnets.1", unet.middle3)
    for level in range(levels):
        for i in range(blocks + 1):
            yield from _stage(f"up_blocks.{level}", i, next(up))
        if level < levels - 1:
            yield f"up_blocks.{level}.upsamplers.0.conv", next(up)
    yield "conv_norm_out", unet.last.norm
    yield "conv_out", unet.last.conv


def _stage(name, i, stage):
    yield from _residual(f"{name}.resnets.{i}", stage.block)
    if stage.attention:
        yield from _attention(f"{name}.attentions.{i}", stage.attention)


def _residual(name, block):
    yield f"{name}.norm1", block.half1.norm
    yield f"{name}.conv1", block.half1.conv
    yield f"{name}.time_emb_proj", block.time
    yield f"{name}.norm2", block.half2.norm
    yield f"{name}.conv2", block.half2.conv
    if block.shortcut:
        yield f"{name}.conv_shortcut", block.shortcut


def _attention(name, attention):
    yield f"{name}.group_norm", attention.norm
    yield f"{name}.to_q", attention.q
    yield f"{name}.to_k", attention.k
    yield f"{name}.to_v", attention.v
    yield f"{name}.to_out.0", attention.out


def tensors(unet):
    """name -> (c, view) for every tensor that diffusers has: a view of our θ in its shape, which times c is its value.

    The U-Net must be bound. Writing into a view changes the U-Net.
    """
    found = {}
    for name, layer in layers(unet):
        weight = layer.gain if isinstance(layer, GroupNorm) else layer.weight
        found[f"{name}.weight"] = layer.c, weight.data.transpose(AXES[weight.ndim])
        found[f"{name}.bias"] = layer.c, layer.bias.data
    return found


def fill(unet, values):
    """Give a bound U-Net the tensors of a UNet2DModel, name -> array, old names or new. Every name and shape must match."""
    values, own = _with_new_names(values), tensors(unet)
    problems = [f"{name} is missing" for name in own.keys() - values.keys()]
    problems += [f"{name} is not of this network" for name in values.keys() - own.keys()]
    problems += [f"{name} has shape {values[name].shape}, expected {own[name][1].shape}"
                 for name in own.keys() & values.keys() if values[name].shape != own[name][1].shape]
    problems += [f"{name} has dtype {values[name].dtype}, expected floating-point numbers"
                 for name in own.keys() & values.keys() if values[name].dtype.kind != "f"]
    if problems:
        raise ValueError("; ".join(sorted(problems)[:3]) + (f" and {len(problems) - 3} more" if problems[3:] else ""))
    for name, (c, view) in own.items():
        view[...] = values[name] / c


def _with_new_names(values):
    found = {}
    for name, value in values.items():
        layer, _, kind = name.rpartition(".")
        above, _, last = layer.rpartition(".")
        new = f"{above}.{OLD_NAMES[last]}.{kind}" if last in OLD_NAMES else name
        if new in found:
            raise ValueError(f"{name}: the same tensor is there under its new name, {new}, too")
        found[new] = value
    return found


# ---- files ---------------------------------------------------------------------------------------


def from_config(options):
    """A DiffusersUNet with no numbers in it yet, from the options in config.json."""
    return DiffusersUNet(from_options(options))


def read(folder, dtype=np.float32):
    """The DiffusersUNet in a folder that diffusers wrote: of a model, or of a pipeline, which has it in unet/.

    Its parameters are constants; `unet.bind(unet.theta, np.zeros_like(unet.theta))` makes them trainable.
    """
    folder = Path(folder)
    folder = folder / "unet" if (folder / "unet").is_dir() else folder
    options, path = read_json(folder / CONFIG), folder / WEIGHTS
    if not path.exists():
        pickled = path.with_suffix(".bin")
        raise ValueError(f"{path}: there is no such file" + (f"; {pickled.name} is a pickle, which may run code, and is not read" if pickled.exists() else ""))
    try:
        unet = from_config(options)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    try:
        unet.bind(np.zeros(unet.theta_size(), dtype))
        fill(unet, load_file(path))
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path}: {error}") from None
    return unet


def write(unet, folder):
    """Write config.json and the safetensors file of a U-Net into a folder, for `UNet2DModel.from_pretrained(folder)`."""
    folder, unet = Path(folder), converted(unet)
    values = {name: np.ascontiguousarray(backend.to_numpy(view)) * c for name, (c, view) in tensors(unet).items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(to_options(unet.config), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    save_file(values, folder / WEIGHTS, {"format": "pt"})  # diffusers asks for this note: layouts are PyTorch's


def read_json(path):
    """The object in a JSON file. ValueError, naming the file, if there is none."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object of options, got {type(found).__name__}")
    return found


# ---- our own networks ----------------------------------------------------------------------------


def converted(unet):
    """The DiffusersUNet that computes what a bound `nn.UNet` does. A DiffusersUNet is itself. What cannot be expressed is a ValueError."""
    if isinstance(unet, DiffusersUNet):
        return unet
    config = unet.config
    if type(unet) is not UNet:
        raise ValueError(f"a {type(unet).__name__} has no equivalent in diffusers: expected a plain UNet")
    if not config.time_conditioning:
        raise ValueError("time_conditioning: a network that is not told t has no equivalent in diffusers")
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    twin = DiffusersUNet(DiffusersConfig(**values, cosine_first=False, head_channels=_head_channels(unet)))
    twin.bind(np.zeros(unet.theta_size(), unet.theta.dtype))
    fill(twin, {name: c * backend.to_numpy(view) for name, (c, view) in tensors(unet).items()})
    _start_at_zero(twin.time.linear1.weight.data)
    return twin


def _head_channels(unet):
    """None for one head; else the channels of each, which diffusers wants to be the same everywhere."""
    if unet.config.heads == 1:
        return None
    found = {layer.weight.shape[0] // unet.config.heads for name, layer in layers(unet) if name.endswith(".to_q")}
    if len(found) > 1:
        raise ValueError(f"heads: {unet.config.heads} heads in layers of different widths have no equivalent in diffusers, "
                         f"where all heads have the same number of channels, here {sorted(found)}")
    return found.pop() if found else None


def _start_at_zero(weight):
    """Change the first linear map of the time embedding (channels, ·) in place, so that it expects the waves of t − 1 instead of those of t.

    sin ft = sin f(t−1)·cos f + cos f(t−1)·sin f, and cos ft likewise: the waves of t are those of t − 1, turned.
    """
    half = len(weight) // 2
    waves = sinusoidal(np.ones(1), len(weight), np.float64)[0]
    sin, cos = waves[:half, None], waves[half:, None]
    for_sin, for_cos = weight[:half].astype(np.float64), weight[half:].astype(np.float64)
    weight[:half], weight[half:] = cos * for_sin - sin * for_cos, sin * for_sin + cos * for_cos
