"""What a run says before its first step, on its way, and at its end."""

import math
import os
import shlex
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from ...nn.unet import UNetConfig
from ..config import Config
from ..folder import CONFIG
from .departures import departures
from .prepare import Setup
from .progress import CONVERGED, Limits, Summary

HARDLY = 3  # evaluations without a better held-out J after which a run hardly improves


def opening(setup: Setup) -> list[str]:
    """What will be trained, where, and for how long."""
    config, step = setup.config, setup.model.step
    size = sum(parameter.size for parameter in setup.model.unet.parameters().values())
    ends = []
    if config.steps is not None:
        ends.append(f"at step {config.steps:,}")
    if config.minutes is not None:
        ends.append(f"after {config.minutes:g} minute{'s' * (config.minutes != 1)}")
    if config.patience:
        ends.append("when the held-out J no longer improves")
    stops = f"It stops {' or '.join(ends)}. Ctrl-C stops it sooner" if ends else "Ctrl-C stops it"
    ending = f"{stops} and keeps the run: --resume goes on with it."
    limits = Limits(config.steps, config.minutes, config.patience)
    if done := limits.reached(step, 0.0, setup.model.progress.waited):
        way = "with --resume, a larger --steps goes on"
        if step == config.decay_steps:
            way = "β has fallen to 0; --from starts a new run from this one"
        elif limits.converged(setup.model.progress.waited):
            later = "" if done.startswith(CONVERGED) else "a larger --steps and "
            way = f"with --resume, {later}--patience 0 goes on"
        ending = f"Nothing is left to do: {done}; {way}."
    side, levels = min(config.unet.image[1:]), len(config.unet.levels)
    found = [side // 2**i for i in range(levels)]
    nowhere = [a for a in config.unet.attention if a not in found]
    attention = ""
    if nowhere and config.unet.attention != UNetConfig().attention:
        attention = f" No level has attention at {_listed(nowhere)}: they are at {_listed(found)}."
    idle = "".join(f" {name} does nothing {where}." for name, where in _idle(config))
    rises = ""
    if config.steps is not None and config.steps <= config.warmup:
        rises = f" β rises until the end: --warmup is {config.warmup:,} steps."
    start = ""
    if config.from_run and not step:
        start = f" It starts as {config.from_run} was after {setup.model.from_step:,} steps."
        if config.optimiser != "sgd":
            start += " Its optimiser begins anew."
    return [
        f"The network has {size:,} parameters. It trains {_where(config, setup.comm.size)}, "
        f"from step {step + 1:,} on, with {config.batch_size} images in a step."
        f"{start}{attention}{idle}",
        *departures(config),
        ending + rises,
    ]


def _idle(config: Config) -> list[tuple[str, str]]:
    """Options that were given and change nothing here, and where that is."""
    on_cpu = config.device == "cpu"
    dropout = config.class_dropout != Config.class_dropout
    found = [
        ("--class-dropout", "without --classes", not config.classes, dropout),
        ("--tf32", "on a CPU", on_cpu, config.tf32),
        ("--workers", "on a GPU", not on_cpu, config.workers),
    ]
    return [(name, where) for name, where, here, given in found if here and given]


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _where(config: Config, ranks: int) -> str:
    """The device, and how many processes."""
    if ranks > 1 and config.device != "cpu":
        return f"on {ranks} ranks with a GPU each"
    if ranks > 1:
        n = config.workers
        return f"on {ranks} ranks" + (f" with {n} worker{'s' * (n > 1)} each" if n else "")
    if config.device != "cpu":
        parts = f" in {config.parts} parts of a batch" if config.parts > 1 else ""
        return f"on {config.device}{parts}"
    count = 1
    if find_spec("tinyddpm.fast"):
        from ...fast.parallel import cores

        count = min(config.workers or cores(), config.shards)
    return f"on the CPU with {count} worker{'s' * (count > 1)}"


def about(seconds: float) -> str:
    """About how long, in the unit that people would use."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.0f} {unit}"
    return f"about {seconds:.0f} s"


def outcome(summary: Summary) -> str:
    """What came of a run, in a sentence; empty if it was never evaluated."""
    progress = summary.progress
    if not progress.best_step:
        return ""
    best = f"Samples come from step {progress.best_step:,}, of held-out J {progress.best:.4f}"
    if summary.converged:
        return f"{best}, the best."
    if progress.waited < HARDLY:
        return f"{best}, the best so far. It was still improving: more steps give better images."
    return f"{best}, the best so far. It has hardly improved for {progress.waited} evaluations."


def free_name(folder: Path) -> Path:
    """The folder's name with a number after it, such as runs/x-2, that nothing has yet."""
    folder = folder if folder.name else folder.resolve()  # "." has none
    number = 2
    while os.path.lexists(free := folder.with_name(f"{folder.name}-{number}")):
        number += 1
    return free


def try_a_smaller_beta(folder: Path, beta: float, learned: bool) -> str:
    """What to do if a run diverges: a sentence that ends in a command.

    Args:
        folder: the run folder.
        beta: its β.
        learned: whether its best state is worth to go on from. Else another run starts at random.
    """
    start = ["--from", folder] if learned else ["--config", folder / CONFIG]
    words = ["tinyddpm", "train", *start, "--beta", f"{beta / 3:.2g}", "--out", free_name(folder)]
    return f"Try a smaller β, or a longer --warmup: {shlex.join(map(str, words))}"


def next_commands(summary: Summary, folder: Path) -> list[tuple[str, str]]:
    """What to type next: (command, what it does)."""
    name = shlex.quote(str(folder))
    commands = [
        (f"tinyddpm sample {name}", "draws images"),
        (f"tinyddpm explore {name}", "shows in a browser how it draws"),
    ]
    if summary.step == summary.decay_steps:
        command = f"tinyddpm train --from {name} --steps {summary.step}"
        commands.append((command, "trains it further, as a new run whose β rises and falls anew"))
    else:
        # One that reached its last step needs a later one, and a converged one patience.
        later = min(2 * summary.step, summary.decay_steps or math.inf)
        steps = f" --steps {later}" if summary.at_last_step else ""
        patience = " --patience 0" if summary.converged else ""
        command = f"tinyddpm train --out {name} --resume{steps}{patience}"
        commands.append((command, "trains it further" + " all the same" * summary.converged))
    return commands
