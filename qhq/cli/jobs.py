"""``qhq jobs``: hardware jobs in the journal, and taking up those that were cut off."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qhq.cli.hardware import hardware
from qhq.cli.options import Debug, Json
from qhq.cli.output import command, plain_table
from qhq.errors import ConfigError

if TYPE_CHECKING:
    from qhq.backends.ibm.jobs import JobRow

app = typer.Typer(help="Hardware jobs in the journal.", invoke_without_command=True)

COLUMNS = ("tag", "run", "backend", "state", "job_id", "samples", "shots", "qpu_seconds", "message")


@app.callback()
def list_all(context: typer.Context, json: Json = False, debug: Debug = False) -> None:
    """List hardware jobs, the oldest first; 'qhq jobs resume' takes up what was cut off."""
    if context.invoked_subcommand is not None:
        return
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.ibm.jobs import journal_note, list_jobs

        rows = [asdict(job) for job in list_jobs()]
        note = journal_note()
        people = [_table(rows) if rows else "No hardware jobs in the journal.", *([note] if note else [])]
        output.result({"rows": rows, "note": note}, *people)


@app.command()
def resume(
    job: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A tag, job id or run; all if left out.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send what was never sent, without asking.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch results of jobs that were cut off, and send what was never sent; none is sent twice."""
    with command(as_json=json, debug=debug) as output, hardware(output, yes=yes) as terminal:
        from qhq.backends.ibm.jobs import jobs_to_send, resume_jobs

        unsent = jobs_to_send(job)
        send = not unsent or terminal.agree(_question(unsent))
        rows = [asdict(each) for each in resume_jobs(job, send=send)]
        if not send:
            raise ConfigError(
                "Jobs that were never sent, or ended without a result, are sent with --yes alone",
                got=f"{len(unsent)} of them: {', '.join(each.tag for each in unsent[:4])}",
                fix="Results of the others were fetched; add --yes, or give these up: 'qhq jobs discard ID'",
            )
        done = "Done: 'qhq eval' with the same request now takes these results from the journal."
        output.result({"rows": rows}, _table(rows) if rows else "Nothing to resume.", done if rows else "")


@app.command()
def cancel(
    job: Annotated[str, typer.Argument(metavar="ID", help="A tag, job id or run.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Also jobs that the folder this one was copied from may wait for.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Cancel jobs at the service that have not run, and what was never sent."""
    with command(as_json=json, debug=debug) as output, hardware(output, yes=yes):
        from qhq.backends.ibm.jobs import cancel_jobs

        rows = [asdict(each) for each in cancel_jobs(job, others=yes)]
        output.result({"rows": rows}, _table(rows))


@app.command()
def discard(
    job: Annotated[str, typer.Argument(metavar="ID", help="A tag, job id or run.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Give jobs up that were never sent, failed, or whose results are unusable; the service is not asked."""
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.ibm.jobs import discard_jobs

        rows = [asdict(each) for each in discard_jobs(job)]
        output.result({"rows": rows}, _table(rows))


def _question(unsent: list[JobRow]) -> str:
    devices = ", ".join(sorted({row.backend for row in unsent}))
    samples = sum(row.samples for row in unsent)
    return f"Send {len(unsent)} jobs of {samples} samples to {devices} that were never sent or gave no result"


def _table(rows: list[dict[str, Any]]) -> Any:
    return plain_table(COLUMNS, [[row.get(column) for column in COLUMNS] for row in rows])
