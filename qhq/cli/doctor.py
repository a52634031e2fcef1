"""``qhq doctor``: why a quantum layer is dead or idle, and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qhq.cli.command import Debug, Json, Set, command, plain_table
from qhq.cli.completion import complete_subject
from qhq.errors import apart

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.diagnostics.doctor.finding import Finding
    from qhq.experiment.checkup import Examination


def doctor(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN or CONFIG]",
            help="A run or a config; the latest run if left out.",
            autocompletion=complete_subject,
        ),
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
        output.result(found.to_dict(), *_people(found))
        if not found.healthy:
            raise typer.Exit(1)


def _people(found: Examination) -> list[str | Table]:
    from qhq.data.plausibility import open_doubts
    from qhq.diagnostics.doctor.checks import CHECKS

    waiting = [doubt.code for doubt in open_doubts(found.doubts)]
    # A model may be sound and its data not.
    but = f" But its data are in doubt: {', '.join(waiting)}." if waiting else ""
    doubted = [doubt.sentence() for doubt in found.doubts]
    # Most checks look at a circuit: without one they pass over the model, and their silence says nothing.
    without = (
        " It has no circuit to check: only the forward pass, the gradients, the weights and the forecasts"
    )
    if not found.findings:
        state = "The model is healthy, its data are in doubt" if waiting else "Healthy"
        checked = f" {len(CHECKS)} checks found nothing." if found.circuit else f"{without} were looked at."
        return [f"{state}: {found.subject}.{checked}", *doubted, *_measured(found)]
    state = "Healthy, with remarks" if found.healthy else "Not healthy"
    lines = (line for each in found.findings for line in _lines(each))
    checked = "" if found.circuit else f"{without} were looked at."
    return [f"{state}: {found.subject}.{but}{checked}", *doubted, *lines]


def _measured(found: Examination) -> list[Table]:
    """What a healthy model was judged by: the figures nearest to a fault, beside what would be one."""
    rows = []
    for each in found.diagnosis.measured:
        value, limit = apart(each.value, each.limit, digits=3)
        rows.append([each.name, value, f"{'below' if each.below else 'above'} {limit}", each.where or None])
    return [plain_table(["measured", "", "a fault if", "in"], rows)] if rows else []


def _lines(finding: Finding) -> list[str | Table]:
    rows = [
        [name, f"{value:.7g}" if isinstance(value, float) else value]
        for name, value in finding.evidence.items()
    ]
    title = f"\n{finding.severity.upper()} {finding.code}\n  {finding.message}\n  Fix: {finding.fix}."
    return [title, plain_table(["evidence", ""], rows)]
