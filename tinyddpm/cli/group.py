"""The group of all commands, and what becomes of their errors: one line and an exit status."""

import contextlib
import errno
import sys
from collections.abc import Sequence

import click

from .. import __version__
from ..files import in_words
from ..starting import INTERRUPTED, end_at_ctrl_c, raise_at_ctrl_c
from . import commands, models, streams
from .help import WIDEST, Group
from .ranks import TOGETHER, WRONG, speaks

UNREAD = 141  # that of a program which SIGPIPE ends, as in `tinyddpm info RUN | head -1`


@click.group(
    cls=Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST},
)
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """A denoising diffusion model from scratch, on NumPy or CuPy.

    Start with: tinyddpm train --recipe digits
    """
    if context.invoked_subcommand not in TOGETHER and not speaks():
        context.exit()  # rank 0 does it: several would write the same files
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    commands.train,
    models.sample,
    models.explore,
    models.evaluate,
    models.info,
    models.plot,
    commands.data,
    commands.import_,
    models.export,
):
    cli.add_command(command)


def program() -> int:
    """The command of this process: its arguments, its streams, its Ctrl-C. Returns its status."""
    try:
        raise_at_ctrl_c()
        status = run()
    except KeyboardInterrupt:
        status = _say("interrupted", INTERRUPTED)
    finally:
        end_at_ctrl_c()
    try:
        streams.flush()
    except OSError as error:
        return status or _unwritten(error)
    return status


@streams.spelling()
def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command. Returns the exit status.

    Args:
        arguments: None: those of this process.
    """
    printing = sys.stdout, sys.stderr
    try:
        cli.main(arguments, prog_name="tinyddpm", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:  # the command line is that of all ranks
        return _say_line(error.format_message()) if speaks() else WRONG
    except SystemExit:  # click's answer to a pipe that nobody reads any more
        sys.stdout, sys.stderr = printing
        return UNREAD
    except OSError as error:
        return _say_line(in_words(error))
    except (ValueError, FloatingPointError) as error:
        return _say_line(str(error))
    except MemoryError as error:
        return _say(f"out of memory: {error or 'choose smaller batches or a smaller network'}")
    except (click.Abort, KeyboardInterrupt):  # before RuntimeError, which Abort is
        return _say("interrupted", INTERRUPTED)
    except RuntimeError as error:  # a worker's comes with its traceback
        return _say(str(error))
    return 0


def _unwritten(error: OSError) -> int:
    """What became of standard output, once it is all that failed."""
    if error.errno == errno.EPIPE:
        return UNREAD
    return _say_line(f"standard output: {error.strerror}")


def _say_line(problem: str) -> int:
    """Say it in one line, with ? for whatever does not print: a file's name may hold anything."""
    from ..data.image_files import printable
    from ..runs.training.lines import wrapped

    return _print(wrapped(f"tinyddpm: {printable(problem)}"), WRONG)


def _say(problem: str, status: int = WRONG) -> int:
    return _print(f"tinyddpm: {problem}", status)


def _print(text: str, status: int) -> int:
    with contextlib.suppress(OSError):  # nobody reads it, or the disk with the log is full
        print(text, file=sys.stderr)
    return status
