"""What share of this machine the engine reaches, one thread: its operations over the peak measured beside it.

Floating-point operations and bytes of one sample of the circuit of ``problem``, forward and backward, with
N = 2^Q amplitudes, R = Q (L - 1) rotations, P = ceil(Q / 3) (L - 1) passes and D = L - 1 diagonals::

    flops = N (22 R + 24 D + 23)        bytes = 48 N (P + D + 2)

The first column of RY joins the encoding in a product state, a ring of CX only renames amplitudes, and the
last column of RZ commutes with Z; what is left is R and D. A rotation costs 6 N forward, 6 N each for state
and co-state backward, and 4 N for its slope; a diagonal 6 N, 12 N, 3 N, and a halving pass of 3 N; the
product state 13 N; read-out and co-state 10 N. A pass (up to three rotations) reads and writes the state once
forward (16 N bytes), state and co-state once backward (32 N bytes).
"""

from __future__ import annotations

from typing import Any

from benchmarks.clock import medians, race
from benchmarks.contenders.engine import open_step
from benchmarks.problem import Problem
from benchmarks.roofline_peaks import open_fma, open_sgemm, open_triad
from benchmarks.table import Table, Target, milliseconds

QUBITS = (4, 6, 8, 10, 12, 14, 16)
TILE = 16
"""Samples that the engine takes at a time in float32."""


def operations(problem: Problem) -> tuple[float, float]:
    """Floating-point operations and bytes of one step of the whole batch, by the formula."""
    qubits, diagonals = problem.qubits, problem.layers - 1
    rotations, passes = qubits * diagonals, -(-qubits // 3) * diagonals
    amplitudes = float(problem.batch << qubits)
    flops = amplitudes * (22 * rotations + 24 * diagonals + 23)
    return flops, amplitudes * 48 * (passes + diagonals + 2)


def footprint(problem: Problem) -> int:
    """Bytes of state and co-state of one tile: what the sweep goes through again and again."""
    return 2 * TILE * 8 << problem.qubits


def measure(*, quick: bool) -> dict[str, Any]:
    """Peaks, and a row for each number of qubits; all of it taking turns."""
    problems = [Problem(qubits, 3, 16 if qubits > 12 else 64) for qubits in (QUBITS[:3] if quick else QUBITS)]
    flops_of = {"fma": open_fma(), "sgemm": open_sgemm()}
    steps: dict[Any, Any] = {name: step for name, (step, _) in flops_of.items()}
    triads = {footprint(each): open_triad(footprint(each)) for each in problems}
    steps |= {("triad", size): step for size, (step, _) in triads.items()}
    steps |= {problem: open_step(problem) for problem in problems}
    for step in steps.values():
        step()
    taken = medians(race(steps, seconds=0.3 if quick else 2.0))
    peaks = {name: flops / taken[name] for name, (_, flops) in flops_of.items()}
    bandwidth = {size: count / taken["triad", size] for size, (_, count) in triads.items()}
    rows = [_row(each, taken[each], max(peaks.values()), bandwidth[footprint(each)]) for each in problems]
    return {"peak_flops": peaks, "rows": rows}


def _row(problem: Problem, seconds: float, peak: float, bandwidth: float) -> dict[str, Any]:
    flops, moved = operations(problem)
    roof = min(peak, flops / moved * bandwidth)
    return {
        "qubits": problem.qubits,
        "batch": problem.batch,
        "seconds": seconds,
        "flops": flops / seconds,
        "of_peak": flops / seconds / peak,
        "bytes": moved / seconds,
        "bandwidth": bandwidth,
        "of_bandwidth": moved / seconds / bandwidth,
        "of_roof": flops / seconds / roof,
    }


def tables(result: dict[str, Any]) -> list[Table]:
    """Rates and shares."""
    peaks = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in result["peak_flops"].items())
    note = (
        f"Peak GFLOP/s in one thread: {peaks}. Operations of a sample, N = 2^Q: "
        "flops = N (22 R + 24 D + 23), bytes = 48 N (P + D + 2), with R = Q (L - 1) rotations in "
        "P = ceil(Q / 3) (L - 1) passes and D = L - 1 diagonals (derived in `benchmarks/roofline.py`). "
        "The bandwidth is a triad's, as large as state and co-state of a tile. A rotation is a product and a "
        "fused multiply-add, so three quarters of the peak are its ceiling."
    )
    head = ("qubits x batch", "ms", "GFLOP/s", "of peak", "GB/s", "triad GB/s", "of triad", "of roof")
    return [Table("Share of the roofline", note, head, tuple(_cells(row) for row in result["rows"]))]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    rates = (f"{row['flops'] / 1e9:.1f}", f"{row['of_peak']:.0%}", f"{row['bytes'] / 1e9:.1f}")
    shares = (f"{row['bandwidth'] / 1e9:.1f}", f"{row['of_bandwidth']:.0%}", f"{row['of_roof']:.0%}")
    return (f"{row['qubits']} x {row['batch']}", milliseconds(row["seconds"]), *rates, *shares)


def targets(result: dict[str, Any]) -> list[Target]:  # noqa: ARG001
    """None: the roofline says where the limit is."""
    return []
