"""The entry point ``qhq``: commands by name, nothing heavy imported before one runs."""

from __future__ import annotations

import typer

from qhq import __version__
from qhq.cli import ablate, backends, circuit, compare, data, doctor, evaluate, jobs, noise, sweep, train

app = typer.Typer(
    name="qhq",
    help="Take a hybrid quantum-classical forecasting model from the notebook to quantum hardware.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("noise")(noise.noise)
app.command("doctor")(doctor.doctor)
app.command("ablate")(ablate.ablate)
app.command("sweep")(sweep.sweep)
app.command("compare")(compare.compare)
app.add_typer(circuit.app, name="circuit")
app.add_typer(backends.app, name="backends")
app.add_typer(jobs.app, name="jobs")
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    """Take a hybrid quantum-classical forecasting model from the notebook to quantum hardware."""
    if show:
        typer.echo(f"qhq {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()
