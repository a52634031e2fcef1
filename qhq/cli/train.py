"""``qhq train``: train on the training split, evaluate on the test split, write a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.hardware import hardware
from qhq.cli.options import Accept, Debug, Json, Set
from qhq.cli.output import command, figure, plain_table
from qhq.cli.results import chosen, plausibility_lines, result_tables, verdict
from qhq.progress.heartbeat import doing

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.runs.record import RunRecord, WalkRecord


def train(
    config: Annotated[
        str | None, typer.Argument(metavar="[CONFIG]", help="A config; the quickstart if left out.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", help="Entry of backends.yaml; the config's if left out.")
    ] = None,
    overrides: Set = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Continue a run that was cut off.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Take Yahoo's prices from the cache alone.")
    ] = False,
    accept: Accept = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a model, evaluate it beside the last-value forecast, and save it as a run.

    A config that walks forward (data.split.scheme expanding or rolling, no fold named) trains a run for each
    fold, and tests the forecasts of all folds together.

    Example: qhq train --backend aer --set training.epochs=5
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.api.run import Run
        from qhq.api.run import train as train_run

        doing("Opening prices, model and backend; comparing the exact engine with it")

        def show(run: Run) -> None:
            record = run.read()
            output.result(run.record, *_people(record, str(run.folder)))

        # A device is trained on where its entry says so, which is the consent.
        with hardware(output, yes=True):
            train_run(config, backend=backend, set=overrides, resume=resume, offline=offline,
                      accept=accept or (), progress=True, on_result=show)  # fmt: skip


def _people(record: RunRecord | WalkRecord, path: str) -> list[str | Table]:
    """What a person is shown of a run.

    Raises:
        ConfigError: If the record does not hold what a finished run's does.
    """
    from qhq.runs.looks import say_looks
    from qhq.runs.record import RunRecord, no_results

    if record.epochs is None or "total" not in record.seconds:
        raise no_results(record, "epochs or seconds.total")
    parts, last = [_summary(record, path)], [*plausibility_lines(record), *say_looks(record.looks)]
    if isinstance(record, RunRecord):
        return [*parts, *chosen(record), *result_tables(record), verdict(record), *last]
    return [*parts, _folds(record), *result_tables(record), str(record.verdict), *last]


def _folds(record: WalkRecord) -> Table:
    """A row a fold: what it was trained to and forecasts, and its skill."""
    columns = [
        "fold",
        "trained to",
        "forecasts from",
        "to",
        "windows",
        "epochs",
        "MAE",
        "last value",
        "skill",
    ]
    rows = [
        [
            row.fold, row.trained_to, row.first, row.last, row.windows, row.epochs,
            figure(row.mae), figure(row.naive_mae), None if row.skill is None else f"{row.skill:+.4f}",
        ]
        for row in record.folds or ()
    ]  # fmt: skip
    return plain_table(columns, rows, title=f"{len(rows)} folds, each a run below {record.run}")


def _summary(record: RunRecord | WalkRecord, path: str) -> str:
    trained = f"Trained {record.epochs} epoch{'s' if record.epochs != 1 else ''}"
    seconds = f"{record.seconds['total']:.1f} s"
    # Without a circuit the backend of the config is asked nothing.
    ending = f" on {record.backend} in {seconds}" if record.quantum else f" in {seconds}, without a circuit"
    return f"Run {record.run}\nFolder {path}\n{trained}{ending}."
