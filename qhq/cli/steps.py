"""The progress of steps that are told one by one, on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from qhq.cli.heartbeat import doing
from qhq.cli.live import Live
from qhq.studies.runner import Progress
from qhq.visible import visible


class StudyProgress(Live, Progress):
    """One bar over steps: those of a caller that counts them itself, or the cells of a study."""

    def __init__(self) -> None:
        self.bar = Bar(
            TextColumn("{task.description:<20}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self.task = self.bar.add_task("", total=None)
        self.count, self.cells = 0, 0

    def told(self, done: int, total: int, what: str) -> None:
        """Move the bar; ``what`` is measured next."""
        doing(f"Measuring {what}, {done} of {total} done" if what else "Putting the results together")
        self.bar.update(self.task, completed=done, total=total, description=visible(what, cell=True))

    def note(self, text: str) -> None:
        """Print a line."""
        self.bar.console.print(visible(text), markup=False)

    def started(self, title: str, cells: int) -> None:
        """Begin to count."""
        self.count, self.cells = 0, cells
        self.told(0, cells, title)

    def measuring(self, what: str) -> None:
        """Name what is measured next."""
        self.told(self.count, self.cells, what)

    def done(self, key: str, *, fresh: bool) -> None:
        """Count a cell."""
        self.count += 1
        self.told(self.count, self.cells, key if fresh and self.count < self.cells else "")
