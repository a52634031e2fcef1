"""``qhq eval``: one checkpoint on one or more backends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qhq.cli.hardware import hardware
from qhq.cli.heartbeat import doing
from qhq.cli.options import Debug, Json, Run
from qhq.cli.output import Output, command, figure, metrics_table, plain_table
from qhq.cli.results import LABELS
from qhq.errors import ConfigError
from qhq.limits import MOST_COUNT, MOST_SEED, MOST_SHOTS

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.studies.portability import EvalPlan


def evaluate(
    run: Run = None,
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", help="Entry of backends.yaml, a device, or a glob; repeat it for several."),
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
        from qhq.runs.run_folder import find_run
        from qhq.studies.selection import reach_backends

        if service and not dry_run:
            raise ConfigError(
                "--service needs --dry-run: it asks what jobs would cost",
                got="--service alone",
                fix="Add --dry-run, or leave --service out",
            )
        doing("Opening the run and its prices")
        folder = find_run(run)
        if run is None:
            output.note(f"Run {folder.name}, the latest finished one.")
        with hardware(output, yes=yes, run=folder.name):
            # The devices are asked while PyTorch, the run and its prices are read.
            wanted = tuple(backend or ["aer"])
            connections = reach_backends(wanted, shots)
            from qhq.experiment.other_data import OtherDataRequest
            from qhq.studies.portability import EvalRequest, plan_evaluation

            other = OtherDataRequest(data, tuple(overrides or ()), None if since is None else since.date())
            request = EvalRequest(wanted, samples, shots, seed, other)
            plan = plan_evaluation(folder, request, connections, ask_service=service)
            if dry_run:
                output.result(_forecast(plan), _costs(plan), *_left_out(_forecast(plan)))
                return
            if any(cost.jobs for cost in plan.costs) and not yes:
                _confirm(plan, output)
            record = _run(plan, output.note)
        tables = _metrics(record), _portability(record)
        first = f"Run {record['run']}", *_other_data(record)
        output.result(record, *first, *tables, *_notes(record), *_left_out(record))
        from qhq.runs.mirror import mirror_run

        mirror_run(plan.folder, output.note)


def _run(plan: EvalPlan, note: Callable[[str], None]) -> dict[str, Any]:
    from qhq.cli.steps import StudyProgress
    from qhq.studies.portability import run_evaluation

    def load_figures() -> None:
        # It takes two seconds, which a queue has to spare.
        import qhq.report.figures
        import qhq.report.portability_figure  # noqa: F401

    with StudyProgress() as progress:
        record = run_evaluation(plan, progress, load_figures)
    from qhq.data.caveat import Caveat
    from qhq.report.figures import save_figure, try_figure
    from qhq.report.portability_figure import draw_portability

    if len(record["results"]) > 1 and plan.experiment.ansatz is not None:
        path = try_figure(
            lambda path: save_figure(draw_portability(record), path, Caveat.of(record)),
            plan.folder.file("figures/portability.png"),
            note,
        )
        record["figure"] = path and str(path)
    return record


def _confirm(plan: EvalPlan, output: Output) -> None:
    if output.as_json or not sys.stdin.isatty():
        raise ConfigError(
            "A run on hardware must be confirmed",
            got=f"no --yes for {', '.join(cost.backend for cost in plan.costs)}",
            fix="Look with --dry-run what it costs, then add --yes",
        )
    output.tell(_costs(plan))
    if not typer.confirm("Send these jobs?", err=True):
        raise typer.Exit(130)


_DATA = {False: "Other data than the run's", True: "The run's own data, other dates"}


def _forecast(plan: EvalPlan) -> dict[str, Any]:
    from dataclasses import asdict

    names = [entry.name for entry in plan.entries]
    costs = [asdict(cost) for cost in plan.costs]
    return {"run": plan.folder.name, "dry_run": True, "backends": names, "samples": len(plan.windows),
            "costs": costs, "skipped": [asdict(each) for each in plan.skipped]}  # fmt: skip


def _costs(plan: EvalPlan) -> Table | str:
    from dataclasses import asdict

    if not plan.costs:
        return "No hardware among the backends: nothing to pay."
    rows = [asdict(cost) for cost in plan.costs]
    columns = list(rows[0])
    return plain_table(
        [column.replace("_", " ") for column in columns],
        [[row[column] for column in columns] for row in rows],
        title="What it would cost on hardware",
    )


def _left_out(record: dict[str, Any]) -> list[str]:
    return [f"Left out {each['backend']}: {each['reason']}." for each in record["skipped"]]


def _metrics(record: dict[str, Any]) -> Table:
    results = record["results"]
    rows = [(result["backend"], result["metrics"]) for result in results]
    naive = ("last-value forecast", results[0]["naive"])
    others = [(LABELS.get(name, name), each) for name, each in results[0]["baselines"].items()]
    other = record["other_data"]
    title = "Test split" if other is None else _DATA[other["same_rows"]]
    return metrics_table(f"{title}, {results[0]['samples']} windows", [*rows, naive, *others])


def _other_data(record: dict[str, Any]) -> list[str]:
    """Say which other data than the run's own was evaluated, if any."""
    other = record["other_data"]
    if other is None:
        return []
    origin = other["path"] or f"source {other['source']}"
    told = f"{_DATA[other['same_rows']]}: {origin}, targets from {other['from']} to {other['to']}."
    return [
        told,
        "Scalers are the run's own; nothing was fitted anew.",
        *(f"{note}." for note in other["notes"]),
    ]


def _portability(record: dict[str, Any]) -> Table:
    columns = ("backend", "shots", "change of MAE", "change of skill, %", "mean |<O> - exact|", "s.e. of <O>",
               "depth", "2q gates", "layout", "calibration", "QPU s", "wall s")  # fmt: skip
    rows = [
        [
            result["backend"],
            result["shots"] or "exact",
            f"{result['delta_mae']:+.3g}",
            None if result["delta_skill"] is None else f"{100 * result['delta_skill']:+.3g}",
            None if result["expectation_error"] is None else f"{result['expectation_error']:.2e}",
            None if result["expectation_std"] is None else f"{result['expectation_std']:.1e}",
            result["depth"],
            result["two_qubit_gates"],
            result["layout"],
            (result["calibration"] or "")[:10] or None,
            f"{result['qpu_seconds']:.1f}" if result["kind"] == "ibm" else None,
            f"{result['wall_seconds']:.1f}",
        ]
        for result in record["results"]
    ]
    used = [place for place in range(len(columns)) if any(row[place] is not None for row in rows)]
    return plain_table(
        [columns[place] for place in used],
        [[row[place] for place in used] for row in rows],
        title="What each backend cost, against the exact simulator",
    )


def _notes(record: dict[str, Any]) -> list[str]:
    from qhq.runs.looks import say_looks

    notes = [f"{result['backend']}: {result['note']}." for result in record["results"] if result["note"]]
    if record["results"][0]["depth"] is None:
        notes = ["This run has no quantum layer: every backend gives the same forecast."]
    notes += [f"{record['mape_reason']}."] if record["mape_reason"] else []
    error = record["results"][0]["mae_sampling_error"]
    if error:
        whole = "test split" if record["other_data"] is None else "other data"
        notes.append(f"A subset of the {whole}: its MAE has a standard error of {figure(error)} for that.")
    return [*notes, *say_looks(record["looks"])]
