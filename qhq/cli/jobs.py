"""``qhq jobs``: hardware jobs in the journal, and taking up those that were cut off.

`hardware` is how jobs speak to a person in every command that sends some: on standard error, and never silent
for long.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qhq.cli.command import Debug, Json, Output, command, counted, plain_table
from qhq.cli.completion import complete_run
from qhq.errors import ConfigError
from qhq.progress import doing, say

if TYPE_CHECKING:
    from rich.table import Table


app = typer.Typer(help="Hardware jobs in the journal.", invoke_without_command=True)

_JOB_COLUMNS = ("tag", "run", "backend", "state", "job_id", "samples", "shots", "qpu_seconds", "message")


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
        str | None,
        typer.Argument(
            metavar="[ID]", help="A tag, job id or run; all if left out.", autocompletion=complete_run
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send what was never sent, without asking.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Fetch results of jobs that were cut off, and send what was never sent; none is sent twice."""
    with command(as_json=json, debug=debug) as output, hardware(output, yes=yes) as terminal:
        from qhq.backends.ibm.jobs import jobs_to_send, resume_jobs

        unsent = jobs_to_send(job)
        # What a device answered already is fetched whatever the person says: it is paid for.
        samples, devices = sum(row.samples for row in unsent), sorted({row.backend for row in unsent})
        send = not unsent or terminal.agree(
            f"Send {len(unsent)} jobs of {samples} samples to {', '.join(devices)} that were never sent or"
            " gave no result"
        )
        rows = [asdict(each) for each in resume_jobs(job, send=send)]
        if not send:
            raise ConfigError(
                "Jobs that were never sent, or ended without a result, are sent with --yes alone",
                got=f"{len(unsent)} of them: {', '.join(each.tag for each in unsent[:4])}",
                fix="Results of the others were fetched; add --yes, or give these up: 'qhq jobs discard ID'",
            )
        done = "Done: the same 'qhq eval' or 'qhq train' now takes these results from the journal."
        output.result({"rows": rows}, _table(rows) if rows else "Nothing to resume.", done if rows else "")


@app.command()
def cancel(
    job: Annotated[
        str, typer.Argument(metavar="ID", help="A tag, job id or run.", autocompletion=complete_run)
    ],
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
    job: Annotated[
        str, typer.Argument(metavar="ID", help="A tag, job id or run.", autocompletion=complete_run)
    ],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Give jobs up that were never sent, failed, or whose results are unusable; the service is not asked."""
    with command(as_json=json, debug=debug) as output:
        from qhq.backends.ibm.jobs import discard_jobs

        rows = [asdict(each) for each in discard_jobs(job)]
        output.result({"rows": rows}, _table(rows))


def _table(rows: Sequence[Mapping[str, object]]) -> Any:
    return plain_table(_JOB_COLUMNS, [[row.get(column) for column in _JOB_COLUMNS] for row in rows])


def cost_table(rows: Sequence[Mapping[str, object]]) -> Table | str:
    """What hardware would cost, a row a question to it."""
    if not rows:
        return "No hardware: nothing to pay."
    columns = list(rows[0])
    return plain_table(
        [column.replace("_", " ") for column in columns],
        [[row[column] for column in columns] for row in rows],
        title="What it would cost on hardware",
    )


def ask_to_send(output: Output, rows: Sequence[Mapping[str, object]]) -> bool:
    """Show what it would cost, and ask; only a person at a terminal can be asked."""
    if output.as_json or not sys.stdin.isatty():
        return False
    output.tell(cost_table(rows))
    if not typer.confirm("Send these jobs?", err=True):
        raise typer.Exit(130)
    return True


# The same thing that is waited for is said again after so long.
_SAME_AGAIN_SECONDS = 15.0


class _Heard(threading.local):
    """What a thread said last, and when it last said anything."""

    last = ""
    at = 0.0


class Terminal:
    """A person at a terminal, or whoever reads standard error.

    Args:
        yes: Whether everything is agreed to beforehand (``--yes``).
        may_ask: Whether a person can be asked.
    """

    def __init__(self, *, yes: bool, may_ask: bool) -> None:
        self._yes, self._may_ask = yes, may_ask
        self.spoken = False
        """Whether a service had anything to say; simulators never do."""
        # Of each thread: one waits for one device, and what another says is no news of it.
        self._heard = _Heard()
        # Several devices may have something to ask at once.
        self._asking = threading.Lock()

    def ask_from_now_on(self) -> None:
        """Take nothing for agreed to that a person has not been asked about."""
        self._yes = False

    def tell(self, text: str) -> None:
        """Print a line."""
        self.spoken = True
        say(text)
        self._heard.at = time.monotonic()

    def wait(self, text: str) -> None:
        """Print a line where it says something new, or nothing was said for a while."""
        # What follows the semicolon is how long it still takes.
        what, now = text.partition(";")[0], time.monotonic()
        if what != self._heard.last:
            doing(what)
        if what != self._heard.last or now - self._heard.at >= _SAME_AGAIN_SECONDS:
            self.tell(text)
        self._heard.last = what

    def agree(self, question: str) -> bool:
        """Ask, unless ``--yes`` answered before; nobody there means no."""
        if self._yes:
            self.tell(f"{question}: yes")
            return True
        with self._asking:
            return self._may_ask and typer.confirm(f"{question}?", err=True)


@contextmanager
def hardware(output: Output, *, yes: bool, run: str | None = None) -> Iterator[Terminal]:
    """Let jobs speak to the terminal; an interrupt says which are with the service, and how to go on.

    Args:
        output: The command's.
        yes: Whether everything is agreed to beforehand.
        run: The run whose jobs are listed; all if none is given.
    """
    from qhq.backends.ibm.waiting import talking

    terminal = Terminal(yes=yes, may_ask=not output.as_json and sys.stdin.isatty())
    try:
        with talking(terminal):
            yield terminal
    except KeyboardInterrupt:
        # A training that no service has anything to do with is not to be told of services.
        if (jobs := jobs_at_large(run)) or terminal.spoken:
            terminal.tell(jobs or "No jobs are with the service.")
        raise


def jobs_at_large(run: str | None = None) -> str:
    """Which jobs of a run, or of all, are open, and what can be done about them; empty without any."""
    from qhq.backends.ibm.jobs import list_jobs
    from qhq.backends.ibm.records import OPEN
    from qhq.errors import QHQError

    try:
        rows = [row for row in list_jobs() if row.state in OPEN and run in (None, row.run)]
    except QHQError as error:
        return f"Which jobs are with the service cannot be said: {error}"
    if not rows:
        return ""
    lines = [f"  {row.backend}: {row.job_id or row.tag}, {row.state}, {row.samples} samples" for row in rows]
    which = f" {run}" if run else " ID"
    return "\n".join(
        [
            f"{counted(len(rows), 'job')} not finished, and nothing is lost:",
            *lines,
            "The same command, or 'qhq jobs resume', takes up their results; "
            f"'qhq jobs cancel{which}' cancels what has not run.",
        ]
    )
