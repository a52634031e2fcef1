"""``qhq doctor``: why a quantum layer is dead or idle, and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.options import Debug, Json, Set
from qhq.cli.output import command, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.diagnostics.doctor.finding import Diagnosis, Finding


def doctor(
    subject: Annotated[
        str | None,
        typer.Argument(metavar="[RUN or CONFIG]", help="A run or a config; the latest run if left out."),
    ] = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Look at a model before or after training: name each fault, its figures and its fix.

    Exit status 1 if a fault is an error. A run with --set is looked at as it would begin with those keys.

    Example: qhq doctor experiments/quickstart --set model.activation_before=relu
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.experiment.checkup import examine_subject

        found = examine_subject(subject, overrides or [])
        diagnosis = found.diagnosis
        record = {**diagnosis.to_dict(), "leaks": list(found.leaks)}
        output.result(record, *_parts(found.subject, diagnosis))
        if not diagnosis.healthy:
            raise typer.Exit(1)


def _parts(looked_at: str, diagnosis: Diagnosis) -> list[str | Table]:
    from qhq.diagnostics.doctor.checks import CHECKS

    if not diagnosis.findings:
        return [f"Healthy: {looked_at}. {len(CHECKS)} checks found nothing."]
    state = "Healthy, with remarks" if diagnosis.healthy else "Not healthy"
    return [f"{state}: {looked_at}.", *(part for each in diagnosis.findings for part in _lines(each))]


def _lines(finding: Finding) -> list[str | Table]:
    rows = [[name, _figure(value)] for name, value in finding.evidence.items()]
    title = f"\n{finding.severity.upper()} {finding.code}\n  {finding.message}\n  Fix: {finding.fix}."
    return [title, plain_table(["evidence", ""], rows)]


def _figure(value: object) -> object:
    return f"{value:.7g}" if isinstance(value, float) else value
