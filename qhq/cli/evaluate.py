"""``qhq eval``: one checkpoint on one or more backends."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.command import (
    Debug,
    Json,
    Run,
    command,
    metrics_table,
    plain_table,
    say_sampling_error,
    say_strongest,
)
from qhq.cli.completion import complete_backend
from qhq.cli.jobs import ask_to_send, cost_table, hardware
from qhq.limits import MOST_COUNT, MOST_SEED, MOST_SHOTS
from qhq.progress import doing
from qhq.runs.run_folder import find_run

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.runs.answers import EvaluationRecord


def evaluate(
    run: Run = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            help="Entry of backends.yaml, a device, or a glob; repeat it for several.",
            autocompletion=complete_backend,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option("--samples", min=1, max=MOST_COUNT, help="Evaluate a seeded subset of N test windows."),
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option(
            "--shots", min=1, max=MOST_SHOTS, help="Shots instead of the entry's, on sampling backends."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the shots and of the subset.")
    ] = 0,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="FILE", help="Evaluate on other data than the run's, such as new rows."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="data.KEY=VALUE", help="Change where the data comes from."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="First target to evaluate; the start of the run's test split if left out.",
        ),
    ] = None,
    mitigation: Annotated[
        list[str] | None,
        typer.Option(
            "--mitigation",
            metavar="METHOD",
            help="Against noise: none, trex, zne, pec, affine, head, or all of them that a backend can carry"
            " out; repeat it for several.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost on hardware; send nothing.")
    ] = False,
    service: Annotated[
        bool,
        typer.Option(
            "--service",
            help="With --dry-run: also the service's own dry run, which sends jobs that cost nothing.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send to hardware without asking.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Evaluate a run's checkpoint on backends, beside the last-value forecast and the exact simulator.

    With --data, --set or --since it is evaluated on other data than its own, with the scalers of its
    training; what lies in its training and validation splits is left out unless --since asks for it.

    Example: qhq eval --backend aer --backend fake_fez --backend ibm_fez --samples 64 --dry-run
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.api.evaluation import Evaluation
        from qhq.api.run import Run
        from qhq.experiment.words import say_untrained

        doing("Opening the run and its prices")
        opened = Run(find_run(run))
        if run is None:
            output.note(f"Run {opened.name}, the latest finished one.")

        def ask(forecast: Evaluation) -> bool:
            return ask_to_send(output, forecast.read().costs)

        def show(evaluation: Evaluation) -> None:
            record = evaluation.read()
            if dry_run:
                output.result(evaluation.record, cost_table(record.costs), *_left_out(record))
                return
            first = f"Run {record.run}", *say_untrained(opened.read()), *_other_data(record)
            tables = [_metrics(record), _portability(record), *_mitigation(record)]
            output.result(evaluation.record, *first, *tables, *_notes(record), *_left_out(record))

        with hardware(output, yes=yes, run=opened.name):
            opened.evaluate(
                *backend or [], samples=samples, shots=shots, seed=seed, data=data, set=overrides,
                since=None if since is None else since.date(), mitigation=mitigation or (),
                dry_run=dry_run, service=service,
                yes=yes or ask, progress=True, on_result=show,
            )  # fmt: skip


_DATA = {False: "Other data than the run's", True: "The run's own data, other dates"}


def _left_out(record: EvaluationRecord) -> list[str]:
    return [
        *(f"Left out {each.backend}: {each.reason}." for each in record.skipped),
        *(f"Left out {each.mitigation} on {each.backend}: {each.reason}." for each in record.refused),
    ]


def _metrics(record: EvaluationRecord) -> Table:
    from qhq.evaluation.baselines.catalogue import label_of

    results = record.results
    rows = [(result.label, result.metrics) for result in results]
    beside = {"naive": results[0].naive, **results[0].baselines}
    others = [(label_of(name), each) for name, each in beside.items()]
    other = record.other_data
    title = "Test split" if other is None else _DATA[other.same_rows]
    return metrics_table(f"{title}, {results[0].samples} windows", [*rows, *others])


def _mitigation(record: EvaluationRecord) -> list[Table]:
    """What each method against noise costs and is worth; no table where none was asked for."""
    rows = [result for result in record.results if result.mitigation]
    if not rows:
        return []
    columns = ("backend", "mitigation", "shots in all", "device s", "bias", "variance", "error saved, %",
               "95 % interval")  # fmt: skip
    cells = [
        [
            row.backend,
            row.mitigation,
            row.said_shots if row.shots is None else row.executions,
            _or_dash(row.device_seconds, "{:.1f}"),
            _or_dash(row.expectation_bias, "{:.2e}"),
            _or_dash(row.expectation_variance, "{:.1e}"),
            "-" if row.gain is None else f"{100 * row.gain:+.2f}",
            "-"
            if row.gain_low is None or row.gain_high is None
            else f"{100 * row.gain_low:+.2f} to {100 * row.gain_high:+.2f}",
        ]
        for row in rows
    ]
    return [plain_table(columns, cells, title="Error mitigation, beside the same backend without it")]


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _other_data(record: EvaluationRecord) -> list[str]:
    """Say which other data than the run's own was evaluated, if any."""
    other = record.other_data
    if other is None:
        return []
    origin = other.path or f"source {other.source}"
    compared = f"{_DATA[other.same_rows]}: {origin}, targets from {other.first} to {other.last}."
    return [
        compared,
        "Scalers are the run's own; nothing was fitted anew.",
        *(f"{note}." for note in other.notes),
    ]


def _portability(record: EvaluationRecord) -> Table:
    columns = ("backend", "shots", "change of MAE", "change of skill, %", "mean |<O> - exact|", "s.e. of <O>",
               "depth", "2q gates", "layout", "calibration", "QPU s", "wall s")  # fmt: skip
    rows = [
        [
            result.label,
            result.said_shots,
            None if result.delta_mae is None else f"{result.delta_mae:+.3g}",
            None if result.delta_skill is None else f"{100 * result.delta_skill:+.3g}",
            None if result.expectation_error is None else f"{result.expectation_error:.2e}",
            None if result.expectation_std is None else f"{result.expectation_std:.1e}",
            result.depth,
            result.two_qubit_gates,
            result.layout,
            (result.calibration or "")[:10] or None,
            f"{result.qpu_seconds:.1f}" if result.kind == "ibm" else None,
            f"{result.wall_seconds:.1f}",
        ]
        for result in record.results
    ]
    used = [place for place in range(len(columns)) if any(row[place] is not None for row in rows)]
    return plain_table(
        [columns[place] for place in used],
        [[row[place] for place in used] for row in rows],
        title="Each backend against the exact simulator",
    )


def _notes(record: EvaluationRecord) -> list[str]:
    from qhq.experiment.words import say_pooled
    from qhq.runs.looks import say_looks

    notes = [f"{result.backend}: {result.note}." for result in record.results if result.note]
    notes = list(dict.fromkeys(notes))  # each method on a backend has the backend's
    if record.results[0].depth is None:
        notes = ["This run has no quantum layer: every backend gives the same forecast."]
    notes += say_strongest({"naive": record.results[0].naive, **record.results[0].baselines})
    notes += say_pooled({each.label: each.metrics for each in record.results}, record.results[0].naive)
    notes += [f"{record.mape_reason}."] if record.mape_reason else []
    whole = "test split" if record.other_data is None else "other data"
    notes += say_sampling_error(record.results[0].mae_sampling_error, whole)
    what = "This test split has" if record.other_data is None else "These sessions have"
    return [*notes, *say_looks(record.looks, what)]
