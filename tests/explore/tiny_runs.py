"""Run folders for the page, with tiny networks, and what is sent to a browser, opened."""

import base64
import io

import numpy as np
from PIL import Image

from tinyddpm import noise
from tinyddpm.runs import checkpoint, config
from tinyddpm.runs.folder import CHECKPOINT

DIGITS = tuple(map(str, range(10)))  # the names of their classes
TINY = {
    "T": 40,
    "base": 4,
    "groups": 2,
    "blocks": 1,
    "levels": [1, 2],
    "attention": [],
    "shards": 1,
}


def a_run(folder, image=(1, 8, 8), names=(), **values):
    """A run folder with an untrained network, perturbed so that no layer of it answers 0."""
    settings = config.from_dict(TINY | {"classes": bool(names)} | values).for_images(image, names)
    unet = settings.make_unet().initialise(0)
    for name, p in unet.parameters().items():
        p.data += 0.05 * noise.normal(0, f"perturbation of {name}", 0, [0], p.shape)[0]
    theta = unet.state()
    state = {"progress": {"best": 0.0, "best_step": 0}}
    folder.mkdir(exist_ok=True)
    saved = checkpoint.Checkpoint(settings, 0, theta, theta, state)
    checkpoint.save(folder / CHECKPOINT, saved)
    return folder


def data_of(path, shape, n=13):
    """A file of n images of noise."""
    levels = 255 * noise.uniform(0, "images", 0, range(n), shape)
    np.save(path, np.rint(levels).astype(np.uint8).transpose(0, 2, 3, 1))
    return str(path)


def opened(uri):
    """The pixels of a data URI."""
    head, content = uri.split(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image)
