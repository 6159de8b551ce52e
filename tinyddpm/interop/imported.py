"""A network that came from diffusers, made again of what a checkpoint keeps of it."""

import numpy as np

from . import diffusers_scheduler, diffusers_unet

IMPORTED = "diffusers"  # the key in a checkpoint's state under which its description stands


def network(state, values):
    """The DiffusersUNet that was imported, with its numbers, and its Scheduler; None if the network is one of our own.

    state   a checkpoint's;  values  name -> array, with diffusers' names
    """
    if IMPORTED not in state:
        return None
    found = state[IMPORTED]
    unet = diffusers_unet.from_config(found["unet"])
    unet.bind(np.zeros(unet.theta_size(), np.float32))
    diffusers_unet.fill(unet, values)
    return unet, diffusers_scheduler.from_options(found["scheduler"])
