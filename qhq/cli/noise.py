"""``qhq noise``: errors of a checkpoint against noise strength and shots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.command import Cluster, Debug, Json, Run, command, figure, plain_table, say_sampling_error
from qhq.cli.completion import complete_backend
from qhq.limits import MOST_COUNT, MOST_SEED, MOST_THREADS

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.runs.studies import NoiseRecord


# Lists, so that an option which is given twice adds to the first: of two texts the last alone would count.
_SCALES, _SHOTS = ["0,0.25,0.5,1,2,4"], ["exact,256,1024,4096"]


def noise(
    run: Run = None,
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            help="A simulated backend with noise: aer_noisy, fake_fez, ...",
            autocompletion=complete_backend,
        ),
    ] = "aer_noisy",
    scale: Annotated[
        list[str],
        typer.Option("--scale", metavar="A,B,..", help="Noise strengths; 0 is none, 1 the device itself."),
    ] = _SCALES,
    shots: Annotated[
        list[str], typer.Option("--shots", metavar="A,B,..", help="Shots, or the word exact.")
    ] = _SHOTS,
    seeds: Annotated[
        int, typer.Option("--seeds", min=2, max=MOST_COUNT, help="Streams of shots a cell is repeated for.")
    ] = 3,
    samples: Annotated[
        int | None, typer.Option("--samples", min=2, max=MOST_COUNT, help="Seeded subset of N test windows.")
    ] = 128,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the shots and of the subset.")
    ] = 0,
    mitigation: Annotated[
        list[str] | None,
        typer.Option(
            "--mitigation",
            metavar="METHOD",
            help="Rank methods against noise: none, trex, zne, pec, affine, head, or all; repeat it.",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="NAME",
            help="Another simulated backend with noise, or the device on another day; repeat it for several.",
            autocompletion=complete_backend,
        ),
    ] = None,
    qubits: Annotated[
        list[str] | None,
        typer.Option(
            "--qubits",
            metavar="A,B,..",
            help="Widths of the circuit by itself, at random angles, such as 2,4,6.",
        ),
    ] = None,
    depth: Annotated[
        list[str] | None,
        typer.Option(
            "--depth",
            metavar="A,B,..",
            help="Layers of the circuit by itself, at random angles, such as 1,2,4.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=MOST_THREADS, help="Processes; this one alone if left out."),
    ] = None,
    cluster: Cluster = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure forecast and expectation error against noise strength, shots and devices; resumable.

    It also says which part of the error comes from where, and with --mitigation what pays against noise.

    Example: qhq noise --backend fake_nairobi --scale 0,1,2 --shots exact,1024 --mitigation all
    """
    with command(as_json=json, debug=debug, continues=True) as output:
        from qhq.api.run import Run as TrainedRun
        from qhq.api.study import StudyResult
        from qhq.experiment.words import say_untrained
        from qhq.runs.looks import say_looks
        from qhq.runs.run_folder import find_run

        def show(study: StudyResult[NoiseRecord]) -> None:
            record = study.found
            paths = record.figure, record.budget_figure
            said = [
                *say_untrained(opened.read()),
                record.verdict,
                *_mitigation(record),
                *_budget(record),
                *_sizes(record),
                *say_sampling_error(record.mae_sampling_error),
                *say_looks(record.looks),
                *(f"Figure {path}" for path in paths if path is not None),
            ]
            output.result(study.record, f"Run {record.run}", _table(record), *said)

        opened = TrainedRun(find_run(run))
        opened.noise(
            backend, scale=",".join(scale), shots=",".join(shots), seeds=seeds, samples=samples, seed=seed,
            mitigation=mitigation or (), against=against or (), qubits=",".join(qubits or ()),
            depth=",".join(depth or ()), workers=workers, cluster=cluster, progress=True, on_result=show,
        )  # fmt: skip


def _table(record: NoiseRecord) -> Table:
    several = len({row.backend for row in record.rows}) > 1
    columns = (
        *(["backend"] if several else []),
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
            *([row.backend] if several else []),
            f"{row.scale:g}",
            row.shots or "exact",
            figure(row.mae),
            f"{row.delta_mae:+.3g}",
            f"{100 * row.skill:+.3f}",
            # Where nothing was drawn there is no interval, and none of width zero.
            "-"
            if row.skill_low == row.skill_high
            else f"{100 * row.skill_low:+.3f} to {100 * row.skill_high:+.3f}",
            row.against_naive,
            f"{row.expectation_error:.2e}",
            "-"
            if row.expectation_error_low == row.expectation_error_high
            else f"{row.expectation_error_low:.1e} to {row.expectation_error_high:.1e}",
        ]
        for row in record.rows
    ]
    # Or "ahead" would be read as a test of the forecast, which these few windows are not.
    title = (
        f"{record.backend}, {record.samples} windows; last-value MAE {figure(record.naive_mae)}. Intervals,"
        " and what they are called against the last value, are over shots: other windows may differ"
    )
    return plain_table(columns, rows, title=title)


def _mitigation(record: NoiseRecord) -> list[Table | str]:
    """The methods against noise, at each number of shots those that save most first."""
    rows = record.mitigation
    if not rows:
        return []
    from qhq.evaluation.significance import say_p_value

    columns = ("shots", "mitigation", "shots in all", "device s", "bias", "variance", "error saved, %",
               "95 % interval", "p (Holm)", "against none")  # fmt: skip
    cells = [
        [
            row.shots or "exact",
            row.mitigation,
            None if row.shots is None else row.executions,
            f"{row.device_seconds or 0:.1f}",
            f"{row.expectation_bias:.2e}",
            f"{row.expectation_variance:.1e}",
            "-" if row.gain is None else f"{100 * row.gain:+.3f}",
            "-"
            if row.gain_low is None or row.gain_high is None
            else f"{100 * row.gain_low:+.3f} to {100 * row.gain_high:+.3f}",
            "-" if row.p_holm is None else say_p_value(row.p_holm),
            row.against_none or "-",
        ]
        for row in rows
    ]
    left_out = [f"Left out {each.mitigation}: {each.reason}." for each in record.refused]
    title = f"Error mitigation on {record.backend}, beside none"
    return [plain_table(columns, cells, title=title), str(record.mitigation_verdict), *left_out]


def _sizes(record: NoiseRecord) -> list[Table | str]:
    """The circuit at other sizes, and what was left out."""
    rows = record.sizes
    if not rows:
        return []
    columns = ("backend", "qubits", "depth", "physical qubits", "2-qubit gates", "mean |<O> - exact|",
               "95 % interval", "kept of the values", "their spread")  # fmt: skip
    cells = [
        [
            row.backend,
            row.qubits,
            row.depth,
            row.physical_qubits,
            row.two_qubit_gates,
            f"{row.expectation_error:.2e}",
            f"{row.expectation_error_low:.1e} to {row.expectation_error_high:.1e}",
            None if row.kept is None else f"{row.kept:.3f}",
            f"{row.spread:.3f}",
        ]
        for row in rows
        if not row.left_out
    ]
    left_out = [
        f"Left out {row.qubits} qubits, depth {row.depth} on {row.backend}: {row.left_out}."
        for row in rows
        if row.left_out
    ]
    title = "The circuit by itself at other sizes, angles drawn at random, exact values; no forecast"
    return [*([plain_table(columns, cells, title=title)] if cells else []), *left_out]


def _budget(record: NoiseRecord) -> list[Table | str]:
    """Where the error comes from; why there is no budget, where there is none."""
    from qhq.evaluation.losses import TITLES as LOSS_TITLES
    from qhq.runs.studies import BUDGET_TITLES

    budget = record.budget
    if budget is None:
        return [f"{record.budget_reason}."]
    parts = [*budget.components, budget.total]
    cells = [
        [
            BUDGET_TITLES.get(part.component, part.component),
            f"{part.value:+.4g}",
            "-" if part.low is None else f"{part.low:+.4g} to {part.high:+.4g}",
            "-" if part.share is None else f"{100 * part.share:+.2f}",
        ]
        for part in parts
    ]
    loss = LOSS_TITLES.get(budget.loss, budget.loss)
    title = f"Error budget: {loss} (that of the last value is {budget.naive:.4g})"
    table = plain_table(("part", "adds", "95 % interval", "% of all"), cells, title=title)
    left_out = [
        f"Left out: {BUDGET_TITLES.get(name, name)}, {reason}." for name, reason in budget.left_out.items()
    ]
    return [table, budget.verdict, *left_out]
