"""The picture docs/sgd.png, from what the runs found."""

from matplotlib.figure import Figure

from tinyddpm.pictures.plots import BLUE, ORANGE, RED, save_figure, tidy

from .rows import families, measured_grids, score

COLOURS = {"sgd": BLUE, "momentum": ORANGE, "adam": RED}
MARKS = {"ones": ("o", ":"), "hand": ("s", "-"), "derived1": ("v", "--"), "derived5": ("^", "--")}
MARKS["measured"] = ("D", "-")


def draw_families(path, kept):
    """J against β for each update with each set of multipliers."""
    figure = Figure(figsize=(8.6, 4.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    measured = measured_grids()["measured, frozen at 300"]
    for (update, c), rows in (families() | {("sgd", "measured"): measured}).items():
        points = sorted((row.beta, J) for row in rows if (J := score(row, kept)) < 1)
        if points:
            marker, dashes = MARKS[c]
            style = {"color": COLOURS[update], "marker": marker, "linestyle": dashes}
            label = f"{update}, {c}"
            axes.plot(*zip(*points), linewidth=1.4, markersize=5.5, label=label, **style)
    axes.set(xscale="log", xlabel="β", ylabel="validation J, fraction of predict-the-mean's")
    title = "8×8 digits, 600 steps: each update with each set of multipliers"
    axes.set_title(title, loc="left", fontsize=10.5)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    save_figure(figure, path)
