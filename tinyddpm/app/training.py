"""A training run: `train.train`, and all that the algorithm itself does not need.

    summary = run(Config(steps=1000), "runs/x")

Around the loop: the average of θ, the held-out J and the decision that it no longer improves, checkpoints, a record of every step,
a progress bar, and a clean stop on Ctrl-C. A run that is resumed takes the very steps that it would have taken unbroken.
"""
import itertools
import json
import math
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autograd import backend

from .. import train
from . import average, checkpoint, config as configuration, data
from .heldout import Draws, mean_image

CHECKPOINT, BEST, CONFIG, METRICS = "checkpoint.safetensors", "best.safetensors", "config.toml", "metrics.jsonl"
BETTER = 0.999  # a held-out J counts as improved if it is at most this share of the best one so far


@dataclass
class Progress:
    """How far the run's convergence is. `best` is the lowest held-out J so far, at `best_step`; `waited` counts evaluations since."""
    best: float = math.inf
    best_step: int = 0
    waited: int = 0

    def see(self, J, step):
        """Take note of a new held-out J. True if it is the best so far."""
        improved = J <= BETTER * self.best
        self.waited = 0 if improved else self.waited + 1
        if J < self.best:
            self.best, self.best_step = J, step
            return True
        return False


@dataclass
class Summary:
    """What a run came to: the last step, why it stopped there, the best held-out J, its step, and predict-the-mean's J."""
    step: int
    stopped: str
    best: float
    best_step: int
    mean: float

    def __str__(self):
        return (f"stopped at step {self.step}: {self.stopped}. Best held-out J {self.best:.4f} at step {self.best_step}, "
                f"{self.best / self.mean:.3f} of predict-the-mean's {self.mean:.4f}.")


def run(config, folder, resume=False):
    """Train as `config` says and leave everything in `folder`. Returns a Summary.

    resume  go on from the folder's checkpoint, if it has one; config may then differ from its own in steps, minutes,
            patience and device only (ValueError otherwise)
    """
    folder = Path(folder)
    dataset = data.load(config.data, config.size, config.channels)
    images, held_out = (part.images for part in data.split(dataset))
    config = config.for_images(images.shape[1:])
    schedule = config.make_schedule()
    unet = config.make_unet().initialise(config.seed)

    existing = folder / CHECKPOINT
    if existing.exists() and not resume:
        raise ValueError(f"{folder} holds a run already: go on with it (--resume), or choose another folder (--out)")
    start, progress = 0, Progress()
    averaged = unet.theta.copy()
    averaged_unet = config.make_unet().bind(averaged)
    if existing.exists():
        saved = checkpoint.load(existing)
        _check_same_run(saved, config, dataset)
        checkpoint.fill(unet, saved.theta, existing)
        checkpoint.fill(averaged_unet, saved.average, existing)
        start, progress = saved.step, Progress(**saved.state["progress"])
    folder.mkdir(parents=True, exist_ok=True)
    configuration.write(config, folder / CONFIG)

    if config.device != "cpu":
        unet.bind(backend.to_device(unet.theta, config.device), backend.to_device(unet.grad, config.device))
        averaged = backend.to_device(averaged, config.device)
        averaged_unet.bind(averaged)
        images = backend.to_device(images, config.device)

    draws = Draws(held_out, schedule)
    mean = float(draws.evaluate(mean_image(images)).mean())

    def save(step):
        state = {"progress": vars(progress), "data": dataset.fingerprint()}
        found = checkpoint.Checkpoint(config, step, unet.state(), averaged_unet.state(), state)
        checkpoint.save(folder / CHECKPOINT, found)
        return found

    stop = _why_to_stop(config, start, 0.0, progress)
    steps = itertools.takewhile(lambda _: not stop, train.train(
        unet, images, schedule, config.step_size, seed=config.seed, batch_size=config.batch_size, form=config.objective, start=start))
    began, k = time.monotonic(), start
    with _metrics(folder / METRICS, start) as record, _interruptible() as interrupted, \
            tqdm(total=config.steps, initial=start, unit=" steps", desc="training", disable=None) as bar:
        for step in steps:
            k = step.k
            average.update(averaged, unet.theta, config.average, k)
            seconds = time.monotonic() - began
            record({"k": k, "J": float(step.errors.mean()) / images[0].size, "seconds": round(seconds, 3)})
            bar.update()
            bar.set_postfix_str(f"J {step.J:.4g}, {(k - start) * config.batch_size / seconds:.0f} images/s", refresh=False)

            stop = "interrupted" if interrupted() else _why_to_stop(config, k, seconds, progress)
            if stop or k % config.every == 0:
                bands = draws.evaluate(averaged_unet.denoise)
                J = float(bands.mean())
                record({"k": k, "held_out": J, "bands": bands.tolist(), "seconds": round(time.monotonic() - began, 3)})
                best = progress.see(J, k)
                stop = stop or _why_to_stop(config, k, seconds, progress)
                found = save(k)
                if best:
                    checkpoint.save(folder / BEST, found)
                tqdm.write(f"step {k:6d}   J {step.J:.4g}   held-out J {J:.4f}, {J / mean:.3f} of predict-the-mean's")
    return Summary(k, stop, progress.best, progress.best_step, mean)


def _why_to_stop(config, k, seconds, progress):
    """The reason, in words, or "" to go on."""
    if config.steps is not None and k >= config.steps:
        return f"all {config.steps} steps are done"
    if config.minutes is not None and seconds >= 60 * config.minutes:
        return f"the {config.minutes:g} minutes are over"
    if config.patience and progress.waited >= config.patience:
        return f"converged: the held-out J has not improved for {progress.waited} evaluations"
    return ""


def _check_same_run(saved, config, dataset):
    """Only a run that is the same in all that its numbers depend on may go on from a checkpoint."""
    before, now = configuration.to_dict(saved.config), configuration.to_dict(config)
    for name in sorted((before.keys() | now.keys()) - set(configuration.MAY_CHANGE)):
        if before.get(name) != now.get(name):
            raise ValueError(f"{name}: the run to resume has {before.get(name)!r}, not {now.get(name)!r}")
    if saved.state["data"] != dataset.fingerprint():
        raise ValueError(f"data: {config.data} no longer holds the images that the run to resume was trained on")


@contextmanager
def _metrics(path, start):
    """A function that writes one JSON line. Lines of steps after `start`, which a resumed run does again, are cut first."""
    kept = [line for line in (path.read_text().splitlines() if path.exists() else []) if _step_of(line) <= start]
    path.write_text("".join(line + "\n" for line in kept))
    with path.open("a", buffering=1) as file:
        yield lambda values: file.write(json.dumps(values) + "\n")


def _step_of(line):
    try:
        return json.loads(line)["k"]
    except (ValueError, KeyError, TypeError):  # half a line: the machine stopped while it was written
        return math.inf


@contextmanager
def _interruptible():
    """Let the first Ctrl-C (or SIGTERM) only take note, so that the step under way is finished; a second one ends the program."""
    asked = []

    def note(number, frame):
        asked.append(number)
        signal.signal(number, before[number])

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.getsignal(number)
        try:
            signal.signal(number, note)
        except ValueError:  # not the main thread, where signals do not arrive
            pass
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
