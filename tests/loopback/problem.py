"""Small problems whose answers are known, for the tests of the service."""

from __future__ import annotations

from typing import Any

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.executor_estimator import Estimator

SHOTS = 1024
FIVE_SIGMA = 5 / np.sqrt(SHOTS)


def eight_by_four() -> tuple[QuantumCircuit, list[SparsePauliOp], np.ndarray, np.ndarray]:
    """Circuit of 4 qubits, 4 observables, 8 rows of parameters and the exact values (4, 8)."""
    circuit = real_amplitudes(4, reps=2)
    observables = [SparsePauliOp("I" * (3 - i) + "Z" + "I" * i) for i in range(4)]
    values = np.random.default_rng(11).uniform(-np.pi, np.pi, (8, circuit.num_parameters))
    states = [Statevector(circuit.assign_parameters(row)) for row in values]
    exact = [[state.expectation_value(observable).real for state in states] for observable in observables]
    return circuit, observables, values, np.array(exact)


def to_device(circuit: QuantumCircuit, backend: Any, **options: Any) -> QuantumCircuit:
    """The circuit as the device runs it."""
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=5, **options).run(circuit)


def estimate(backend: Any, *, tags: tuple[str, ...] = (), level: int = 0, mode: Any = None) -> Any:
    """Submit the problem of 8 rows and 4 observables as one PUB; the client's job."""
    circuit, observables, values, _ = eight_by_four()
    isa = to_device(circuit, backend)
    columns = [[observable.apply_layout(isa.layout)] for observable in observables]
    return _estimator(mode or backend, tags, level).run([(isa, columns, values)])


def flip(backend: Any, *, tags: tuple[str, ...] = (), mode: Any = None, **options: Any) -> Any:
    """Submit the smallest problem, <Z> = -1 of a flipped qubit; the client's job."""
    circuit = QuantumCircuit(1)
    circuit.x(0)
    isa = to_device(circuit, backend, initial_layout=[2])
    observable = SparsePauliOp("Z").apply_layout(isa.layout)
    return _estimator(mode or backend, tags, 0, **options).run([(isa, observable)])


def _estimator(mode: Any, tags: tuple[str, ...], level: int, **environment: Any) -> Estimator:
    environment = {"job_tags": list(tags), **environment}
    options = {"resilience_level": level, "default_shots": SHOTS, "environment": environment}
    return Estimator(mode=mode, options=options)
