"""A training run: `train.train`, and everything that the algorithm itself does not need.

    summary = run(Config(steps=1000), "runs/x")

Around the loop stand the EMA of θ, the held-out J, the decision that it no longer improves,
checkpoints, a record of every step, a progress bar, and a clean stop on Ctrl-C. A resumed run takes
the same steps, bit for bit, as one that never stopped.

    prepare.py     data, network, schedule: what a run needs before its first step
    model.py       what a run changes, and a checkpoint keeps
    trainer.py     the loop
    progress.py    how far the convergence is, and when to stop
    words.py       what it says before its first step and at its end
    interrupts.py  Ctrl-C

Trouble with files is dealt with in `runs/folder.py`, trouble with numbers in `runs/divergence.py`.
"""

from pathlib import Path

from tqdm import tqdm

from ...files import in_words
from .. import recipes
from ..config import Config
from ..folder import RunFolder
from .prepare import prepare
from .progress import Progress, Summary, tell, wrapped
from .trainer import Trainer
from .words import next_commands, opening, outcome

__all__ = ["Progress", "Summary", "next_commands", "outcome", "run"]


def run(
    config: Config,
    folder: str | Path,
    resume: bool = False,
    recipe: str | None = None,
) -> Summary:
    """Train as `config` says and leave everything in `folder`.

    Args:
        config: the configuration. In a resumed run it may differ from the folder's own only in
            what config.MAY_CHANGE names.
        folder: the run folder, which is made if it is not there.
        resume: go on from the folder's newest whole checkpoint, if it has one.
        recipe: the name of the recipe that `config` was made from. If the run cannot be compared
            with its curve, the user is told why.

    Returns:
        Where the run came to.

    Raises:
        ValueError: the input is bad.
        folder.InUse: another process trains in the folder.
        OSError: something cannot be written.
        FloatingPointError: J or θ is no longer finite.

    Whatever happens, the folder holds a whole checkpoint to go on from, if one was written at all.
    """
    files = RunFolder(folder, config.keep)
    setup = prepare(config)
    curve = recipes.expected(setup.config, setup.model.fingerprint)
    # This makes the folder. It comes last, when nothing can be wrong with the input any more.
    with files.locked():
        if files.checkpoints() and not resume:
            raise ValueError(
                f"{files.path} holds a run already: go on with it (--resume), "
                "or choose another folder (--out)"
            )
        setup.model.go_on(files)
        tqdm.write("\n".join(map(wrapped, setup.found.splitlines())))
        setup.model.move(config.device)
        files.write_config(setup.config)
        files.write_found(setup.found)
        if recipe and not curve:
            why = recipes.why_not(recipe, setup.config, setup.model.fingerprint)
            tell(f"not compared with the recipe {recipe}: {why}")
        for line in [*opening(setup), *files.shortcomings]:
            tell(line)
        try:
            return Trainer(setup, files, curve).train()
        except OSError as error:
            step, whole = setup.model.step, files.whole
            left = f"the checkpoint of step {whole} is whole: go on from it with --resume"
            if whole is None:
                left = "no checkpoint was written yet"
            raise OSError(f"{in_words(error)}. The run stopped at step {step}; {left}") from error
