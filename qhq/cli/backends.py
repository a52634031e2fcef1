"""``qhq backends``: the registry of backends."""

from __future__ import annotations

from typing import Annotated

import typer

from qhq.cli.options import Debug, Json
from qhq.cli.output import command, plain_table

app = typer.Typer(help="The registry of backends, backends.yaml.", no_args_is_help=True)


@app.command("list")
def list_backends(json: Json = False, debug: Debug = False) -> None:
    """List the entries of backends.yaml."""
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.spec import load_backends

        rows = [{"name": name, **spec.model_dump(mode="json")} for name, spec in load_backends().items()]
        cells = [
            [row["name"], row["kind"], row["shots"] or "exact", row["gradient"], row["description"]]
            for row in rows
        ]
        columns = ("backend", "kind", "shots", "gradient", "description")
        output.result({"rows": rows}, plain_table(columns, cells))


@app.command("show")
def show_backend(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An entry of backends.yaml.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show one entry, every field spelled out."""
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.spec import find_backend
        from qhq.documents import dump_document

        spec = find_backend(name)
        output.result({"name": name, **spec.model_dump(mode="json")}, dump_document(spec).rstrip())
