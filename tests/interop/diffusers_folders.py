"""Networks and folders of diffusers, for the tests of this folder."""

import json

import numpy as np
from frozen_networks import CONFIGS, T_ZERO_BASED, weights
from safetensors.numpy import save_file

from tinyddpm.interop.diffusers_tensors import fill, tensors
from tinyddpm.interop.diffusers_unet import CONFIG, WEIGHTS, from_config

T = np.array(T_ZERO_BASED) + 1

CIFAR = {  # config.json of google/ddpm-cifar10-32
    "_class_name": "UNet2DModel",
    "_diffusers_version": "0.0.4",
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256],
    "center_input_sample": False,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}


def bound(unet, dtype=np.float64):
    return unet.bind(np.zeros(unet.theta_size(), dtype), np.zeros(unet.theta_size(), dtype))


def shapes(unet):
    return {name: view.shape for name, (_, view) in tensors(unet).items()}


def frozen(case, dtype=np.float64):
    """The network of a case, with its weights."""
    unet = bound(from_config(CONFIGS[case]), dtype)
    fill(unet, {name: w.astype(dtype) for name, w in weights(shapes(unet)).items()})
    return unet


def folder_of(path, case="plain", rename=lambda name: name, **changes):
    """A folder as diffusers writes it, of float32.

    Its tensors may be renamed, replaced or (None) left out.
    """
    path.mkdir()
    unet = bound(from_config(CONFIGS[case]))
    values = {rename(name): w.astype(np.float32) for name, w in weights(shapes(unet)).items()}
    values |= changes
    save_file({name: w for name, w in values.items() if w is not None}, path / WEIGHTS)
    (path / CONFIG).write_text(json.dumps(CONFIGS[case]))
    return path


def relative(found, expected):
    return abs(found - expected).max() / abs(expected).max()
