"""Sum or mean, how many images at a time, and how long a step? What plain gradient descent makes of each choice.

    python examples/08_batches.py            # about two minutes
    python examples/08_batches.py --quick    # seconds

The lecture states the algorithm for one image at a time, then for a mini-batch of M whose errors are summed "(or averaged)". The data
are points in the plane (an image of two numbers), so that hundreds of runs take no longer than one on images.

  1. sum against mean: the same run to the last digits if β is divided by what the sum is larger by, and ruin if it is not
  2. how much a mini-batch's gradient errs: as 1/√M
  3. M and β together, each run seeing equally many points: where it learns, where it crawls, where it breaks
  4. one at a time, as the lecture first states it
"""
import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tinyddpm import noise, schedule
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy
from tinyddpm.more.points import PointNet, moons
from tinyddpm.train import gradient, train

FULL = SimpleNamespace(seen=12_000, M=(1, 4, 16, 64, 256), beta=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0), draws=300, repeats=60, steps=100)
QUICK = SimpleNamespace(seen=600, M=(1, 8, 64), beta=(0.01, 0.1, 1.0), draws=60, repeats=40, steps=10)
LINEAR = schedule.linear(1000)
POINTS = moons(10_000, seed=0)
D = 2  # numbers in a point


def run(steps, M, beta, form="mse", watch=lambda net, k: None):
    """A small network after so many steps, and the step at which J was no longer finite, or None."""
    net = PointNet(width=64, layers=2).initialise(seed=0)
    try:
        for step in train(net, POINTS, LINEAR, beta, seed=0, batch_size=M, form=form):
            watch(net, step.k)
            if step.k == steps:
                return net, None
    except FloatingPointError as error:
        return net, int(str(error).split("step ")[1].split(":")[0])


def sum_against_mean(steps, M=50, beta=0.3):
    """How far θ comes out from that of "mse", as a share of how far "mse" went, for β divided as it should; and where "sum" ends with the β of "mse"."""
    start = PointNet(width=64, layers=2).initialise(seed=0).theta
    mean, batch_mean, summed = (run(steps, M, beta / divisor, form)[0].theta for form, divisor in (("mse", 1), ("batch_mean", D), ("sum", M * D)))
    apart = max(float(abs(other - mean).max() / abs(mean - start).max()) for other in (batch_mean, summed))
    return apart, run(steps, M, beta, "sum")[1]


def gradient_errors(sizes, repeats):
    """For each M the typical error of a mini-batch's ∇J, ‖g_M − g‖/‖g‖, at the θ of a new network a little trained. g is of very many points."""
    net, _ = run(50, 64, 0.1)

    def of(M, draw):
        m = np.arange(M)
        x0, t = POINTS[noise.integers(draw, "data", 0, m, len(POINTS))], 1 + noise.integers(draw, "t", 0, m, LINEAR.T)
        net.grad[...] = 0
        gradient(net, LINEAR, x0, t, noise.normal(draw, "eps", 0, m, x0.shape[1:]))
        return net.grad.copy()

    true = of(100_000, -1)
    return [float(np.sqrt(np.mean([np.square(of(M, draw) - true).sum() for draw in range(repeats)]) / np.square(true).sum())) for M in sizes]


def grid(size, draws, mean):
    """(M, β) -> the held-out J on the way, [(points seen, share of predict-the-mean's), …], empty if the run broke."""
    found = {}
    for M in size.M:
        for beta in size.beta:
            steps, curve = size.seen // M, []
            marks = {max(1, steps * i // 20) for i in range(1, 21)}

            def watch(net, k):
                if k in marks:
                    curve.append((k * M, float(draws.evaluate(net.denoise).mean() / mean)))

            _, broke = run(steps, M, beta, watch=watch)
            found[M, beta] = [] if broke or not np.isfinite(curve[-1][1]) else curve
    return found


def main(arguments=None):
    """Returns what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer points, M's and β's")
    parser.add_argument("--out", type=Path, default=Path("."), help="a folder for the picture [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    draws = Draws(moons(size.draws, seed=1), LINEAR)
    with np.errstate(all="ignore"):  # runs that break are a part of this
        apart, broke = sum_against_mean(size.steps)
        errors = gradient_errors(size.M, size.repeats)
        curves = grid(size, draws, draws.evaluate(mean_image(POINTS)).mean())
    ends = {key: curve[-1][1] if curve else np.inf for key, curve in curves.items()}
    best = {M: min(size.beta, key=lambda beta: ends[M, beta]) for M in size.M}
    largest = {M: max(beta for beta in size.beta if np.isfinite(ends[M, beta])) for M in size.M}

    print(f"1. With β divided by D for the mean over the batch, and by M·D for the sum, θ is the same up to {apart:.0e} of the way it went. "
          f"With the undivided β the sum {f'breaks at step {broke}' if broke else 'holds'}.")
    slope = float(np.polyfit(np.log(size.M), np.log(errors), 1)[0])
    print("2. A mini-batch's gradient errs by " + ", ".join(f"{e:.2g} (M = {M})" for M, e in zip(size.M, errors)) + f" of the true one: as M to the power {slope:.2f}.")
    print(f"3. Held-out J after {size.seen:,} points, as a share of predict-the-mean's (×: broken):")
    print("       β " + "".join(f"{beta:8g}" for beta in size.beta))
    for M in size.M:
        print(f"   M {M:4d} " + "".join(f"{ends[M, beta]:8.3f}" if np.isfinite(ends[M, beta]) else "       ×" for beta in size.beta)
              + f"   {size.seen // M} steps; best β {best[M]:g}, largest that holds {largest[M]:g}")
    print(f"4. One at a time works: with β = {best[1]:g} it comes to {ends[1, best[1]]:.3f}, M = {size.M[-1]} with its best β to {ends[size.M[-1], best[size.M[-1]]]:.3f}.")

    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "batches.png", size, errors, ends, {M: (best[M], np.array(curves[M, best[M]]).T) for M in size.M})
    print(f"The picture is in {options.out / 'batches.png'}.")
    return SimpleNamespace(apart=apart, broke=broke, slope=slope, ends=ends, best=best, largest=largest)


def draw(path, size, errors, ends, best_curves):
    figure = Figure(figsize=(13.5, 4.1), dpi=110)
    error, table, curves = figure.subplots(1, 3, width_ratios=(1, 1.25, 1.25))
    figure.subplots_adjust(left=0.055, right=0.985, top=0.88, bottom=0.14, wspace=0.25)
    error.loglog(size.M, errors, "o", color=BLUE, label="measured")
    error.loglog(size.M, errors[0] / np.sqrt(size.M), color=GREY, linewidth=1, dashes=(5, 3), label="1/√M")
    error.set_xticks(size.M, size.M)
    error.set_yticks(ticks := [0.3, 1, 3, 10, 30], ticks)
    error.minorticks_off()
    finish(error, "How far a mini-batch's gradient is off", "M")

    shares = np.array([[ends[M, beta] for beta in size.beta] for M in size.M])
    table.imshow(np.where(np.isfinite(shares), shares, np.nan), cmap="Blues_r", norm=Normalize(0.5, 1.1), aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        table.text(j, i, f"{share:.2f}" if np.isfinite(share) else "×", ha="center", va="center", fontsize=9, color="white" if share < 0.75 else INK)
    table.set_xticks(range(len(size.beta)), [f"{beta:g}" for beta in size.beta])
    table.set_yticks(range(len(size.M)), [f"M = {M}" for M in size.M])
    table.set_title(f"J after {size.seen:,} points, by M and β", loc="left", color=INK)
    table.set_xlabel("β")

    for (M, (beta, curve)), colour in zip(best_curves.items(), (RED, ORANGE, GREY, BLUE, PURPLE)):
        curves.plot(*curve, color=colour, linewidth=1.6, label=f"M = {M}, β = {beta:g}: {size.seen // M} steps")
    curves.set_ylim(top=1.25)  # M = 1 may leap far above
    finish(curves, "J on the way, each M with its best β", "points seen")
    save_figure(figure, path)


def finish(axes, title, below):
    axes.set_title(title, loc="left", color=INK)
    axes.set_xlabel(below)
    tidy(axes)
    axes.legend(frameon=False, fontsize=9, labelcolor="linecolor")


if __name__ == "__main__":
    main()
