"""How fast should the noise grow, and what does it change?

    python examples/03_schedules.py        # seconds

We compare five schedules over the same T = 1000 steps: what remains of the image, the
signal-to-noise ratio (SNR), and one image under each.

Training draws t uniformly, so a schedule decides how often the network practises at each noise
level. The data decide at which levels there is something to learn. The ideal denoiser of the
training digits (`tinyddpm/more/ideal.py`) is certain of its image where there is little noise.
Where there is much, it can only answer the mean. Both ranges are easy: no network can beat these
simple answers.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import data, noise
from tinyddpm.diffusion import q_sample
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.schedules import SCHEDULES, fraction_of_steps, log_snr
from tinyddpm.pictures.images import pixels, show
from tinyddpm.pictures.plots import BLUE, GREY, INK, LIGHT, ORANGE, PURPLE, RED, save_figure, tidy

COLOURS = {  # of the schedules that we compare
    "linear": BLUE,
    "scaled_linear": PURPLE,
    "quadratic": INK,
    "cosine": RED,
    "sigmoid": ORANGE,
}
SHOWN = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1)  # where the image is shown, as fractions of T
CERTAIN, IGNORANT = 0.05, 0.95  # J as a fraction of predict-the-mean's

# ---- what there is to learn, and where each schedule practises -----------------------------------


def ideal_J_by_level(images, s, n):
    """The ideal denoiser's J at 40 log-SNRs, from 9 down to about −9.

    J is a fraction of predict-the-mean's. It depends on the data and on the SNR, and not on the
    schedule: we reach each level by the t of `s` that is nearest to it.
    """
    ideal = ideal_denoiser(images, s)
    x0, eps = images[:n], noise.normal(0, "schedules: eps", 0, np.arange(n), images.shape[1:])
    mean_J = np.square(x0 - images.mean(axis=0)).mean()

    levels = np.linspace(10, -9, 40)
    ts = [1 + int(abs(log_snr(s)[1:] - level).argmin()) for level in levels]
    J = []
    for t in ts:
        t = np.full(n, t)
        x0_hat = ideal(q_sample(s, x0, t, eps), t)
        J.append(float(np.square(x0_hat - x0).mean() / mean_J))
    return log_snr(s)[ts], np.array(J)


def describe(schedules, low, high):
    """For each schedule: ᾱ_T, the t at which SNR falls below 1, and fractions of its steps.

    These are the steps with much noise (log-SNR below `low`), middling noise, and little (above
    `high`).
    """
    found = {}
    for name, s in schedules.items():
        much, middle, little = fraction_of_steps(s, [-np.inf, low, high, np.inf])
        found[name] = {
            "alpha_bar_T": float(s.alpha_bar[-1]),
            "half": int((s.alpha_bar > 0.5).sum()),
            "much": float(much),
            "middle": float(middle),
            "little": float(little),
        }
    return found


def report(found, low, high):
    print(f"The ideal denoiser is certain (J below {CERTAIN:.0%} of predict-the-mean's) at a")
    print(f"log-SNR above {high:.1f}, and ignorant (J above {IGNORANT:.0%}) below {low:.1f}.")
    for name, row in found.items():
        print(
            f"   {name:14} ᾱ_T = {row['alpha_bar_T']:.1e}, SNR < 1 from t = {row['half']};"
            f" steps: {row['little']:.0%} certain, {row['middle']:.0%} between,"
            f" {row['much']:.0%} ignorant"
        )
    best = max(found, key=lambda name: found[name]["middle"])
    print(f"   {best} spends the largest fraction of its steps between the two, where these")
    print("   digits leave something to decide. Larger images stay recognisable under more noise.")
    print("   There the same levels are easier, and another schedule may be best.")


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, schedules, image, levels, J, low, high):
    figure = Figure(figsize=(12, 9.2), dpi=100)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    draw_curves(top, schedules, levels, J, low, high)
    draw_images(bottom, schedules, image)
    save_figure(figure, path)


def draw_curves(figure, schedules, levels, J, low, high):
    remains, ratio, spent = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.05, right=0.95, top=0.91, bottom=0.14, wspace=0.25)
    edges = np.arange(-12, 13)
    intervals = [-np.inf, *edges[1:-1], np.inf]
    for name, s in schedules.items():
        style = {"color": COLOURS[name], "linewidth": 1.8}
        remains.plot(s.alpha_bar, label=name, **style)
        ratio.plot(log_snr(s), **style)
        spent.stairs(100 * fraction_of_steps(s, intervals), edges, **style)
    remains.legend(frameon=False, labelcolor="linecolor")

    band = {"color": LIGHT, "linewidth": 0, "zorder": 0, "alpha": 0.5}
    ratio.axhspan(low, high, **band)
    ratio.text(20, low + 0.2, "something to decide", fontsize=9, color=GREY)
    ratio.set_ylim(-12, 10)
    spent.axvspan(low, high, **band)
    add_ideal_J(spent.twinx(), levels, J)
    for axes, title, x in (
        (remains, r"$\bar\alpha_t$: what remains of the image", "t"),
        (ratio, "log-SNR", "t"),
        (spent, "% of the steps at each noise level", "log-SNR"),
    ):
        axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
        axes.set_xlabel(x)
        tidy(axes)


def add_ideal_J(axes, levels, J):
    axes.plot(levels, J, color=GREY, linewidth=1.4, linestyle="--")
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("J of the ideal denoiser (dashed)", color=GREY, fontsize=9)
    axes.spines[["top", "left"]].set_visible(False)
    axes.tick_params(labelcolor=GREY, labelsize=8)


def draw_images(figure, schedules, image):
    """One image, with the same noise, under each schedule."""
    columns = len(SHOWN)
    eps = noise.normal(0, "schedules: eps", 0, [0], image.shape)
    for row, (name, s) in enumerate(schedules.items()):
        ts = np.array([round(fraction * s.T) for fraction in SHOWN])
        xt = q_sample(s, image[None].repeat(columns, 0), ts, eps.repeat(columns, 0))
        for column, (t, picture) in enumerate(zip(ts, pixels(xt))):
            axes = figure.add_subplot(len(schedules), columns, row * columns + column + 1)
            show(axes, picture)
            if row == 0:
                axes.set_title(f"t = {t}", fontsize=10, color=INK)
            if column == 0:
                axes.set_ylabel(name, fontsize=10, color=COLOURS[name])
    figure.subplots_adjust(left=0.05, right=0.98, top=0.94, bottom=0.02, wspace=0.06, hspace=0.08)


def main(arguments=None):
    """Return what was found, and the log-SNRs between which there is something to decide."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="try the ideal denoiser on fewer images"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("schedules.png"), help="the picture's path"
    )
    options = parser.parse_args(arguments)
    images = data.split(data.digits())[0].images
    schedules = {name: SCHEDULES[name](1000) for name in COLOURS}

    n = 60 if options.quick else len(images)
    levels, J = ideal_J_by_level(images, schedules["linear"], n)
    high, low = float(levels[J < CERTAIN].min()), float(levels[J > IGNORANT].max())
    found = describe(schedules, low, high)
    report(found, low, high)
    draw(options.out, schedules, images[0], levels, J, low, high)
    print(f"The picture is {options.out}.")
    return {"schedules": found, "low": low, "high": high, "J": J}


if __name__ == "__main__":
    main()
