"""What a command says: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from qhq.errors import QHQError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LONGEST_WORD = 24
"""Characters that no table breaks: a figure cut in two would be misread. Longer ones (paths) are folded."""


@dataclass(frozen=True)
class Output:
    """Where a command's result goes: a person's terminal, or one JSON object."""

    as_json: bool

    def result(self, content: dict[str, Any], *people: str | Table) -> None:
        """Give the command's one result, as JSON or as lines and tables for a person.

        Leaks that were switched on (``leaks`` of the content) are told first.
        """
        if self.as_json:
            typer.echo(json.dumps(content, allow_nan=False))
            return
        from rich.console import Console

        from qhq.data.leak_spec import explain_leaks, leak_mark

        if content.get("leaks"):
            typer.echo(f"{leak_mark(content['leaks'])} ({explain_leaks(content['leaks'])}).")
        # A pipe or a log has no width of its own, and a table cut to 80 columns loses its figures.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
        for part in people:
            typer.echo(part) if isinstance(part, str) else _print_table(console, part)

    def tell(self, part: str | Table) -> None:
        """Show a person something before the result, on standard error."""
        from rich.console import Console

        console = Console(stderr=True, highlight=False)
        console.print(part) if isinstance(part, str) else _print_table(console, part)

    def note(self, text: str) -> None:
        """Tell a person something by the way, on standard error."""
        typer.echo(text, err=True)


@contextmanager
def command(*, as_json: bool, debug: bool) -> Iterator[Output]:
    """Run a command's body: a QHQError becomes its message and its exit status.

    With ``--json`` the error is also the one JSON object on standard output.
    """
    try:
        yield Output(as_json)
    except QHQError as error:
        if debug:
            raise
        if as_json:
            parts = {"must": error.must, "got": error.got, "fix": error.fix}
            kind = type(error).__name__
            typer.echo(json.dumps({"error": {"kind": kind, "message": str(error), **parts}}))
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(error.exit_status) from error
    except KeyboardInterrupt as error:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(130) from error


def plain_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> Table:
    """Lay out values as they are: a bracket in a user's text is no markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    cells = [["-" if value is None else str(value) for value in row] for row in rows]
    for place, column in enumerate(columns):
        words = " ".join([column, *(row[place] for row in cells)]).split()
        longest = max(map(len, words), default=0)
        table.add_column(column, overflow="fold", min_width=min(longest, LONGEST_WORD))
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _print_table(console: Console, table: Table) -> None:
    """Print a table that breaks between words alone; where they do not fit it loses its padding."""
    needed = console.measure(table, options=console.options.update(width=1000)).minimum
    if needed > console.width:
        table.padding = (0, 0)
    console.print(table, crop=False)


def metrics_table(title: str, rows: Sequence[tuple[str, dict[str, float | None]]]) -> Table:
    """Lay out metrics, one row a forecast, the naive forecast among them; ``-`` is not defined."""
    formats = {"mae": ".4f", "rmse": ".4f", "mape": ".4f", "mase": ".4f", "skill": "+.4f"}
    cells = [
        [label, *(_number(metrics[key], form) for key, form in formats.items())] for label, metrics in rows
    ]
    table = plain_table(["", "MAE", "RMSE", "MAPE %", "MASE", "skill"], cells, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)
