"""The progress of studies and of other steps: bars on standard error, a callable, or nobody."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from qhq.errors import visible
from qhq.progress import Live, doing
from qhq.runs.studies import StageRecord
from qhq.studies.runner import StudyEvents

OnStage: TypeAlias = Callable[[StageRecord], object]

logger = logging.getLogger("qhq")

# The time left is estimated from the trials of so long: the first ones of a stage say little.
_SPEED_SECONDS = 600.0
# Where standard error is no terminal, a line after so many trials.
_LOG_EVERY = 10


def stderr_console() -> Console:
    """Standard error for bars and notes; into a file lines of 160, where rich would break them at 80."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)


class CalledSteps(StudyEvents):
    """Tells a callable, or nobody; what a person should know by the way goes to the log of ``qhq``.

    Args:
        call: Called with the cells done, how many there are at most, and what was done or comes next.
        on_stage: Called with the record of each stage that is done.
    """

    def __init__(
        self, call: Callable[[int, int, str], None] | None = None, on_stage: OnStage | None = None
    ) -> None:
        self.call, self.on_stage = call, on_stage
        self.there, self.cells = set[str](), 0

    def step(self, done: int, total: int, what: str) -> None:
        """So much is done; ``what`` comes next."""
        if self.call is not None:
            self.call(done, total, what)

    def note(self, text: str) -> None:
        """Log it."""
        logger.info("%s", text)

    def started(self, title: str, cells: int) -> None:
        """Begin to count."""
        self.there, self.cells = set[str](), cells
        self.step(0, cells, title)

    def measuring(self, what: str) -> None:
        """Name what is measured next."""
        self.step(len(self.there), self.cells, what)

    def done(self, key: str, *, fresh: bool) -> None:  # noqa: ARG002
        """Count a cell."""
        self.pruned([key])

    def pruned(self, keys: Sequence[str]) -> None:
        """Count cells, those that are given up as well."""
        # A set: a cell that is given up may have been counted as done before.
        self.there.update(keys)
        self.step(len(self.there), self.cells, keys[-1])

    def ended(self, record: StageRecord) -> None:
        """Hand the record of a stage on."""
        if self.on_stage is not None:
            self.on_stage(record)


class StudyProgress(Live, StudyEvents):
    """One bar over steps: those of a caller that counts them itself, or the cells of a study."""

    def __init__(self) -> None:
        self.bar = Bar(
            TextColumn("{task.description:<20}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=stderr_console(),
            transient=True,
        )
        self.task = self.bar.add_task("", total=None)
        self.count, self.cells = 0, 0

    def step(self, done: int, total: int, what: str) -> None:
        """Move the bar; ``what`` is measured next."""
        doing(f"Measuring {what}, {done} of {total} done" if what else "Putting the results together")
        self.bar.update(self.task, completed=done, total=total, description=visible(what, cell=True))

    def note(self, text: str) -> None:
        """Print a line."""
        self.bar.console.print(visible(text), markup=False)

    def started(self, title: str, cells: int) -> None:
        """Begin to count."""
        self.count, self.cells = 0, cells
        self.step(0, cells, title)

    def measuring(self, what: str) -> None:
        """Name what is measured next."""
        self.step(self.count, self.cells, what)

    def done(self, key: str, *, fresh: bool) -> None:
        """Count a cell."""
        self.count += 1
        self.step(self.count, self.cells, key if fresh and self.count < self.cells else "")


class SweepProgress(Live, StudyEvents):
    """One bar a stage, and its ranking when it is done.

    Args:
        metric: What is ranked.
        on_stage: Called with the record of each stage that is done.
    """

    def __init__(self, metric: str, on_stage: OnStage) -> None:
        self.metric, self.on_stage = metric, on_stage
        self.console = stderr_console()
        self.bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("trials, lowest {task.fields[best]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            speed_estimate_period=_SPEED_SECONDS,
        )
        self.task = self.bar.add_task("", total=None, best="-", visible=False)
        self.stage, self.there, self.total = "", set[str](), 0

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(visible(text), markup=False)

    def started(self, title: str, cells: int) -> None:
        """Start the stage's bar."""
        self.stage, self.there, self.total = title, set[str](), cells
        self.bar.reset(self.task, total=cells, description=title, best="-", visible=True)

    def done(self, key: str, *, fresh: bool) -> None:
        """Move the bar."""
        self._count([key], fresh=fresh)

    def pruned(self, keys: Sequence[str]) -> None:
        """Count trials that are given up as done."""
        self._count(keys, fresh=True)

    def best_so_far(self, label: str, value: float) -> None:
        """Show the point of the lowest error; which one is chosen is reported at the end of the stage."""
        self.bar.update(self.task, best=f"{value:.4f} of the last value's {self.metric} ({label})")

    def ended(self, record: StageRecord) -> None:
        """Say how the stage ended."""
        from qhq.studies.sweep.study import say_choice

        self.note(f"{self.stage}: {record.points} points. {record.noise.sentence}. {say_choice(record)}")
        self.on_stage(record)

    def _count(self, names: Sequence[str], *, fresh: bool) -> None:
        self.there.update(names)
        self.bar.update(self.task, completed=len(self.there))
        if fresh and not self.console.is_terminal and len(self.there) % _LOG_EVERY == 0:
            seconds = self.bar.tasks[self.task].time_remaining
            left = "unknown" if seconds is None else f"{seconds / 60:.1f} min"
            self.note(
                f"{self.stage}: {len(self.there)} of {self.total} trials,"
                f" lowest {self.bar.tasks[self.task].fields['best']}, left {left}"
            )
