"""The pictures docs/sgd.png and docs/sgd_rounds.png, from what the runs found."""

from matplotlib.figure import Figure

from tinyddpm.more import curvature
from tinyddpm.nn.multipliers import ONES, Multipliers
from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy

from .rows import families, measured_grids, score
from .study import Row, measured

ROUNDS = 5  # of deriving multipliers
COLOURS = {"sgd": BLUE, "momentum": ORANGE, "adam": RED}
MARKS = {"ones": ("o", ":"), "hand": ("s", "-"), "derived1": ("v", "--"), "derived5": ("^", "--")}
MARKS["measured"] = ("D", "-")
KINDS = [*curvature.KINDS, curvature.REST]
KIND_COLOURS = (BLUE, RED, ORANGE, PURPLE, "#3f8f5f", "#c080a0", INK, GREY)


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


def draw_rounds(path):
    """Curvatures and multipliers in each round of deriving them, beside those found by trial."""
    rounds = [Row(c=f"derived{i}") for i in range(1, ROUNDS + 1)]
    curves = [measured(row.before()) for row in rounds]
    found = [ONES, *(row.multipliers() for row in rounds)]
    figure = Figure(figsize=(9.6, 4.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, colour in zip(KINDS, KIND_COLOURS):
        style = {"color": colour, "marker": "o", "markersize": 4}
        left.plot(range(1, ROUNDS + 1), [abs(c[kind]) for c in curves], label=kind, **style)
        if kind != curvature.REST:
            right.plot(range(ROUNDS + 1), [getattr(c, kind) for c in found], **style)
            by_hand = getattr(Multipliers(), kind)
            square = {"color": colour, "marker": "s", "markersize": 8, "clip_on": False}
            right.plot(ROUNDS + 0.6, by_hand, **square)
    left.set(yscale="log", xlabel="round", xticks=range(1, ROUNDS + 1))
    title = "curvature for θ of each kind, measured in a round"
    left.set_title(title, loc="left", fontsize=10)
    left.legend(frameon=False, fontsize=8.5, ncols=2)
    below = "after so many rounds; squares: by hand"
    right.set(yscale="log", xlabel=below, xticks=range(ROUNDS + 1))
    right.set_title("multipliers derived from it (rest: 1)", loc="left", fontsize=10)
    for axes in (left, right):
        tidy(axes)
    save_figure(figure, path)
