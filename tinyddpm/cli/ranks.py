"""A command on several ranks: `mpiexec -n 4 tinyddpm train …`. Rank 0 alone speaks.

with taking_part() as comm:
…                          # every rank does this; an error of one ends it on all
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import click

from ..alone import Alone, Comm
from ..starting import INTERRUPTED

TOGETHER = ("train", "sample", "eval")  # the commands that ranks share
WRONG = 2  # the exit status of a command that failed


@contextmanager
def taking_part() -> Iterator[Comm]:
    """The ranks that a launcher of MPI started for this command; without one, this process alone.

    Raises:
        click.exceptions.Exit: in place of any error on ranks other than 0, which has said it.
    """
    team = None
    if find_spec("tinyddpm.distributed"):
        from ..distributed.world import world

        team = world()
    if team is None:
        yield Alone()
        return
    from ..runs.training.lines import quiet

    if not team.rank:
        with team:
            yield team
        return
    try:
        with quiet(), team:
            yield team
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    except Exception:
        raise click.exceptions.Exit(WRONG) from None


def speaks() -> bool:
    """Whether this process is to say what is wrong with the command line."""
    if not find_spec("tinyddpm.distributed"):
        return True
    from ..distributed.world import launched_as

    return not launched_as()
