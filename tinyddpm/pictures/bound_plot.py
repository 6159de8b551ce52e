"""The terms of the variational bound as a picture: which steps the bits are spent on.

    bound_terms("bound.png", Bound(terms(…)))

`more/likelihood.py` computes the bound.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..more.likelihood import Bound
from ..types import Array
from .plots import BLUE, GREY, ORANGE, PURPLE, RED, Style, save_figure, tidy, title
from .settings import own_settings


@own_settings()
def bound_terms(path: str | Path, bound: Bound) -> None:
    """Above, each term in bits/dim; below, what the chain has spent once it has come down to t.

    A band of two standard errors surrounds the terms.

    Args:
        path: where the PNG goes.
        bound: a Bound, or anything with its terms (T+1,), errors (T+1,), total and error.
    """
    T = len(bound.terms) - 1
    figure = Figure(figsize=(8.4, 6.6), dpi=110)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
    figure.subplots_adjust(left=0.10, right=0.975, top=0.93, bottom=0.09, hspace=0.12)
    marker = "o" if T < 4 else None  # a curve of a few points shows them

    _each_term(top, bound, marker)
    _spent(bottom, bound, marker)
    bottom.set_xlabel("t")
    bottom.set_xscale("log")  # most bits go to the smallest t
    for axes in (top, bottom):
        tidy(axes)
        axes.minorticks_off()
    save_figure(figure, path)


def _each_term(axes: Axes, bound: Bound, marker: str | None) -> None:
    """L_{t−1} over t = 2..T, and L_0 and L_T as dots at the ends."""
    T = len(bound.terms) - 1
    t = np.arange(1, T + 1)  # at t the term is L_{t−1}
    terms, reach = _positive(bound.terms[1:T]), 2 * np.nan_to_num(bound.errors[1:T])
    if T > 1:
        band = _positive(terms - reach), terms + reach
        axes.fill_between(t[1:], *band, color=BLUE, alpha=0.25, linewidth=0)
        style: Style = {"color": BLUE, "linewidth": 1.6, "marker": marker}
        axes.plot(t[1:], terms, label="L$_{t-1}$, one term for each t", **style)
    for x, i, colour, name in (
        (1, 0, RED, "L$_0$, the decoder"),
        (T, T, PURPLE, "L$_T$, the start"),
    ):
        style = {"color": colour, "linestyle": "none", "marker": "o", "markersize": 7}
        axes.plot([x], _positive(bound.terms[[i]]), label=f"{name}: {bound.terms[i]:.3g}", **style)
    axes.set_yscale("log")
    axes.set_ylabel("bits/dim of each term")
    axes.legend(loc="upper right", frameon=False, labelcolor="linecolor", fontsize=10)
    error = "" if np.isnan(bound.error) else f" ± {bound.error:.3f}"
    title(axes, f"The variational bound: {bound.total:.3f}{error} bits/dim")


def _spent(axes: Axes, bound: Bound, marker: str | None) -> None:
    """L_T + L_{T−1} + … + L_{t−1}, which is spent once step t is done, over t; and the total."""
    T = len(bound.terms) - 1
    spent = bound.terms[T] + np.cumsum(bound.terms[:T][::-1])[::-1]
    axes.plot(np.arange(1, T + 1), spent, color=ORANGE, linewidth=1.8, marker=marker)
    axes.axhline(bound.total, color=GREY, linewidth=1.2, dashes=(5, 3))
    axes.set_ylim(0, 1.12 * max(bound.total, 1e-9))
    axes.set_ylabel("bits/dim spent, T down to t")


def _positive(values: Array) -> Array:
    """The values, with NaN for those that a logarithmic axis cannot show. NaN is not drawn."""
    return np.where(values > 0, values, np.nan)
