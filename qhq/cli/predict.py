"""``qhq predict``: what has not happened yet, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qhq.cli.command import Debug, Json, Run, command, figure, metrics_table, plain_table
from qhq.cli.completion import complete_backend
from qhq.cli.jobs import ask_to_send, cost_table, hardware
from qhq.limits import MOST_SEED, MOST_SHOTS
from qhq.progress import doing

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.api.prediction import Prediction
    from qhq.runs.answers import PredictionRecord


def predict(
    run: Run = None,
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            help="Entry of backends.yaml, or a device, to run the circuit on.",
            autocompletion=complete_backend,
        ),
    ] = "aer",
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="FILE", help="Rows to forecast from; the run's source, read anew, if left out."
        ),
    ] = None,
    level: Annotated[
        list[float] | None,
        typer.Option("--level", metavar="P", help="Probability of an interval; 0.9 if left out. Repeatable."),
    ] = None,
    horizon_end: Annotated[
        datetime | None,
        typer.Option(
            "--horizon-end",
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="Last session to forecast; the run's whole horizon if left out.",
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="Also forecast every session from here on, as it would have been, and score what came.",
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write the forecasts to a CSV file.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="data.KEY=VALUE", help="Change where the data comes from."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Take Yahoo's prices from the cache alone.")
    ] = False,
    shots: Annotated[
        int | None,
        typer.Option(
            "--shots", min=1, max=MOST_SHOTS, help="Shots instead of the entry's, on sampling backends."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the shots.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost on hardware; send nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send to hardware without asking.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Forecast the next sessions after the last row, of every symbol or contract, with intervals.

    The run's own source is read anew (Yahoo's prices are fetched to the last finished session); rows of today
    are left out, whose session may not be over. Nothing is fitted.

    Example: qhq predict --data prices.csv --level 0.8 --level 0.95 --csv tomorrow.csv
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.api.run import open_run

        if csv is not None:
            _check_writable(csv)
        doing("Opening the run and its prices")
        opened = open_run(run)
        if run is None:
            output.note(f"Run {opened.name}, the latest finished one.")

        def ask(spent: Mapping[str, Any]) -> bool:
            return ask_to_send(output, spent["costs"])

        def show(made: Prediction) -> None:
            # Before it is mirrored into MLflow, which takes a few seconds.
            record = made.found
            if dry_run:
                output.result(made.record, cost_table(record.costs))
                return
            if csv is not None:
                _write(csv, made.to_csv())
                record = record.updated(csv=str(csv))
            from qhq.experiment.words import say_untrained

            heading = *_heading(record), *say_untrained(opened.read())
            output.result(record.to_dict(), *heading, _table(record), *_scored(record), *_notes(record))

        with hardware(output, yes=yes, run=opened.name):
            from qhq.api.prediction import LEVELS, predict_run
            from qhq.runs.run_folder import RunFolder

            predict_run(
                RunFolder(opened.folder), backend, level=level or LEVELS, data=data, set=overrides,
                since=None if since is None else since.date(),
                until=None if horizon_end is None else horizon_end.date(),
                offline=offline, shots=shots, seed=seed, dry_run=dry_run, yes=yes or ask, progress=True,
                on_result=show,
            )  # fmt: skip


def _check_writable(path: Path) -> None:
    """Refuse a folder before anything is forecast, which may have to be paid for."""
    if not path.name or path.is_dir():
        raise _not_written(path, "a folder")


def _write(path: Path, text: str) -> None:
    from qhq.files import write_atomically

    try:
        write_atomically(path, text)
    except OSError as error:
        raise _not_written(path, error.strerror or str(error)) from error


def _not_written(path: Path, why: str) -> Exception:
    from qhq.errors import ConfigError

    return ConfigError(
        "--csv must name a file that can be written", got=f"{path}: {why}", fix="Name another file"
    )


def _heading(record: PredictionRecord) -> list[str]:
    missed, period = record.sessions_missed, record.period
    days = "1 day" if record.age_days == 1 else f"{record.age_days} days"
    age = f"The last row is of {record.last_row}, {days} ago"
    if missed:
        over = "passed" if period == "session" else "ended"
        many = f"{period}s have {over} since, and the first of them"
        age += f": {missed:,} {many if missed > 1 else f'{period} has {over} since, and it'} is forecast"
    half = ", a half day" if record.half_day else ""
    return [
        f"Run {record.run} on {record.backend}, trained to {record.trained_to}.",
        f"{age}. Next {period}: {'' if period == 'session' else 'ends on '}{record.session}{half},"
        f" by {record.calendar}.",
    ]


# Rows of a table that a person reads; a file has them all.
_MOST_ROWS = 60


def _table(record: PredictionRecord) -> Table:
    columns = ("symbol", "date", "after", "target", "forecast", "last value", "level", "low", "high", "came")
    rows = record.rows
    shown = [row for row in rows if row.actual is None] if record.scored else rows
    cells = [
        [
            row.symbol, row.date, row.made_after, record.called.get(row.target, row.target),
            figure(row.forecast),
            figure(row.last_value), f"{100 * row.level:g} %", figure(row.low), figure(row.high),
            None if row.actual is None else figure(row.actual),
        ]
        for row in shown[:_MOST_ROWS]
    ]  # fmt: skip
    count = len(shown)
    many = f", the first {_MOST_ROWS} of {count:,} rows" if count > _MOST_ROWS else ""
    return plain_table(columns[:-1], [each[:-1] for each in cells], title=f"Forecast{many}")


def _scored(record: PredictionRecord) -> list[str | Table]:
    scored = record.scored
    if scored is None:
        return []
    from qhq.evaluation.baselines.catalogue import label_of
    from qhq.experiment.words import say_pooled
    from qhq.runs.looks import say_looks

    errors = [(label_of("test"), scored.metrics), (label_of("naive"), scored.naive)]
    title = f"What has come true, {scored.first} to {scored.last}, {scored.windows:,} windows"
    table = metrics_table(title, errors)
    held = [
        f"Intervals at {100 * each['level']:g} % held {100 * each['held']['value']:.1f} % of"
        f" {each['held']['count']:,} values, {each['horizon']} ahead."
        for each in scored.coverage
    ]
    pooled = say_pooled({"the model": scored.metrics}, scored.naive)
    return [table, *pooled, *held, *say_looks(scored.looks, "These sessions have")]


def _notes(record: PredictionRecord) -> list[str]:
    known = []
    if (skill := record.skill) is not None:
        value = "not defined" if skill.value is None else f"{100 * skill.value:+.2f} %"
        shown = "which a test shows" if skill.shown else "not shown by a test"
        known = [f"Skill over the last value: {value}, {shown}. {skill.verdict}"]
    left = [f"Left out: {each.symbol} {each.reason}." for each in record.left_out[:10]]
    if len(record.left_out) > 10:
        left.append(f"{len(record.left_out) - 10} more are left out; --json names them.")
    if record.expired:
        left.append(f"{record.expired:,} contracts have expired and are not forecast.")
    called = [
        f"In --json and --csv the target {name} is the column '{theirs}' of the data"
        for name, theirs in record.called.items()
        if any(row.target == name for row in record.rows[:1]) and name != theirs
    ]
    return [
        *known,
        *(f"{each}." for each in called),
        f"Intervals: {record.intervals}.",
        *left,
        *(f"{note}." for note in record.notes),
        *([f"Table {record.csv}"] if record.csv else []),
        *([f"Record {record.file}"] if record.file else []),
        *([f"Figure {record.figure}"] if record.figure else []),
    ]
