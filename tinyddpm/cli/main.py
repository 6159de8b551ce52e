"""The group of all commands, and what becomes of their errors: one line and an exit status."""

import sys
from collections.abc import Sequence

import click

from .. import __version__
from ..files import in_words
from . import commands, models
from .help import WIDEST, Group

WRONG, INTERRUPTED = 2, 130


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The console command. Returns the exit status."""
    try:
        cli.main(arguments, prog_name="tinyddpm", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        return _say_line(error.format_message())
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


def _say_line(problem: str) -> int:
    """Say it in one line, with ? for whatever does not print: a file's name may hold anything."""
    from ..runs.training.progress import wrapped

    line = "".join(c if c.isprintable() else "?" for c in problem)
    print(wrapped(f"tinyddpm: {line}"), file=sys.stderr)
    return WRONG


def _say(problem: str, status: int = WRONG) -> int:
    print(f"tinyddpm: {problem}", file=sys.stderr)
    return status
