"""Why is x_t drawn in one go, and not by adding noise t times? (The lecture's second question.)

    python examples/02_forward_process.py        # under a minute

The forward process is a chain: x_t = √(1−β_t) x_{t−1} + √β_t ε, again and again. The closed form jumps: x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε.

  1. both give the same distribution: means, variances, and a two-sample test. Two wrong closed forms show what the test can see
  2. what each costs as t grows to 1000
"""
import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import ks_2samp

from tinyddpm import noise, schedule
from tinyddpm import data
from tinyddpm.pictures.plots import BLUE, INK, ORANGE, save_figure, tidy
from tinyddpm.diffusion import q_chain, q_sample
from tinyddpm.schedule import at

LINEAR = schedule.linear(1000)
SHOWN = (1, 10, 100, 300, 1000)
PIXELS = (10, 20, 35)  # of the 64; the test looks at one number at a time


def without_roots(s, x0, t, eps):
    """A mistake: ᾱ_t x_0 + (1−ᾱ_t) ε."""
    return at(s.alpha_bar, t, x0) * x0 + at(1 - s.alpha_bar, t, x0) * eps


def one_step_behind(s, x0, t, eps):
    """A subtler one: x_{t−1} for x_t. At most t's it makes next to no difference."""
    return q_sample(s, x0, t - 1, eps)


FORMS = {"closed form": q_sample, "without the roots": without_roots, "one step behind": one_step_behind}


def same_distribution(x0, n):
    """n draws of x_t for one image x0, both ways. For each t: the largest error of a pixel's mean and variance in standard errors, and each form's p-value."""
    many = np.repeat(x0[None], n, axis=0)
    by_chain = {t: xt for t, xt in q_chain(LINEAR, many, lambda t: noise.normal(0, "chain", t, np.arange(n), x0.shape)) if t in SHOWN}
    found = {}
    for t, chain in by_chain.items():
        ts, eps = np.full(n, t), noise.normal(0, "closed form", t, np.arange(n), x0.shape)
        closed, drawn = q_sample(LINEAR, many, ts, eps), {}
        mean, variance = np.sqrt(LINEAR.alpha_bar[t]) * x0, 1 - LINEAR.alpha_bar[t]
        for way, x in (("chain", chain), ("closed", closed)):
            drawn[way] = (float(abs(x.mean(axis=0, dtype=np.float64) - mean).max() / np.sqrt(variance / n)),
                          float(abs(x.var(axis=0, dtype=np.float64) / variance - 1).max() / np.sqrt(2 / n)))
        # Kolmogorov and Smirnov's test; the smallest of several p-values, times their number, is one p-value (Bonferroni)
        p = {name: min(1, len(PIXELS) * min(ks_2samp(form(LINEAR, many, ts, eps).reshape(n, -1)[:, i], chain.reshape(n, -1)[:, i]).pvalue
                                            for i in PIXELS)) for name, form in FORMS.items()}
        found[t] = {**drawn, "p": p, "draws": (chain, closed)}
    print(f"1. {n:,} draws of x_t for one image. The worst of 64 pixels is so many standard errors off in mean and variance (about 2.5 is usual, 4.5 rare), "
          "and p of a two-sample test against the chain:")
    for t, row in found.items():
        print(f"   t = {t:4}: chain {row['chain'][0]:.1f} {row['chain'][1]:.1f}, closed form {row['closed'][0]:.1f} {row['closed'][1]:.1f};  "
              + ", ".join(f"{name} p = {p:.2g}" for name, p in row["p"].items()))
    return found


def cost(x0, repeats):
    """For some t: seconds by chain and in closed form, the least of some repeats, and how many normal numbers each draws."""
    images, rng = np.repeat(x0[None], 64, axis=0), np.random.default_rng(0)
    drawn, rows = 0, {}

    def draw(t=None):
        nonlocal drawn
        drawn += images.size
        return rng.standard_normal(images.shape, np.float32)

    def by_chain(t):
        for step, xt in q_chain(LINEAR, images, draw):
            if step == t:
                return xt

    for t in (1, 10, 30, 100, 300, 1000):
        rows[t] = []
        for way in (by_chain, lambda t: q_sample(LINEAR, images, np.full(len(images), t), draw())):
            seconds, drawn = [], 0
            for _ in range(repeats):
                start = time.perf_counter()
                way(t)
                seconds.append(time.perf_counter() - start)
            rows[t].append((min(seconds), drawn // repeats))
    (chain, many), (closed, few) = rows[1000]
    print(f"2. For 64 images at t = 1000 the chain draws {many:,} normal numbers, the closed form {few:,}; "
          f"the chain took {1000 * chain:.0f} ms, the closed form {1000 * closed:.2f} ms: {chain / closed:.0f} times as long.")
    return rows


def draw(path, x0, found, rows):
    figure = Figure(figsize=(12, 4.8), dpi=110)
    top, bottom = figure.subfigures(1, 2, width_ratios=(1.7, 1))
    pixel = PIXELS[0]
    for axes, (t, row) in zip(top.subplots(2, 3).flat, found.items()):
        chain, closed = (x.reshape(len(x), -1)[:, pixel] for x in row["draws"])
        middle, spread = np.sqrt(LINEAR.alpha_bar[t]) * x0.flat[pixel], np.sqrt(1 - LINEAR.alpha_bar[t])
        bins = middle + spread * np.linspace(-3.5, 3.5, 36)
        axes.hist(chain, bins, color=ORANGE, alpha=0.55, density=True, label="chain")
        axes.hist(closed, bins, histtype="step", color=BLUE, linewidth=1.4, density=True, label="closed form")
        axes.plot(bins, np.exp(-((bins - middle) / spread) ** 2 / 2) / spread / np.sqrt(2 * np.pi), color=INK, linewidth=1, label="as computed")
        axes.set_title(f"t = {t}, p = {row['p']['closed form']:.2f}", fontsize=10, color=INK)
        axes.set_yticks([])
        tidy(axes)
    legend = top.axes[-1]
    legend.set_axis_off()
    legend.legend(*top.axes[0].get_legend_handles_labels(), frameon=False, loc="center", title="one pixel of $x_t$")
    top.subplots_adjust(left=0.03, right=0.97, top=0.92, bottom=0.08, hspace=0.35, wspace=0.12)
    axes = bottom.subplots()
    bottom.subplots_adjust(left=0.17, right=0.96, top=0.92, bottom=0.13)
    for i, (name, colour) in enumerate((("chain", ORANGE), ("closed form", BLUE))):
        axes.loglog(list(rows), [1000 * row[i][0] for row in rows.values()], color=colour, linewidth=2, marker="o", markersize=4, label=name)
    axes.set_title("Milliseconds for 64 images", loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set_xlabel("t")
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)
    save_figure(figure, path)


def main(arguments=None):
    """Returns what was found by each part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer draws")
    parser.add_argument("--out", type=Path, default=Path("forward_process.png"), help="where the picture goes [forward_process.png]")
    options = parser.parse_args(arguments)
    x0 = data.digits().images[0]
    found = same_distribution(x0, 1000 if options.quick else 5000)
    rows = cost(x0, 1 if options.quick else 5)
    draw(options.out, x0, found, rows)
    print(f"The picture is {options.out}.")
    return {"distribution": found, "cost": rows}


if __name__ == "__main__":
    main()
