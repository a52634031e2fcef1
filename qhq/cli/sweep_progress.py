"""The live progress of a sweep, on standard error: stage, trials, best so far, time left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from qhq.cli.live import Live
from qhq.data.caveat import Caveat
from qhq.studies.runner import Progress
from qhq.visible import visible

SPEED_SECONDS = 600.0
"""The time left is told by the trials of so long: the first ones of a stage say little."""
LOG_EVERY = 10
"""Where standard error is no terminal, a line after so many trials."""


class SweepProgress(Live, Progress):
    """One bar a stage; its ranking when it is done, and its figure.

    Args:
        figures: Folder for one figure a stage.
        metric: What is ranked.
        caveat: Of the experiment's data, for its figures.
    """

    def __init__(self, figures: Path, metric: str, caveat: Caveat) -> None:
        self.figures, self.metric, self.caveat = figures, metric, caveat
        self.console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)
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
            speed_estimate_period=SPEED_SECONDS,
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
        """Show the point of the lowest error; which one is chosen is told at the end of the stage."""
        self.bar.update(self.task, best=f"{value:.4f} of the last value's {self.metric} ({label})")

    def ended(self, record: dict[str, Any]) -> None:
        """Say how the stage ended, and draw it."""
        from qhq.report.figures import save_figure, try_figure
        from qhq.report.sweep_figure import draw_stage
        from qhq.studies.sweep.study import say_choice

        self.note(
            f"{self.stage}: {record['points']} points. {record['noise']['sentence']}. {say_choice(record)}"
        )
        try_figure(
            lambda path: save_figure(draw_stage(record, self.metric), path, self.caveat),
            self.figures / f"{record['stage']}.png",
            self.note,
        )

    def _count(self, names: Sequence[str], *, fresh: bool) -> None:
        self.there.update(names)
        self.bar.update(self.task, completed=len(self.there))
        if fresh and not self.console.is_terminal and len(self.there) % LOG_EVERY == 0:
            left = self.bar.tasks[self.task].time_remaining
            self.note(
                f"{self.stage}: {len(self.there)} of {self.total} trials,"
                f" lowest {self.bar.tasks[self.task].fields['best']}, left {_minutes(left)}"
            )


def _minutes(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds / 60:.1f} min"
