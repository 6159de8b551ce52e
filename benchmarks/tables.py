"""The tables of docs/sgd.md, in Markdown, from what the runs found."""

import math
import statistics

from .results import CURVATURES, read
from .rows import (
    ELSEWHERE,
    FAIR,
    FEW,
    MORE_ELSEWHERE,
    PLACES,
    SEEDED,
    SEEDS,
    best,
    chosen_targets,
    elsewhere,
    families,
    long_rows,
    many_seeds,
    measured_elsewhere,
    measured_grids,
    measured_otherwise,
    measured_seeds,
    on_fashion,
    score,
    seeded,
    variations,
)
from .study import beside, split

# Student's t with two degrees of freedom: half the width of a 95 % interval of three numbers, over
# their standard error.
T_975 = 4.303


def tables(question, kept):
    """Yields the tables of a question."""
    of = {"a": tables_a, "b": tables_b, "c": tables_c, "d": tables_d, "e": tables_e, "f": tables_f}
    yield from of[question](kept)


def table(head, lines):
    lines = [head, ["---"] * len(head), *lines]
    return "\n".join(["| " + " | ".join(map(str, line)) + " |" for line in lines]) + "\n"


def shown(row, kept, column):
    """What was found, in words."""
    value = score(row, kept, column)
    if value < float("inf"):
        return f"{value:.{2 if column == 'frechet' else 4}f}"
    return "diverged" if kept.get(str(row), {}).get("diverged") else "not run"


def grid(rows, kept):
    """β: validation J, of each row."""
    return ", ".join(f"{row.beta:g}: {shown(row, kept, 'validation_3')}" for row in rows)


def interval(values):
    """Mean and half the width of the 95 % interval of three numbers."""
    return statistics.fmean(values), T_975 * statistics.stdev(values) / len(values) ** 0.5


def tables_a(kept):
    head = ["update", "multipliers", "β: validation J", "β chosen"]
    head += ["its validation J after 200, 400 steps", "test J", "Fréchet", "coverage", "settings"]
    lines = []
    for (update, c), rows in families().items():
        if not any(str(row) in kept for row in rows):
            continue
        chosen = best(rows, kept)
        course = ", ".join(shown(chosen, kept, f"validation_{i}") for i in (1, 2))
        found = [shown(chosen, kept, column) for column in ("test", "frechet", "coverage")]
        line = [update, c, grid(rows, kept), f"{chosen.beta:g}", course, *found, f"`{chosen}`"]
        lines.append(line)
    yield table(head, lines)

    images, _, test = split("digits")
    real = beside(test, images[: len(test)], "digits")
    said = "Fréchet {frechet:.2f}, coverage {coverage:.3f}".format(**real)
    yield f"Real training images against the test images, {len(test)}: {said}.\n"
    for groups in (SEEDED, long_rows(kept)):
        yield seeds_table(groups, kept)


def seeds_table(groups, kept):
    """Test J, with its interval, of the groups that were made for every seed.

    The rows of a group differ in their seed alone. The last number is how far a group is from the
    first one of Adam, seed by seed.
    """
    J = {tuple(rows): [score(row, kept, "test") for row in rows] for rows in groups}
    J = {rows: found for rows, found in J.items() if max(found) < float("inf")}
    adam = next((rows for rows in J if rows[0].optimiser == "adam"), None)
    lines = []
    for rows, found in J.items():
        row, gap = rows[0], ""
        if adam not in (None, rows):
            gap = "{:+.4f} ± {:.4f}".format(*interval([a - b for a, b in zip(found, J[adam])]))
        mean = "{:.4f} ± {:.4f}".format(*interval(found))
        lines.append([f"`{row}`", mean, gap])
    head = ["settings", "test J, 3 seeds, 95 % interval", "less Adam's"]
    return table(head, lines) if lines else ""


def tables_b(kept):
    lines = []
    for name, (setting, steps) in ELSEWHERE.items():
        for (update, c), rows in elsewhere(setting, steps).items():
            made = [row for row in rows if str(row) in kept]
            if made:
                chosen = best(made, kept)
                found = [grid(made, kept), shown(chosen, kept, "test"), f"`{chosen}`"]
                lines.append([name, steps, update, c, *found])
    head = ["setting", "steps", "update", "multipliers", "β: validation J", "test J", "settings"]
    yield table(head, lines)
    curvatures = read(CURVATURES)
    head = ["row", *next(iter(curvatures.values()))]
    yield table(head, [[name, *values.values()] for name, values in curvatures.items()])


def tables_c(kept):
    lines = []
    for name, rows in variations().items():
        chosen = best(rows, kept)
        test, of_theta = (shown(chosen, kept, column) for column in ("test", "test_last_theta"))
        lines.append([name, grid(rows, kept), test, of_theta, f"`{chosen}`"])
    head = ["what is changed", "β: validation J", "test J", "test J of θ itself, without EMA"]
    yield table([*head, "settings"], lines)


def tables_d(kept):
    groups = {targeted: seeded(row) for targeted, row in chosen_targets(kept).items()}
    yield targets_table(groups, kept, with_beta=FAIR)


def targets_table(groups, kept, with_beta):
    """Of (predicts, weight, column) -> rows, one for each seed. Some columns say their β."""
    columns = dict.fromkeys(column for _, _, column in groups)
    lines = [
        [", ".join(target), *(cell(groups[*target, c], kept, c in with_beta) for c in columns)]
        for target in dict.fromkeys(where[:2] for where in groups)
    ]
    return table(["predicts, weight", *columns], [line for line in lines if any(line[1:])])


def cell(rows, kept, with_beta):
    """Test J, Fréchet and coverage: means of the seeds that were made; and with which β."""
    if str(rows[0]) not in kept:
        return ""
    found = [mean_of(rows, kept, column) for column in ("test", "frechet", "coverage")]
    said = ", ".join(dict.fromkeys(found))  # "diverged" once, not three times
    return said + f" (β {rows[0].beta:g})" * with_beta


def mean_of(rows, kept, column):
    """The mean of the seeds that were made; of three the Fréchet distance has its interval."""
    made = [score(row, kept, column) for row in rows if str(row) in kept]
    if diverged := made.count(math.inf):
        return "diverged" if len(made) == 1 else f"{diverged} of {len(made)} diverged"
    half = ""
    if column == "frechet" and len(made) == len(SEEDS):
        half = f" ± {interval(made)[1]:.1f}"
    form = {"test": "#.4g", "frechet": ".1f", "coverage": ".2f"}[column]
    return f"{statistics.fmean(made):{form}}{half}"


def tables_e(kept):
    lines = []
    for name, rows in measured_grids().items():
        chosen = best(rows, kept)
        found = [shown(chosen, kept, column) for column in ("test", "frechet", "coverage")]
        lines.append([name, grid(rows, kept), *found, f"`{chosen}`"])
    head = ["multipliers", "β: validation J", "test J", "Fréchet", "coverage", "settings"]
    yield table(head, lines)
    for groups in measured_seeds():
        yield seeds_table(groups, kept)
    found = measured_elsewhere()
    made = {where: shown(row, kept, "test") for where, row in found.items() if str(row) in kept}
    lines = [[f"`{w}`", *(made.get((w, name), "") for name in FEW)] for w in PLACES]
    yield table(["setting", *(f"`{row}`" for row in FEW.values())], lines)
    yield "".join(f"`{found[where]}`: {made.get(where, 'not run')}\n" for where in MORE_ELSEWHERE)
    head = ["settings of seed 0", "seeds", "diverged", "mean of test J", "lowest", "highest"]
    yield table(head, [spread(many_seeds(), kept)])
    twice, capped = measured_otherwise()
    yield seeds_table(twice, kept)
    lines = [
        [f"`{row}`", shown(row, kept, "validation_3"), shown(row, kept, "test")] for row in capped
    ]
    yield table(["settings", "validation J", "test J"], lines)


def spread(rows, kept):
    """How many seeds were run and how many diverged; mean, lowest and highest test J."""
    made = [row for row in rows if str(row) in kept]
    ended = [J for row in made if math.isfinite(J := score(row, kept, "test"))]
    found = [statistics.mean(ended), min(ended), max(ended)] if ended else []
    return [f"`{rows[0]}`", len(made), len(made) - len(ended), *(f"{J:.4f}" for J in found)]


def tables_f(kept):
    """What the network predicts: on the digits, with the β chosen in question d, and on Fashion."""
    names = {"sgd": "plain", "adam": "Adam"}
    groups = {
        (predicts, weight, f"digits, {names[update]}"): seeded(row)
        for (predicts, weight, update), row in chosen_targets(kept).items()
        if update in names
    }
    for (predicts, weight, update), row in on_fashion().items():
        groups[predicts, weight, f"Fashion-MNIST, {names[update]}"] = seeded(row)
    yield targets_table(groups, kept, with_beta={"digits, plain"})
