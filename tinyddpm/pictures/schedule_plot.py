"""Noise schedules side by side: what remains of the image, SNR, and where the steps are spent.

    named = {"linear": linear(1000), "cosine": cosine(1000), "my own": from_beta(beta)}
    schedules("schedules.png", named)

Compare the lowest panel first: t is drawn uniformly, so a schedule weights each noise level by the
number of steps it spends there.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..more.schedules import fraction_of_steps, log_snr
from ..schedule import Schedule
from .plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, Style, save_figure, tidy, title
from .settings import own_settings

COLOURS = (BLUE, RED, ORANGE, PURPLE, INK, GREY)
# Where there are more schedules than colours, the colours come again, dashed, then dotted.
DASHES = ("-", "--", ":")
# The log-SNRs shown, cut into intervals. The outermost intervals also hold what lies beyond.
LOG_SNR = np.arange(-12, 13)


@own_settings()
def schedules(path: str | Path, named: Mapping[str, Schedule]) -> Figure:
    """One picture of several schedules, of any lengths.

    Args:
        path: where the PNG goes.
        named: 1 to 18 schedules, by name.

    Returns:
        The matplotlib figure.
    """
    most = len(COLOURS) * len(DASHES)
    if not 1 <= len(named) <= most:
        raise ValueError(f"named: expected 1 to {most} schedules, got {len(named)}")
    figure = Figure(
        figsize=(11.5, 7), dpi=110, layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1)
    )
    panels = figure.subplot_mosaic([["remains", "ratio"], ["spent", "spent"]])
    remains, ratio, spent = (panels[name] for name in ("remains", "ratio", "spent"))

    for i, (name, schedule) in enumerate(named.items()):
        dashes = DASHES[i // len(COLOURS)]
        style: Style = {"color": COLOURS[i % len(COLOURS)], "linestyle": dashes, "linewidth": 1.7}
        fraction = np.arange(schedule.T + 1) / schedule.T  # t / T, so that lengths may differ
        remains.plot(fraction, schedule.alpha_bar, **style)
        # It is ∞ at t = 0, and −∞ at T if nothing remains. Such points are not drawn.
        ratio.plot(fraction, log_snr(schedule), **style)
        _steps_spent(spent, name, schedule, style)

    ratio.axhline(0, color=GREY, linewidth=0.8)
    spent.axvline(0, color=GREY, linewidth=0.8)
    _name(remains, "What remains of the image", "t / T", "ᾱ, fraction of the variance")
    _name(ratio, "Signal to noise", "t / T", "log-SNR")
    where = "Where the steps are spent: much noise at the left, little at the right"
    _name(spent, where, "log-SNR", "% of the steps, each interval")
    ratio.set_ylim(LOG_SNR[0], LOG_SNR[-1])
    spent.set_xlim(LOG_SNR[0], LOG_SNR[-1])
    figure.legend(
        loc="outside right center",
        frameon=False,
        labelcolor="linecolor",
        fontsize=9,
        labelspacing=1.1,
    )
    for axes in (remains, ratio, spent):
        tidy(axes)
    _scale_of_tens(ratio)
    save_figure(figure, path)
    return figure


def _steps_spent(axes: Axes, name: str, schedule: Schedule, style: Style) -> None:
    """The percentage of the steps in each interval of log-SNR, as stairs."""
    edges = [-np.inf, *LOG_SNR[1:-1], np.inf]
    above = fraction_of_steps(schedule, [0, np.inf])[0]
    label = f"{name}\n{above:.0%} of its steps have SNR > 1"
    axes.stairs(100 * fraction_of_steps(schedule, edges), LOG_SNR, label=label, **style)


def _scale_of_tens(axes: Axes) -> None:
    """At the right of an axis of log-SNR, the SNR itself in powers of ten."""
    to_tens = (lambda y: y / np.log(10), lambda y: y * np.log(10))
    decades = axes.secondary_yaxis("right", functions=to_tens)
    decades.set_ylabel("SNR", color=INK)
    decades.yaxis.set_major_formatter(lambda y, _: f"$10^{{{y:.0f}}}$")
    decades.set_yticks(range(-4, 5, 2))
    decades.spines["right"].set_visible(False)
    decades.tick_params(labelcolor=INK, labelsize=9, length=0)


def _name(axes: Axes, text: str, x: str, y: str) -> None:
    title(axes, text)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
