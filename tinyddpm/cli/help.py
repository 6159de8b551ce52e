"""How help looks: the options of a command in groups, and no break inside a word."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import click

WIDEST = 110  # columns
WHOLE = 1000  # characters of a command's first sentence: all
# A hyphen that lines are not broken at stands in for "-" while the text is being laid out.
STIFF = "\N{NON-BREAKING HYPHEN}"


class Formatter(click.HelpFormatter):
    """Click's, which breaks lines only at spaces: --learning-rate stays whole."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The line with the arguments."""
        super().write_usage(_stiff(prog), _stiff(args), prefix)

    def write_text(self, text: str) -> None:
        """A paragraph."""
        super().write_text(_stiff(text))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Options or commands, each with its text."""
        super().write_dl([(_stiff(a), _stiff(b)) for a, b in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        """All that was written."""
        return super().getvalue().replace(STIFF, "-")


def _stiff(text: str) -> str:
    return re.sub(r"(?<=\w)-(?=\w)", STIFF, text)


class Context(click.Context):
    """Click's, with our Formatter."""

    formatter_class = Formatter


class Command(click.Command):
    """A command with our help."""

    context_class = Context


class Group(click.Group):
    """The commands together. Each is told with its whole first sentence."""

    context_class = Context

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands. Click's ends in three dots where the terminal is narrow."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(WHOLE)) for name in self.commands]
            )


def grouped(groups: Callable[[], Mapping[str, Sequence[str]]]) -> type[Command]:
    """A class of commands whose help shows the options in groups.

    Args:
        groups: gives title -> names of options, in order. The group without names takes the rest.
    """

    class Grouped(Command):
        def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            rows = {}
            for parameter in self.get_params(ctx):
                row = parameter.get_help_record(ctx)
                if row and parameter.name:
                    rows[parameter.name] = row
            taken = {name for names in groups().values() for name in names}
            rest = [name for name in rows if name not in taken]
            for title, names in groups().items():
                with formatter.section(title):
                    formatter.write_dl([rows[name] for name in names or rest if name in rows])

    return Grouped
