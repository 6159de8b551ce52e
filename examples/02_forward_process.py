"""Why is x_t drawn in one go, and not by adding noise t times? (The lecture's question 2.)

    python examples/02_forward_process.py        # under a minute

The forward process is a chain: x_t = √(1−β_t) x_{t−1} + √β_t ε, t times. The closed form jumps
there in one go: x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε.

  1. What does it look like? One digit with more and more noise, drawn both ways.
  2. Both give the same distribution: we compare means and variances and run a two-sample test. Two
     wrong closed forms show what the test can see.
  3. What does each cost as t grows to 1000?
"""

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import ks_2samp

from tinyddpm import data, noise, schedule
from tinyddpm.diffusion import q_sample
from tinyddpm.more.chain import q_chain
from tinyddpm.pictures.images import pixels, show
from tinyddpm.pictures.plots import BLUE, INK, ORANGE, save_figure, tidy
from tinyddpm.schedule import at

LINEAR = schedule.linear(1000)
SHOWN = (1, 10, 100, 300, 1000)
TIMED = (1, 10, 30, 100, 300, 1000)
PIXELS = (10, 20, 35)  # of the 64: the two-sample test looks at one number at a time

# ---- 1. one image --------------------------------------------------------------------------------


def noised(x0):
    """One image x0 (C, H, W) at t = 0 and each t shown: {the way: {t: x_t}}, and say what is left.

    The two ways draw different ε, so they agree in what they look like and not in any pixel.
    """
    chain_noise = lambda t: noise.normal(0, "one image, chain", t, np.arange(1), x0.shape)
    chain = {t: xt[0] for t, xt in q_chain(LINEAR, x0[None], chain_noise) if t in SHOWN}
    eps = noise.normal(0, "one image", 0, np.arange(1), x0.shape)
    closed = {t: q_sample(LINEAR, x0[None], np.array([t]), eps)[0] for t in SHOWN}
    seen = {"chain": {0: x0} | chain, "closed form": {0: x0} | closed}

    print("1. One digit with more and more noise. How much each pixel of x_t still has to do with")
    print("   the same pixel of x_0 (their correlation over the 64 pixels; 1: all, 0: nothing):")
    for way, images in seen.items():
        left = {t: np.corrcoef(images[t].ravel(), x0.ravel())[0, 1] for t in SHOWN}
        print(f"   {way:11}: " + ", ".join(f"{r:.2f} at t = {t}" for t, r in left.items()))
    return seen


# ---- 2. one distribution -------------------------------------------------------------------------


def without_roots(s, x0, t, eps):
    """A mistake: ᾱ_t x_0 + (1−ᾱ_t) ε."""
    return at(s.alpha_bar, t, x0) * x0 + at(1 - s.alpha_bar, t, x0) * eps


def one_step_behind(s, x0, t, eps):
    """A subtler mistake: x_{t−1} instead of x_t. At most t it makes almost no difference."""
    return q_sample(s, x0, t - 1, eps)


FORMS = {
    "closed form": q_sample,
    "without the roots": without_roots,
    "one step behind": one_step_behind,
}


def standard_errors(x, mean, variance):
    """How far mean and variance of the draws x (n, C, H, W) are off, in the worst pixel.

    The unit is the standard error that n draws have.
    """
    n = len(x)
    off = abs(x.mean(axis=0, dtype=np.float64) - mean).max() / np.sqrt(variance / n)
    off_in_variance = abs(x.var(axis=0, dtype=np.float64) / variance - 1).max() / np.sqrt(2 / n)
    return float(off), float(off_in_variance)


def p_value(a, b):
    """How probable draws that differ as much as a and b are, if both have the same distribution.

    We run Kolmogorov and Smirnov's test on each of PIXELS. The smallest p-value, times the number
    of tests, is a p-value again (Bonferroni).
    """
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    smallest = min(ks_2samp(a[:, i], b[:, i]).pvalue for i in PIXELS)
    return min(1, len(PIXELS) * smallest)


def same_distribution(x0, n):
    """Compare n draws of x_t for one image x0, by the chain and in closed form, at each t shown."""
    index = np.arange(n)
    many = np.repeat(x0[None], n, axis=0)
    chain_noise = lambda t: noise.normal(0, "chain", t, index, x0.shape)
    by_chain = {t: xt for t, xt in q_chain(LINEAR, many, chain_noise) if t in SHOWN}

    found = {}
    for t, chain in by_chain.items():
        ts = np.full(n, t)
        eps = noise.normal(0, "closed form", t, index, x0.shape)
        closed = q_sample(LINEAR, many, ts, eps)
        mean, variance = np.sqrt(LINEAR.alpha_bar[t]) * x0, 1 - LINEAR.alpha_bar[t]
        found[t] = {
            "chain": standard_errors(chain, mean, variance),
            "closed": standard_errors(closed, mean, variance),
            "p": {
                name: p_value(form(LINEAR, many, ts, eps), chain) for name, form in FORMS.items()
            },
            "draws": (chain, closed),
        }
    return found


def report(found, n):
    print(f"2. {n:,} draws of x_t for one image, by the chain and in closed form. Errors of mean")
    print("   and variance are those of the worst of 64 pixels, in standard errors: 2.5 is usual,")
    print("   4.5 is rare. p compares the draws of each form with the chain's.")
    for t, row in found.items():
        chain, closed = (f"{mean:.1f} {var:.1f}" for mean, var in (row["chain"], row["closed"]))
        p = ", ".join(f"{name} {p:.2g}" for name, p in row["p"].items())
        print(f"   t = {t:4}: errors {chain} by the chain, {closed} in closed form")
        print(f"             p: {p}")


# ---- 3. two costs --------------------------------------------------------------------------------


class CountedNoise:
    """Standard normal noise of one shape, and how many numbers it has drawn."""

    def __init__(self, shape):
        self.shape, self.drawn, self.rng = shape, 0, np.random.default_rng(0)

    def __call__(self, t=None):
        eps = self.rng.standard_normal(self.shape, np.float32)
        self.drawn += eps.size
        return eps


def cost(x0, repeats):
    """For each t: (seconds, normal numbers drawn) by the chain and in closed form.

    The seconds are the least of all repeats.
    """
    images = np.repeat(x0[None], 64, axis=0)
    draw = CountedNoise(images.shape)

    def by_chain(t):
        return next(xt for step, xt in q_chain(LINEAR, images, draw) if step == t)

    def in_closed_form(t):
        return q_sample(LINEAR, images, np.full(len(images), t), draw())

    rows = {}
    for t in TIMED:
        rows[t] = []
        for way in (by_chain, in_closed_form):
            draw.drawn, seconds = 0, []
            for _ in range(repeats):
                start = time.perf_counter()
                way(t)
                seconds.append(time.perf_counter() - start)
            rows[t].append((min(seconds), draw.drawn // repeats))

    (chain, many), (closed, few) = rows[1000]
    print(f"3. For 64 images at t = 1000 the chain draws {many:,} normal numbers, the closed form")
    ratio = chain / closed
    chain, closed = f"{1000 * chain:.0f} ms", f"{1000 * closed:.2f} ms"
    print(f"   {few:,}. They take {chain} and {closed}: the chain is {ratio:.0f} times as slow.")
    return rows


# ---- the picture ---------------------------------------------------------------------------------


def draw(path, x0, seen, found, rows):
    figure = Figure(figsize=(12, 8.6), dpi=100)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    draw_images(top, seen)
    left, right = bottom.subfigures(1, 2, width_ratios=(1.7, 1))
    draw_distributions(left, x0, found)
    draw_cost(right, rows)
    save_figure(figure, path)


def draw_images(figure, seen):
    places = figure.subplots(len(seen), 1 + len(SHOWN))
    for row, (way, images) in zip(places, seen.items()):
        for axes, (t, x) in zip(row, images.items()):
            show(axes, pixels(x[None])[0])
            if way == "chain":  # the upper row
                signal, weight = np.sqrt([LINEAR.alpha_bar[t], 1 - LINEAR.alpha_bar[t]])
                mix = f"\n{signal:.2f} $x_0$ + {weight:.2f} $\\varepsilon$" if t else "\n$x_0$"
                axes.set_title(f"t = {t}{mix}", fontsize=11, color=INK)
        row[0].set_ylabel(way, fontsize=12, color=INK)
    figure.subplots_adjust(left=0.05, right=0.98, top=0.86, bottom=0.03, hspace=0.06, wspace=0.12)


def draw_distributions(figure, x0, found):
    pixel = PIXELS[0]
    for axes, (t, row) in zip(figure.subplots(2, 3).flat, found.items()):
        chain, closed = (x.reshape(len(x), -1)[:, pixel] for x in row["draws"])
        mean = np.sqrt(LINEAR.alpha_bar[t]) * x0.flat[pixel]
        spread = np.sqrt(1 - LINEAR.alpha_bar[t])
        bins = mean + spread * np.linspace(-3.5, 3.5, 36)
        density = np.exp(-(((bins - mean) / spread) ** 2) / 2) / spread / np.sqrt(2 * np.pi)
        axes.hist(chain, bins, color=ORANGE, alpha=0.55, density=True, label="chain")
        outline = {"histtype": "step", "linewidth": 1.4}
        axes.hist(closed, bins, color=BLUE, density=True, label="closed form", **outline)
        axes.plot(bins, density, color=INK, linewidth=1, label="by the formula")
        axes.set_title(f"t = {t}, p = {row['p']['closed form']:.2f}", fontsize=10, color=INK)
        axes.set_yticks([])
        tidy(axes)
    handles = figure.axes[0].get_legend_handles_labels()
    legend = figure.axes[-1]
    legend.set_axis_off()
    legend.legend(*handles, frameon=False, loc="center", title="one pixel of $x_t$")
    figure.subplots_adjust(left=0.03, right=0.97, top=0.92, bottom=0.08, hspace=0.35, wspace=0.12)


def draw_cost(figure, rows):
    axes = figure.subplots()
    figure.subplots_adjust(left=0.17, right=0.96, top=0.92, bottom=0.13)
    for i, (name, colour) in enumerate((("chain", ORANGE), ("closed form", BLUE))):
        milliseconds = [1000 * row[i][0] for row in rows.values()]
        style = {"color": colour, "linewidth": 2, "marker": "o", "markersize": 4}
        axes.loglog(list(rows), milliseconds, label=name, **style)
    title = "Milliseconds for 64 images"
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set_xlabel("t")
    axes.legend(frameon=False, labelcolor="linecolor")
    tidy(axes)


def main(arguments=None):
    """Run all parts and return what each found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer draws")
    parser.add_argument(
        "--out", type=Path, default=Path("forward_process.png"), help="the picture's path"
    )
    options = parser.parse_args(arguments)
    x0 = data.digits().images[0]
    n, repeats = (1000, 1) if options.quick else (5000, 5)

    seen = noised(x0)
    found = same_distribution(x0, n)
    report(found, n)
    rows = cost(x0, repeats)
    draw(options.out, x0, seen, found, rows)
    print(f"The picture is {options.out}.")
    return {"seen": seen, "distribution": found, "cost": rows}


if __name__ == "__main__":
    main()
