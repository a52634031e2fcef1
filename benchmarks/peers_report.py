"""Tables and targets of ``peers``."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.table import Table, Target, digits, milliseconds, times

LAYER, ENGINE = "qhq QuantumLayer", "qhq engine"

TARGETS = (
    ("qiskit-machine-learning", LAYER, 4, 16, 20_000),
    ("PennyLane default.qubit", LAYER, 4, 64, 40),
    ("TensorCircuit-NG", ENGINE, 4, 64, 3),
    ("TensorCircuit-NG", LAYER, 4, 64, 2),
    *(("TensorCircuit-NG", LAYER, qubits, 64, 3) for qubits in (6, 8, 10, 12)),
)
"""Peer, ours, qubits, batch, least ratio."""


def by_cell(result: dict[str, Any]) -> dict[tuple[int, int], dict[str, dict[str, Any]]]:
    """(qubits, batch) -> contender -> row, batches ascending."""
    cells: dict[tuple[int, int], dict[str, dict[str, Any]]] = {}
    for row in sorted(result["rows"], key=lambda each: (each["batch"], each["qubits"])):
        cells.setdefault((row["qubits"], row["batch"]), {})[row["contender"]] = row
    return cells


def tables(result: dict[str, Any]) -> list[Table]:
    """Medians, ratios, and what comes before the first result."""
    cells = by_cell(result)
    names = tuple(CONTENDERS)
    head = ("qubits x batch", *names)
    ours = "Forward + backward (gradients of inputs and weights) in float32, one thread, medians in ms."
    ratio = f"Median of each over the median of {LAYER} in the same cell: how many times slower it is."
    opening = "Seconds from the circuit to the first result, compilation of a circuit included, at batch 64."
    return [
        Table("Beside other libraries", ours, head, _rows(cells, names, _median)),
        Table("Times slower than qhq", ratio, head, _rows(cells, names, _ratio)),
        Table("Until the first result", opening, head, _rows(_batch(cells, 64), names, _opening)),
    ]


def targets(result: dict[str, Any]) -> list[Target]:
    """Acceptance 2."""
    cells, made = by_cell(result), []
    for peer, ours, qubits, batch, least in TARGETS:
        rows = cells.get((qubits, batch), {})
        if "seconds" in rows.get(peer, {}) and "seconds" in rows.get(ours, {}):
            ratio = rows[peer]["seconds"] / rows[ours]["seconds"]
            line = f"{peer} / {ours}, {qubits} qubits, batch {batch}"
            made.append(Target(line, f">= {times(least)}", times(ratio), ratio >= least))
    return made


def _rows(cells: Any, names: tuple[str, ...], cell: Any) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (f"{qubits} x {batch}", *(cell(rows[name], rows) for name in names))
        for (qubits, batch), rows in cells.items()
    )


def _batch(cells: Any, batch: int) -> Any:
    return {key: rows for key, rows in cells.items() if key[1] == batch}


def _median(row: dict[str, Any], _rows: Any) -> str:
    return milliseconds(row["seconds"]) if "seconds" in row else row["skipped"].removeprefix("skipped: ")


def _ratio(row: dict[str, Any], rows: Any) -> str:
    if "seconds" not in row or "seconds" not in rows[LAYER]:
        return "-"
    return times(row["seconds"] / rows[LAYER]["seconds"])


def _opening(row: dict[str, Any], _rows: Any) -> str:
    return digits(row["open_seconds"]) if "open_seconds" in row else "-"
