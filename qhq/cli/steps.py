"""The progress of steps that are told one by one, on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from qhq.cli.heartbeat import doing
from qhq.cli.live import Live
from qhq.visible import visible


class StudyProgress(Live):
    """One bar over the cells of a study."""

    def __init__(self) -> None:
        self.bar = Progress(
            TextColumn("{task.description:<20}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.bar.add_task("", total=None)

    def told(self, done: int, total: int, what: str) -> None:
        """Move the bar; ``what`` is measured next."""
        doing(f"Measuring {what}, {done} of {total} done" if what else "Putting the results together")
        self.bar.update(self.task, completed=done, total=total, description=visible(what, cell=True))
