"""``qhq sweep``: the staged search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.command import Cluster, Debug, Json, Set, command, figure, plain_table, skill_cell
from qhq.cli.completion import complete_config
from qhq.limits import MOST_THREADS

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.runs.studies import FinalRecord, FinalRow, PointRow, SetRecord, StageRecord, SweepRecord


_SHOWN_ROWS = 12
_STAGED = "experiments/staged"


def sweep(
    config: Annotated[
        str,
        typer.Argument(
            metavar="[CONFIG]",
            help="A sweep's YAML or folder; the shipped one if left out.",
            autocompletion=complete_config,
        ),
    ] = _STAGED,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=MOST_THREADS, help="Processes; the cores if left out."),
    ] = None,
    cluster: Cluster = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Refuse to begin anew: go on with one that was cut off.")
    ] = False,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Search stage by stage by the validation split, then test the winner with fresh seeds.

    The same call goes on where one was cut off. --set changes keys of the sweep.

    Example: qhq sweep experiments/staged --workers 2
    """
    with command(as_json=json, debug=debug, continues=True) as output:
        from qhq.api.study import sweep as search

        search(
            config, workers=workers, cluster=cluster, resume=resume, set=overrides, progress=True,
            on_result=lambda study: output.result(study.record, *_parts(study.found)),
        )  # fmt: skip


def _parts(record: SweepRecord) -> list[str | Table]:
    from qhq.runs.looks import say_looks

    parts: list[str | Table] = []
    for stage in record.stages:
        parts += [_stage_table(stage, record.metric), *_stage_lines(stage)]
    if record.final is not None:
        parts += [_final_table(record.final), *_say_set(record.final.confidence_set)]
    folder = Path(record.folder)
    places = [f"Winner {folder / 'winner.yaml'}", *(f"Figure {path}" for path in record.figures)]
    looks = [] if record.final is None else say_looks(record.final.looks)
    return [*parts, record.verdict, *looks, *places]


def _stage_table(stage: StageRecord, metric: str) -> Table:
    shown = stage.rows[:_SHOWN_ROWS]
    # A simpler point that ties with the best is chosen before it, and may stand far down.
    shown += [row for row in stage.rows[_SHOWN_ROWS:] if row.chosen]
    columns = [*(key.rpartition(".")[2] for key in stage.keys)]
    columns += [f"{metric}/last value", "over seeds", "parameters", "epochs", "healthy", "may be best", ""]
    rows = [[*(_short(row.to_dict()[key]) for key in stage.keys), *_row_cells(row)] for row in shown]
    more = (
        f", the {_SHOWN_ROWS} of lowest error and the chosen one shown"
        if len(shown) < len(stage.rows)
        else ""
    )
    title = f"Stage {stage.stage} ({stage.search}): {stage.points} points{more}, validation split"
    return plain_table(columns, rows, title=title)


def _row_cells(row: PointRow) -> list[object]:
    spread = None if row.low is None else f"{row.low:.4f} to {row.high:.4f}"
    word = "chosen" if row.chosen else "ties" if row.tied else row.status
    in_set = {True: "yes", False: "no", None: None}[row.in_set]
    value = None if row.value is None else f"{row.value:.4f}"
    healthy = f"{row.healthy}/{row.seeds}"
    marks = [in_set, "" if word == "finished" else word]
    return [value, spread, row.parameters, row.epochs, healthy, *marks]


def _stage_lines(stage: StageRecord) -> list[str]:
    from qhq.evaluation.significance import say_p_value
    from qhq.studies.sweep.study import say_choice

    lines = [f"{stage.noise.sentence}.", *_say_set(stage.confidence_set), say_choice(stage)]
    lines += [
        f"Rank correlation of the error with {trend.key} {trend.rho:+.2f}"
        f" ({trend.low:+.2f} to {trend.high:+.2f}), p {say_p_value(trend.p_value)}"
        for trend in stage.trends
    ]
    return lines


def _say_set(found: SetRecord | None) -> list[str]:
    return [] if found is None else [f"{found.sentence}."]


def _final_table(final: FinalRecord) -> Table:
    columns = ["", "seeds", "MAE", "MAPE %", "MASE", "its 95 % interval", "skill %", "vs last value"]
    others = [key for key in ("vs_baseline", "vs_start") if any(key in row.to_dict() for row in final.rows)]
    columns += [key.replace("_", " ").replace("baseline", final.baseline) for key in others]
    rows = [_final_cells(row, others) for row in final.rows]
    seeds = f"{final.seeds[0]} to {final.seeds[-1]}" if len(final.seeds) > 1 else final.seeds[0]
    what = f"{final.windows} forecasts on {final.dates} dates, seeds {seeds}"
    title = f"Final, test split: {what}"
    return plain_table(columns, rows, title=title)


def _final_cells(row: FinalRow, others: Sequence[str]) -> list[object]:
    from qhq.studies.comparisons import say_found

    low = row.mase_low
    # Where there are too few for an interval, the value of each seed.
    each_seed = ", ".join(f"{value:.4f}" for value in row.mase_seeds or ())
    return [
        row.variant.replace("_", " "),
        row.seeds,
        *(None if each is None else figure(each) for each in (row.mae, row.mape, row.mase)),
        (f"{each_seed} (each seed)" if each_seed else None)
        if low is None
        else f"{low:.4f} to {row.mase_high:.4f}",
        skill_cell(row.skill),
        *(say_found(row.to_dict(), key) for key in ("vs_naive", *others)),
    ]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
