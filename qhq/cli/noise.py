"""``qhq noise``: errors of a checkpoint against noise strength and shots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from qhq.cli.command import Cluster, Debug, Json, Run, command, figure, plain_table, say_subset
from qhq.limits import MOST_COUNT, MOST_SEED, MOST_THREADS

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.runs.studies import NoiseRecord


def noise(
    run: Run = None,
    backend: Annotated[
        str, typer.Option("--backend", help="A simulated backend with noise: aer_noisy, fake_fez, ...")
    ] = "aer_noisy",
    scale: Annotated[
        str, typer.Option("--scale", help="Noise strengths; 0 is none, 1 the device itself.")
    ] = "0,0.25,0.5,1,2,4",
    shots: Annotated[str, typer.Option("--shots", help="Shots, or the word exact.")] = "exact,256,1024,4096",
    seeds: Annotated[
        int, typer.Option("--seeds", min=2, max=MOST_COUNT, help="Streams of shots a cell is repeated for.")
    ] = 3,
    samples: Annotated[
        int | None, typer.Option("--samples", min=2, max=MOST_COUNT, help="Seeded subset of N test windows.")
    ] = 128,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the shots and of the subset.")
    ] = 0,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=MOST_THREADS, help="Processes; this one alone if left out."),
    ] = None,
    cluster: Cluster = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure forecast and expectation error against noise strength and shots; resumable.

    Example: qhq noise --backend fake_nairobi --scale 0,1,2 --shots exact,1024
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.api.run import Run as TrainedRun
        from qhq.api.study import Study
        from qhq.runs.looks import say_looks
        from qhq.runs.run_folder import find_run

        def show(study: Study) -> None:
            record, path = study.record, study.record["figure"]
            said = [
                record["verdict"],
                *say_subset(record["mae_sampling_error"]),
                *say_looks(record["looks"]),
                *([] if path is None else [f"Figure {path}"]),
            ]
            output.result(record, f"Run {record['run']}", _table(cast("NoiseRecord", record)), *said)

        TrainedRun(find_run(run)).noise(
            backend, scale=scale, shots=shots, seeds=seeds, samples=samples, seed=seed, workers=workers,
            cluster=cluster, progress=True, on_result=show,
        )  # fmt: skip


def _table(record: NoiseRecord) -> Table:
    columns = (
        "scale",
        "shots",
        "MAE",
        "change of MAE",
        "skill %",
        "95 % interval",
        "against last value",
        "mean |<O> - exact|",
        "95 % interval",
    )
    rows = [
        [
            f"{row['scale']:g}",
            row["shots"] or "exact",
            figure(row["mae"]),
            f"{row['delta_mae']:+.3g}",
            f"{100 * row['skill']:+.3f}",
            # Where nothing was drawn there is no interval, and none of width zero.
            "-"
            if row["skill_low"] == row["skill_high"]
            else f"{100 * row['skill_low']:+.3f} to {100 * row['skill_high']:+.3f}",
            row["against_naive"],
            f"{row['expectation_error']:.2e}",
            "-"
            if row["expectation_error_low"] == row["expectation_error_high"]
            else f"{row['expectation_error_low']:.1e} to {row['expectation_error_high']:.1e}",
        ]
        for row in record["rows"]
    ]
    title = f"{record['backend']}, {record['samples']} windows; last-value MAE {figure(record['naive_mae'])}"
    return plain_table(columns, rows, title=title)
