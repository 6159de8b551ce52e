"""The questions of docs/sgd.md, each a set of rows of `study.py`: `python -m benchmarks.questions a b c d`.

    python -m benchmarks.questions a               # makes the runs that docs/study.csv does not have yet, on all cores; prints the tables
    python -m benchmarks.questions a --tables      # prints the tables of what is there
    python -m benchmarks.questions --pictures      # draws docs/sgd.png and docs/sgd_rounds.png from what is there

It can be stopped and started again: a run is written down when it is finished, and not made twice.
"""
import argparse
import dataclasses
import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from threadpoolctl import threadpool_limits

from tinyddpm.fast.parallel import cores
from tinyddpm.more import curvature
from tinyddpm.nn.multipliers import ONES, Multipliers

from .study import CURVATURES, RESULTS, Row, beside, keep, measured, read, run, split

SEEDS = (0, 1, 2)
T_975 = 4.303  # Student's t with two degrees of freedom: half the width of a 95 % interval of three numbers, over their standard error
LONG = 2000
ROUNDS = 5  # of deriving multipliers
ADAM = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
GRIDS = {("sgd", "hand"): (0.7, 1.0, 1.4, 2.0), ("adam", "ones"): ADAM, ("sgd", "ones"): (0.1, 0.15, 0.2, 0.3), ("adam", "hand"): ADAM,
         ("momentum", "ones"): (0.01, 0.02, 0.04, 0.08), ("momentum", "hand"): (0.07, 0.14, 0.28),
         ("sgd", "derived1"): (0.1, 0.2, 0.4), ("sgd", "derived5"): (0.3, 0.5, 1.0, 1.4), ("adam", "derived5"): (1e-3, 2e-3, 4e-3)}
# Runs of which one seed is not enough: Adam's best, and plain gradient descent where it is near its limit.
SEEDED = [[Row(optimiser=o, c=c, beta=beta, warmup=warmup, seed=seed) for seed in SEEDS]
          for o, c, beta, warmup in (("adam", "ones", 4e-3, 100), ("sgd", "hand", 1.0, 100), ("sgd", "hand", 2.0, 100), ("sgd", "hand", 2.0, 300))]
# name -> what is changed, and steps: few, as these are larger
ELSEWHERE = {"as tuned: base 16, 8×8, batch 64, linear": (Row(), 300), "base 32": (Row(base=32), 300), "base 64": (Row(base=64), 150),
             "batch 16": (Row(batch=16), 300), "batch 256": (Row(batch=256), 300), "cosine noise schedule": (Row(noise="cosine"), 300),
             "emoji, 16×16 RGB": (Row(data="emoji-16"), 300), "Fashion-MNIST, 28×28": (Row(data="fashion-mnist"), 150)}
TARGETS = (("x0", "none"), ("x0", "truncated_snr"), ("eps", "snr"), ("v", "snr_plus_1"), ("v", "none"))
FAIR = {"sgd": ("hand", (0.35, 0.7, 1.4)), "momentum": ("hand", (0.035, 0.07, 0.14)), "adam": ("ones", (1e-3, 2e-3, 4e-3))}


def score(row, kept, column="validation_3"):
    """The number that was found, as a share of predict-the-mean's J; infinite where the run diverged or was not made."""
    value = kept.get(str(row), {}).get(column)
    return float(value) if value else float("inf")


def best(rows, kept):
    """The row of lowest validation J. Nothing is ever chosen by test J."""
    return min(rows, key=lambda row: score(row, kept))


def families():
    """Question a: (optimiser, multipliers) -> its rows."""
    return {(o, c): [Row(optimiser=o, c=c, beta=beta) for beta in grid] for (o, c), grid in GRIDS.items()}


def long_rows(kept):
    """For each update, and for plain gradient descent on the plain network, the settings of lowest validation J of all that were run for 600 steps
    (questions a and c), at full length: lists of one row for each seed."""
    tried = [row for rows in [*families().values(), *SEEDED, *variations().values()] for row in rows if row.seed == 0]
    groups = [[row for row in tried if row.optimiser == o] for o in ("adam", "sgd", "momentum")] + [[row for row in tried if (row.optimiser, row.c) == ("sgd", "ones")]]
    return [[dataclasses.replace(best(rows, kept), steps=LONG, seed=seed) for seed in SEEDS] for rows in groups]


def elsewhere(setting, steps):
    """Question b: method -> its rows."""
    row = dataclasses.replace(setting, steps=steps)
    grids = {("sgd", "hand"): (0.7, 1.4, 2.8)} | ({("sgd", "width"): (0.7, 1.4, 2.8)} if row.base != 16 else {}) | {("adam", "ones"): (1e-3, 2e-3, 4e-3)}
    return {(o, c): [dataclasses.replace(row, optimiser=o, c=c, beta=beta) for beta in grid] for (o, c), grid in grids.items()}


def variations():
    """Question c: name -> rows."""
    found = {"β constant": [Row(beta=b) for b in (1.0, 1.4, 2.0)]}
    for decay in ("linear", "cosine"):
        found[f"β falls to 0, {decay}"] = [Row(beta=b, decay=decay) for b in (1.0, 1.4, 2.0, 2.8)]
        found[f"Adam, β falls to 0, {decay}"] = [Row(optimiser="adam", c="ones", beta=b, decay=decay) for b in (2e-3, 4e-3, 8e-3)]
    found["longer warm-up (300)"] = [Row(beta=b, warmup=300) for b in (1.4, 2.0, 2.8)]
    found["head c_skip, c_out"] = [Row(beta=b, predicts="head") for b in (0.7, 1.4, 2.8)]
    return found


def targets(noise):
    """Question d: (predicts, weight, optimiser) -> rows."""
    return {(p, w, o): [Row(predicts=p, weight=w, optimiser=o, c=c, beta=beta, noise=noise) for beta in grid]
            for p, w in TARGETS for o, (c, grid) in FAIR.items()}


def stages(question):
    """Functions kept -> rows: the rows of a stage may depend on what came out of the one before."""
    flat = lambda groups: [row for rows in groups for row in rows]
    return {"a": [lambda kept: flat(families().values()), lambda kept: flat(SEEDED), lambda kept: flat(long_rows(kept))],
            "b": [lambda kept: [row for setting in ELSEWHERE.values() for row in flat(elsewhere(*setting).values())]],
            "c": [lambda kept: flat(variations().values())],
            "d": [lambda kept: flat(targets("linear").values()),
                  lambda kept: [dataclasses.replace(best(rows, kept), noise="cosine") for rows in targets("linear").values()]]}[question]


def make(rows, processes):
    """Make the runs that were not made yet, `processes` at a time."""
    missing = list({str(row): row for row in rows if str(row) not in read(RESULTS)}.values())
    if not missing:
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=threadpool_limits, initargs=(1,)) as pool:
        list(pool.map(Row.before, {dataclasses.replace(row, optimiser="sgd", beta=1.0) for row in missing}))  # first, so that no two runs measure the same
        waiting = {pool.submit(run, row): row for row in missing}
        try:
            for n, done in enumerate(as_completed(waiting), 1):
                keep(waiting[done], done.result())
                print(f"{n}/{len(missing)}  {waiting[done]}  {done.result()}", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or an error would show after the last run only
            raise


def shown(row, kept, column):
    value = score(row, kept, column)
    return f"{value:.{2 if column == 'frechet' else 4}f}" if value < float("inf") else "diverged" if kept.get(str(row), {}).get("diverged") else "not run"


def interval(values):
    """Mean and half the width of the 95 % interval of three numbers."""
    return statistics.fmean(values), T_975 * statistics.stdev(values) / len(values) ** 0.5


def table(head, lines):
    return "\n".join(["| " + " | ".join(map(str, line)) + " |" for line in [head, ["---"] * len(head), *lines]]) + "\n"


def seeds_table(groups, kept):
    """Groups of rows that differ in their seed: of those that were all made, test J with its interval, and how far they are from the first of Adam, seed by seed."""
    J = {rows: [score(row, kept, "test") for row in rows] for rows in map(tuple, groups)}
    J = {rows: found for rows, found in J.items() if max(found) < float("inf")}
    adam = next((rows for rows in J if rows[0].optimiser == "adam"), None)
    lines = []
    for rows, found in J.items():
        gap = interval([a - b for a, b in zip(found, J[adam])]) if adam not in (None, rows) else None
        lines.append([rows[0].steps, rows[0].optimiser, rows[0].c, f"{rows[0].beta:g}", rows[0].warmup, ", ".join(f"{x:.4f}" for x in found), "{:.4f} ± {:.4f}".format(*interval(found)),
                      "{:+.4f} ± {:.4f}".format(*gap) if gap else "", f"`{rows[0]}`"])
    head = ["steps", "update", "multipliers", "β", "warm-up", "test J, seeds 0, 1, 2", "mean, 95 % interval", "less Adam's, seed by seed", "settings (and seed=1, seed=2)"]
    return table(head, lines) if lines else ""


def tables(question, kept):
    """Markdown."""
    if question == "a":
        lines = []
        for (o, c), rows in families().items():
            if not any(str(row) in kept for row in rows):
                continue
            chosen = best(rows, kept)
            grid = ", ".join(f"{row.beta:g}: {shown(row, kept, 'validation_3')}" for row in rows)
            course = ", ".join(shown(chosen, kept, f"validation_{i}") for i in (1, 2))
            lines.append([o, c, grid, f"{chosen.beta:g}", course, *(shown(chosen, kept, column) for column in ("test", "frechet", "coverage")), f"`{chosen}`"])
        yield table(["update", "multipliers", "β: validation J", "β chosen", "its validation J after 200, 400 steps", "test J", "Fréchet", "coverage", "settings"], lines)
        images, _, test = split("digits")
        yield "Real training images against the test images, {}: Fréchet {frechet:.2f}, coverage {coverage:.3f}.\n".format(len(test), **beside(test, images[:len(test)], "digits"))
        yield from (seeds_table(groups, kept) for groups in (SEEDED, long_rows(kept)))
    if question == "b":
        lines = []
        for name, setting in ELSEWHERE.items():
            for (o, c), rows in elsewhere(*setting).items():
                if not (made := [row for row in rows if str(row) in kept]):
                    continue
                chosen, grid = best(made, kept), ", ".join(f"{row.beta:g}: {shown(row, kept, 'validation_3')}" for row in made)
                lines.append([name, setting[1], o, c, grid, shown(chosen, kept, "test"), f"`{chosen}`"])
        yield table(["setting", "steps", "update", "multipliers", "β: validation J", "test J", "settings"], lines)
        yield table(["row", *next(iter(read(CURVATURES).values()))], [[name, *values.values()] for name, values in read(CURVATURES).items()])
    if question == "c":
        lines = []
        for name, rows in variations().items():
            chosen = best(rows, kept)
            grid = ", ".join(f"{row.beta:g}: {shown(row, kept, 'validation_3')}" for row in rows)
            lines.append([name, grid, shown(chosen, kept, "test"), shown(chosen, kept, "test_last_theta"), f"`{chosen}`"])
        yield table(["what is changed", "β: validation J", "test J", "test J of θ itself, not averaged", "settings"], lines)
    if question == "d":
        lines = []
        for (p, w, o), rows in targets("linear").items():
            chosen = best(rows, kept)
            for row in (chosen, dataclasses.replace(chosen, noise="cosine")):
                if str(row) not in kept:
                    continue
                values = [shown(row, kept, "test"), *(kept.get(str(row), {}).get(c) or "" for c in ("frechet", "coverage"))]
                lines.append([p, w, o, row.noise, f"{row.beta:g}", *values, f"`{row}`"])
        yield table(["predicts", "weight", "update", "noise", "β", "test J", "Fréchet", "coverage", "settings"], lines)


def pictures(kept, folder):
    """J against β for each family; curvatures and multipliers in each round of deriving them, beside those found by trial."""
    from matplotlib.figure import Figure

    from tinyddpm.pictures.plots import BLUE, GREY, INK, ORANGE, PURPLE, RED, save_figure, tidy
    colours, marks = {"sgd": BLUE, "momentum": ORANGE, "adam": RED}, {"ones": ("o", ":"), "hand": ("s", "-"), "derived1": ("v", "--"), "derived5": ("^", "--")}
    figure = Figure(figsize=(8.6, 4.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    tidy(axes)
    for (o, c), rows in families().items():
        points = sorted((row.beta, J) for row in rows if (J := score(row, kept)) < 1)
        if points:
            axes.plot(*zip(*points), color=colours[o], marker=marks[c][0], linestyle=marks[c][1], linewidth=1.4, markersize=5.5, label=f"{o}, {c}")
    axes.set(xscale="log", xlabel="β", ylabel="validation J, share of predict-the-mean's")
    axes.set_title("8×8 digits, 600 steps: each update with each set of multipliers", loc="left", fontsize=10.5)
    axes.legend(frameon=False, fontsize=9, ncols=2)
    save_figure(figure, folder / "sgd.png")

    rounds = [Row(c=f"derived{i}") for i in range(1, ROUNDS + 1)]
    found, curves = [ONES, *(row.multipliers() for row in rounds)], [measured(row.before()) for row in rounds]
    figure = Figure(figsize=(9.6, 4.2), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, colour in zip([*curvature.KINDS, curvature.REST], (BLUE, RED, ORANGE, PURPLE, "#3f8f5f", "#c080a0", INK, GREY)):
        left.plot(range(1, ROUNDS + 1), [abs(curve[kind]) for curve in curves], color=colour, marker="o", markersize=4, label=kind)
        if kind != curvature.REST:
            right.plot(range(ROUNDS + 1), [getattr(c, kind) for c in found], color=colour, marker="o", markersize=4)
            right.plot(ROUNDS + 0.6, getattr(Multipliers(), kind), color=colour, marker="s", markersize=8, clip_on=False)
    left.set(yscale="log", xlabel="round", xticks=range(1, ROUNDS + 1))
    left.set_title("curvature for θ of each kind, measured in a round", loc="left", fontsize=10)
    left.legend(frameon=False, fontsize=8.5, ncols=2)
    right.set(yscale="log", xlabel="after so many rounds; squares: by hand", xticks=range(ROUNDS + 1))
    right.set_title("multipliers derived from it (rest: 1)", loc="left", fontsize=10)
    for axes in (left, right):
        tidy(axes)
    save_figure(figure, folder / "sgd_rounds.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", nargs="*", metavar="a|b|c|d")
    parser.add_argument("--processes", type=int, default=cores())
    parser.add_argument("--tables", action="store_true", help="only print tables")
    parser.add_argument("--pictures", action="store_true", help="only draw the pictures")
    options = parser.parse_args()
    if unknown := set(options.questions) - set("abcd"):
        parser.error(f"questions: expected some of a, b, c and d, got {', '.join(sorted(unknown))}")
    if options.pictures:
        pictures(read(RESULTS), Path(RESULTS).parent)
    for question in options.questions:
        if not options.tables:
            for stage in stages(question):
                make(stage(read(RESULTS)), options.processes)
        for text in tables(question, read(RESULTS)):
            print(text)


if __name__ == "__main__":
    main()
