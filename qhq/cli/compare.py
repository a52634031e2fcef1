"""``qhq compare``: runs side by side, from their folders alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qhq.cli.options import Debug, Json
from qhq.cli.output import Output, command, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.report.table_export import Format
    from qhq.tracking.comparison import RunTable

COLUMNS = ("run", "status", "backend", "qubits", "epochs", "mape", "mae", "naive_mae", "skill")
MOST_KEYS = 5
"""More design keys than these make a table that nobody reads; --all shows them."""


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Runs, folders of runs, or globs; all if left out."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All keys of the designs, not what differs.")] = False,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="KEY|-KEY", help="Order by a result or a config key.")
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="'KEY OP VALUE'", help="As 'quantum.qubits >= 4', 'run ~ twin'."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first N rows.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the table as CSV.")] = None,
    excel: Annotated[Path | None, typer.Option("--excel", help="Write it as an Excel file.")] = None,
    latex: Annotated[Path | None, typer.Option("--latex", help="Write it as LaTeX.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Put runs side by side: designs where they differ, and results beside the last value's.

    Example: qhq compare --sort mape --filter 'quantum.qubits >= 4' --latex table.tex
    """
    with command(as_json=json, debug=debug) as output:
        table = _select(runs or [], conditions or [], sort, output)
        table = table if limit is None else table.first(limit)
        keys = table.keys if every else table.differs
        rows = table.rows(keys)
        files: dict[Format, Path | None] = {"csv": csv, "excel": excel, "latex": latex}
        written = _export(rows, files)
        leaks = dict.fromkeys(name for row in rows for name in (row["leaks"] or "").split())
        record = {"leaks": list(leaks), "rows": rows, "differs": table.differs, "files": written}
        output.result(record, *_people(rows, keys, every=every), *(f"Wrote {path}" for path in written))


def _select(runs: Sequence[str], conditions: Sequence[str], sort: str | None, output: Output) -> RunTable:
    from qhq.tracking.comparison import tabulate
    from qhq.tracking.gather import gather_runs

    table = tabulate(gather_runs(runs), output.note)
    for condition in conditions:
        table = table.where(condition)
    return table if sort is None else table.sorted_by(sort)


def _export(rows: list[dict[str, Any]], files: dict[Format, Path | None]) -> list[str]:
    wanted = {form: path for form, path in files.items() if path is not None}
    if not wanted:
        return []
    from qhq.report.table_export import export_table

    return [str(export_table(rows, path, form)) for form, path in wanted.items()]


def _people(rows: list[dict[str, Any]], keys: Sequence[str], *, every: bool) -> list[str | Table]:
    if not rows:
        return ["No runs: 'qhq train --backend aer' makes one; or loosen --filter."]
    told = [key for key in keys if key not in ("backend", "seed", "name", "quantum.qubits")]
    shown = told if every else told[:MOST_KEYS]
    columns = [*COLUMNS, *_when_told(rows), *shown]
    names = [column if every else column.rpartition(".")[2].replace("_", " ") for column in columns]
    table = plain_table(names, [[_cell(row[column]) for column in columns] for row in rows])
    table.columns[0].no_wrap = True
    more = told[len(shown) :]
    return [table, f"{len(more)} more keys differ: {', '.join(more)}; --all shows them."] if more else [table]


def _when_told(rows: list[dict[str, Any]]) -> list[str]:
    """Columns that only some tables need: leaks that were switched on, and errors that are no test errors."""
    leaks = ["leaks"] if any(row["leaks"] for row in rows) else []
    return [*leaks, *(["part"] if any(row["part"] != "test" for row in rows) else [])]


def _cell(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value
