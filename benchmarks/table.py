"""What a benchmark hands on for people: tables and targets, for the terminal and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table as RichTable


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; ``note`` says how to read them."""

    title: str
    note: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


TARGETS = "Targets"
"""Title of the table of all targets."""

VERDICTS = {True: "met", False: "MISSED", None: "machine busy"}


@dataclass(frozen=True)
class Target:
    """One line of the issue's acceptance and what was measured."""

    line: str
    target: str
    measured: str
    met: bool | None
    """None where the machine was too busy to tell."""

    def row(self) -> tuple[str, ...]:
        """As a row of a table."""
        return self.line, self.target, self.measured, VERDICTS[self.met]


def target_table(targets: list[Target]) -> Table:
    """All targets as one table."""
    headers = ("what", "target", "measured", "")
    return Table(TARGETS, "Medians and ratios of medians.", headers, tuple(each.row() for each in targets))


def rich_table(table: Table) -> RichTable:
    """For the terminal."""
    made = RichTable(title=table.title, caption=table.note, title_justify="left", caption_justify="left")
    for index, header in enumerate(table.headers):
        made.add_column(header, justify="left" if index == 0 else "right")
    for row in table.rows:
        made.add_row(*row)
    return made


def markdown(table: Table) -> str:
    """For a page."""
    lines = [f"## {table.title}", "", table.note, "", _line(table.headers)]
    lines.append("|" + "|".join(" --- " if k == 0 else " ---: " for k in range(len(table.headers))) + "|")
    lines += [_line(row) for row in table.rows]
    return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def milliseconds(seconds: float) -> str:
    """Three significant digits, in ms."""
    return digits(seconds * 1e3)


def digits(value: float) -> str:
    """Three significant digits, no exponent.

    >>> digits(0.012345), digits(1234.5)
    ('0.0123', '1,234')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):.10f}".rstrip("0").rstrip(".")


def times(ratio: float) -> str:
    """A ratio.

    >>> times(3.14159)
    '3.14x'
    """
    return f"{digits(ratio)}x"


def cells_of(line: str) -> tuple[str, ...]:
    """Cells of a row that `markdown` wrote."""
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
