"""``qhq doctor``: why a quantum layer is dead or idle, and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.command import Debug, Json, Set, command, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.data.plausibility import LeakDoubt
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
        from qhq.api.parts import diagnose

        found = diagnose(subject, set=overrides)
        output.result(found.to_dict(), *_parts(found.subject, found.diagnosis, found.doubts))
        if not found.healthy:
            raise typer.Exit(1)


def _parts(looked_at: str, diagnosis: Diagnosis, doubts: tuple[LeakDoubt, ...]) -> list[str | Table]:
    from qhq.data.plausibility import open_doubts
    from qhq.diagnostics.doctor.checks import CHECKS

    waiting = [doubt.code for doubt in open_doubts(doubts)]
    # A model may be sound and its data not.
    but = f" But its data are in doubt: {', '.join(waiting)}." if waiting else ""
    doubted = [doubt.sentence() for doubt in doubts]
    if not diagnosis.findings:
        state = "The model is healthy, its data are in doubt" if waiting else "Healthy"
        return [f"{state}: {looked_at}. {len(CHECKS)} checks found nothing.", *doubted]
    state = "Healthy, with remarks" if diagnosis.healthy else "Not healthy"
    lines = (part for each in diagnosis.findings for part in _lines(each))
    return [f"{state}: {looked_at}.{but}", *doubted, *lines]


def _lines(finding: Finding) -> list[str | Table]:
    rows = [[name, _figure(value)] for name, value in finding.evidence.items()]
    title = f"\n{finding.severity.upper()} {finding.code}\n  {finding.message}\n  Fix: {finding.fix}."
    return [title, plain_table(["evidence", ""], rows)]


def _figure(value: object) -> object:
    return f"{value:.7g}" if isinstance(value, float) else value
