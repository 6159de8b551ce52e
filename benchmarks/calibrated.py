"""What measured multipliers are, on the digits: how large, how curved J is then, and a formula.

    python -m benchmarks.calibrated      # minutes on one core; prints tables of docs/sgd.md

It trains as a row of `study.py` does, and stops on the way to measure.
"""

import dataclasses

import numpy as np

from tinyddpm import fast, noise, schedule
from tinyddpm.fast.parallel import Shards
from tinyddpm.more.curvature import kinds, largest_curvature
from tinyddpm.more.training import calibration
from tinyddpm.nn import UNet
from tinyddpm.nn.block import Downsample, Upsample
from tinyddpm.nn.multipliers import ONES, Multipliers

from . import study
from .study import Row
from .tables import table

RUNS = (
    Row(c="measured", beta=0.004, warmup=300),
    Row(c="measured", beta=0.002),
    Row(c="measured", beta=0.004, optimiser="momentum"),
)
AT = (200, 400, 600)  # steps after which λ is measured
IMAGES = 256  # that it is measured on
H = 1e-4  # see `hessian_vector`; v is about a hundred times smaller than θ


class Kept(calibration.Measured):
    """Measured, and remembered here: `study.steps` makes its own."""

    last = None

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        Kept.last = self


def curvature_for_v(unet, gradient, images, table, c, steps=12):
    """The largest eigenvalue of the Hessian of J as a function of v, where θ = c·v."""
    theta, here, moves = unet.theta, unet.theta.copy(), c > 0
    m = np.arange(IMAGES)
    x0 = images[noise.integers(0, "curvature: images", 0, m, len(images))]
    t = 1 + noise.integers(0, "curvature: t", 0, m, table.T)
    eps = noise.normal(0, "curvature: eps", 0, m, x0.shape[1:])

    def slope(v):
        theta[moves], unet.grad[...] = (c * v)[moves], 0
        gradient(unet, table, x0, t, eps)
        return c * unet.grad

    v = np.where(moves, here / np.where(moves, c, 1), 0).astype(here.dtype)
    value, _ = largest_curvature(slope, v, moves, steps, H)
    theta[...] = here
    return value


def follow(row):
    """Train as the row says. Returns the network, c² at the end and λ for v at the steps AT."""
    images, S = study.split(row.data)[0], schedule.linear(1000)
    unet, found = UNet(row.config(images.shape[1:]), ONES).initialise(row.seed), {}
    study.Measured = Kept
    with Shards(unet, S, workers=1, shards=1) as here:
        for step in study.steps(row, unet, images, S, here.gradient):
            if step.k in AT:
                c = Kept.last.c2**0.5
                found[step.k] = curvature_for_v(unet, here.gradient, images, S, c)
    return unet, Kept.last.c2, found


# ---- do they follow a formula? -------------------------------------------------------------------


def facts(unet, c2):
    """Of each weight: its name, place in θ, log c, log fans, log resolution (0: time layers)."""
    resolution, side = {}, min(unet.config.image[1:])
    for part in ("down", "up"):
        for i, layer in enumerate(getattr(unet, part)):
            if isinstance(layer, Upsample):
                side *= 2
            resolution[f"{part}.{i}."] = side
            if isinstance(layer, Downsample):
                side //= 2
    smallest, largest = min(resolution.values()), max(resolution.values())
    resolution |= {"middle": smallest, "first": largest, "last": largest}
    rows = []
    for name, p in unet.parameters().items():
        moving = c2[where := unet.slices()[name]]
        if len(p.initial_shape) < 2 or not moving.any():
            continue
        of_time = name.startswith("time.") or ".time." in name
        sees = next((r for prefix, r in resolution.items() if name.startswith(prefix)), 1)
        fans = np.prod(p.initial_shape[:-1]), p.initial_shape[-1]
        log_c = np.log(moving[moving > 0]).mean() / 2
        rows.append((name, where.start, log_c, *np.log(fans), np.log(1 if of_time else sees)))
    return rows


def explained(y, *columns):
    """R² of the least squares fit of y by these and a constant, and the coefficients."""
    A = np.stack([np.ones_like(y), *columns], axis=1)
    coefficients = np.linalg.lstsq(A, y, rcond=None)[0]
    return 1 - np.var(y - A @ coefficients) / np.var(y), coefficients[1:]


def formulas(unet, c2):
    """What is fitted, R², and the exponents: lines of a table."""
    rows = facts(unet, c2)
    y, fan_in, fan_out, sees = np.array([row[2:] for row in rows]).T
    depth = np.linspace(0, 1, len(rows))
    kind_of = {
        k: np.array([mask[row[1]] for row in rows], float) for k, mask in kinds(unet).items()
    }
    dummies = [mask for mask in kind_of.values() if mask.any()][1:]
    spectral = (fan_out - fan_in) / 2
    yield "κ√(fan-out/fan-in)", 1 - np.var(y - spectral) / np.var(y), "0.5, -0.5"
    tried = {
        "fan-out, fan-in": (fan_out, fan_in),
        "fan-out, fan-in, resolution": (fan_out, fan_in, sees),
        "fan-out, fan-in, resolution, depth": (fan_out, fan_in, sees, depth),
        "the kind of layer": tuple(dummies),
        "all of these": (*dummies, fan_out, fan_in, sees, depth),
    }
    for name, columns in tried.items():
        found, powers = explained(y, *columns)
        own = "kind" not in name and "all" not in name
        yield name, found, ", ".join(f"{p:.2f}" for p in powers) if own else ""


def main():
    fast.enable()
    found = {row: follow(row) for row in RUNS}
    unet, c2, _ = found[RUNS[0]]
    by_kind = calibration.by_kind(unet, c2)
    rest, hand = by_kind["rest"][1], dataclasses.asdict(Multipliers())
    lines = []
    for kind, quantiles in by_kind.items():
        low, median, high = (f"{(q / rest) ** 0.5:.2f}" for q in quantiles)
        lines.append([kind, median, f"{low} to {high}", hand.get(kind, 1.0)])
    print(table(["kind of layer", "median c", "80 % lie in", "by hand"], lines))
    head = ["settings", *(f"step {k}" for k in AT)]
    lines = [[f"`{row}`", *(f"{curve[k]:.0f}" for k in AT)] for row, (_, _, curve) in found.items()]
    print(table(head, lines))
    lines = [[name, f"{r2:.2f}", powers] for name, r2, powers in formulas(unet, c2)]
    print(table(["log c of each weight, explained by", "R²", "exponents"], lines))


if __name__ == "__main__":
    main()
