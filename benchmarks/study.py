"""One training run of the study in docs/sgd.md, from one line of settings: `python -m benchmarks.study optimiser=adam beta=0.002 c=ones`.

A row is what a run is a function of. Settings that are not named have the values below; what came out is kept in docs/study.csv under
the settings that were named, so that a run that was made is not made again. `python -m benchmarks.questions` makes the many rows that
a question takes.

Choosing and reporting are kept apart: the images are split in three, `validation` J is what β is chosen by, `test` J what is reported.
"""

import csv
import dataclasses
import functools
import itertools
import math
import sys
from pathlib import Path

import numpy as np
from filelock import FileLock

from tinyddpm import data, fast, noise, train
from tinyddpm.evaluation import features, metrics
from tinyddpm.fast.parallel import Shards
from tinyddpm.more import curvature, predictions
from tinyddpm.more.optimisers import Adam, Momentum
from tinyddpm.more.schedules import SCHEDULES
from tinyddpm.more.solvers import ddim
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import ONES, Multipliers
from tinyddpm.runs import ema
from tinyddpm.runs.heldout import Draws, mean_image

from .head import Head

RESULTS = Path(__file__).parent.parent / "docs" / "study.csv"
CURVATURES = RESULTS.with_name("curvature.csv")
OPTIMISERS = {"momentum": Momentum, "adam": Adam}
NETWORKS = {
    "digits": ((1, 2), (4,)),
    "emoji-16": ((1, 2), (8,)),
    "fashion-mnist": ((1, 2, 2), (7,)),
}  # data -> levels, attention
MEASURED_AT = 100  # steps of the plain network before its curvature is measured


@dataclasses.dataclass(frozen=True)
class Row:
    data: str = "digits"
    base: int = 16
    batch: int = 64
    noise: str = "linear"  # noise schedule
    predicts: str = "x0"  # what the network predicts: x0, eps or v; "head": x_0 through c_skip and c_out (head.py)
    weight: str = "none"  # of the squared error of x̂_0 (more/predictions.py)
    optimiser: str = "sgd"  # sgd, momentum (.9) or adam (.9, .999)
    beta: float = 1.4
    c: str = "hand"  # multipliers: ones; hand: nn/multipliers.py; derived1, derived2, …: from measured curvature, in so many rounds; width: hand, the last scaled by fan-in
    warmup: int = 100  # steps over which β rises from 0
    decay: str = (
        "constant"  # β after that: constant, or down to 0 at the last step: linear or cosine
    )
    average: float = 0.995  # decay of the average of θ that is evaluated
    steps: int = 600
    seed: int = 0

    def __str__(self):
        named = (
            f"{f.name}={getattr(self, f.name):{'g' if f.type is float else ''}}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        )
        return " ".join(named) or "defaults"

    @classmethod
    def of(cls, *words):
        """The row of such words as "beta=0.002". ValueError, by name, for others."""
        kinds = {f.name: f.type for f in dataclasses.fields(cls)}
        values = {}
        for name, _, value in (word.partition("=") for word in words if word != "defaults"):
            if name not in kinds or not value:
                raise ValueError(
                    f"settings: expected words NAME=VALUE with a name among {', '.join(kinds)}, got {name!r}"
                )
            values[name] = kinds[name](value)
        return cls(**values)

    def step_size(self, k):
        rest = min(1.0, max(0.0, (k - self.warmup) / max(1, self.steps - self.warmup)))
        falls = {"constant": 1.0, "linear": 1 - rest, "cosine": (1 + math.cos(math.pi * rest)) / 2}[
            self.decay
        ]
        return self.beta * min(1.0, k / self.warmup if self.warmup else 1.0) * falls

    def config(self, image):
        levels, attention = NETWORKS[self.data]
        return UNetConfig(image=tuple(image), base=self.base, levels=levels, attention=attention)

    def before(self):
        """The run after which curvature is measured to derive these multipliers; None if they are not derived.

        It is the same network by gradient descent on the lecture's J. In round 1 it has c = 1, and β is 0.1 for base 16 and falls with the width: small
        enough to be stable whatever the curvatures are. In later rounds it has the multipliers of the round before, and β = 1/λ, of the curvature that they should give to each kind.
        """
        if not self.c.startswith("derived"):
            return None
        c, n = "ones", int(self.c.removeprefix("derived"))
        run = Row(
            data=self.data,
            base=self.base,
            batch=self.batch,
            noise=self.noise,
            beta=0.1 * 16 / self.base,
            c=c,
            warmup=50,
            steps=MEASURED_AT,
        )
        for i in range(1, n):
            run = dataclasses.replace(
                run, c=f"derived{i}", beta=float(f"{1 / measured(run)[curvature.REST]:.2g}")
            )
        return run

    def multipliers(self):
        if before := self.before():
            return curvature.derived(measured(before), before.multipliers())
        if (
            self.c == "width"
        ):  # the features that the last convolution adds up have a mean, so its curvature grows with their number
            return dataclasses.replace(
                Multipliers(), last=Multipliers.last * (16 / self.base) ** 0.5
            )
        return {"ones": ONES, "hand": Multipliers()}[self.c]


def split(source):
    """Images (training, validation, test), each (n, C, H, W). Without a test set of its own the data set is split in three, of which
    the training images are those that `data.split` trains on but every fifth: no classifier of `features` has seen the test images."""
    train_images, held_out = (part.images for part in data.split(data.load(source)))
    if data.has_test_set(source):
        return train_images, held_out, data.load_test(source).images
    fifth = np.arange(len(train_images)) % 5 == 0
    return train_images[~fifth], train_images[fifth], held_out


def run(row):
    """What came out, a dict of numbers: J as shares of predict-the-mean's, and after 600 steps or more how good samples are. Or at which step it
    diverged: J was no longer finite, or ended no lower than it began."""
    fast.enable()
    images, validation, test = split(row.data)
    schedule = SCHEDULES[row.noise](1000)
    draws = {"validation": Draws(validation, schedule), "test": Draws(test, schedule)}
    mean = {name: float(d.evaluate(mean_image(images)).mean()) for name, d in draws.items()}
    unet = UNet(row.config(images.shape[1:]), row.multipliers()).initialise(row.seed)
    averaged = UNet(unet.config, unet.c).bind(unet.theta.copy())
    if row.predicts == "head":
        head = Head(images)
        gradient, as_denoiser = head.gradient, functools.partial(head.denoiser, schedule=schedule)
    else:
        gradient = functools.partial(predictions.gradient, predicts=row.predicts, weight=row.weight)
        as_denoiser = functools.partial(
            predictions.denoiser, schedule=schedule, predicts=row.predicts
        )

    with (
        Shards(unet, schedule, workers=1, shards=1, ema=averaged, gradient=gradient) as here,
        np.errstate(over="ignore", invalid="ignore"),
    ):
        denoiser = as_denoiser(here.denoise)
        update = OPTIMISERS[row.optimiser]() if row.optimiser != "sgd" else train.gradient_descent
        found, J, thirds = {}, [], [round(row.steps * i / 3) for i in (1, 2, 3)]
        try:
            for step in itertools.islice(
                train.train(
                    unet,
                    images,
                    schedule,
                    row.step_size,
                    seed=row.seed,
                    batch_size=row.batch,
                    gradient=here.gradient,
                    update=update,
                ),
                row.steps,
            ):
                ema.update(averaged.theta, unet.theta, row.average, step.k)
                J.append(step.J)
                if step.k in thirds:
                    found[f"validation_{thirds.index(step.k) + 1}"] = (
                        float(draws["validation"].evaluate(denoiser).mean()) / mean["validation"]
                    )
        except FloatingPointError:
            return {"diverged": step.k}
        if not np.mean(J[-20:]) < np.mean(J[:20]):
            return {"diverged": row.steps}
        found["test"] = float(draws["test"].evaluate(denoiser).mean()) / mean["test"]
        if row.steps >= 600:
            found |= quality(row, denoiser, schedule, images, test)
        averaged.theta[...] = unet.theta
        found["test_last_theta"] = float(draws["test"].evaluate(denoiser).mean()) / mean["test"]
        return found


def quality(row, denoiser, schedule, images, test, n=300):
    """How good n samples of 50 steps of DDIM are."""
    *_, (_, x, _) = ddim(
        denoiser, schedule, noise.normal(0, "study samples", 0, np.arange(n), images.shape[1:])
    )
    return beside(test[:n], np.clip(x, -1, 1), row.data)


def beside(real, images, source):
    """Fréchet distance and coverage of n images against n real ones, in the features of the classifier of this data set."""
    function, _ = features.load(source, data.load(source))
    real, points = function(real), function(images)
    return {"frechet": metrics.frechet(real, points), "coverage": metrics.coverage(real, points)}


def measured(row):
    """The curvature of J for each kind of layer at the end of this run, one of gradient descent on the lecture's J. Kept in CURVATURES."""
    with FileLock(CURVATURES.with_suffix(".lock")):
        if str(row) in (kept := read(CURVATURES)):
            return {kind: float(value) for kind, value in kept[str(row)].items() if value}
    fast.enable()
    images, schedule = split(row.data)[0], SCHEDULES[row.noise](1000)
    unet = UNet(row.config(images.shape[1:]), row.multipliers()).initialise(row.seed)
    with Shards(unet, schedule, workers=1, shards=1) as here:
        for _ in itertools.islice(
            train.train(
                unet,
                images,
                schedule,
                row.step_size,
                seed=row.seed,
                batch_size=row.batch,
                gradient=here.gradient,
            ),
            row.steps,
        ):
            pass
        m = np.arange(64)
        x0 = images[noise.integers(0, "curvature: images", 0, m, len(images))]
        t = 1 + noise.integers(0, "curvature: t", 0, m, schedule.T)
        eps = noise.normal(0, "curvature: eps", 0, m, x0.shape[1:])
        found = curvature.by_kind(
            unet, schedule, x0, t, eps, steps=12, h=1e-2, gradient=here.gradient
        )
    with FileLock(CURVATURES.with_suffix(".lock")):
        append(
            CURVATURES, {"row": str(row)} | {kind: f"{value:.4g}" for kind, value in found.items()}
        )
    return found


COLUMNS = {
    RESULTS: [
        "row",
        "validation_1",
        "validation_2",
        "validation_3",
        "test",
        "test_last_theta",
        "frechet",
        "coverage",
        "diverged",
    ],
    CURVATURES: ["row", *curvature.KINDS, curvature.REST, curvature.ALL],
}


def read(path):
    """{row: {column: what is written there}} of a file of results; of none, nothing."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {line.pop("row"): line for line in csv.DictReader(file)}


def append(path, values):
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS[path], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(values)


def keep(row, found):
    append(
        RESULTS,
        {"row": str(row)}
        | {
            name: value if isinstance(value, int) else f"{value:.5g}"
            for name, value in found.items()
        },
    )


if __name__ == "__main__":
    asked = Row.of(*sys.argv[1:])
    if str(asked) not in read(RESULTS):
        keep(asked, run(asked))
    print(asked, {name: value for name, value in read(RESULTS)[str(asked)].items() if value})
