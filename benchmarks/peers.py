"""Forward + backward beside other libraries, for 4 to 16 qubits and batches 1 to 256, one thread."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from benchmarks.clock import medians, race
from benchmarks.contenders import CONTENDERS, Step, load_contender
from benchmarks.problem import Problem

QUBITS = (4, 6, 8, 10, 12, 14, 16)
BATCHES = (64, 16, 256, 1)
QUICK = ((4, 16), (4, 64))

STEP_SECONDS = 2.0
"""A contender whose step would last longer sits out."""
OPEN_SECONDS = 60.0
"""A contender whose first call (compilation) would last longer sits out."""
TAPE_BYTES = 4 << 30
"""A contender whose tape would be larger sits out."""
ALL_SECONDS = 180.0
"""What one contender may spend on opening and warming up, over all cells; the targets' cells come first."""


def layers_of(qubits: int) -> int:
    """Two layers at 4 qubits, three above."""
    return 2 if qubits == 4 else 3


class Runner:
    """One contender through all cells; remembers what it cost so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._spent = 0.0
        self._known: list[tuple[int, int, float, float]] = []
        try:
            self._module, self._missing = load_contender(name), ""
        except ImportError as error:
            self._module, self._missing = None, f"skipped: {error.name} is not installed"

    def reason_to_skip(self, problem: Problem) -> str:
        """Why it sits this cell out, empty if it runs."""
        if self._missing:
            return self._missing
        if getattr(self._module, "ONLY_CELL", None) not in (None, (problem.qubits, problem.batch)):
            return "skipped: over budget"
        gates = problem.qubits + problem.num_weights
        if self._module.KEEPS_STATES and (gates * problem.batch * 8 << problem.qubits) > TAPE_BYTES:
            return "skipped: over memory"
        return "skipped: over budget" if self._too_slow(problem) else ""

    def open(self, problem: Problem) -> tuple[Step, float]:
        """Its step, warmed up, and the seconds until the first result."""
        begin = perf_counter()
        step = self._module.open_step(problem)
        step()
        opened = perf_counter()
        step()
        ended = perf_counter()
        self._spent += ended - begin
        self._known.append((problem.qubits, problem.batch, opened - begin, ended - opened))
        return step, opened - begin

    def _too_slow(self, problem: Problem) -> bool:
        """Judged from smaller cells: large steps grow with the numbers of amplitudes, compilation with Q."""
        for qubits, batch, opening, step in self._known:
            if qubits > problem.qubits or batch > problem.batch:
                continue
            growth = (problem.batch / batch) * 2.0 ** (problem.qubits - qubits)
            if (step > 0.05 and step * growth > STEP_SECONDS) or opening > OPEN_SECONDS:
                return True
        return self._spent > ALL_SECONDS


def measure(*, quick: bool) -> dict[str, Any]:
    """A row for each cell and contender: medians in seconds, or why there is none."""
    cells = QUICK if quick else [(qubits, batch) for batch in BATCHES for qubits in QUBITS]
    runners = [Runner(name) for name in CONTENDERS]
    rows: list[dict[str, Any]] = []
    for qubits, batch in cells:
        rows += measure_cell(runners, Problem(qubits, layers_of(qubits), batch), 0.5 if quick else 1.0)
    return {"rows": rows}


def measure_cell(runners: list[Runner], problem: Problem, seconds: float) -> list[dict[str, Any]]:
    """All contenders on one problem, taking turns."""
    rows, steps = {}, {}
    for runner in runners:
        row = {"contender": runner.name, "qubits": problem.qubits, "layers": problem.layers}
        row |= {"batch": problem.batch, "skipped": runner.reason_to_skip(problem)}
        if not row["skipped"]:
            steps[runner.name], row["open_seconds"] = runner.open(problem)
        rows[runner.name] = row
    taken = race(steps, seconds=seconds, least=3)
    for name, median in medians(taken).items():
        rows[name] |= {"seconds": median, "calls": len(taken[name])}
    told = ", ".join(f"{name} {1e3 * row['seconds']:.3g}" for name, row in rows.items() if "seconds" in row)
    print(f"{problem.qubits} qubits, batch {problem.batch}, ms: {told}", file=sys.stderr)
    return list(rows.values())
