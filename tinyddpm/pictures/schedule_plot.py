"""Noise schedules side by side: what remains of the image, its signal-to-noise ratio, and where the steps are spent.

    schedules("schedules.png", {"linear": linear(1000), "cosine": cosine(1000), "my own": from_beta(beta)})

The lowest panel is the one to compare: t is drawn uniformly, so a schedule weights noise levels by how many steps it spends on them.
"""
import numpy as np
from matplotlib.figure import Figure

from ..more.schedules import log_snr, fraction_of_steps
from .plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy

COLOURS = (BLUE, RED, ORANGE, PURPLE, INK, GREY)
DASHES = ("-", "--", ":")  # when all colours are taken they come again, dashed, then dotted
LOG_SNR = np.arange(-12, 13)  # what is shown of the log-SNR, cut into intervals; the outermost also hold what lies beyond


def schedules(path, named):
    """One picture of several schedules, of any lengths. Returns its Figure.

    path  where the PNG goes;  named  name -> Schedule, 1 to 18 of them
    """
    if not 1 <= len(named) <= len(COLOURS) * len(DASHES):
        raise ValueError(f"named: expected 1 to {len(COLOURS) * len(DASHES)} schedules, got {len(named)}")
    figure = Figure(figsize=(11.5, 7), dpi=110, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)
    panels = figure.subplot_mosaic([["remains", "ratio"], ["spent", "spent"]])
    remains, ratio, spent = (panels[name] for name in ("remains", "ratio", "spent"))

    edges = [-np.inf, *LOG_SNR[1:-1], np.inf]
    for i, (name, schedule) in enumerate(named.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i // len(COLOURS)], "linewidth": 1.7}
        share = np.arange(schedule.T + 1) / schedule.T  # t as a share of T, so that lengths may differ
        remains.plot(share, schedule.alpha_bar, **style)
        ratio.plot(share, log_snr(schedule), **style)  # it is ∞ at t = 0, and −∞ at T if nothing remains: such points are not drawn
        above = fraction_of_steps(schedule, [0, np.inf])[0]
        spent.stairs(100 * fraction_of_steps(schedule, edges), LOG_SNR, label=f"{name}\n{above:.0%} of its steps have SNR > 1", **style)

    ratio.axhline(0, color=GREY, linewidth=0.8)
    spent.axvline(0, color=GREY, linewidth=0.8)
    _titles(remains, "What remains of the image", "t / T", "ᾱ: its share of the variance")
    _titles(ratio, "Signal to noise", "t / T", "log-SNR")
    _titles(spent, "Where the steps are spent: much noise at the left, little at the right", "log-SNR", "% of the steps, each interval")
    ratio.set_ylim(LOG_SNR[0], LOG_SNR[-1])
    spent.set_xlim(LOG_SNR[0], LOG_SNR[-1])
    figure.legend(loc="outside right center", frameon=False, labelcolor="linecolor", fontsize=9, labelspacing=1.1)
    for axes in (remains, ratio, spent):
        tidy(axes)
    decades = ratio.secondary_yaxis("right", functions=(lambda y: y / np.log(10), lambda y: y * np.log(10)))
    decades.set_ylabel("SNR", color=INK)
    decades.yaxis.set_major_formatter(lambda y, _: f"$10^{{{y:.0f}}}$")
    decades.set_yticks(range(-4, 5, 2))
    decades.spines["right"].set_visible(False)
    decades.tick_params(labelcolor=INK, labelsize=9, length=0)
    save_figure(figure, path)
    return figure


def _titles(axes, title, x, y):
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
