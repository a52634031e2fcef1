"""``qhq backends``: the registry of backends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qhq.cli.command import Debug, Json, Verbatim, command, plain_table
from qhq.cli.completion import complete_backend
from qhq.cli.jobs import hardware

app = typer.Typer(help="The registry of backends, backends.yaml.", no_args_is_help=True)


@app.command("list")
def list_backends(json: Json = False, debug: Debug = False) -> None:
    """List the entries of backends.yaml."""
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.registry import load_backends

        rows = [{"name": name, **spec.model_dump(mode="json")} for name, spec in load_backends().items()]
        cells = [
            [row["name"], row["kind"], row["shots"] or "infinite", row["gradient"], row["description"]]
            for row in rows
        ]
        columns = ("backend", "kind", "shots", "gradient", "description")
        output.result({"rows": rows}, plain_table(columns, cells))


@app.command("show")
def show_backend(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="An entry of backends.yaml.", autocompletion=complete_backend),
    ],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show one entry, every field spelled out."""
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.registry import find_backend
        from qhq.documents import dump_document

        spec = find_backend(name)
        output.result({"name": name, **spec.model_dump(mode="json")}, Verbatim(dump_document(spec).rstrip()))


@app.command("snapshot")
def snapshot_backend(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A device, such as ibm_fez or fake_fez.", autocompletion=complete_backend
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; NAME.json.gz if left out.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Freeze a device's configuration and calibration into a file that aer entries replay offline."""
    with command(as_json=json, debug=debug) as output, hardware(output, yes=False):
        from qhq.backends.devices.calibration import save_snapshot
        from qhq.backends.registry import read_calibration

        calibration, path = read_calibration(name), out or Path(f"{name}.json.gz")
        save_snapshot(calibration, path)
        facts = {"name": name, "path": str(path), "qubits": calibration.num_qubits, "date": calibration.date}
        use = f"Replay it with an entry 'kind: aer, method: density_matrix, noise: {{snapshot: {path}}}'."
        output.result(facts, f"Wrote {path}: {calibration.num_qubits} qubits, {calibration.date}", use)


@app.command("check")
def check_backend(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="An entry of backends.yaml, or a device.", autocompletion=complete_backend
        ),
    ],
    ansatz: Annotated[str, typer.Option("--ansatz", help="The circuit to try it with.")] = "reference",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Open a backend for a circuit, through the correctness gate; on a device nothing is sent."""
    with command(as_json=json, debug=debug) as output, hardware(output, yes=False):
        from qhq.backends.registry import check_entry

        facts = check_entry(name, ansatz).facts()
        cells = [[key.replace("_", " "), value] for key, value in facts.items()]
        output.result(facts, plain_table(["", ""], cells, title="Ready"))


@app.command("schema")
def print_schema(debug: Debug = False) -> None:
    """Print the JSON Schema of backends.yaml, for editors that complete and check YAML."""
    with command(as_json=True, debug=debug) as output:
        from qhq.backends.registry import registry_schema

        output.result(registry_schema())
