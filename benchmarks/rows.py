"""The questions of docs/sgd.md, each a set of rows of `study.py`."""

import dataclasses

from .study import Row

SEEDS = (0, 1, 2)
LONG = 2000  # steps of a run at full length
ADAM = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
GRIDS = {  # (update, multipliers) -> the β that we try
    ("sgd", "hand"): (0.7, 1.0, 1.4, 2.0),
    ("adam", "ones"): ADAM,
    ("sgd", "ones"): (0.1, 0.15, 0.2, 0.3),
    ("adam", "hand"): ADAM,
    ("momentum", "ones"): (0.01, 0.02, 0.04, 0.08),
    ("momentum", "hand"): (0.07, 0.14, 0.28),
    ("sgd", "derived1"): (0.1, 0.2, 0.4),
    ("sgd", "derived5"): (0.3, 0.5, 1.0, 1.4),
    ("adam", "derived5"): (1e-3, 2e-3, 4e-3),
}
# Here one seed is not enough: Adam's best, and plain gradient descent near its limit.
SEEDED = [
    [Row(optimiser=o, c=c, beta=beta, warmup=warmup, seed=seed) for seed in SEEDS]
    for o, c, beta, warmup in (
        ("adam", "ones", 4e-3, 100),
        ("sgd", "hand", 1.0, 100),
        ("sgd", "hand", 2.0, 100),
        ("sgd", "hand", 2.0, 300),
    )
]
ELSEWHERE = {  # name -> what is changed, and steps: few, as these runs are larger
    "as tuned: base 16, 8×8, batch 64, linear": (Row(), 300),
    "base 32": (Row(base=32), 300),
    "base 64": (Row(base=64), 150),
    "batch 16": (Row(batch=16), 300),
    "batch 256": (Row(batch=256), 300),
    "cosine noise schedule": (Row(noise="cosine"), 300),
    "Fashion-MNIST, 28×28": (Row(data="fashion-mnist"), 150),
}
TARGETS = (  # (what the network predicts, weight)
    ("x0", "none"),
    ("x0", "truncated_snr"),
    ("eps", "snr"),
    ("v", "snr_plus_1"),
    ("v", "none"),
)
FAIR = {  # update -> multipliers, and the β that we try for each target
    "sgd": ("hand", (0.35, 0.7, 1.4)),
    "momentum": ("hand", (0.035, 0.07, 0.14)),
    "adam": ("ones", (1e-3, 2e-3, 4e-3)),
}


def score(row, kept, column="validation_3"):
    """The number that was found, usually J as a fraction of predict-the-mean's.

    It is infinite where the run diverged or was not made.
    """
    value = kept.get(str(row), {}).get(column)
    return float(value) if value else float("inf")


def best(rows, kept):
    """The row of lowest validation J. We never choose anything by test J."""
    return min(rows, key=lambda row: score(row, kept))


def flat(groups):
    return [row for rows in groups for row in rows]


def seeded(row):
    """The row, once for each seed."""
    return [dataclasses.replace(row, seed=seed) for seed in SEEDS]


# ---- question a: each update with each set of multipliers ----------------------------------------


def families():
    """(update, multipliers) -> rows."""
    return {
        (o, c): [Row(optimiser=o, c=c, beta=beta) for beta in grid]
        for (o, c), grid in GRIDS.items()
    }


def long_rows(kept):
    """The best settings at full length: lists of one row for each seed.

    One list for each update, and one for plain gradient descent on the plain network. Each has the
    lowest validation J of all settings that ran for 600 steps (questions a and c).
    """
    tried = flat([*families().values(), *SEEDED, *variations().values()])
    tried = [row for row in tried if row.seed == 0]
    groups = [[row for row in tried if row.optimiser == o] for o in ("adam", "sgd", "momentum")]
    groups.append([row for row in tried if (row.optimiser, row.c) == ("sgd", "ones")])
    chosen = [best(rows, kept) for rows in groups]
    return [[dataclasses.replace(row, steps=LONG, seed=seed) for seed in SEEDS] for row in chosen]


# ---- question b: other data and networks ---------------------------------------------------------


def elsewhere(setting, steps):
    """(update, multipliers) -> rows."""
    row = dataclasses.replace(setting, steps=steps)
    grids = {("sgd", "hand"): (0.7, 1.4, 2.8)}
    if row.base != 16:
        grids["sgd", "width"] = (0.7, 1.4, 2.8)
    grids["adam", "ones"] = (1e-3, 2e-3, 4e-3)
    return {
        (o, c): [dataclasses.replace(row, optimiser=o, c=c, beta=beta) for beta in grid]
        for (o, c), grid in grids.items()
    }


# ---- question c: β on the way, and the network's head --------------------------------------------


def variations():
    """What is changed -> rows."""
    found = {"β constant": [Row(beta=b) for b in (1.0, 1.4, 2.0)]}
    for decay in ("linear", "cosine"):
        falls = f"β falls to 0, {decay}"
        found[falls] = [Row(beta=b, decay=decay) for b in (1.0, 1.4, 2.0, 2.8)]
        adam = {"optimiser": "adam", "c": "ones", "decay": decay}
        found[f"Adam, {falls}"] = [Row(beta=b, **adam) for b in (2e-3, 4e-3, 8e-3)]
    found["longer warm-up (300)"] = [Row(beta=b, warmup=300) for b in (1.4, 2.0, 2.8)]
    found["head c_skip, c_out"] = [Row(beta=b, predicts="head") for b in (0.7, 1.4, 2.8)]
    return found


# ---- question d: what the network predicts -------------------------------------------------------


def targets():
    """(predicts, weight, update) -> rows."""
    found = {}
    for predicts, weight in TARGETS:
        for o, (c, grid) in FAIR.items():
            setting = Row(predicts=predicts, weight=weight, optimiser=o, c=c)
            rows = [dataclasses.replace(setting, beta=beta) for beta in grid]
            found[predicts, weight, o] = rows
    return found


def chosen_targets(kept):
    """(predicts, weight, update) -> the row of the best β."""
    return {targeted: best(rows, kept) for targeted, rows in targets().items()}


# ---- question e: multipliers that are measured ---------------------------------------------------

MEASURED = Row(c="measured", beta=0.004, warmup=300)
EARLY = Row(c="measured", beta=0.002)  # frozen at step 100, as few steps ask for
AVERAGED = Row(c="measured", beta=0.004, optimiser="momentum")
ADAMS = Row(c="ones", beta=4e-3, optimiser="adam")


def measured_grids():
    """What is compared, 600 steps, seed 0 -> rows."""
    frozen_at_300 = [dataclasses.replace(MEASURED, beta=b) for b in (1e-3, 2e-3, 4e-3, 8e-3)]
    return {
        "by hand, warm-up 300": [Row(beta=b, warmup=300) for b in (1.4, 2.0)],
        "measured, frozen at 300": frozen_at_300,
        "measured, frozen at 100": [EARLY],
        "measured, frozen at 100, mean of gradients": [AVERAGED],
        "Adam": [dataclasses.replace(ADAMS, beta=b) for b in ADAM],
    }


def measured_seeds():
    """Lists of one row for each seed: what is measured, after Adam."""
    adam_long = dataclasses.replace(ADAMS, beta=8e-3, decay="linear", steps=LONG)
    rows = (ADAMS, Row(beta=2.0, warmup=300), MEASURED, AVERAGED)
    short = [seeded(row) for row in rows]
    falls = {"decay": "linear", "steps": LONG}
    rows = (
        adam_long,
        dataclasses.replace(MEASURED, steps=LONG),
        dataclasses.replace(MEASURED, beta=6e-3, **falls),
        dataclasses.replace(AVERAGED, beta=8e-3, **falls),
    )
    return short, [seeded(row) for row in rows]


def measured_otherwise():
    """What is measured twice or capped: beside what is measured once, and after as many steps."""
    long = dataclasses.replace(MEASURED, steps=LONG)
    rows = long, dataclasses.replace(long, c="measured_twice")
    twice = [seeded(row) for row in rows]
    capped = [
        dataclasses.replace(MEASURED, c=c, beta=beta)
        for c in ("measured", "measured_capped")
        for beta in (4e-3, 8e-3)
    ]
    return twice, capped


def many_seeds():
    """Twenty seeds: does any diverge?"""
    row = dataclasses.replace(MEASURED, beta=0.002)
    return [dataclasses.replace(row, seed=seed) for seed in range(20)]


FEW = {  # what trains for 300 steps elsewhere
    "by hand": Row(beta=0.7),
    "measured": EARLY,
    "Adam": ADAMS,
}
PLACES = ("base=32", "base=64", "batch=16", "batch=256", "noise=cosine", "data=emoji-16")
PLACES = (*PLACES, "data=fashion-mnist judges=600")
MORE_ELSEWHERE = {  # (words of the setting, what trains) -> row, in one place each
    ("base=32", "half β"): dataclasses.replace(EARLY, beta=1e-3),
    (PLACES[-1], "mean of gradients"): AVERAGED,
}


def measured_elsewhere():
    """(words of the setting, what trains) -> row."""
    every = {(words, name): row for words in PLACES for name, row in FEW.items()}
    return {
        (words, name): Row.of(*str(row).split(), *words.split(), "steps=300")
        for (words, name), row in (every | MORE_ELSEWHERE).items()
    }


# ---- question f: what the network predicts, on Fashion-MNIST -------------------------------------


def on_fashion():
    """(predicts, weight, update) -> row. β is not tried: it is one for each update."""
    ways = {
        "sgd": Row(data="fashion-mnist", c="measured", beta=2e-3, judges=600),
        "adam": Row(data="fashion-mnist", c="ones", beta=2e-3, optimiser="adam", judges=600),
    }
    return {
        (predicts, weight, update): dataclasses.replace(row, predicts=predicts, weight=weight)
        for predicts, weight in TARGETS
        for update, row in ways.items()
    }


# question -> its stages, functions kept -> rows. A stage may depend on what the one before found.
STAGES = {
    "a": [
        lambda kept: flat(families().values()),
        lambda kept: flat(SEEDED),
        lambda kept: flat(long_rows(kept)),
    ],
    "b": [lambda kept: flat(flat(elsewhere(*s).values()) for s in ELSEWHERE.values())],
    "c": [lambda kept: flat(variations().values())],
    "d": [
        lambda kept: flat(targets().values()),
        lambda kept: flat(
            seeded(row) for row in chosen_targets(kept).values() if row.optimiser != "momentum"
        ),
    ],
    "e": [
        lambda kept: flat(measured_grids().values()),
        lambda kept: flat(flat(measured_seeds())),
        lambda kept: list(measured_elsewhere().values()),
        lambda kept: many_seeds(),
        lambda kept: [*flat(measured_otherwise()[0]), *measured_otherwise()[1]],
    ],
    "f": [lambda kept: flat(seeded(row) for row in on_fashion().values())],
}
