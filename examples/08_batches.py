"""Sum or mean, how many images at a time, and how long a step?

    python examples/08_batches.py            # about two minutes
    python examples/08_batches.py --quick    # seconds

The lecture states the algorithm for one image at a time, then for a mini-batch of M images whose
errors are summed "(or averaged)". We try each choice with plain gradient descent. The data are
points in the plane (images of two numbers), so hundreds of runs take no longer than one on images.

  1. Sum against mean: the same run to the last digits if we divide β by the same factor, and
     divergence if we don't.
  2. How far a mini-batch's gradient is off: as 1/√M.
  3. M and β together, when each run sees equally many points: which runs learn, which crawl, and
     which diverge.
  4. One point at a time, as the lecture first states it.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tinyddpm import noise, schedule
from tinyddpm.more.points import PointNet, moons
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy
from tinyddpm.runs.heldout import Draws, mean_image
from tinyddpm.train import gradient, train

FULL = SimpleNamespace(
    points=12_000,  # that each run of part 3 sees
    M=(1, 4, 16, 64, 256),
    beta=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    held_out=300,
    batches=60,  # whose gradients part 2 compares
    steps=100,  # of part 1
)
QUICK = SimpleNamespace(
    points=600, M=(1, 8, 64), beta=(0.01, 0.1, 1.0), held_out=60, batches=40, steps=10
)
LINEAR = schedule.linear(1000)
POINTS = moons(10_000, seed=0)
D = 2  # numbers in a point

# ---- the four parts ------------------------------------------------------------------------------


def run(steps, M, beta, form="mse", watch=lambda net, k: None):
    """A small network after `steps` steps, and the step at which it diverged, or None."""
    net = PointNet(width=64, layers=2).initialise(seed=0)
    k = 0
    try:
        for step in train(net, POINTS, LINEAR, beta, seed=0, batch_size=M, form=form):
            k = step.k
            watch(net, k)
            if k == steps:
                break
    except FloatingPointError:
        return net, k + 1
    return net, None


def sum_against_mean(steps, M=50, beta=0.3):
    """How far θ differs between the forms of J with β divided, and where "sum" diverges if not.

    The difference from "mse" is a fraction of how far "mse" moved θ.
    """
    start = PointNet(width=64, layers=2).initialise(seed=0).theta
    mean = run(steps, M, beta)[0].theta
    batch_mean = run(steps, M, beta / D, "batch_mean")[0].theta
    summed = run(steps, M, beta / (M * D), "sum")[0].theta
    difference = max(
        float(abs(other - mean).max() / abs(mean - start).max()) for other in (batch_mean, summed)
    )
    diverged = run(steps, M, beta, "sum")[1]

    outcome = f"diverges at step {diverged}" if diverged else "holds"
    print("1. With β divided by D for the mean over the batch, and by M·D for the sum, θ is the")
    print(f"   same up to {difference:.0e} of the way it went.")
    print(f"   With the undivided β the sum {outcome}.")
    return difference, diverged


def batch_gradient(net, M, draw):
    """∇J of the mini-batch of M points with this number."""
    m = np.arange(M)
    x0 = POINTS[noise.integers(draw, "data", 0, m, len(POINTS))]
    t = 1 + noise.integers(draw, "t", 0, m, LINEAR.T)
    net.grad[...] = 0
    gradient(net, LINEAR, x0, t, noise.normal(draw, "eps", 0, m, x0.shape[1:]))
    return net.grad.copy()


def gradient_errors(sizes, batches):
    """For each M the error of a mini-batch's gradient, ‖g_M − g‖/‖g‖ (RMS over the batches).

    g is the gradient of 100,000 points, at the θ of a network that has trained a little. Also
    returns the power of M with which the errors fall.
    """
    net, _ = run(50, 64, 0.1)
    g = batch_gradient(net, 100_000, -1)
    errors = []
    for M in sizes:
        squares = [np.square(batch_gradient(net, M, draw) - g).sum() for draw in range(batches)]
        errors.append(float(np.sqrt(np.mean(squares) / np.square(g).sum())))
    slope = float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])

    by_M = ", ".join(f"{error:.2g} (M = {M})" for M, error in zip(sizes, errors))
    print("2. As a multiple of the true gradient, a mini-batch's is off by")
    print(f"   {by_M}. This falls as M to the power {slope:.2f}.")
    return errors, slope


def learning_curve(points, M, beta, draws, mean_J):
    """[(points seen, held-out J)], empty if the run diverges. J is a fraction of mean_J."""
    steps, curve = points // M, []
    marks = {max(1, steps * i // 20) for i in range(1, 21)}

    def watch(net, k):
        if k in marks:
            curve.append((k * M, float(draws.evaluate(net.denoise).mean() / mean_J)))

    _, diverged = run(steps, M, beta, watch=watch)
    return [] if diverged or not np.isfinite(curve[-1][1]) else curve


def report_curves(size, ends, best, largest):
    """ends: {(M, β): the last J}; best and largest: {M: the best β, the largest that holds}."""
    print(f"3. Held-out J after {size.points:,} points, as a fraction of predict-the-mean's")
    print("   (×: diverged):")
    print("       β " + "".join(f"{beta:8g}" for beta in size.beta))
    for M in size.M:
        cells = [f"{J:8.3f}" if np.isfinite(J := ends[M, b]) else f"{'×':>8}" for b in size.beta]
        remark = f"best β {best[M]:g}, largest that holds {largest[M]:g}"
        print(f"   M {M:4d} {''.join(cells)}   {size.points // M} steps; {remark}")
    M = size.M[-1]
    print(f"4. One at a time works: with β = {best[1]:g} J falls to {ends[1, best[1]]:.3f}.")
    print(f"   M = {M} with its best β gets to {ends[M, best[M]]:.3f}.")


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, size, errors, ends, curves):
    figure = Figure(figsize=(13.5, 4.1), dpi=110)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.25, 1.25))
    figure.subplots_adjust(left=0.055, right=0.985, top=0.88, bottom=0.14, wspace=0.25)
    draw_errors(left, size, errors)
    draw_table(middle, size, ends)
    draw_curves(right, size, curves)
    save_figure(figure, path)


def draw_errors(axes, size, errors):
    by_rule = errors[0] / np.sqrt(size.M)
    axes.loglog(size.M, errors, "o", color=BLUE, label="measured")
    axes.loglog(size.M, by_rule, color=GREY, linewidth=1, dashes=(5, 3), label="1/√M")
    axes.set_xticks(size.M, size.M)
    axes.set_yticks(ticks := [0.3, 1, 3, 10, 30], ticks)
    axes.minorticks_off()
    finish(axes, "How far a mini-batch's gradient is off", "M")


def draw_table(axes, size, ends):
    J = np.array([[ends[M, beta] for beta in size.beta] for M in size.M])
    finite = np.where(np.isfinite(J), J, np.nan)
    axes.imshow(finite, cmap="Blues_r", norm=Normalize(0.5, 1.1), aspect="auto")
    for (i, j), value in np.ndenumerate(J):
        text = f"{value:.2f}" if np.isfinite(value) else "×"
        colour = "white" if value < 0.75 else INK
        axes.text(j, i, text, ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(size.beta)), [f"{beta:g}" for beta in size.beta])
    axes.set_yticks(range(len(size.M)), [f"M = {M}" for M in size.M])
    axes.set_title(f"J after {size.points:,} points, by M and β", loc="left", color=INK)
    axes.set_xlabel("β")


def draw_curves(axes, size, curves):
    """curves: {M: (its best β, the curve)}."""
    for (M, (beta, curve)), colour in zip(curves.items(), (RED, ORANGE, GREY, BLUE, PURPLE)):
        label = f"M = {M}, β = {beta:g}: {size.points // M} steps"
        axes.plot(*np.array(curve).T, color=colour, linewidth=1.6, label=label)
    axes.set_ylim(top=1.25)  # M = 1 may leap far above
    finish(axes, "J on the way, each M with its best β", "points seen")


def finish(axes, title, below):
    axes.set_title(title, loc="left", color=INK)
    axes.set_xlabel(below)
    tidy(axes)
    axes.legend(frameon=False, fontsize=9, labelcolor="linecolor")


def main(arguments=None):
    """Run all parts and return what each found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer points, M and β")
    parser.add_argument("--out", type=Path, default=Path("."), help="the picture's folder [.]")
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    draws = Draws(moons(size.held_out, seed=1), LINEAR)
    mean_J = draws.evaluate(mean_image(POINTS)).mean()
    with np.errstate(all="ignore"):  # some runs diverge, and we want to see them do it
        difference, diverged = sum_against_mean(size.steps)
        errors, slope = gradient_errors(size.M, size.batches)
        curves = {
            (M, beta): learning_curve(size.points, M, beta, draws, mean_J)
            for M in size.M
            for beta in size.beta
        }
    ends = {key: curve[-1][1] if curve else np.inf for key, curve in curves.items()}
    best = {M: min(size.beta, key=lambda beta: ends[M, beta]) for M in size.M}
    largest = {M: max(beta for beta in size.beta if np.isfinite(ends[M, beta])) for M in size.M}
    report_curves(size, ends, best, largest)

    options.out.mkdir(parents=True, exist_ok=True)
    best_curves = {M: (best[M], curves[M, best[M]]) for M in size.M}
    draw(options.out / "batches.png", size, errors, ends, best_curves)
    print(f"The picture is in {options.out / 'batches.png'}.")
    return SimpleNamespace(
        difference=difference,
        diverged=diverged,
        slope=slope,
        ends=ends,
        best=best,
        largest=largest,
    )


if __name__ == "__main__":
    main()
