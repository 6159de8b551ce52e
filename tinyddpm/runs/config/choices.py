"""What belongs together: the defaults of options that depend on others.

choices = completed("adam", "x0", multipliers=None, weight=None, beta=None)    # … .004
values = over(of_a_run, given)      # with another optimiser, β is not that run's
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Predicts = Literal["x0", "eps", "v"]
Weight = Literal["none", "snr", "min_snr", "truncated_snr", "snr_plus_1"]
Optimiser = Literal["sgd", "momentum", "adam"]
Decay = Literal["constant", "linear", "cosine"]
KindOfMultipliers = Literal["hand", "measured", "none"]

# The weight with which J is the squared error of what the network predicts (more/predictions.py).
OWN_WEIGHT: dict[str, Weight] = {"x0": "none", "eps": "snr", "v": "snr_plus_1"}
OWN_MULTIPLIERS: dict[str, KindOfMultipliers] = {"sgd": "hand", "momentum": "hand", "adam": "none"}
# (optimiser, multipliers) -> β that went well on the digits (docs/sgd.md). With measured
# multipliers even 0.004 does there, but larger images ask for less.
BETA = {
    ("sgd", "hand"): 1.4,
    ("sgd", "none"): 0.1,
    ("sgd", "measured"): 0.001,
    ("momentum", "measured"): 0.004,
    ("momentum", "hand"): 0.14,
    ("momentum", "none"): 0.04,
    ("adam", "hand"): 0.002,
    ("adam", "none"): 0.004,
}
# Where J is not the lecture's, plain gradient descent bears half of its β.
BETA_OF_ANOTHER_J = {("sgd", "hand"): 0.7}
# Option -> the options that it is chosen by, if it is not given.
FOLLOWS = {
    "beta": ("optimiser", "multipliers", "predicts", "weight", "objective"),
    "multipliers": ("optimiser",),
    "weight": ("predicts",),
    "decay_steps": ("decay", "steps"),
}


class Choices(NamedTuple):
    """Options that have no default of their own."""

    multipliers: KindOfMultipliers
    weight: Weight
    beta: float


def completed(
    optimiser: str,
    predicts: str,
    multipliers: KindOfMultipliers | None,
    weight: Weight | None,
    beta: float | None,
    objective: str = "mse",
) -> Choices:
    """The Choices: as given, or what suits the optimiser and the prediction.

    Raises:
        ValueError: two of them do not go together, or nothing suits: the message names an option.
    """
    multipliers = multipliers or OWN_MULTIPLIERS[optimiser]
    weight = weight or OWN_WEIGHT[predicts]
    if (optimiser, multipliers) == ("adam", "measured"):
        raise ValueError(
            "multipliers: expected hand or none with adam, which measures step sizes itself, "
            "got measured"
        )
    measures_itself = optimiser == "adam" or multipliers == "measured"
    if beta is None and objective != "mse" and not measures_itself:
        times = "C·H·W" if objective == "batch_mean" else "batch_size·C·H·W"
        raise ValueError(
            f"beta: expected one with --objective {objective}, whose ∇J is {times} times that of "
            "mse, got none: divide a β for mse by that"
        )
    if beta is None:
        update, lectures_J = (optimiser, multipliers), (predicts, weight) == ("x0", "none")
        beta = BETA[update] if lectures_J else BETA_OF_ANOTHER_J.get(update, BETA[update])
    return Choices(multipliers, weight, beta)


def over(
    values: Mapping[str, Any], given: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Values of a run or a file, with those over them that were given.

    A value that suited what is now another one is dropped: `from_dict` chooses it anew.

    Args:
        values: flat names and values.
        given: the same; they count more.
        defaults: what the names stand for where neither says it.
    """

    had = dict(defaults)
    had["multipliers"] = OWN_MULTIPLIERS.get(values.get("optimiser", ""), had["multipliers"])
    had["weight"] = OWN_WEIGHT.get(values.get("predicts", ""), had["weight"])
    had |= values

    def changes(name: str) -> bool:
        return name in given and given[name] != had.get(name)

    dropped = {name for name, others in FOLLOWS.items() if any(map(changes, others))}
    return {name: value for name, value in values.items() if name not in dropped} | dict(given)


def fitting(height: int, width: int, levels: int) -> str:
    """What to do if so many levels cannot halve such images."""
    factor = 2 ** (levels - 1)
    h, w = (max(factor, side // factor * factor) for side in (height, width))
    most = 1
    while height % 2**most == width % 2**most == 0:
        most += 1
    fit = f"--levels of {most} number{'s' * (most > 1)} fits"
    return f"{fit}, and pictures of a folder are made to fit by --size {h}x{w}"
