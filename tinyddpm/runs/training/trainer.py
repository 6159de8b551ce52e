"""The loop of a run, and what is done between its steps."""

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from tqdm import tqdm

from ... import train
from ...more.predictions import denoiser
from ...more.training.augmenting import cropped, flipped
from ...objective import factor
from ...train import Step
from ...types import Array, Gradient
from .. import ema
from ..computing import Denoise, computing
from ..divergence import Divergence, Watched
from ..folder import RunFolder
from ..heldout import mean_of
from ..recipes import Comparison, Curve
from ..record import Record
from .interrupts import interruptible
from .lines import say, tell
from .method import gradient_of
from .prepare import Setup
from .progress import Limits, Summary, held_out_in_words
from .words import about, try_a_smaller_beta

SOON = 5.0  # seconds after which a run knows how fast it is
NARROW = 80  # columns; in fewer the progress bar has no room for images/s


class Trainer:
    """Takes a model from the step where it is to the step where there is a reason to stop.

    Args:
        setup: the model, on the device, and everything that it is trained with.
        folder: the run folder, locked.
        curve: the held-out J that is expected on the way, or None.
    """

    def __init__(self, setup: Setup, folder: RunFolder, curve: Curve | None) -> None:
        config = setup.config
        self.comm = setup.comm
        self.setup, self.config, self.model, self.folder = setup, config, setup.model, folder
        self.start, self.said_how_long = self.model.step, False
        self.narrow = shutil.get_terminal_size((NARROW, 0)).columns < NARROW
        self.limits = Limits(config.steps, config.minutes, config.patience)
        self.comparison = Comparison(curve, config.warmup)
        self.mean = setup.draws.of_one_answer(mean_of(setup.seen))
        self.new = max(self.mean, self.of_a_new_network())
        self.divergence = Divergence(self.new, steady=config.predicts != "eps")
        # The record has J in the form "mse", whatever the objective is. Each factor is 1 over a
        # whole number. Dividing the whole numbers rounds once, dividing the factors three times.
        M, D = config.batch_size, math.prod(config.unet.image)
        own, mse = (round(1 / factor(form, M, D)) for form in (config.objective, "mse"))
        self.to_mse = own / mse

    def of_a_new_network(self) -> float:
        """The held-out J of a network that answers 0, as a new one does.

        If it predicts ε, this is far more than the mean image's. (If x_0, it is some grey image.)
        """
        schedule, predicts = self.setup.schedule, self.config.predicts
        if predicts == "x0":
            return 0.0
        to_x0 = denoiser(lambda xt, *_: np.zeros_like(xt), schedule, predicts)
        return float(self.setup.draws.evaluate(to_x0).mean())

    def train(self) -> Summary:
        """Take steps until there is a reason to stop, and save the last state."""
        model, began = self.model, time.monotonic()
        with (
            np.errstate(over="ignore", invalid="ignore"),  # whatever comes of it shows in J
            self.computing() as (gradient, prediction),
            self.folder.metrics(self.start) as record,
            interruptible() as interrupted,
            self.progress_bar() as bar,
        ):
            denoise = denoiser(prediction, self.setup.schedule, self.config.predicts)
            steps = self.steps(gradient)
            stop, signal = self.limits.reached(model.step, 0.0, model.progress.waited), ""
            while not stop:
                step = next(steps)
                seconds = time.monotonic() - began
                record({"k": step.k, "J": step.J * self.to_mse, "seconds": round(seconds, 3)})
                self.show(step, seconds, bar)
                # Only at these steps: an evaluation changes the progress, and an interrupt must
                # not cause one.
                if step.k % self.config.every == 0:
                    self.evaluate(step, denoise, record)
                seconds, signal = self.agreed(seconds, interrupted())
                stop = self.limits.reached(model.step, seconds, model.progress.waited)
                if signal:
                    stop = "interrupted" + (f" by {signal}" if signal != "SIGINT" else "")
            if self.folder.held != model.step:
                self.save(record, best=False)
            held_out = float(self.held_out(denoise).mean())
            signal = interrupted() or signal
        last = self.config.steps is not None and model.step >= self.config.steps
        converged = self.limits.converged(model.progress.waited)
        J = held_out, self.mean
        end = self.config.decay_steps
        return Summary(model.step, stop, *J, model.progress, converged, last, signal, end)

    def steps(self, gradient: Gradient) -> Iterator[Step]:
        """The steps of the algorithm from `start` on. After each, the model is up to date."""
        setup, config, model = self.setup, self.config, self.model
        watched = Watched(model.timesteps.by(gradient) if model.timesteps else gradient)
        to_train = flipped(watched) if config.flip else watched
        if config.crop == "random":
            to_train = cropped(config.unet.image[1:], to_train)
        algorithm = train.train(
            model.unet,
            setup.images,
            setup.schedule,
            config.step_size,
            seed=config.seed,
            batch_size=config.batch_size,
            form=config.objective,
            start=self.start,
            gradient=to_train,
            update=model.update,
            cond=setup.cond,
            samples=setup.samples,
        )
        for step in self.or_kept(algorithm, watched):
            model.step = step.k
            done = model.from_step + step.k
            ema.update(model.ema.theta, model.unet.theta, config.ema_decay, done)
            yield step

    def or_kept(self, algorithm: Iterator[Step], watched: Watched) -> Iterator[Step]:
        """The steps. If one cannot be taken, the state before it is saved: θ has not changed."""
        try:
            with self.keeping():
                yield from algorithm
        except FloatingPointError as error:
            watched.gather(self.comm)
            account = watched.account(self.model.unet, self.setup.schedule)
            kept = self.keep_last_good()
            raise FloatingPointError(f"{error}. {account}. {kept}. {self.advice()}") from error

    @contextmanager
    def keeping(self, save: bool = True) -> Iterator[None]:
        """If what is done in the block fails, say which state is kept, and save it before that.

        Rank 0 does that for all. What a worker, the memory or another rank causes leaves θ whole.
        """
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if self.comm.rank:
                raise
            kind = MemoryError if isinstance(error, MemoryError) else RuntimeError
            kept = self.keep_last_good(save)
            go_on = "" if self.folder.whole is None else ": --resume goes on from it"
            raise kind(f"{error}. {kept}{go_on}") from error

    def evaluate(self, step: Step, denoise: Denoise, record: Record) -> None:
        """Measure the held-out J, record and save it, and say how it compares."""
        model = self.model
        bands = self.held_out(denoise)
        J = float(bands.mean())
        record({"k": step.k, "held_out": J, "bands": bands.tolist()})
        best = model.progress.see(J, step.k)
        self.save(record, best)

        expected, off_track = self.comparison.see(step.k, J)
        held_out = held_out_in_words(J, self.mean)
        say(f"step {step.k:6d}   J {step.J:.4g}   {held_out}{expected}")
        if off_track:
            tell(off_track)
        if diverges := self.divergence.see(J):
            tell(f"{diverges}. {self.advice()}")

    def held_out(self, denoise: Denoise) -> Array:
        """The held-out J in each band of t. All ranks compute it together."""
        with self.keeping(save=False):  # a state saved now would never be evaluated
            return self.setup.draws.evaluate(denoise)

    def save(self, record: Record, best: bool) -> None:
        """Save the model, if all ranks have the same."""
        try:
            self.comm.check_same(theta=self.model.digest() if self.comm.size > 1 else "")
        except ValueError as error:
            kept = self.keep_last_good(save=False)
            raise ValueError(f"{error}, after step {self.model.step}. {kept}") from None
        record.sync()
        try:
            found = self.model.checkpoint()
        except FloatingPointError as error:
            kept = self.keep_last_good(save=False)
            raise FloatingPointError(f"{error}. {kept}. {self.advice()}") from None
        self.folder.save(found, best)

    def agreed(self, seconds: float, signal: str) -> tuple[float, str]:
        """The seconds of rank 0, and a signal that any rank got: all must decide alike."""
        with self.keeping():
            of_ranks = self.comm.allgather((seconds, signal))
        return of_ranks[0][0], next((name for _, name in of_ranks if name), "")

    def advice(self) -> str:
        """What to do if the run diverges."""
        learned = self.model.progress.best < self.new
        return try_a_smaller_beta(self.folder.path, self.config.beta, learned)

    def keep_last_good(self, save: bool = True) -> str:
        """Save the model if θ is finite. Says which state is kept."""
        try:
            if self.folder.held != self.model.step and save:
                self.folder.save(self.model.checkpoint(), best=False)
            if self.folder.held == self.model.step:
                return f"The state after step {self.model.step} is kept"
        # It is lost, or no memory is left to save it: so are all steps since the last checkpoint.
        except (FloatingPointError, RuntimeError, MemoryError):
            pass
        if self.folder.whole is None:
            return "No checkpoint was written yet"
        return f"The checkpoint of step {self.folder.whole} is kept"

    def computing(self) -> AbstractContextManager[tuple[Gradient, Denoise]]:
        """The gradient of the U-Net and what its EMA predicts, where the configuration says."""
        config, model, schedule = self.config, self.model, self.setup.schedule
        where = config.device, config.workers, config.shards, config.tf32
        by = gradient_of(config), self.comm, config.batch_size
        how = *where, tell, *by, config.parts, config.graph
        return computing(model.unet, model.ema, schedule, *how)

    def progress_bar(self) -> tqdm:
        """A progress bar, if standard error is a terminal."""
        bar = "{desc} {percentage:3.0f}% |{bar}| step {n} of {total}"
        return tqdm(
            total=self.config.steps,
            initial=self.start,
            desc="training",
            bar_format=(bar if self.config.steps else "{desc}: step {n}, {elapsed}") + "{postfix}",
            disable=None,
        )

    def show(self, step: Step, seconds: float, bar: tqdm) -> None:
        """Move the progress bar. Where there is none, say once how long it will take."""
        done = step.k - self.start
        left = self.limits.left(step.k, seconds, done)
        shown = [] if left is None else [f"{tqdm.format_interval(left)} left"]
        shown.append(f"J {step.J:.4g}")
        if not self.narrow:
            shown.append(f"{done * self.config.batch_size / seconds:.0f} images/s")
        bar.update()
        bar.set_postfix_str(", ".join(shown), refresh=False)
        if bar.disable and left and not self.said_how_long and seconds >= SOON:
            tell(f"{done / seconds:.3g} steps/s, {about(left)} left")
            self.said_how_long = True
