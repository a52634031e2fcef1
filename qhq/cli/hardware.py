"""What hardware jobs have to say to a person: on standard error, and never silent for long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from qhq.cli.output import Output
from qhq.progress.heartbeat import doing
from qhq.visible import visible

SAME_AGAIN_SECONDS = 15.0
"""The same thing that is waited for is said again after so long."""


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
        # Of each thread: one waits for one device, and what another says is no news of it.
        self._heard = _Heard()
        # Several devices may have something to ask at once.
        self._asking = threading.Lock()

    def tell(self, text: str) -> None:
        """Print a line."""
        typer.echo(visible(text), err=True)
        self._heard.at = time.monotonic()

    def wait(self, text: str) -> None:
        """Print a line where it says something new, or nothing was said for a while."""
        # What follows the semicolon is how long it still takes.
        what, now = text.partition(";")[0], time.monotonic()
        if what != self._heard.last:
            doing(what)
        if what != self._heard.last or now - self._heard.at >= SAME_AGAIN_SECONDS:
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
        terminal.tell(jobs_at_large(run))
        raise


def jobs_at_large(run: str | None = None) -> str:
    """Which jobs of a run, or of all, are open, and what can be done about them."""
    from qhq.backends.ibm.jobs import list_jobs
    from qhq.backends.ibm.parts import OPEN
    from qhq.errors import QHQError

    try:
        rows = [row for row in list_jobs() if row.state in OPEN and run in (None, row.run)]
    except QHQError as error:
        return f"Which jobs are with the service cannot be said: {error}"
    if not rows:
        return "No jobs are with the service."
    lines = [f"  {row.backend}: {row.job_id or row.tag}, {row.state}, {row.samples} samples" for row in rows]
    which = f" {run}" if run else " ID"
    return "\n".join(
        [
            f"{len(rows)} jobs are not finished, and nothing of them is lost:",
            *lines,
            "The same command, or 'qhq jobs resume', takes up their results; "
            f"'qhq jobs cancel{which}' cancels what has not run.",
        ]
    )
