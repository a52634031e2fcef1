"""Noisy expectation values from the density matrix: exact, or shots drawn from exact probabilities."""

from __future__ import annotations

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit_aer import AerSimulator

from qhq.backends.executor import FloatArray
from qhq.backends.gradients.parameter_shift import ROWS_PER_PUB
from qhq.backends.noise.channels import noise_model
from qhq.backends.noise.program import NoisyProgram
from qhq.backends.noise.readout import flip_probabilities, outcome_values
from qhq.backends.simulators.aer import aer_error, by_chunks, check_width
from qhq.errors import BackendError
from qhq.seeding import child_generator

MOST_QUBITS = 12
"""A density matrix and its copy take half a gigabyte then, four times as much with each qubit more."""

NUMBERS_PER_RUN = 2**23
"""Most probabilities that Aer hands over at once, 64 MB."""


class DensityProgram:
    """Exact probabilities of all outcomes, averaged with exact readout errors.

    Args:
        program: The program with its noise.
        threads: Threads that Aer may use; 0 means all cores.
    """

    def __init__(self, program: NoisyProgram, threads: int) -> None:
        check_density_width(program.num_qubits)
        self.num_qubits, self.num_outputs = program.num_qubits, program.num_outputs
        self._parameters, self._groups, self._flips = program.parameters, program.groups, program.noise.flips
        self._circuits = [_saving_probabilities(circuit) for circuit in program.circuits]
        self._simulator = AerSimulator(
            method="density_matrix",
            noise_model=noise_model(program.noise, readout=False),
            max_parallel_threads=threads,
            runtime_parameter_bind_enable=True,
        )
        self._values = [outcome_values(group, self._flips) for group in self._groups]

    def __call__(self, values: FloatArray) -> FloatArray:
        """Expectation values (N, O) at rows (N, P)."""
        rows = max(1, min(ROWS_PER_PUB, NUMBERS_PER_RUN >> self.num_qubits))
        return np.concatenate([np.zeros((0, self.num_outputs)), *by_chunks(self._run, values, rows)])

    def _run(self, values: FloatArray) -> FloatArray:
        parts = [
            self._read(self._probabilities(circuit, values)) @ weights
            for circuit, weights in zip(self._circuits, self._values, strict=True)
        ]
        total: FloatArray = np.sum(parts, axis=0)
        return total

    def _read(self, probabilities: FloatArray) -> FloatArray:
        return probabilities

    def _probabilities(self, circuit: QuantumCircuit, values: FloatArray) -> FloatArray:
        """Probabilities (N, 2**n) of the outcomes; qubit q is bit q."""
        columns = dict(zip(self._parameters, values.T, strict=True))
        try:
            job = self._simulator.run(circuit, parameter_binds=[columns] if columns else None, shots=1)
            result = job.result()
            rows = [result.data(index)["probabilities"] for index in range(len(values) if columns else 1)]
        except QiskitError as error:
            raise aer_error(error) from error
        return np.broadcast_to(np.asarray(rows, dtype=np.float64), (len(values), 2**self.num_qubits))


class DrawnProgram(DensityProgram):
    """Shots drawn from the exact probabilities: as measured one by one, without simulating each.

    Args:
        program: The program with its noise.
        threads: Threads that Aer may use; 0 means all cores.
        shots: Shots a value.
        readout: ``sampled`` draws from what is read, ``exact`` from the state.
        seed: Where the shots come from.
    """

    def __init__(self, program: NoisyProgram, threads: int, *, shots: int, readout: str, seed: int) -> None:
        super().__init__(program, threads)
        self._shots, self._generator = shots, child_generator(seed, "shots")
        self._sampled = readout == "sampled"
        if self._sampled:
            # The errors are in the bits then.
            ideal = np.zeros_like(self._flips)
            self._values = [outcome_values(group, ideal) for group in self._groups]

    def _read(self, probabilities: FloatArray) -> FloatArray:
        if self._sampled:
            probabilities = flip_probabilities(probabilities, self._flips)
        probabilities = probabilities.clip(min=0)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return self._generator.multinomial(self._shots, probabilities) / self._shots


def _saving_probabilities(circuit: QuantumCircuit) -> QuantumCircuit:
    saving: QuantumCircuit = circuit.copy()
    saving.save_probabilities()
    return saving


def check_density_width(num_qubits: int) -> None:
    """Refuse what would take too much time or memory.

    Raises:
        BackendError: With the figure.
    """
    if num_qubits > MOST_QUBITS:
        raise BackendError(
            f"The density matrix of a noisy simulation must have at most {MOST_QUBITS} qubits",
            got=f"{num_qubits} physical qubits in use",
            fix="Set method to statevector or matrix_product_state with shots, or use fewer qubits",
        )
    check_width("density_matrix", num_qubits)
