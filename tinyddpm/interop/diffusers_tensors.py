"""The tensors of a UNet2DModel by diffusers' names, as views of the θ of a U-Net of ours.

fill(unet, load_file("diffusion_pytorch_model.safetensors"))
values = {name: c * view for name, (c, view) in tensors(unet).items()}
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from autograd.backend import Array

from ..nn.norm import GroupNorm
from ..nn.unet import UNet

# The names of attention's layers in files from before 2023, and their names of today.
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

# The axes that bring a weight of ours into PyTorch's order, by its number of dimensions: GroupNorm;
# Linear; Conv2d, kh kw Cin Cout -> Cout Cin kh kw.
AXES = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}

NamedLayers = Iterator[tuple[str, Any]]


def layers(unet: UNet) -> NamedLayers:
    """(diffusers' name, our layer) for every layer with parameters, in diffusers' order."""
    levels, blocks = len(unet.config.levels), unet.config.blocks
    yield "conv_in", unet.first
    time: Any = unet.time  # not None: diffusers has no network that is unconditional in t
    yield "time_embedding.linear_1", time.linear1
    yield "time_embedding.linear_2", time.linear2
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


def _stage(name: str, i: int, stage: Any) -> NamedLayers:
    yield from _residual(f"{name}.resnets.{i}", stage.block)
    if stage.attention:
        yield from _attention(f"{name}.attentions.{i}", stage.attention)


def _residual(name: str, block: Any) -> NamedLayers:
    yield f"{name}.norm1", block.half1.norm
    yield f"{name}.conv1", block.half1.conv
    yield f"{name}.time_emb_proj", block.time
    yield f"{name}.norm2", block.half2.norm
    yield f"{name}.conv2", block.half2.conv
    if block.shortcut:
        yield f"{name}.conv_shortcut", block.shortcut


def _attention(name: str, attention: Any) -> NamedLayers:
    yield f"{name}.group_norm", attention.norm
    yield f"{name}.to_q", attention.q
    yield f"{name}.to_k", attention.k
    yield f"{name}.to_v", attention.v
    yield f"{name}.to_out.0", attention.out


def tensors(unet: UNet) -> dict[str, tuple[float, Array]]:
    """Every tensor that diffusers has: name -> (c, view).

    The view is one of our θ, in diffusers' shape; times c it is the tensor's value. Writing into a
    view changes the U-Net, which must be bound.
    """
    found = {}
    for name, layer in layers(unet):
        weight = layer.gain if isinstance(layer, GroupNorm) else layer.weight
        found[f"{name}.weight"] = layer.c, weight.data.transpose(AXES[weight.ndim])
        found[f"{name}.bias"] = layer.c, layer.bias.data
    return found


def fill(unet: UNet, values: Mapping[str, np.ndarray]) -> None:
    """Give a bound U-Net the tensors of a UNet2DModel.

    Args:
        unet: its θ is written into.
        values: name -> array, with the names of today or the old ones of attention's layers.

    Raises:
        ValueError: naming the tensors that are missing or do not fit.
    """
    values, own = _with_new_names(values), tensors(unet)
    problems = [f"{name} is missing" for name in own.keys() - values.keys()]
    problems += [f"{name} is not of this network" for name in values.keys() - own.keys()]
    for name in own.keys() & values.keys():
        value, expected = values[name], own[name][1].shape
        if value.shape != expected:
            problems.append(f"{name} has shape {value.shape}, expected {expected}")
        if value.dtype.kind != "f":
            problems.append(f"{name} has dtype {value.dtype}, expected floating-point numbers")
    if problems:
        more = f" and {len(problems) - 3} more" if problems[3:] else ""
        raise ValueError("; ".join(sorted(problems)[:3]) + more)
    for name, (c, view) in own.items():
        view[...] = values[name] / c


def _with_new_names(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, value in values.items():
        layer, _, kind = name.rpartition(".")
        above, _, last = layer.rpartition(".")
        new = f"{above}.{OLD_NAMES[last]}.{kind}" if last in OLD_NAMES else name
        if new in found:
            raise ValueError(f"{name}: this tensor is there under its new name, {new}, too")
        found[new] = value
    return found
