"""What a run needs before its first step: data, network, schedule and held-out draws."""

import dataclasses
from dataclasses import dataclass

from autograd import backend

from ... import data
from ...alone import Alone, Comm
from ...data import labels
from ...data.asked import uncropped
from ...data.stored.on_device import on_device
from ...more.classes import dropped
from ...schedule import Schedule
from ...types import Cond, Images
from ..config import Config
from ..heldout import Draws
from .model import Model


@dataclass(frozen=True)
class Setup:
    """What `prepare` makes.

    Attributes:
        config: the configuration, with what the data say (the images' shape and the classes), the
            device of this rank, and the number of its parts.
        model: the network and its EMA, in main memory, before the first step.
        schedule: the noise schedule.
        images: (n, C, H, W) to train on, on the device; larger, if they are cropped at random.
        seen: the same around their centre, as held-out images are seen.
        cond: the classes of a mini-batch's images, for `train`; None: the network takes none.
        draws: the held-out draws.
        found: what the data are, in words.
        comm: the ranks that train together.
        samples: the places in a mini-batch whose images this rank draws.
    """

    config: Config
    model: Model
    schedule: Schedule
    images: Images
    seen: Images
    cond: Cond | None
    draws: Draws
    found: str
    comm: Comm
    samples: slice


def prepare(config: Config, comm: Comm = Alone()) -> Setup:
    """Load the data and make the rest for them. Writes nothing.

    Raises:
        ValueError: the data or the configuration are bad, or do not fit each other.
    """
    if comm.size > 1 and config.loss_aware_t:
        raise ValueError("loss_aware_t: expected one rank, because each sees its own losses only")
    config = config.for_ranks(comm.size)
    samples = comm.samples(config.batch_size, config.parts)  # soon: there may be too few shards
    config = dataclasses.replace(config, device=comm.device(config.device))
    dataset, names = config.load_data()
    training, held_out = config.split_data(dataset)
    found = data.report(dataset, config.data, config.split).text()
    config = config.for_images(training.images.shape[1:], names, dataset.grey_levels)
    schedule = config.make_schedule()
    model = Model(config, labels.fingerprint(dataset))
    images, cond = on_device(uncropped(training.images), config.device), None
    seen = images if config.crop == "centre" else training.images
    if training.labels is not None:  # they are loaded only where the network is to see them
        classes = backend.to_device(training.labels, config.device)
        first = samples.start or 0
        cond = dropped(classes, len(names), config.class_dropout, config.seed, first)
    draws = Draws(held_out.images, schedule, labels=held_out.labels)
    return Setup(config, model, schedule, images, seen, cond, draws, found, comm, samples)
