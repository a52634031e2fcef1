"""A small device behind the loopback service, a clock that nobody waits for, and what was received."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.program import Ansatz
from qhq.backends.ibm import IBMSpec
from qhq.backends.ibm.executor import IBMExecutor, open_ibm
from qhq.backends.local.aer import open_aer
from qhq.backends.noisy import AerSpec

DEVICE = "ibm_manila"
SHOTS = 256
FIVE_SIGMA = 5 / np.sqrt(SHOTS)
ROWS = 4


class Clock:
    """Time passes only where it is slept through; ``on_sleep`` is what happens meanwhile, once."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0
        self.slept: list[float] = []
        self.on_sleep: list[Callable[[], Any]] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept.append(seconds)
        if self.on_sleep:
            self.on_sleep.pop(0)()


def small_ansatz(observables: tuple[str, ...] = ("IZ", "ZI")) -> Ansatz:
    """Two qubits, two inputs, one weight."""
    x, y, w = Parameter("x"), Parameter("y"), Parameter("w")
    circuit = QuantumCircuit(2)
    circuit.ry(x, 0)
    circuit.ry(y, 1)
    circuit.cx(0, 1)
    circuit.ry(w, 0)
    return Ansatz(circuit, (x, y), (w,), tuple(SparsePauliOp(each) for each in observables))


def entry(**changes: Any) -> IBMSpec:
    """The entry of the small device: no mitigation, few shots."""
    plain = {"kind": "ibm", "name": DEVICE, "shots": SHOTS, "resilience_level": 0, "max_qpu_seconds": 60}
    return IBMSpec.model_validate(plain | changes)


def opened(
    clock: Clock | None = None, *, ansatz: Ansatz | None = None, seed: int = 0, **changes: Any
) -> IBMExecutor:
    return open_ibm(entry(**changes), ansatz or small_ansatz(), seed=seed, clock=clock or Clock())


def points() -> tuple[np.ndarray, np.ndarray]:
    """Inputs (4, 2) and weights (1,)."""
    return np.random.default_rng(3).uniform(-3, 3, (ROWS, 2)), np.array([0.4])


def exact(ansatz: Ansatz | None = None) -> np.ndarray:
    """What a perfect device gives at the points, shots aside."""
    return open_aer(AerSpec(kind="aer"), ansatz or small_ansatz(), seed=0).expectations(*points())


def run_and_check(executor: IBMExecutor) -> np.ndarray:
    """Run the points; the values must be those of a perfect device."""
    values = executor.expectations(*points())
    np.testing.assert_allclose(values, exact(), rtol=0, atol=FIVE_SIGMA)
    return values


def check_each_sent_once(service: Any, jobs: int = 1) -> None:
    """So many jobs arrived, and no tag of the journal came twice."""
    tags = {tag: count for tag, count in service.submissions().items() if tag.startswith("qhq-")}
    assert set(tags.values()) == {1}
    assert len(tags) == len(service.jobs()) == jobs


class Heard:
    """Whoever is told; says yes, or no."""

    def __init__(self, agrees: bool = True) -> None:
        self.agrees = agrees
        self.notes: list[str] = []
        self.waited: list[str] = []
        self.asked: list[str] = []

    def tell(self, text: str) -> None:
        self.notes.append(text)

    def wait(self, text: str) -> None:
        self.waited.append(text)

    def agree(self, question: str) -> bool:
        self.asked.append(question)
        return self.agrees


class Listening(Clock):
    """A clock that keeps the longest time in which nothing was said."""

    def __init__(self, heard):
        super().__init__()
        self.heard, self.silent, self.longest, self.lines = heard, 0.0, 0.0, 0

    def sleep(self, seconds):
        lines = len(self.heard.notes) + len(self.heard.waited)
        self.silent = seconds if lines > self.lines else self.silent + seconds
        self.lines, self.longest = lines, max(self.longest, self.silent)
        super().sleep(seconds)
