"""``qhq jobs``: hardware jobs in the journal, and taking up those that were cut off."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from qhq.cli.options import Debug, Json
from qhq.cli.output import command, plain_table

app = typer.Typer(help="Hardware jobs in the journal.", invoke_without_command=True)

COLUMNS = ("tag", "run", "backend", "state", "job_id", "samples", "shots", "qpu_seconds", "message")


@app.callback()
def list_all(context: typer.Context, json: Json = False, debug: Debug = False) -> None:
    """List hardware jobs, the oldest first; 'qhq jobs resume' takes up what was cut off."""
    if context.invoked_subcommand is not None:
        return
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.ibm.jobs import list_jobs

        rows = [asdict(job) for job in list_jobs()]
        output.result({"rows": rows}, _table(rows) if rows else "No hardware jobs in the journal.")


@app.command()
def resume(
    job: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A tag or job id; all if left out.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Bring every job that was cut off to its end; none is sent twice."""
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.ibm.jobs import resume_jobs

        rows = [asdict(each) for each in resume_jobs(job)]
        done = "Done: 'qhq eval' with the same request now takes these results from the journal."
        output.result({"rows": rows}, _table(rows) if rows else "Nothing to resume.", done if rows else "")


def _table(rows: list[dict[str, Any]]) -> Any:
    return plain_table(COLUMNS, [[row.get(column) for column in COLUMNS] for row in rows])
