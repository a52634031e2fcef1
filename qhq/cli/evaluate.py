"""``qhq eval``: one checkpoint on one or more backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from qhq.cli.options import Debug, Json, Run
from qhq.cli.output import command, metrics_table, plain_table

if TYPE_CHECKING:
    from rich.table import Table


def evaluate(
    run: Run = None,
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", help="Entry of backends.yaml, or a glob; repeat it for several."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="Evaluate a seeded subset of N test windows.")
    ] = None,
    shots: Annotated[
        int | None, typer.Option("--shots", min=1, help="Shots instead of the entry's, on sampling backends.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the shots and of the subset.")] = 0,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Evaluate a run's checkpoint on backends, beside the naive forecast and the exact simulator.

    Example: qhq eval --backend aer --backend aer_shots --shots 1024
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.studies.portability import EvalRequest, evaluate_run
        from qhq.tracking.run_folder import find_run

        request = EvalRequest(tuple(backend or ["aer"]), samples=samples, shots=shots, seed=seed)
        record = evaluate_run(find_run(run), request)
        output.result(record, f"Run {record['run']}", _metrics(record), _portability(record))


def _metrics(record: dict[str, Any]) -> Table:
    results = record["results"]
    rows = [(result["backend"], result["metrics"]) for result in results]
    naive = ("naive (last value)", results[0]["naive"])
    return metrics_table(f"Test part, {results[0]['samples']} windows", [*rows, naive])


def _portability(record: dict[str, Any]) -> Table:
    title = "What each backend cost, against the exact simulator"
    columns = ("backend", "shots", "change of MAE", "mean |<O> - exact|", "depth", "two-qubit gates")
    rows = [
        [
            result["backend"],
            result["shots"] or "exact",
            f"{result['delta_mae']:+.6f}",
            None if result["expectation_error"] is None else f"{result['expectation_error']:.2e}",
            result["depth"],
            result["two_qubit_gates"],
        ]
        for result in record["results"]
    ]
    return plain_table(columns, rows, title=title)
