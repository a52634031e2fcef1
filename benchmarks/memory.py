"""Peak memory of a large circuit, in a process that does nothing else."""

from __future__ import annotations

import resource
from time import perf_counter
from typing import Any

from benchmarks.contenders.layer import open_step
from benchmarks.problem import Problem
from benchmarks.table import Table, Target, digits


def peak_bytes() -> int:
    """Largest resident set of this process so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(*, quick: bool) -> dict[str, Any]:
    """20 qubits, batch 16, forward and backward through the layer."""
    open_step(Problem(4, 2, 16))()
    before = peak_bytes()
    problem = Problem(16 if quick else 20, 3, 16)
    begin = perf_counter()
    open_step(problem)()
    seconds = perf_counter() - begin
    return {"qubits": problem.qubits, "before_bytes": before, "peak_bytes": peak_bytes(), "seconds": seconds}


def gibibytes(count: float) -> str:
    """In GiB."""
    return f"{digits(count / 2**30)} GiB"


def tables(result: dict[str, Any]) -> list[Table]:
    """Before and at the peak."""
    rows = (
        ("imports and a 4-qubit step", gibibytes(result["before_bytes"]), "-"),
        (
            f"{result['qubits']} qubits, 3 layers, batch 16",
            gibibytes(result["peak_bytes"]),
            digits(result["seconds"]),
        ),
    )
    note = "Peak resident set of a process that runs forward and backward through QuantumLayer, all cores."
    return [Table("Memory", note, ("", "peak", "step, s"), rows)]


def targets(result: dict[str, Any]) -> list[Target]:
    """Acceptance 4."""
    if result["qubits"] != 20:
        return []
    peak = result["peak_bytes"]
    return [Target("20 qubits, batch 16, peak memory", "< 2 GiB", gibibytes(peak), peak < 2 << 30)]
