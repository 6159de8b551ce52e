"""A training run: `train.train`, and all that the algorithm itself does not need.

    summary = run(Config(steps=1000), "runs/x")

Around the loop: the average of θ, the held-out J and the decision that it no longer improves, checkpoints, a record of every step,
a progress bar, and a clean stop on Ctrl-C. A run that is resumed takes the very steps that it would have taken unbroken. What
can go wrong is dealt with elsewhere: files in `run_folder.py`, numbers in `divergence.py`.
"""
import dataclasses
import math
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from autograd import backend

from .. import train
from ..more.classes import dropped
from . import ema, checkpoint, config as configuration, recipes
from .. import data
from ..data import labels
from .computing import computing
from .divergence import Divergence, Watched
from ..files import in_words
from .heldout import Draws, mean_image
from .folder import BEST, RunFolder

BETTER = 0.999  # a held-out J is really better if it is at most this share of the last one that was


@dataclass
class Progress:
    """How far the convergence is: the lowest held-out J so far and its step; `waited` counts the evaluations since J was
    last really better than `level`, what it was then."""
    best: float = math.inf
    best_step: int = 0
    level: float = math.inf
    waited: int = 0

    def see(self, J, step):
        """Take note of a new held-out J. True if it is the best so far."""
        if J <= BETTER * self.level:
            self.level, self.waited = J, 0
        else:
            self.waited += 1
        if J < self.best:
            self.best, self.best_step = J, step
            return True
        return False

    @classmethod
    def of(cls, saved, path=""):
        """That of a Checkpoint, from the file `path`."""
        values = saved.state["progress"]
        if not values.keys() <= {f.name for f in dataclasses.fields(cls)} or any(type(v) not in (int, float) for v in values.values()):
            raise checkpoint.CheckpointError(f"{path}: expected a progress of numbers, got {values}")
        return cls(**values)


@dataclass
class Summary:
    """What a run came to: its last step, why it stopped there, its held-out J, and predict-the-mean's for comparison."""
    step: int
    stopped: str
    held_out: float
    mean: float
    progress: Progress

    def __str__(self):
        return f"stopped at step {self.step}: {self.stopped}. {held_out_in_words(self.held_out, self.mean)}"


def held_out_in_words(J, mean):
    return f"held-out J {J:.4f}" + (f", {J / mean:.3f} of predict-the-mean's" if mean else "")


class Model:
    """What a run changes: a U-Net with its θ, the average of θ in a second one, how many steps are done, and the progress."""

    def __init__(self, config, fingerprint):
        self.config, self.fingerprint = config, fingerprint
        self.unet = config.make_unet().initialise(config.seed)
        self.ema = config.make_unet().bind(self.unet.theta.copy())
        self.step, self.progress = 0, Progress()

    def checkpoint(self):
        """All of it, for `become`. FloatingPointError if θ is no longer finite: such a state is not worth keeping."""
        if not all(bool(backend.array_module(net.theta).isfinite(net.theta).all()) for net in (self.unet, self.ema)):
            raise FloatingPointError(f"θ is no longer finite after step {self.step}: β = {self.config.step_size(self.step)} is probably too large")
        state = {"progress": vars(self.progress), "data": self.fingerprint}
        theta, ema = ({name: backend.to_numpy(a) for name, a in net.state().items()} for net in (self.unet, self.ema))
        return checkpoint.Checkpoint(self.config, self.step, theta, ema, state)

    def become(self, saved, path):
        """What this Checkpoint, from the file `path`, says. ValueError if that was another run."""
        _check_same_run(saved, self.config, self.fingerprint)
        checkpoint.fill(self.unet, saved.theta, path)
        checkpoint.fill(self.ema, saved.ema, path)
        self.step, self.progress = saved.step, Progress.of(saved, path)

    def move(self, device):
        self.unet.bind(backend.to_device(self.unet.theta, device), backend.to_device(self.unet.grad, device))
        self.ema.bind(backend.to_device(self.ema.theta, device))


def run(config, folder, resume=False, recipe=None):
    """Train as `config` says and leave everything in `folder`. Returns a Summary.

    recipe  the name of the one that config was made from, for a word on why it is not compared with that recipe's curve, if it is not
    resume  go on from the folder's newest whole checkpoint, if it has one; config may then differ from its own in what
            config.MAY_CHANGE names only (ValueError otherwise)

    Raises ValueError for bad input, run_folder.InUse, OSError if something cannot be written, FloatingPointError if J or θ is no
    longer finite. Whatever it is: the folder holds a whole checkpoint from which to go on.
    """
    folder = RunFolder(folder, config.keep)
    dataset, names = config.load_data()
    training, held_out = data.split(dataset)
    config = config.for_images(training.images.shape[1:], names)
    schedule = config.make_schedule()
    model = Model(config, labels.fingerprint(dataset))
    comparison = recipes.Comparison(recipes.expected(config, model.fingerprint), config.warmup)
    images, cond = backend.to_device(training.images, config.device), None
    if config.classes:
        cond = dropped(backend.to_device(training.labels, config.device), len(names), config.class_dropout, config.seed)
    draws = Draws(held_out.images, schedule, labels=held_out.labels)
    with folder.locked():  # makes the folder: last of all, when nothing can be wrong with the input any more
        if folder.checkpoints() and not resume:
            raise ValueError(f"{folder.path} holds a run already: go on with it (--resume), or choose another folder (--out)")
        _go_on(model, folder)
        model.move(config.device)
        folder.write_config(config)
        if recipe and not comparison.curve:
            _tell(f"not compared with the recipe {recipe}: {recipes.why_not(recipe, config, model.fingerprint)}")
        try:
            return _train(config, folder, model, schedule, images, cond, draws, comparison)
        except OSError as error:
            saved = "no checkpoint was written yet" if folder.whole is None else f"the checkpoint of step {folder.whole} is whole: go on from it with --resume"
            raise OSError(f"{in_words(error)}. The run stopped at step {model.step}; {saved}") from error


def _go_on(model, folder):
    """Become what the folder's newest checkpoint says, if it has one."""
    found = folder.newest()
    if found:
        model.become(found.checkpoint, found.path)
        for line in folder.go_on_from(found):
            _tell(line)
        if model.progress.best_step and not folder.has_best(model.progress.best_step):
            model.progress.best = math.inf
            _tell(f"{folder.path / BEST} is not whole: the next evaluation will be the best until there is a better one")


def _train(config, folder, model, schedule, images, cond, draws, comparison):
    """The loop, from where the model is until there is a reason to stop. Returns the Summary."""
    mean = float(draws.evaluate(mean_image(images)).mean())
    divergence = Divergence(mean)
    D = images[0].size
    per_value = {"sum": 1 / (config.batch_size * D), "batch_mean": 1 / D, "mse": 1.0}[config.objective]  # the record's J is "mse" for every objective
    stop, start, began = _why_to_stop(config, model, 0.0), model.step, time.monotonic()
    with computing(model.unet, model.ema, schedule, config.device, config.workers, config.shards, config.tf32) as (gradient, denoise), \
            folder.metrics(start) as record, _interruptible() as interrupted, np.errstate(over="ignore", invalid="ignore"), \
            tqdm(total=config.steps, initial=start, unit=" steps", desc="training", disable=None) as bar:
        watched = Watched(gradient)
        steps = train.train(model.unet, images, schedule, config.step_size, seed=config.seed, batch_size=config.batch_size,
                            form=config.objective, start=start, gradient=watched, cond=cond)
        while not stop:
            try:
                step = next(steps)
            except FloatingPointError as error:  # raised before the update: the model is still that of the step before
                raise _not_finite(error, watched.account(model.unet, schedule), model, folder) from error
            model.step = step.k
            ema.update(model.ema.theta, model.unet.theta, config.ema_decay, step.k)
            seconds = time.monotonic() - began
            record({"k": step.k, "J": step.J * per_value, "seconds": round(seconds, 3)})
            bar.update()
            bar.set_postfix_str(f"J {step.J:.4g}, {(step.k - start) * config.batch_size / seconds:.0f} images/s", refresh=False)

            # Only at these steps: an evaluation where a run happened to be interrupted would make it another run.
            if step.k % config.every == 0:
                bands = draws.evaluate(denoise)
                J = float(bands.mean())
                record({"k": step.k, "held_out": J, "bands": bands.tolist()})
                best = model.progress.see(J, step.k)
                record.sync()
                folder.save(model.checkpoint(), best)
                words, off_track = comparison.see(step.k, J)
                tqdm.write(f"step {step.k:6d}   J {step.J:.4g}   {held_out_in_words(J, mean)}{words}")
                for warning in filter(None, (off_track, divergence.see(J, config.beta))):
                    _tell(warning)
            stop = "interrupted" if interrupted() else _why_to_stop(config, model, seconds)
        if folder.held != model.step:
            record.sync()
            folder.save(model.checkpoint(), best=False)
        return Summary(model.step, stop, float(draws.evaluate(denoise).mean()), mean, model.progress)


def _not_finite(error, account, model, folder):
    """The FloatingPointError to raise, once the last good state is saved."""
    try:
        if folder.held != model.step:
            folder.save(model.checkpoint(), best=False)
        kept = f"The state after step {model.step} is kept"
    except FloatingPointError:  # θ is lost already, and with it everything since the last checkpoint
        kept = "No checkpoint was written yet" if folder.whole is None else f"The checkpoint of step {folder.whole} is kept"
    beta = model.config.beta
    return FloatingPointError(f"{error}. {account}. Try --beta {beta / 3:.2g}, or a longer --warmup. {kept}")


def _tell(line):
    tqdm.write(line, file=sys.stderr)


def _why_to_stop(config, model, seconds):
    """The reason, in words, or "" to go on."""
    if config.steps is not None and model.step >= config.steps:
        return f"all {config.steps} steps are done"
    if config.minutes is not None and seconds >= 60 * config.minutes:
        return f"the {config.minutes:g} minutes are over"
    if config.patience and model.progress.waited >= config.patience:
        return f"converged: the held-out J has not improved for {model.progress.waited} evaluations"
    return ""


def _check_same_run(saved, config, fingerprint):
    """Only a run that is the same in all that its numbers depend on may go on from a checkpoint."""
    before, now = configuration.to_dict(saved.config), configuration.to_dict(config)
    for name in sorted((before.keys() | now.keys()) - set(configuration.MAY_CHANGE)):
        if before.get(name) != now.get(name):
            raise ValueError(f"{name}: the run to resume has {before.get(name)!r}, not {now.get(name)!r}")
    if saved.state.get("data") != fingerprint:
        raise ValueError(f"data: {config.data} no longer holds the images{' and labels' if config.classes else ''} that the run to resume was trained on")


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
