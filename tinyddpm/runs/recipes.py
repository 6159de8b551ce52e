"""The recipes: configurations that come with tinyddpm, each with its expected held-out J.

    config = from_dict(configuration.read(path("digits")))
    curve = expected(config, fingerprint)      # of the recipe that this configuration is, or None
    curve.at(500)                              # the expected held-out J after 500 steps

`recipes/NAME.toml` is the configuration. `recipes/NAME.csv` is the curve of a run made from it, and
says which images the run had.

A run is compared with the curve if it has the same images and the same options, as far as they
change its held-out J. It makes no difference whether --recipe was given, so a resumed run is
compared too. This takes the curve from a run folder:

    python -m tinyddpm.runs.recipes digits runs/digits
"""

import sys
from pathlib import Path

import numpy as np

from ..files import replacing
from . import checkpoint, config as configuration
from .config import Config
from .folder import BEST, METRICS, read_metrics

FOLDER = Path(__file__).parent.parent / "recipes"
# Four seeds of digits were up to 0.6 % apart after 200 and 300 steps. After 100 steps, while β was
# still rising, they were 7 % apart.
TOLERANCE = 0.03
# Options that change only when a run stops, its last digits, or which numbers it draws. The
# fingerprint says better than the last four whether the images are the same.
CURVE_STAYS = {
    *configuration.MAY_CHANGE,
    *("seed", "shards", "gpu_shards", "every"),
    *(*configuration.WHERE_THE_DATA_ARE, *configuration.THE_DATA_SAYS),
}


def names() -> list[str]:
    """The names of all recipes, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def path(name: str) -> Path:
    """The recipe's TOML file. ValueError if there is none of this name."""
    if name not in names():
        raise ValueError(f"--recipe: expected one of {', '.join(names())}, got {name!r}")
    return FOLDER / f"{name}.toml"


class Curve:
    """The held-out J of a recipe's run.

    Attributes:
        name: the recipe.
        images: the fingerprint of the run's images.
        steps: (n,), when it was evaluated.
        J: (n,), the held-out J at these steps.
    """

    def __init__(self, name: str) -> None:
        self.name, file = name, FOLDER / f"{name}.csv"
        first = file.read_text(encoding="utf-8").splitlines()[0]
        self.images = first.removeprefix("# images ")
        self.steps, self.J = np.loadtxt(file, delimiter=",", skiprows=2, ndmin=2).T

    def at(self, step: int) -> float | None:
        """J after this many steps; None where the run was not evaluated."""
        found = np.flatnonzero(self.steps == step)
        return float(self.J[found[0]]) if found.size else None


def expected(config: Config, fingerprint: str) -> Curve | None:
    """The Curve of the recipe that a run of this Config on these images is, or None."""
    same = (name for name in names() if not why_not(name, config, fingerprint))
    return next((Curve(name) for name in same), None)


def why_not(name: str, config: Config, fingerprint: str) -> str:
    """Why a run cannot be compared with this recipe's curve, in words. Empty if it can."""
    if not (FOLDER / f"{name}.csv").exists():
        return "no curve was stored with it yet"
    own = configuration.to_dict(config)
    theirs = configuration.to_dict(configuration.from_dict(configuration.read(path(name))))
    compared = (own.keys() | theirs.keys()) - CURVE_STAYS
    changed = sorted(option for option in compared if own.get(option) != theirs.get(option))
    if changed:
        return f"{', '.join(changed)} {'is' if len(changed) == 1 else 'are'} not the recipe's"
    return "" if Curve(name).images == fingerprint else "its run had other images"


class Comparison:
    """Compares the held-out J of a run with a Curve, evaluation by evaluation.

    Args:
        curve: the curve; None: there is nothing to compare with.
        warmup: the steps in which β rises. No warning comes before their end.
    """

    def __init__(self, curve: Curve | None, warmup: int = 0) -> None:
        self.curve, self.warmup, self.off_track = curve, warmup, False

    def see(self, step: int, held_out: float) -> tuple[str, str | None]:
        """Compare one evaluation.

        Returns:
            What to add to its line, and a warning or None. The warning comes when the run leaves
            the track, and not at each evaluation after that.
        """
        known = self.curve and self.curve.at(step)
        if not self.curve or not known:
            return "", None
        was_off = self.off_track
        self.off_track = step >= self.warmup and not held_out <= (1 + TOLERANCE) * known
        warning = None
        if self.off_track and not was_off:
            warning = (
                f"warning: after {step} steps the held-out J is {held_out / known - 1:.1%} "
                f"above the curve of the recipe {self.curve.name}; chance explains "
                f"{TOLERANCE:.0%}: something differs from the recipe's run"
            )
        return f", expected {known:.4f}", warning


def store(name: str, folder: str | Path) -> Path:
    """Make `recipes/NAME.csv` from the record of a run folder. Returns its path."""
    _, evaluations = read_metrics(Path(folder) / METRICS)
    images = checkpoint.load(Path(folder) / BEST).state["data"]
    rows = [f"{e['k']},{e['held_out']:.5f}" for e in evaluations]
    file = path(name).with_suffix(".csv")
    with replacing(file) as beside:
        lines = [f"# images {images}", "step,held-out J", *rows]
        beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    print(store(*sys.argv[1:]))
