"""How the bare engine's step grows with qubits, depth and batch, one thread."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from benchmarks.clock import medians, race
from benchmarks.contenders.engine import open_step
from benchmarks.problem import Problem
from benchmarks.table import Table, Target, digits, milliseconds, times

SERIES: dict[str, tuple[Problem, ...]] = {
    "qubits": tuple(Problem(qubits, 3, 16) for qubits in (4, 6, 8, 10, 12, 14, 16)),
    "depth": tuple(Problem(8, layers, 64) for layers in (2, 4, 8, 16, 32)),
    "batch": tuple(Problem(8, 3, batch) for batch in (16, 64, 256, 1024)),
}
SIZE = {"qubits": "qubits", "depth": "layers", "batch": "batch"}
"""Series -> the attribute that grows."""


def measure(*, quick: bool) -> dict[str, Any]:
    """Series -> rows of size and median seconds."""
    return {"series": {name: run_series(name, problems, quick) for name, problems in SERIES.items()}}


def run_series(name: str, problems: tuple[Problem, ...], quick: bool) -> list[dict[str, float]]:
    """All sizes of a series taking turns."""
    chosen = problems[:4] if quick else problems
    steps = {getattr(each, SIZE[name]): open_step(each) for each in chosen}
    for step in steps.values():
        step()
    taken = medians(race(steps, seconds=0.3 if quick else 2.0))
    return [{"size": size, "seconds": seconds} for size, seconds in taken.items()]


def growth(rows: list[dict[str, float]]) -> list[float]:
    """Growth of time over growth of size, from row to row; 1 is linear."""
    return [b["seconds"] / a["seconds"] / (b["size"] / a["size"]) for a, b in pairwise(rows)]


def tables(result: dict[str, Any]) -> list[Table]:
    """One table a series."""
    return [_table(name, result["series"][name]) for name in SERIES]


def _table(name: str, rows: list[dict[str, float]]) -> Table:
    fixed = {"qubits": "3 layers, batch 16", "depth": "8 qubits, batch 64", "batch": "8 qubits, 3 layers"}
    cells = [(str(rows[0]["size"]), milliseconds(rows[0]["seconds"]), "-")]
    for a, b in pairwise(rows):
        cells.append((str(b["size"]), milliseconds(b["seconds"]), times(b["seconds"] / a["seconds"])))
    note = f"The bare engine, {fixed[name]}; the last column is over the row above."
    return Table(f"Growth with {name}", note, (name, "ms", "growth"), tuple(cells))


def targets(result: dict[str, Any]) -> list[Target]:
    """Acceptance 4: linear in depth and batch (within 15 %; less is better)."""
    made = []
    for name in ("depth", "batch"):
        worst = max(growth(result["series"][name]))
        made.append(
            Target(f"Linear in {name}: growth of time / of size", "<= 1.15", digits(worst), worst <= 1.15)
        )
    return made
