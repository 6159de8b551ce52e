"""Two small UNet2DModels, and what PyTorch computed with them.

Their weights, inputs and upstream directions are functions of their names. `frozen.json` holds, for
each network, the output at four timesteps and, for each parameter, the slope of the squared error
along one direction. tests/prove/diffusers_table.py makes that file, and test_diffusers_parity.py
checks that it is still what diffusers says.
"""

import json
import zlib
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("frozen.json")
T_ZERO_BASED = [0, 1, 500, 999]

CONFIGS = {
    # Like Ho et al. 2020, with uneven padding and sin ‖ cos down to 1/10000; but with two heads and
    # more, attention at every level, and an ε that is large enough to be seen.
    "attention": {
        "sample_size": [8, 4],
        "in_channels": 2,
        "out_channels": 2,
        "block_out_channels": [8, 16],
        "layers_per_block": 2,
        "down_block_types": ["AttnDownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D"],
        "attention_head_dim": 4,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-3,
        "norm_num_groups": 4,
        "dropout": 0.1,
    },
    # diffusers' own defaults, and no attention.
    "plain": {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": [4, 8, 8],
        "layers_per_block": 1,
        "down_block_types": ["DownBlock2D"] * 3,
        "up_block_types": ["UpBlock2D"] * 3,
        "add_attention": False,
        "norm_num_groups": 2,
    },
}


def values(purpose, shape):
    """Standard normal numbers, always the same: NumPy has promised never to change RandomState."""
    return np.random.RandomState(zlib.crc32(purpose.encode())).standard_normal(tuple(shape))


def weights(shapes):
    """name -> array. No parameter is zero, so that no gradient is either."""
    found = {}
    for name, shape in shapes.items():
        if len(shape) > 1:
            found[name] = values(name, shape) / np.prod(shape[1:]) ** 0.5
        else:
            found[name] = 0.3 * values(name, shape) + (name.endswith("weight"))
    return found


def batch(options):
    """x and the target, (4, C, H, W): one image for each of T_ZERO_BASED."""
    side = options["sample_size"]
    height, width = side if isinstance(side, list) else (side, side)
    shape = (len(T_ZERO_BASED), options["in_channels"], height, width)
    return values("x", shape), values("target", shape)


def direction(name, shape):
    return values(f"direction of {name}", shape)


def load():
    return json.loads(FILE.read_text())
