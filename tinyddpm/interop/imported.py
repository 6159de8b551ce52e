"""A network that came from diffusers, made again from a checkpoint."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import diffusers_scheduler, diffusers_unet
from .diffusers_scheduler import Scheduler
from .diffusers_unet import DiffusersUNet

IMPORTED = "diffusers"  # the key of its description in a checkpoint's state


def network(
    state: Mapping[str, Any], values: Mapping[str, np.ndarray]
) -> tuple[DiffusersUNet, Scheduler] | None:
    """The imported network, with its parameters, and its Scheduler.

    Args:
        state: of a checkpoint.
        values: name -> array, with diffusers' names.

    Returns:
        None if the network is one of our own.
    """
    if IMPORTED not in state:
        return None
    found = state[IMPORTED]
    unet = diffusers_unet.from_config(found["unet"])
    unet.bind(np.zeros(unet.theta_size(), np.float32))
    diffusers_unet.fill(unet, values)
    # Checkpoints from before the spacing was read drew their images with this one.
    options = {"timestep_spacing": "trailing"} | found["scheduler"]
    return unet, diffusers_scheduler.from_options(options)
