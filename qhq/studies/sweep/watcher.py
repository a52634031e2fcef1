"""What a caller may do while a sweep goes on; each verb does nothing unless overridden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qhq.runs.run_folder import RunFolder


class SweepWatcher:
    """Told of stages and trials as they come."""

    def note(self, text: str) -> None:
        """Something a person should know."""

    def stage_started(self, name: str, place: str, trials: int) -> None:
        """Before the first trial of a stage: its ``place`` such as ``2 of 5``, ``trials`` at most."""

    def trial_done(self, folder: RunFolder, *, fresh: bool) -> None:
        """A trial, or a final run, is on disk: trained now, or before."""

    def trials_pruned(self, names: Sequence[str]) -> None:
        """Trials that were given up."""

    def best_so_far(self, label: str, value: float) -> None:
        """The best of the stage so far: its point, and its error over that of the last value."""

    def stage_done(self, record: dict[str, Any]) -> None:
        """After a stage's ranking."""
