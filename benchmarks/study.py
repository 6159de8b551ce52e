"""One training run of the study in docs/sgd.md, from one line of settings.

    python -m benchmarks.study optimiser=adam beta=0.002 c=ones

A run is a function of its `Row`. Settings that you do not name have their defaults. docs/study.csv
keeps the results under the settings that were named, and a run in it is not made again.
`python -m benchmarks.questions` makes the many runs that a question takes.

We choose and report on different images. They are split in three: we choose β by `validation` J,
and report `test` J.
"""

import dataclasses
import functools
import itertools
import math
import sys

import numpy as np
from filelock import FileLock

from autograd.backend import expect
from tinyddpm import data, fast, noise, train
from tinyddpm.evaluation import features, metrics
from tinyddpm.fast.parallel import Shards
from tinyddpm.more import curvature, predictions
from tinyddpm.more.schedules import SCHEDULES
from tinyddpm.more.solvers import ddim
from tinyddpm.more.training.calibration import Measured
from tinyddpm.more.training.optimisers import Adam, Momentum
from tinyddpm.nn import UNet, UNetConfig
from tinyddpm.nn.multipliers import ONES, Multipliers
from tinyddpm.runs import ema
from tinyddpm.runs.heldout import Draws, mean_image

from .head import Head
from .results import CURVATURES, RESULTS, keep, keep_curvature, read
from .variants import Capped, Twice

OPTIMISERS = {"sgd": lambda: train.gradient_descent, "momentum": Momentum, "adam": Adam}
NETWORKS = {  # data -> levels, attention
    "digits": ((1, 2), (4,)),
    "emoji-16": ((1, 2), (8,)),
    "fashion-mnist": ((1, 2, 2), (7,)),
}
MEASURED_AT = 100  # steps of the plain network before its curvature is measured


@dataclasses.dataclass(frozen=True)
class Row:
    """All settings of a run.

    predicts: x0, eps or v; "head" is x_0 through c_skip and c_out (head.py).
    weight: of the squared error of x̂_0 (more/predictions.py).
    c: multipliers. ones; hand: those of nn/multipliers.py; derived1, derived2, …: from measured
        curvature, in so many rounds; width: hand, with the last scaled by its fan-in; measured:
        for each number of θ, during the warm-up (more/training/calibration.py). Its momentum is a
        mean of gradients, not a sum. measured_twice, measured_capped: see variants.py.
    decay: β after the warm-up. constant, or linear or cosine down to 0 at the last step.
    judges: at most so many validation images, and so many test images, have their J computed.
    """

    data: str = "digits"
    base: int = 16
    batch: int = 64
    noise: str = "linear"  # noise schedule
    predicts: str = "x0"
    weight: str = "none"
    optimiser: str = "sgd"  # sgd, momentum (.9) or adam (.9, .999)
    beta: float = 1.4
    c: str = "hand"
    warmup: int = 100  # steps over which β rises from 0
    decay: str = "constant"
    average: float = 0.995  # decay of the EMA of θ that we evaluate (the name stands in study.csv)
    steps: int = 600
    seed: int = 0
    judges: int = 10_000

    def __str__(self):
        named = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                named.append(f"{field.name}={value:{'g' if field.type is float else ''}}")
        return " ".join(named) or "defaults"

    @classmethod
    def of(cls, *words):
        """The row of words such as "beta=0.002". ValueError for a name that is no setting."""
        kinds = {field.name: field.type for field in dataclasses.fields(cls)}
        values = {}
        for word in words:
            if word == "defaults":
                continue
            name, _, value = word.partition("=")
            if name not in kinds or not value:
                names = ", ".join(kinds)
                raise ValueError(
                    f"settings: expected words NAME=VALUE with a name among {names}, got {name!r}"
                )
            values[name] = kinds[name](value)
        return cls(**values)

    def step_size(self, k):
        """β at step k."""
        rises = min(1.0, k / self.warmup if self.warmup else 1.0)
        done = min(1.0, max(0.0, (k - self.warmup) / max(1, self.steps - self.warmup)))
        falls = {
            "constant": 1.0,
            "linear": 1 - done,
            "cosine": (1 + math.cos(math.pi * done)) / 2,
        }[self.decay]
        return self.beta * rises * falls

    def config(self, image):
        levels, attention = NETWORKS[self.data]
        return UNetConfig(image=tuple(image), base=self.base, levels=levels, attention=attention)

    def before(self):
        """The run after which we measure curvature to derive these multipliers.

        None if they are not derived. It is the same network, trained by gradient descent on the
        lecture's J. In round 1 it has c = 1, and β is 0.1 for base 16 and falls with the width:
        small enough to be stable whatever the curvatures are. In later rounds it has the
        multipliers of the round before, and β = 1/λ, where λ is the curvature that these should
        give to each kind of layer.
        """
        if not self.c.startswith("derived"):
            return None
        rounds = int(self.c.removeprefix("derived"))
        same = {"data": self.data, "base": self.base, "batch": self.batch, "noise": self.noise}
        run = Row(**same, beta=0.1 * 16 / self.base, c="ones", warmup=50, steps=MEASURED_AT)
        for i in range(1, rounds):
            beta = float(f"{1 / measured(run)[curvature.REST]:.2g}")
            run = dataclasses.replace(run, c=f"derived{i}", beta=beta)
        return run

    def multipliers(self):
        if before := self.before():
            return curvature.derived(measured(before), before.multipliers())
        if self.c == "width":
            # The last convolution adds up features that have a mean, so its curvature grows with
            # their number.
            last = Multipliers.last * (16 / self.base) ** 0.5
            return dataclasses.replace(Multipliers(), last=last)
        plain = dict.fromkeys(("ones", "measured", "measured_twice", "measured_capped"), ONES)
        return (plain | {"hand": Multipliers()})[self.c]


def split(source):
    """Images (training, validation, test), each (n, C, H, W).

    A data set without a test set of its own is split in three. Its training and validation images
    are those that `data.split` trains on: every fifth validates. So no classifier of `features` has
    seen the test images.
    """
    train_images, held_out = (part.images for part in data.split(data.load(source)))
    if data.has_test_set(source):
        return train_images, held_out, data.load_test(source).images
    fifth = np.arange(len(train_images)) % 5 == 0
    return train_images[~fifth], train_images[fifth], held_out


class Judge:
    """Validation and test J of a denoiser, as fractions of predict-the-mean's."""

    def __init__(self, schedule, images, **held_out):
        self.draws = {name: Draws(x0, schedule) for name, x0 in held_out.items()}
        predict_mean = mean_image(images)
        self.mean = {name: float(d.evaluate(predict_mean).mean()) for name, d in self.draws.items()}

    def __call__(self, name, denoiser):
        return float(self.draws[name].evaluate(denoiser).mean()) / self.mean[name]


def gradient_and_denoiser(row, images, schedule):
    """What takes the place of `train.gradient`, and the function from a U-Net's to x̂_0."""
    if row.predicts == "head":
        head = Head(images)
        return head.gradient, functools.partial(head.denoiser, schedule=schedule)
    gradient = functools.partial(predictions.gradient, predicts=row.predicts, weight=row.weight)
    to_x0 = functools.partial(predictions.denoiser, schedule=schedule, predicts=row.predicts)
    return gradient, to_x0


def run(row):
    """Train, and return what was found, a dict of numbers.

    These are J as fractions of predict-the-mean's and, after 600 steps or more, how good samples
    are. If the run diverged it is the step instead. A run diverges if J is no longer finite, or
    ends no lower than it began.
    """
    fast.enable()
    images, validation, test = split(row.data)
    schedule = SCHEDULES[row.noise](1000)
    held_out = {"validation": validation[: row.judges], "test": test[: row.judges]}
    judge = Judge(schedule, images, **held_out)
    unet = UNet(row.config(images.shape[1:]), row.multipliers()).initialise(row.seed)
    averaged = UNet(unet.config, unet.c).bind(unet.theta.copy())
    gradient, to_x0 = gradient_and_denoiser(row, images, schedule)
    shards = {"workers": 1, "shards": 1, "ema": averaged, "gradient": gradient}
    quietly = np.errstate(over="ignore", invalid="ignore")  # a run may diverge
    with Shards(unet, schedule, **shards) as here, quietly:
        denoiser = to_x0(here.denoise)
        found, J, thirds = {}, [], [round(row.steps * i / 3) for i in (1, 2, 3)]
        try:
            for step in steps(row, unet, images, schedule, here.gradient):
                ema.update(averaged.theta, unet.theta, row.average, step.k)
                J.append(step.J)
                if step.k in thirds:
                    third = 1 + thirds.index(step.k)
                    found[f"validation_{third}"] = judge("validation", denoiser)
        except FloatingPointError:
            return {"diverged": len(J)}
        if not np.mean(J[-20:]) < np.mean(J[:20]):
            return {"diverged": row.steps}

        found["test"] = judge("test", denoiser)
        if row.steps >= 600:
            found |= quality(row, denoiser, schedule, images, test)
        averaged.theta[...] = unet.theta
        found["test_last_theta"] = judge("test", denoiser)
        return found


def steps(row, unet, images, schedule, gradient):
    """The steps of `train` that the row asks for."""
    update = OPTIMISERS[row.optimiser]()
    if row.c == "measured":
        fits = row.optimiser in ("sgd", "momentum")
        expect(fits, "optimiser", "sgd or momentum with c=measured", row.optimiser)
        update = Measured(row.warmup, momentum=0.9 if row.optimiser == "momentum" else 0.0)
    elif row.c.startswith("measured"):
        expect(row.optimiser == "sgd", "optimiser", f"sgd with c={row.c}", row.optimiser)
        twice = row.c == "measured_twice"
        update = Twice(row.warmup, row.steps // 2) if twice else Capped(row.warmup)
    how = {"seed": row.seed, "batch_size": row.batch, "gradient": gradient, "update": update}
    endless = train.train(unet, images, schedule, row.step_size, **how)
    return itertools.islice(endless, row.steps)


def quality(row, denoiser, schedule, images, test, n=300):
    """How good n samples are, drawn in 50 steps of DDIM."""
    x_T = noise.normal(0, "study samples", 0, np.arange(n), images.shape[1:])
    *_, (_, x, _) = ddim(denoiser, schedule, x_T)
    return beside(test[:n], np.clip(x, -1, 1), row.data)


def beside(real, images, source):
    """Fréchet distance and coverage of n images against n real ones.

    Both are measured in the features of this data set's classifier.
    """
    function, _ = features.load(source, data.load(source))
    real, points = function(real), function(images)
    return {"frechet": metrics.frechet(real, points), "coverage": metrics.coverage(real, points)}


def measured(row):
    """The curvature of J for each kind of layer at the end of this run.

    The run must be gradient descent on the lecture's J. CURVATURES keeps what was measured.
    """
    with FileLock(CURVATURES.with_suffix(".lock")):
        if str(row) in (kept := read(CURVATURES)):
            return {kind: float(value) for kind, value in kept[str(row)].items() if value}
    fast.enable()
    images, schedule = split(row.data)[0], SCHEDULES[row.noise](1000)
    unet = UNet(row.config(images.shape[1:]), row.multipliers()).initialise(row.seed)
    with Shards(unet, schedule, workers=1, shards=1) as here:
        for _ in steps(row, unet, images, schedule, here.gradient):
            pass
        m = np.arange(64)
        x0 = images[noise.integers(0, "curvature: images", 0, m, len(images))]
        t = 1 + noise.integers(0, "curvature: t", 0, m, schedule.T)
        eps = noise.normal(0, "curvature: eps", 0, m, x0.shape[1:])
        how = {"steps": 12, "h": 1e-2, "gradient": here.gradient}
        found = curvature.by_kind(unet, schedule, x0, t, eps, **how)
    with FileLock(CURVATURES.with_suffix(".lock")):
        keep_curvature(row, found)
    return found


if __name__ == "__main__":
    asked = Row.of(*sys.argv[1:])
    if str(asked) not in read(RESULTS):
        keep(asked, run(asked))
    print(asked, {name: text for name, text in read(RESULTS)[str(asked)].items() if text})
