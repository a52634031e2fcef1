"""``qhq circuit info --deep``: what the circuit can do, as JSON, as a table, and its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qhq.cli.output import plain_table
from qhq.progress.steps import StudyProgress

if TYPE_CHECKING:
    from rich.table import Table

    from qhq.ansatz.program import Ansatz
    from qhq.diagnostics.readings import Reading

PATIENCE_SECONDS = 2.0
"""What takes longer shows a bar."""


class LateProgress(StudyProgress):
    """A bar that appears only when the work takes long."""

    def __init__(self) -> None:
        super().__init__()
        self._due = time.monotonic() + PATIENCE_SECONDS

    def __enter__(self) -> LateProgress:
        return self

    def step(self, done: int, total: int, what: str) -> None:
        """Move the bar, once it is due."""
        if time.monotonic() > self._due:
            self.bar.start()
        super().step(done, total, what)


def deep_facts(
    ansatz: Ansatz, family: Callable[[int], Ansatz] | None, seed: int
) -> tuple[dict[str, Any], Table]:
    """Measure an ansatz: one JSON object, and a table for people.

    Args:
        ansatz: The circuit.
        family: Qubits -> the same circuit at that width; None if it has only its own.
        seed: Where all that is drawn comes from.
    """
    from qhq.diagnostics.overview import look_deep
    from qhq.diagnostics.readings import read

    with LateProgress() as progress:
        overview = look_deep(ansatz, family, seed=seed, progress=progress.step)
    readings = read(overview)
    facts = {**asdict(overview), "seed": seed, "readings": [asdict(each) for each in readings]}
    return facts, _table(readings)


def _table(readings: Sequence[Reading]) -> Table:
    rows = [[each.name, each.figure, each.beside, each.verdict, each.says] for each in readings]
    title = "At random inputs and weights, with 95 % intervals"
    return plain_table(["", "measured", "beside", "", "which says"], rows, title=title)
