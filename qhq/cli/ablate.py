"""``qhq ablate``: does the quantum layer earn its place?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.command import Cluster, Debug, Json, Set, command, counted, figure, plain_table, skill_cell
from qhq.cli.completion import complete_subject
from qhq.limits import MOST_COUNT, MOST_THREADS

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.runs.studies import AblationRecord, AblationRow


def ablate(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN or CONFIG]",
            help="A run or a config; the quickstart if left out.",
            autocompletion=complete_subject,
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=MOST_COUNT, help="Seeds, from the config's own on.")
    ] = 5,
    control: Annotated[
        bool,
        typer.Option("--control", help="On a random walk and on a planted signal, instead of the data."),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, max=MOST_THREADS, help="Processes; the cores if left out, 8 at most."
        ),
    ] = None,
    cluster: Cluster = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Put a hybrid beside MLPs, a frozen circuit, one without entanglers, none, and baselines.

    The same recipe, budget and seeds for all; resumable. The layer earns its place if the hybrid beats every
    one of them by the loss of the task. With --control, exit status 1 where one fails.

    Example: qhq ablate --seeds 5 --set training.epochs=20
    """
    with command(as_json=json, debug=debug, continues=True) as output:
        from qhq.api.study import StudyResult
        from qhq.api.study import ablate as ablate_subject
        from qhq.runs.looks import say_looks
        from qhq.runs.studies import AblationRecord, ControlsRecord

        def show(study: StudyResult[AblationRecord | ControlsRecord]) -> None:
            record = study.found
            studies = {"": record} if isinstance(record, AblationRecord) else record.controls
            parts = [part for name, each in studies.items() for part in _study_parts(each, name)]
            page = [f"Page {record.page}"] if record.page else []
            output.result(study.record, *parts, record.verdict, *say_looks(record.looks), *page)

        study = ablate_subject(
            subject, seeds=seeds, control=control, workers=workers, cluster=cluster, set=overrides,
            progress=True, on_result=show,
        )  # fmt: skip
        if isinstance(study.found, ControlsRecord) and not study.found.passed:
            raise typer.Exit(1)


def _study_parts(record: AblationRecord, control: str) -> list[str | Table]:
    from qhq.evaluation.significance import WEIGHING

    left_out = [f"Left out: {name}, since {reason}" for name, reason in record.left_out.items()]
    figure = [f"Figure {record.figure}"] if record.figure else []
    return [
        f"Data: {record.data}", *record.data_notes, _table(record, control), *_bounded(record),
        WEIGHING, *left_out, *figure,
    ]  # fmt: skip


def _table(record: AblationRecord, control: str) -> Table:
    from qhq.evaluation.losses import SHORT

    columns = ["variant", "middle/all", "MAE", "95 % interval", "skill %", SHORT[record.loss or "absolute"]]
    columns += [SHORT[name] for name in record.other_losses]
    columns += ["alive", "the hybrid against it"]
    rows = [_cells(row, record) for row in record.rows]
    from qhq.api.study import CONTROLS

    heading, chosen = CONTROLS.get(control, record.config), record.mlp_widths
    tried = ", ".join(f"{each.hidden}{'*' if each.chosen else ''}" for each in chosen)
    measured = f"{counted(record.windows, 'window')} on {counted(record.dates, 'date')}"
    count = record.folds
    folds = f"walk-forward of {count} folds, " if count > 1 else ""
    title = (
        f"{heading}: {counted(len(record.seeds), 'seed')}, {folds}{measured};"
        f" circuit {counted(record.circuit_weights, 'weight')}; hidden units of the MLP {tried} (*: best)"
    )
    return plain_table(columns, rows, title=title)


def _cells(row: AblationRow, record: AblationRecord) -> list[object]:
    low, high, others = row.mae_low, row.mae_high, row.to_dict()
    return [
        row.variant.replace("_", " "),
        f"{row.parameters_middle}/{row.parameters_total}" if row.kind == "model" else None,
        _figure(row.mae),
        None if low is None or high is None else f"{figure(low)} to {figure(high)}",
        skill_cell(row.skill),
        _figure(row.loss),
        *(figure(others[name]) for name in record.other_losses),
        None if row.alive is None else f"{row.alive}/{row.seeds}",
        row.hybrid_vs_says,
    ]


def _figure(value: float | None) -> str | None:
    return None if value is None else figure(value)


def _bounded(record: AblationRecord) -> list[str]:
    """How many forecasts were taken at a bound, where any were (see `qhq.evaluation.losses`)."""
    rows = [row for row in record.rows if row.bounded]
    if not rows:
        return []
    counts = ", ".join(f"{row.variant.replace('_', ' ')} {row.bounded}" for row in rows)
    what = (
        "prices without an implied volatility"
        if record.loss == "over_strike"
        else "volatilities a hundred times too low or too high"
    )
    return [f"Taken at the bound, {what}, all seeds together: {counts}"]
