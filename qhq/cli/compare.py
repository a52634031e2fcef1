"""``qhq compare``: runs side by side, from their folders alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.command import Debug, Json, command, figure, plain_table
from qhq.cli.completion import complete_run
from qhq.data.caveat import Caveat
from qhq.limits import MOST_COUNT

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.report.table_export import Format
    from qhq.runs.comparison import Row, RunTable

# Without a unit first.
_RESULTS = ("skill", "mase", "mape", "mae")
# Shown where they are not the same in all runs, or there is one run only.
_FACTS = ("status", "backend", "qubits", "epochs", "seed")

# Config keys, or what they begin with, in the order in which a table has space for them.
_IMPORTANT = (
    "quantum.ansatz", "quantum.depth", "model.recurrent", "model.skip", "data.horizon", "data.window",
    "data.targets", "data.features", "data.symbols", "data.path", "data.scaling", "training.learning_rate",
    "data.task",
    "data.source", "model.middle", "model.latent", "quantum.frozen", "quantum.entangled",
    "quantum.overrides", "training.epochs", "training.batch_size", "training.loss", "model", "quantum",
    "training", "data.split", "data",
)  # fmt: skip
# More config keys than these make a table that nobody reads; the rest is named below it.
_MOST_KEYS = 8
# Longer texts, such as a list of 500 symbols, are cut in a table for people; the files have them whole.
_LONGEST_CELL = 40


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Runs, folders of runs, or globs; all if left out.",
            autocompletion=complete_run,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All columns, not what differs.")] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", metavar="A,B,..", help="These columns alone, as run,skill,quantum.depth."),
    ] = None,
    list_columns: Annotated[
        bool, typer.Option("--list-columns", help="Name the columns there are, and show no table.")
    ] = False,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="KEY|-KEY", help="Order each group by a result or a config key."),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="'KEY OP VALUE'", help="As 'quantum.qubits >= 4', 'run ~ mlp'."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=MOST_COUNT, help="The first N rows of each group.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write all columns, or those of --columns, as CSV.")
    ] = None,
    excel: Annotated[Path | None, typer.Option("--excel", help="Write the same as an Excel file.")] = None,
    latex: Annotated[Path | None, typer.Option("--latex", help="Write the columns shown as LaTeX.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Put runs side by side: what they are worth beside the last value, and the config keys that differ.

    Runs that forecast the same of the same data form a group; no order goes across groups.

    Example: qhq compare --sort -skill --filter 'quantum.qubits >= 4' --latex table.tex
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.api.comparison import compared

        table = compared(runs or [], conditions or [], sort, limit, note=output.note)
        if list_columns:
            names = table.columns
            output.result({"columns": names, "differs": table.differs}, *_list(names, table.differs))
            return
        words = None if not columns else [word.strip() for word in ",".join(columns).split(",")]
        # Where no run is left after the filter, no name of a column can be right or wrong.
        chosen = None if words is None or not table.summaries else table.choose(words)
        keys = table.keys if every or chosen is not None else table.differs
        rows = table.rows(keys)
        shown = chosen or (table.columns if every else _shown(table))
        people = _people(
            table,
            rows,
            shown,
            [key for key in _ranked(table) if key not in shown] if chosen is None else [],
            whole=every,
        )
        files: dict[Format, Path | None] = {"csv": csv, "excel": excel, "latex": latex}
        # A file has no headings between the groups, as the screen does.
        paged = ["group", *shown] if len(table.groups) > 1 and "group" not in shown else shown
        written = _export(rows, shown if chosen else paged, files, all_columns=chosen is None)
        groups = {str(group): table.headings[group] for group in table.groups}
        record = {
            **Caveat.of(*rows).to_dict(),
            "rows": rows,
            "groups": groups,
            "differs": table.differs,
            "files": written,
        }
        output.result(record, *people, *(f"Wrote {path}" for path in written))


def _list(names: Sequence[str], differs: Sequence[str]) -> list[str]:
    return [f"{name}{'  (differs)' if name in differs else ''}" for name in names] or ["No runs."]


def _shown(table: RunTable) -> list[str]:
    """The columns that matter: what a run is worth, then what tells it from the others."""
    rows = table.summaries
    facts = [name for name in _FACTS if len(rows) < 2 or len({row[name] for row in rows}) > 1]
    if "status" not in facts and rows and rows[0]["status"] != "finished":
        facts.append("status")
    leaks = ["leaks"] if any(row["leaks"] for row in rows) else []
    part = ["part"] if any(row["part"] != "test" for row in rows) else []
    return ["run", *_RESULTS, *_ranked(table)[:_MOST_KEYS], *facts, *leaks, *part]


def _ranked(table: RunTable) -> list[str]:
    """Config keys that differ, the important ones first, and paths last."""
    differing = [
        key for key in table.differs
        # The summary has the qubits; where one run has no circuit, 'quantum' itself is a key without value.
        if key != "quantum.qubits" and not any(other.startswith(f"{key}.") for other in table.keys)
        # What a circuit is like does not tell runs apart of which the others have none.
        and (key == "quantum.ansatz" or len({str(each[key]) for each in table.designs if key in each}) > 1)
    ]  # fmt: skip

    def place(key: str) -> tuple[bool, int]:
        beginnings = [
            index for index, each in enumerate(_IMPORTANT) if key == each or key.startswith(f"{each}.")
        ]
        return _names_path(key) and key != "data.path", min(beginnings, default=len(_IMPORTANT))

    return sorted(differing, key=place)


def _people(
    table: RunTable, rows: list[Row], columns: Sequence[str], hidden: Sequence[str], *, whole: bool
) -> list[str | Table]:
    if not rows:
        return ["No runs: 'qhq train --backend aer' makes one; or loosen --filter."]
    cells = _cells(rows, columns)
    names = list(columns) if whole else _short_names(columns)
    # A name that is broken over two lines can no longer be copied into the next command.
    short = columns[0] == "run" and max(map(len, map(str, cells[0]))) <= _LONGEST_CELL
    parts: list[str | Table] = []
    for group in table.groups:
        chosen = [[column[place] for column in cells] for place in table.places(group)]
        heading = f"Group {group}: {table.headings[group]}" if len(table.groups) > 1 else None
        parts.append(plain_table(names, chosen, title=heading))
        if short:
            parts[-1].columns[0].no_wrap = True  # type: ignore[union-attr]
    if len(table.groups) > 1:
        parts.append("Groups forecast other things or other data: their errors have no common order.")
    if not hidden:
        return parts
    more = f"{len(hidden)} more keys differ: {', '.join(hidden)}. --columns or --all shows them."
    return [*parts, more]


def _cells(rows: Sequence[Row], columns: Sequence[str]) -> list[list[object]]:
    """The cells of each column as they are shown."""
    return [_column(name, rows) for name in columns]


def _column(name: str, rows: Sequence[Row]) -> list[object]:
    values = [row[name] for row in rows]
    if name == "backend":  # what has no circuit has asked no backend
        values = [
            value if row["qubits"] is not None else None for value, row in zip(values, rows, strict=True)
        ]
    if _names_path(name):
        values = _shortened(values)
    return [_cell(name, value) for value in values]


def _cell(name: str, value: object) -> object:
    if isinstance(value, float):
        if name == "skill":
            return f"{100 * value:+.2f} %"  # its column has the name that --filter and --sort take
        return f"{value:.6g}" if "." in name else figure(value)
    if isinstance(value, str) and len(value) > _LONGEST_CELL and name != "run":
        return f"{value[: _LONGEST_CELL - 1]}…"
    return value


def _short_names(columns: Sequence[str]) -> list[str]:
    """The last word of each column, or the last two where two columns have the same."""
    last = [column.rpartition(".")[2] for column in columns]
    return [
        word.replace("_", " ")
        if last.count(word) == 1
        else " ".join(column.split(".")[-2:]).replace("_", " ")
        for column, word in zip(columns, last, strict=True)
    ]


def _names_path(key: str) -> bool:
    return key.rpartition(".")[2] in ("path", "file", "folder", "experiment")


def _shortened(values: Sequence[object]) -> list[object]:
    """Paths by as many of their last names as tell them apart."""
    paths = {value: PurePath(value).parts for value in values if isinstance(value, str)}
    for count in range(1, max(map(len, paths.values()), default=1) + 1):
        ends = {value: parts[-count:] for value, parts in paths.items()}
        # As short as they can be told apart: paths of one folder differ in their last name alone.
        if len(set(ends.values())) == len(ends):
            break
    return [
        (value if len(ends[value]) == len(paths[value]) else "…/" + "/".join(ends[value]))
        if isinstance(value, str) else value
        for value in values
    ]  # fmt: skip


def _export(
    rows: list[Row], shown: Sequence[str], files: dict[Format, Path | None], *, all_columns: bool
) -> list[str]:
    """Write the table: a spreadsheet has space for every column, a page for those shown."""
    wanted = {form: path for form, path in files.items() if path is not None}
    if not wanted:
        return []
    from qhq.report.table_export import export_table

    chosen = [{name: row[name] for name in shown} for row in rows]
    names, cells = _short_names(shown), _cells(rows, shown)
    page: list[dict[str, object]] = [dict(zip(names, each, strict=True)) for each in zip(*cells, strict=True)]
    tables = {"latex": page, "csv": rows if all_columns else chosen, "excel": rows if all_columns else chosen}
    return [str(export_table(tables[form], path, form)) for form, path in wanted.items()]
