"""``qhq model``: the whole model as one diagram, and step by step as a table; nothing of it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qhq.cli.command import Debug, Json, Set, command, plain_table
from qhq.cli.completion import complete_subject


def model(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN or CONFIG]",
            help="A run or a config; the latest run if left out.",
            autocompletion=complete_subject,
        ),
    ] = None,
    overrides: Set = None,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="Picture to write: .png, .svg or .pdf.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show a model step by step: the shape of what leaves each, its weights, and the circuit opened up.

    Of a run, its folder says it all and nothing is opened. A model is drawn without being run or changed.

    Example: qhq model experiments/quickstart --output model.svg
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.api.parts import draw_model

        diagram = draw_model(subject, set=overrides, output=out)
        rows: list[list[object]] = []
        for step in diagram.steps:
            rows.append([step.title, "; ".join(step.lines), step.shape_text, step.weights or ""])
            rows += [[f"  {part.title}", "; ".join(part.lines), "", ""] for part in step.parts]
        table = plain_table(["step", "made of", "shape", "weights"], rows, title=diagram.title)
        total = [] if diagram.weights is None else [f"{diagram.weights:,} trained weights in all."]
        wrote = [] if out is None else [f"Wrote {out}"]
        facts = {**diagram.to_dict(), **({} if out is None else {"path": str(out)})}
        output.result(facts, table, *total, *wrote)
