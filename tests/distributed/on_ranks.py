"""What the tests run under mpiexec, and without it: short trainings, and a hash of all they gave.

Prints one line of JSON: {case: hash}. Arguments: workers, and perhaps "alone".
"""

import hashlib
import json
import sys

import numpy as np

from tinyddpm import fast, noise
from tinyddpm.distributed.ranks import Ranks
from tinyddpm.distributed.world import world
from tinyddpm.fast.parallel import Shards, part
from tinyddpm.more.classes import ClassConfig, ClassUNet, dropped
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.schedule import linear
from tinyddpm.train import train

IMAGE, SHARDS, STEPS = (1, 8, 8), 6, 3
SMALL = {"image": IMAGE, "base": 8, "levels": (1, 2), "blocks": 1, "attention": ()}
# batch size, U-Net's options, numbers in a feature map (which bounds a micro-batch)
CASES = {
    "plain": (12, {}, None),
    "uneven": (17, {}, None),  # shards of 2 and of 3 images
    "fewer images than shards": (5, {}, None),
    "dropout": (12, {"dropout": 0.2}, None),
    "classes": (12, {"classes": 3}, None),
    "micro-batches": (17, {"dropout": 0.2}, 8 * 8 * 8 * 2),  # no worker would learn of the bound
}


def shared_out(comm, unet, ema, schedule, batch_size, workers):
    """What computes in this case, and the samples that it wants."""
    if comm is None:
        return Shards(unet, schedule, workers, SHARDS, ema), slice(None)
    ranks = Ranks(comm, unet, schedule, batch_size, workers, SHARDS, ema)
    return ranks, ranks.samples


def trained(comm, workers, batch_size, options, largest_map):
    """The hash of θ, every J and some denoised images."""
    images = noise.uniform(0, "images", 0, np.arange(40), IMAGE) * 2 - 1
    schedule = linear(1000)
    kind = (ClassUNet, ClassConfig) if "classes" in options else (UNet, UNetConfig)
    unet, ema = (kind[0](kind[1](**SMALL | options)).initialise(seed) for seed in (0, 1))
    part.LARGEST_MAP = largest_map or 1 << 20
    computing, samples = shared_out(comm, unet, ema, schedule, batch_size, workers)
    cond, first = None, range(batch_size)[samples][0]
    if "classes" in options:
        cond = dropped(np.arange(40) % 3, 3, 0.3, seed=0, first=first)
    found = hashlib.sha256()
    with computing:
        gradient = computing.gradient
        settings = {"seed": 0, "batch_size": batch_size, "cond": cond, "samples": samples}
        for step in train(unet, images, schedule, 0.1, gradient=gradient, **settings):
            found.update(np.float64(step.J))
            if step.k == STEPS:
                break
        for n in (1, 2, 41):
            xt = noise.normal(0, "xt", 0, np.arange(n), IMAGE)
            given = () if cond is None else (np.arange(n) % 3,)
            found.update(computing.denoise(xt, np.full(n, 500), *given))
    found.update(unet.theta)
    return found.hexdigest()[:12]


if __name__ == "__main__":
    workers, *alone = sys.argv[1:]
    comm = None if alone else world()
    fast.enable()
    found = {}
    for name, (batch_size, options, largest_map) in CASES.items():
        too_few = comm is not None and comm.size > min(SHARDS, batch_size)
        if not too_few and (workers == "1" or not largest_map):
            found[name] = trained(comm, int(workers), batch_size, options, largest_map)
    sys.stdout.write(json.dumps(found) + "\n")
