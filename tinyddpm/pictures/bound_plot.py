"""The terms of the variational bound as a picture: which steps the bits are spent on.

    bound_terms("bound.png", Bound(terms(…)))
"""
import numpy as np
from matplotlib.figure import Figure

from .plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy


def bound_terms(path, bound):
    """Above, each term in bits/dim, with a band of two standard errors; below, what is spent once t is reached, from T down.

    bound  a `more.likelihood.Bound`, or anything with its terms (T+1,), errors (T+1,), total and error
    """
    T = len(bound.terms) - 1
    t = np.arange(1, T + 1)  # at t the term is L_{t−1}
    figure = Figure(figsize=(8.4, 6.6), dpi=110)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
    figure.subplots_adjust(left=0.10, right=0.975, top=0.93, bottom=0.09, hspace=0.12)

    steps, reach = _positive(bound.terms[1:T]), 2 * np.nan_to_num(bound.errors[1:T])
    if T > 1:
        top.fill_between(t[1:], _positive(steps - reach), steps + reach, color=BLUE, alpha=0.25, linewidth=0)
        top.plot(t[1:], steps, color=BLUE, linewidth=1.6, marker="o" if T < 4 else None, label="L$_{t-1}$, one term for each t")
    for place, i, colour, name in ((1, 0, RED, "L$_0$, the decoder"), (T, T, PURPLE, "L$_T$, the start")):
        top.plot([place], _positive(bound.terms[[i]]), color=colour, linestyle="none", marker="o", markersize=7, label=f"{name}: {bound.terms[i]:.3g}")
    top.set_yscale("log")
    top.set_ylabel("bits/dim of each term")
    top.legend(loc="upper right", frameon=False, labelcolor="linecolor", fontsize=10)
    error = "" if np.isnan(bound.error) else f" ± {bound.error:.3f}"
    top.set_title(f"The variational bound: {bound.total:.3f}{error} bits/dim", loc="left", color=INK, fontsize=12, fontweight="bold")

    spent = bound.terms[T] + np.cumsum(bound.terms[:T][::-1])[::-1]  # once t is done: L_T + L_{T−1} + … + L_{t−1}
    bottom.plot(t, spent, color=ORANGE, linewidth=1.8, marker="o" if T < 4 else None)
    bottom.axhline(bound.total, color=GREY, linewidth=1.2, dashes=(5, 3))
    bottom.set_ylim(0, 1.12 * max(bound.total, 1e-9))
    bottom.set_ylabel("bits/dim spent, T down to t")
    bottom.set_xlabel("t")
    bottom.set_xscale("log")  # most bits go to the smallest t
    for axes in (top, bottom):
        tidy(axes)
        axes.minorticks_off()
    save_figure(figure, path)


def _positive(values):
    """The values, with NaN, which is not drawn, in place of those that a logarithmic axis has no room for."""
    return np.where(values > 0, values, np.nan)
