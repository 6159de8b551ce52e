"""A training run: `train.train`, and everything that the algorithm itself does not need.

    summary = run(Config(steps=1000), "runs/x")

Around the loop stand the EMA of θ, the held-out J, the decision that it no longer improves,
checkpoints, a record of every step, a progress bar, and a clean stop on Ctrl-C. A resumed run takes
the same steps, bit for bit, as one that never stopped.

    prepare.py     data, network, schedule: what a run needs before its first step
    model.py       what a run changes, and a checkpoint keeps
    start.py       a new run that starts from the state of another
    trainer.py     the loop
    elsewhere.py   the run folder, as ranks other than 0 see it
    progress.py    how far the convergence is, and when to stop
    lines.py       lines to the user, above the progress bar
    method.py      another gradient or update than the lecture's, and what that remembers
    words.py       what it says before its first step and at its end
    departures.py  what it does otherwise than the lecture, in words
    interrupts.py  Ctrl-C, and the signals of batch systems

Trouble with files is dealt with in `runs/folder.py`, trouble with numbers in `runs/divergence.py`.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from ... import __version__
from ...alone import Alone, Comm
from ...data import DataError
from ...files import in_words
from .. import config as configuration, recipes
from ..config import Config
from ..folder import RunFolder
from .elsewhere import Elsewhere
from .lines import quiet, say, tell
from .prepare import prepare
from .progress import Progress, Summary
from .start import options_of
from .trainer import Trainer
from .words import next_commands, opening, outcome

MAY_DIFFER = ("workers", "device")  # from rank to rank

__all__ = ["Progress", "Summary", "next_commands", "options_of", "outcome", "run"]


def run(
    config: Config,
    folder: str | Path,
    resume: bool | Literal["if there"] = False,
    recipe: str | None = None,
    comm: Comm = Alone(),
) -> Summary:
    """Train as `config` says and leave everything in `folder`.

    Args:
        config: the configuration. In a resumed run it may differ from the folder's own only in
            what config.MAY_CHANGE names, and in where the same images lie.
        folder: the run folder, which is made if it is not there.
        resume: go on with the run in the folder, from its newest whole checkpoint. True: there must
            be a run. "if there": else start one.
        recipe: the name of the recipe that `config` was made from. If the run cannot be compared
            with its curve, the user is told why.
        comm: the ranks that train together: `with world() as comm`. Only rank 0 needs `folder`.

    Returns:
        Where the run came to.

    Raises:
        ValueError: the input is bad.
        folder.InUse: another process trains in the folder.
        OSError: something cannot be written.
        FloatingPointError: J or θ is no longer finite.

    Whatever happens, the folder holds a whole checkpoint to go on from, if one was written at all.
    """
    with quiet() if comm.rank else nullcontext():
        return _run(config, folder, resume, recipe, comm)


def _run(
    config: Config,
    folder: str | Path,
    resume: bool | Literal["if there"],
    recipe: str | None,
    comm: Comm,
) -> Summary:
    """As `run`, on a rank that may speak."""
    files = (Elsewhere if comm.rank else RunFolder)(folder, config.keep)
    if resume is True and not files.holds_run():
        raise ValueError(f"--resume: {files.path} holds no run to go on with")
    try:
        setup = prepare(config, comm)
    except DataError as error:
        if not resume or Path(config.data).exists():
            raise
        raise DataError(f"{error}. --data says where the images of the run are now") from None
    comm.check_same(
        version=__version__,
        data=setup.model.fingerprint,
        config=_of_all_ranks(setup.config),
        theta=setup.model.digest(),
    )
    if config.from_run and not comm.rank and not files.checkpoints():
        setup.model.start_from(config.from_run)
    curve = recipes.expected(setup.config, setup.model.fingerprint)
    # This makes the folder. It comes last, when nothing can be wrong with the input any more.
    with files.locked():
        if files.checkpoints() and not resume:
            raise ValueError(
                f"{files.path} holds a run already: go on with it (--resume), "
                "or choose another folder (--out)"
            )
        if resume and files.holds_run() and not files.checkpoints():
            tell(f"{files.path} holds no checkpoint yet: the run begins at its first step")
        setup.model.go_on(files)
        setup.model.share(comm)
        files.held, files.whole = comm.bcast((files.held, files.whole))
        for line in setup.found.splitlines():
            say(line)
        setup.model.move(setup.config.device)
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


def _of_all_ranks(config: Config) -> dict[str, Any]:
    """The options that must be the same on all ranks."""
    values = configuration.to_dict(config)
    return {name: value for name, value in values.items() if name not in MAY_DIFFER}
