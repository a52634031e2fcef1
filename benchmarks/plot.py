"""The plot of docs/benchmarks.md: every contender at batch 64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.contenders import CONTENDERS


def draw(rows: list[dict[str, Any]], path: Path, *, batch: int = 64) -> None:
    """Time of a step over qubits, and how many times slower than the layer each is."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    ours = dict(_points(rows, "qhq QuantumLayer", batch))
    for name in CONTENDERS:
        points = _points(rows, name, batch)
        style = {"marker": "o", "linewidth": 2.5 if name.startswith("qhq") else 1.2, "label": name}
        if points:
            left.plot(*zip(*points, strict=True), **style)
            ratios = [(qubits, seconds / ours[qubits] * 1e-3) for qubits, seconds in points if qubits in ours]
            right.plot(*zip(*((q, 1e3 * ratio) for q, ratio in ratios), strict=True), **style)
    for axes, label in ((left, "forward + backward, ms"), (right, "times slower than QuantumLayer")):
        axes.set(xlabel=f"qubits (batch {batch}, one thread)", ylabel=label, yscale="log")
        axes.grid(alpha=0.3)
    left.legend(fontsize="small")
    figure.savefig(path, dpi=130)


def _points(rows: list[dict[str, Any]], name: str, batch: int) -> list[tuple[int, float]]:
    """(qubits, ms) of a contender."""
    mine = [row for row in rows if row["contender"] == name and row["batch"] == batch and "seconds" in row]
    return sorted((row["qubits"], 1e3 * row["seconds"]) for row in mine)
