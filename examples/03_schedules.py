"""How fast should the noise grow, and what does it change?

    python examples/03_schedules.py        # seconds

Five schedules over the same T = 1000 steps: what remains of the image, the signal-to-noise ratio, and one image under each. Since t is drawn
uniformly, a schedule decides how often the network practises at each noise level. Which levels there is something to learn at, the data say:
the ideal denoiser of the training digits (`tinyddpm/more/ideal.py`) is certain of its image where there is little noise, and where there is much
it can only say the mean. Steps in either range are easy: no network can do better than a simple answer.
"""
import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tinyddpm import noise
from tinyddpm import data
from tinyddpm.pictures.images import pixels, show
from tinyddpm.pictures.plots import BLUE, GREY, INK, LIGHT, ORANGE, PURPLE, RED, save_figure, tidy
from tinyddpm.diffusion import q_sample
from tinyddpm.more.ideal import ideal_denoiser
from tinyddpm.more.schedules import cosine, linear, log_snr, quadratic, scaled_linear, fraction_of_steps, sigmoid

SCHEDULES = {"linear": linear, "scaled linear": scaled_linear, "quadratic": quadratic, "cosine": cosine, "sigmoid": sigmoid}
COLOURS = dict(zip(SCHEDULES, (BLUE, PURPLE, INK, RED, ORANGE)))
SHARES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1)  # of T, where the image is shown
CERTAIN, IGNORANT = 0.05, 0.95                      # J as a share of predict-the-mean's


def ideal_J_by_level(images, s, n):
    """The ideal denoiser's J at 40 log-SNRs, falling from 9 to −9 or so, as a share of predict-the-mean's. It depends on the data and the ratio, not on the schedule."""
    ideal, levels = ideal_denoiser(images, s), np.linspace(10, -9, 40)
    x0, eps = images[:n], noise.normal(0, "schedules: eps", 0, np.arange(n), images.shape[1:])
    mean_J = np.square(x0 - images.mean(axis=0)).mean()
    ts = [1 + int(abs(log_snr(s)[1:] - level).argmin()) for level in levels]  # the t of `s` that is nearest to each level
    J = [float(np.square(ideal(q_sample(s, x0, t, eps), t) - x0).mean() / mean_J) for t in (np.full(n, t) for t in ts)]
    return log_snr(s)[ts], np.array(J)


def describe(schedules, low, high):
    """Prints and returns, for each schedule: ᾱ_T, the t at which SNR passes 1, and the shares of steps with much, middling and little noise."""
    found = {}
    print(f"The ideal denoiser is certain (J below {CERTAIN:.0%} of predict-the-mean's) at a log-SNR above {high:.1f}, and ignorant (above {IGNORANT:.0%}) below {low:.1f}.")
    for name, s in schedules.items():
        much, middle, little = fraction_of_steps(s, [-np.inf, low, high, np.inf])
        found[name] = {"alpha_bar_T": float(s.alpha_bar[-1]), "half": int((s.alpha_bar > 0.5).sum()), "much": float(much), "middle": float(middle), "little": float(little)}
        print(f"   {name:14} ᾱ_T = {s.alpha_bar[-1]:.1e}, SNR falls below 1 at t = {found[name]['half']}. "
              f"Steps: {little:.0%} where it is certain, {middle:.0%} between, {much:.0%} where it is ignorant.")
    best = max(found, key=lambda name: found[name]["middle"])
    print(f"   Of these {best} spends the largest share of its steps where these digits leave something to decide. Larger images stay recognisable under more noise:\n"
          "   there the same levels are easier, so this says nothing of which schedule is best elsewhere.")
    return found


def draw(path, schedules, image, levels, J, low, high):
    figure = Figure(figsize=(12, 9.2), dpi=100)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    remains, ratio, spent = top.subplots(1, 3)
    top.subplots_adjust(left=0.05, right=0.95, top=0.91, bottom=0.14, wspace=0.25)
    edges = np.arange(-12, 13)
    for name, s in schedules.items():
        style = {"color": COLOURS[name], "linewidth": 1.8}
        remains.plot(s.alpha_bar, label=name, **style)
        ratio.plot(log_snr(s), **style)
        spent.stairs(100 * fraction_of_steps(s, [-np.inf, *edges[1:-1], np.inf]), edges, **style)
    ratio.axhspan(low, high, color=LIGHT, linewidth=0, zorder=0, alpha=0.5)
    ratio.text(20, low + 0.2, "something to decide", fontsize=9, color=GREY)
    ratio.set_ylim(-12, 10)
    spent.axvspan(low, high, color=LIGHT, linewidth=0, zorder=0, alpha=0.5)
    certainty = spent.twinx()
    certainty.plot(levels, J, color=GREY, linewidth=1.4, linestyle="--")
    certainty.set_ylim(0, 1.05)
    certainty.set_ylabel("J of the ideal denoiser (dashed)", color=GREY, fontsize=9)
    certainty.spines[["top", "left"]].set_visible(False)
    certainty.tick_params(labelcolor=GREY, labelsize=8)
    remains.legend(frameon=False, labelcolor="linecolor")
    for axes, title, x in ((remains, r"$\bar\alpha_t$: what remains of the image", "t"), (ratio, "log-SNR", "t"), (spent, "% of the steps at each noise level", "log-SNR")):
        axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
        axes.set_xlabel(x)
        tidy(axes)
    eps = noise.normal(0, "schedules: eps", 0, [0], image.shape)[0]
    for i, (name, s) in enumerate(schedules.items()):
        ts = np.array([round(share * s.T) for share in SHARES])
        xt = q_sample(s, image[None].repeat(len(ts), 0), ts, eps[None].repeat(len(ts), 0))
        for j, (t, picture) in enumerate(zip(ts, pixels(xt))):
            axes = bottom.add_subplot(len(schedules), len(ts), i * len(ts) + j + 1)
            show(axes, picture)
            if i == 0:
                axes.set_title(f"t = {t}", fontsize=10, color=INK)
            if j == 0:
                axes.set_ylabel(name, fontsize=10, color=COLOURS[name])
    bottom.subplots_adjust(left=0.05, right=0.98, top=0.94, bottom=0.02, wspace=0.06, hspace=0.08)
    save_figure(figure, path)


def main(arguments=None):
    """Returns what was found of each schedule, and between which log-SNRs there is something to decide."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the ideal denoiser is asked about fewer images")
    parser.add_argument("--out", type=Path, default=Path("schedules.png"), help="where the picture goes [schedules.png]")
    options = parser.parse_args(arguments)
    images = data.split(data.digits())[0].images
    schedules = {name: make(1000) for name, make in SCHEDULES.items()}
    levels, J = ideal_J_by_level(images, schedules["linear"], 60 if options.quick else len(images))
    high, low = float(levels[J < CERTAIN].min()), float(levels[J > IGNORANT].max())
    found = describe(schedules, low, high)
    draw(options.out, schedules, images[0], levels, J, low, high)
    print(f"The picture is {options.out}.")
    return {"schedules": found, "low": low, "high": high, "J": J}


if __name__ == "__main__":
    main()
