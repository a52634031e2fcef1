"""``qhq compare``: runs side by side, from their folders alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qhq.cli.options import Debug, Json
from qhq.cli.output import Output, command, plain_table
from qhq.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("run", "status", "backend", "qubits", "epochs", "mape", "mae", "naive_mae", "skill")


def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs; all if left out.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Put runs side by side: one row a run, the last value's error beside the model's."""
    with command(as_json=json, debug=debug) as output:
        rows = _rows(runs, output)
        output.result({"rows": rows}, _table(rows) if rows else "No runs yet: 'qhq train --backend aer'.")


def _rows(names: list[str] | None, output: Output) -> list[dict[str, Any]]:
    from qhq.tracking.run_folder import find_run, list_runs
    from qhq.tracking.summary import run_summary

    rows = []
    for folder in [find_run(name) for name in names] if names else list_runs():
        try:
            rows.append(run_summary(folder.read_record()))
        except ConfigError as error:
            output.note(f"Skipped {folder.name}: {error}")
    return rows


def _table(rows: list[dict[str, Any]]) -> Table:
    return plain_table(COLUMNS, [[_cell(row[column]) for column in COLUMNS] for row in rows])


def _cell(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value
