"""Small runs of other optimisers, predictions and weights."""

import dataclasses

from small_runs import LEAST

from tinyddpm.runs.config import from_dict

UNET = dataclasses.replace(LEAST, dropout=0.1)
SMALL = {"T": 12, "batch_size": 6, "warmup": 3, "every": 4, "steps": 11, "shards": 2, "seed": 3}


def made(images, **method):
    """The configuration of a small run."""
    config = from_dict({"data": images, "workers": 1} | SMALL | method)
    return dataclasses.replace(config, unet=UNET)


def words(method):
    return " ".join(map(str, method.values())) or "the lecture's"
