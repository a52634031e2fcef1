"""What noise does to the circuit of a run if it had other sizes: more qubits, more layers.

Another circuit would be another model, trained anew, so nothing is said of the forecast. What is measured is
the circuit itself: the ansatz of the run at each size, at angles drawn at random (inputs and weights uniform
over a whole turn), its noisy expectation values beside the exact ones.

Two numbers show it. The error, mean |<O> - exact|, shrinks by itself where a circuit's values do, as those of
deep circuits at random angles crowd around 0. So beside it stands what noise leaves of the values: the slope
a of the line through noisy against exact ones, 1 without noise and 0 where nothing is left.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from qhq import __version__
from qhq.ansatz.program import Ansatz
from qhq.ansatz.spec import load_ansatz
from qhq.ansatz.stored import ansatz_fingerprint
from qhq.backends.backend import BackendSpec
from qhq.backends.registry import open_backend
from qhq.errors import BackendError
from qhq.experiment.config import QuantumSpec
from qhq.experiment.evaluate import EXACT
from qhq.experiment.opening import build_circuit
from qhq.runs.run_folder import RunFolder
from qhq.runs.studies import SizeRow
from qhq.seeding import child_generator
from qhq.studies.error_budget import digest_of
from qhq.studies.runner import Outcome, Store, Study, Values

# Rows of inputs for each draw of the weights.
_ROWS = 32
# Draws of the weights, over which an interval is made.
_DRAWS = 3


@dataclass(frozen=True)
class SizeCell:
    """A circuit of one size on one backend, its weights drawn once.

    Attributes:
        entry: The backend.
        ansatz: The circuit.
        size: Qubits and depth, as they were asked for.
        draw: Number of the draw.
        seed: Of all draws.
    """

    entry: BackendSpec
    ansatz: Ansatz = field(repr=False)
    size: tuple[int, int]
    draw: int
    seed: int

    @property
    def key(self) -> str:
        """Name of the cell in the store."""
        qubits, depth = self.size
        return f"{qubits} qubits, depth {depth}, {digest_of(self.entry)}, draw {self.draw}"


class SizeStudy(Study[SizeCell, list[SizeRow]]):
    """The ansatz of a run at other sizes, on several backends.

    Args:
        folder: Of the run.
        quantum: Its circuit, as its config names it.
        entries: Simulated backends with noise.
        qubits: Widths; none is the run's own.
        depths: Numbers of layers; none is the run's own.
        seed: Of inputs and weights.

    Raises:
        ConfigError: If the circuit cannot be built at another size.
    """

    title = "circuit sizes"

    def __init__(
        self,
        folder: RunFolder,
        quantum: QuantumSpec,
        *,
        entries: Sequence[BackendSpec],
        qubits: Sequence[int],
        depths: Sequence[int],
        seed: int,
    ) -> None:
        self.entries, self.seed = tuple(entries), seed
        wanted = [*itertools.product(qubits or (None,), depths or (None,))]
        circuits = [build_circuit(_resized(quantum, *size)) for size in wanted]
        # Only now: of a circuit that cannot be built at another size, no file may be there to look into.
        deep = depths or (load_ansatz(quantum.ansatz, quantum.changes()).depth,)
        self.circuits = {
            (ansatz.num_qubits, deep[place % len(deep)]): ansatz for place, ansatz in enumerate(circuits)
        }
        programs = [[*size, ansatz_fingerprint(each)] for size, each in self.circuits.items()]
        content = [seed, __version__, _ROWS, programs]
        name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
        self.store = Store(folder.file(f"studies/noise-sizes-{name}.jsonl"), shared=True)

    def plan(self) -> list[SizeCell]:
        """Every size on every backend, each draw."""
        return [
            SizeCell(entry, ansatz, size, draw, self.seed)
            for entry in self.entries
            for size, ansatz in self.circuits.items()
            for draw in range(_DRAWS)
        ]

    @staticmethod
    def measure(cell: SizeCell) -> Outcome:
        """Ask a backend, and the exact simulator, at angles drawn at random."""
        # Not by backend: all of them are asked at the same angles.
        generator = child_generator(cell.seed, f"size/{cell.size}/{cell.draw}")
        inputs = generator.uniform(-np.pi, np.pi, (_ROWS, cell.ansatz.num_inputs))
        weights = generator.uniform(-np.pi, np.pi, cell.ansatz.num_weights)
        if not cell.entry.is_exact_without_shots:
            return Outcome({"left_out": "the entry has exact values with method: density_matrix alone"})
        # What grows with the size is what noise does; the spread of shots is the same at every size.
        spec = cell.entry.model_copy(update={"shots": None})
        try:
            executor: Any = open_backend(spec, cell.ansatz)
            found = executor.expectations(inputs, weights)
        except BackendError as error:
            # A circuit too wide for a density matrix says so in its row, and the others are measured.
            return Outcome({"left_out": f"{error.must}: {error.got}"})
        exact = open_backend(EXACT, cell.ansatz).expectations(inputs, weights)
        report = executor.report()
        apart = exact - exact.mean(axis=0)
        spread = float((apart**2).mean())
        return Outcome({
            "error": float(np.abs(found - exact).mean()),
            "spread": spread**0.5,
            # The slope of what was found by the exact values: what noise leaves of the signal, offsets aside.
            "kept": float((apart * found).mean() / spread) if spread > 0 else None,
            "physical_qubits": len(executor.isa.qubits),
            "two_qubit_gates": report.two_qubit_gates,
        })  # fmt: skip

    def summarise(self, done: Mapping[str, Values]) -> list[SizeRow]:
        """A row for each backend and size."""
        rows: list[SizeRow] = []
        for entry, (size, ansatz) in itertools.product(self.entries, self.circuits.items()):
            cells = [done[SizeCell(entry, ansatz, size, draw, self.seed).key] for draw in range(_DRAWS)]
            rows.append(_row(entry.name, size, cells))
        return rows


def _resized(quantum: QuantumSpec, qubits: int | None, depth: int | None) -> QuantumSpec:
    """A circuit's config at another size; what is None stays."""
    given = {"qubits": qubits, "depth": depth}
    return quantum.model_copy(update={key: value for key, value in given.items() if value is not None})


def _row(backend: str, size: tuple[int, int], cells: Sequence[Values]) -> SizeRow:
    left_out = next((each["left_out"] for each in cells if "left_out" in each), "")
    if left_out:
        return SizeRow(backend=backend, qubits=size[0], depth=size[1], left_out=left_out)
    errors = np.array([each["error"] for each in cells])
    half = float(stats.t.ppf(0.975, len(errors) - 1) * stats.sem(errors))
    kept = [each["kept"] for each in cells if each["kept"] is not None]
    return SizeRow(
        backend=backend,
        qubits=size[0],
        depth=size[1],
        physical_qubits=cells[0]["physical_qubits"],
        two_qubit_gates=cells[0]["two_qubit_gates"],
        expectation_error=float(errors.mean()),
        expectation_error_low=float(errors.mean()) - half,
        expectation_error_high=float(errors.mean()) + half,
        kept=float(np.mean(kept)) if kept else None,
        spread=float(np.mean([each["spread"] for each in cells])),
    )
