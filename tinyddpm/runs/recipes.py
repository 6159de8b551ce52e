"""The recipes: configurations that come with tinyddpm, and the held-out J that a run of each is expected to have on its way.

    config = from_dict(configuration.read(path("digits")))
    curve = expected(config, fingerprint)      # of the recipe that this configuration is, or None
    curve.at(500)                              # what the held-out J was after 500 steps

`recipes/NAME.toml` is the configuration, `recipes/NAME.csv` the curve of a run that was made of it, and that run's images. A run is
compared with it if it is the same in all that its held-out J depends on, whether --recipe was given or not: so a run that is resumed
is compared too. The curve is taken from a run folder by

    python -m tinyddpm.runs.recipes digits runs/digits
"""
import sys
from pathlib import Path

import numpy as np

from . import checkpoint, config as configuration
from ..files import replacing
from .folder import BEST, METRICS, read_metrics

FOLDER = Path(__file__).parent.parent / "recipes"
TOLERANCE = 0.03  # four seeds of digits were up to 0.6 % apart after 200 and 300 steps; after 100, while β still rose, 7 %
# What changes only when a run stops, or its last digits, or what numbers it draws; and what the images' fingerprint says better.
CURVE_STAYS = {*configuration.MAY_CHANGE, "seed", "shards", "every", "data", "size", "channels", *configuration.THE_DATA_SAYS}


def names():
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def path(name):
    """The recipe's TOML file. ValueError if there is none of that name."""
    if name not in names():
        raise ValueError(f"--recipe: expected one of {', '.join(names())}, got {name!r}")
    return FOLDER / f"{name}.toml"


class Curve:
    """The held-out J of a recipe's run: steps, J (n,) each, and the fingerprint of the run's images."""

    def __init__(self, name):
        self.name, file = name, FOLDER / f"{name}.csv"
        self.images = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# images ")
        self.steps, self.J = np.loadtxt(file, delimiter=",", skiprows=2, ndmin=2).T

    def at(self, step):
        """J after so many steps; None where the run was not evaluated."""
        found = np.flatnonzero(self.steps == step)
        return float(self.J[found[0]]) if found.size else None


def expected(config, fingerprint):
    """The Curve of the recipe that a run of this Config on these images is, or None."""
    return next((Curve(name) for name in names() if not why_not(name, config, fingerprint)), None)


def why_not(name, config, fingerprint):
    """In words: why a run cannot be compared with this recipe's curve. Empty if it can."""
    if not (FOLDER / f"{name}.csv").exists():
        return "no curve was stored with it yet"
    own, theirs = configuration.to_dict(config), configuration.to_dict(configuration.from_dict(configuration.read(path(name))))
    changed = sorted(n for n in (own.keys() | theirs.keys()) - CURVE_STAYS if own.get(n) != theirs.get(n))
    if changed:
        return f"{', '.join(changed)} {'is' if len(changed) == 1 else 'are'} not the recipe's"
    return "" if Curve(name).images == fingerprint else "the images are not those of the recipe's run"


class Comparison:
    """Holds the held-out J of a run against the Curve (or None), evaluation by evaluation; `warmup` as in the Config."""

    def __init__(self, curve, warmup=0):
        self.curve, self.warmup, self.off = curve, warmup, False

    def see(self, step, J):
        """(what to add to the line of this evaluation, a warning or None). It warns when the run leaves the track, not at each evaluation
        after, and not while β still rises."""
        known = self.curve and self.curve.at(step)
        if not known:
            return "", None
        was_off, self.off = self.off, step >= self.warmup and not J <= (1 + TOLERANCE) * known
        warning = (f"warning: after {step} steps the held-out J is {J / known - 1:.1%} above that of the recipe {self.curve.name}; chance explains "
                   f"{TOLERANCE:.0%}: something differs from the recipe's run") if self.off and not was_off else None
        return f", expected {known:.4f}", warning


def store(name, folder):
    """Make `recipes/NAME.csv` of the record of a run folder. Returns its path."""
    evaluations = read_metrics(Path(folder) / METRICS)[1]
    images = checkpoint.load(Path(folder) / BEST).state["data"]
    lines = [f"# images {images}", "step,held-out J", *(f"{e['k']},{e['held_out']:.5f}" for e in evaluations)]
    with replacing(FOLDER / f"{path(name).stem}.csv") as beside:
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return FOLDER / f"{name}.csv"


if __name__ == "__main__":
    print(store(*sys.argv[1:]))
