"""The entry point ``qhq``: commands by name, nothing heavy imported before one runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from qhq import __version__
from qhq.cli import (
    ablate,
    backends,
    circuit,
    compare,
    data,
    doctor,
    evaluate,
    init,
    jobs,
    model,
    noise,
    predict,
    report,
    sweep,
    train,
)
from qhq.cli.command import end_with, secure_streams
from qhq.errors import ConfigError, visible


class Commands(TyperGroup):
    """Every command, and the one place where nothing that goes wrong leaves without an answer."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **more: Any,
    ) -> Any:
        """Run the command line; other than Typer's own it ends every failure as `end_with` says."""
        words = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(words, prog_name, complete_var, False, windows_expand_args, **more)
        as_json = "--json" in words
        try:
            status = super().main(words, prog_name, complete_var, False, windows_expand_args, **more)
            sys.stdout.flush()
        except SystemExit as ended:
            # Typer ends what nobody reads (qhq --help | head -1) with 1, which is a finding here.
            if not isinstance(ended.__context__, BrokenPipeError):
                raise
            status = end_with(ended.__context__, as_json=False)
        except Exception as error:
            if hasattr(error, "format_message"):
                status = _end_usage(error, as_json=as_json)
            elif "--debug" in words and not isinstance(error, BrokenPipeError | typer.Abort):
                raise
            else:
                status = end_with(error, as_json=as_json)
        sys.exit(status if isinstance(status, int) else 0)


def _end_usage(error: Any, *, as_json: bool) -> int:
    """Say what is wrong with a command line; Typer's box for a person, one object for a program."""
    status: int = error.exit_code
    where = getattr(getattr(error, "ctx", None), "command_path", "qhq")
    if hasattr(error.__cause__, "errors"):
        return end_with(_wrong_value(error, where), as_json=as_json)
    if as_json:
        said = error.format_message().removeprefix("Got ").rstrip(".") or "no command"
        got, fix = said, f"See {where} --help"
        if ". Did you mean " in said:
            got, _, nearest = said.partition(". ")
            fix = f"{nearest} {fix}"
        rule = ConfigError("The command line must be one of qhq's", got=got, fix=fix)
        return end_with(rule, as_json=True)
    from typer.rich_utils import rich_format_error

    if isinstance(getattr(error, "message", None), str):
        error.message = visible(error.message)
    rich_format_error(error)
    return status


def _wrong_value(error: Any, where: str) -> ConfigError:
    """The error of an option whose value is of another kind, or out of bounds."""
    from qhq.document_faults import rule_of

    fault, *_ = error.__cause__.errors()
    # Typer's own check of a date, the one kind that it does not leave to pydantic.
    dated = fault["type"] == "value_error" and "does not match the format" in fault["msg"]
    rule = "it must be a date such as 2024-01-31" if dated else rule_of(fault)
    name = max(getattr(error.param, "opts", None) or ["the value"], key=len)
    return ConfigError(
        f"{name} {rule.removeprefix('it ')}", got=f"'{fault['input']}'", fix=f"See {where} --help"
    )


app = typer.Typer(
    name="qhq",
    cls=Commands,
    help="Take a hybrid quantum-classical forecasting model from the notebook to quantum hardware.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.command("train")(train.train)
app.command("predict")(predict.predict)
app.command("eval")(evaluate.evaluate)
app.command("noise")(noise.noise)
app.command("doctor")(doctor.doctor)
app.command("ablate")(ablate.ablate)
app.command("sweep")(sweep.sweep)
app.command("compare")(compare.compare)
app.command("model")(model.model)
app.command("report")(report.report)
app.command("init")(init.init)
app.add_typer(circuit.app, name="circuit")
app.add_typer(backends.app, name="backends")
app.add_typer(jobs.app, name="jobs")
app.add_typer(data.app, name="data")


def _fill_lines(group: typer.Typer) -> None:
    """Let the help of commands fill the lines: Typer keeps the ends that they have in the source."""
    for each in group.registered_commands:
        text = inspect.cleandoc(getattr(each.callback, "__doc__", None) or "")
        each.help = "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


for _group in (app, circuit.app, backends.app, jobs.app, data.app):
    _fill_lines(_group)


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
    secure_streams()
    # Else "python -m qhq" would be the name, in the scripts of completion too.
    app(prog_name="qhq")
