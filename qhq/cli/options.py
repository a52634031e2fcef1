"""Options that several commands share, so that each reads the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a config key, such as training.epochs=5."),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="NAME",
        help="A doubt that you looked at, such as future_column:ret; recorded with your name. Repeatable.",
    ),
]
Run = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="A run folder or its name; the latest finished run if left out."),
]
Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="A Dask scheduler's, instead of processes here."),
]
