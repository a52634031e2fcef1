"""``qhq report``: one HTML file about a run, several runs, a sweep or an ablation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qhq.cli.command import Debug, Json, command
from qhq.cli.completion import complete_run
from qhq.errors import ConfigError


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            autocompletion=complete_run,
            help="A run; several, a folder of them or a glob; or the folder of a sweep or an ablation."
            " The latest finished run if left out.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; report.html in the folder if left out."),
    ] = None,
    landscape: Annotated[
        bool,
        typer.Option(
            "--landscape", help="First measure the loss around the run's weights, which takes a while."
        ),
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write everything that a run knows into one HTML file that needs nothing else.

    Example: qhq report latest --output run.html
    """
    with command(as_json=json, debug=debug) as output:
        from qhq.api.report import write_report

        if landscape:
            from qhq.api.run import open_run

            if runs and len(runs) > 1:
                raise ConfigError(
                    "--landscape is measured for one run", got=f"{len(runs)} runs", fix="Name one of them"
                )
            open_run(runs[0] if runs else None).landscape(progress=True)
        path = write_report(*runs or [], output=out, progress=True)
        output.result({"path": str(path), "bytes": path.stat().st_size}, f"Wrote {path}")
