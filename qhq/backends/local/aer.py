"""Qiskit Aer: exact expectation values from the statevector, or sampled ones from shots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from qiskit import transpile
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.primitives import PrimitiveJob
from qiskit.primitives.containers import BindingsArray
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import EstimatorV2, SamplerV2

from qhq.ansatz.program import Ansatz
from qhq.backends.executor import FloatArray, Parity, Report, check_parity, parity_tolerance
from qhq.backends.gradients import ROWS_PER_PUB, Gradient, OpenedCircuit, ParameterShift, ValuesExecutor
from qhq.backends.local import SimulatedSpec
from qhq.backends.local.shots import (
    MOST_DRAWN_QUBITS,
    PARITY_ROWS,
    Draws,
    SampledExecutor,
    SampledProgram,
    SampledTrainingExecutor,
    by_chunks,
    measured_groups,
    state_probabilities,
)
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.engine import Residual
from qhq.engine.compile import count_resets, defer_resets
from qhq.errors import BackendError
from qhq.limits import require_memory
from qhq.seeding import child_generator, child_seed

# Aer holds each as a string, some 200 MB in all.
SAMPLES_PER_PUB = 2**21
"""Most samples drawn at once."""


# Widest circuit with resets that Aer simulates as a density matrix.
# 4 MB a row.
_MOST_MIXED_QUBITS = 9


def open_aer(spec: SimulatedSpec, ansatz: Ansatz, *, seed: int) -> AerExecutor | SampledExecutor:
    """Open an ``aer`` entry: exact without ``shots``, sampled with them.

    Raises:
        BackendError: If Aer cannot run the circuit.
    """
    if spec.gradient == "adjoint":
        return _AdjointAerExecutor(spec, ansatz, seed)
    aer = AerExecutor(spec, ansatz, seed)
    if spec.shots is None or ansatz.num_qubits + ansatz.num_resets > MOST_DRAWN_QUBITS:
        return aer
    return SampledExecutor(aer, _sampled_training(spec, ansatz, seed, aer))


def _sampled_training(
    spec: SimulatedSpec, ansatz: Ansatz, seed: int, aer: AerExecutor
) -> SampledTrainingExecutor:
    """The same shots, drawn from the probabilities of the exact engine."""

    def open_drawn(circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> SampledProgram:
        assert spec.shots is not None
        groups = measured_groups(ansatz.observables)
        sources = [state_probabilities(circuit, parameters, group, threads=spec.threads) for group in groups]
        no_errors = np.zeros((ansatz.num_qubits, 2))
        generator = child_generator(seed, "drawn shots")
        return SampledProgram(
            sources, groups, Draws(spec.shots, no_errors, readout="sampled", generator=generator)
        )

    return SampledTrainingExecutor(
        spec,
        aer,
        open_drawn=open_drawn,
        open_judge=aer.open_exact,
        seed=seed,
        engine="exact",
    )


class AerExecutor(ValuesExecutor):
    """An ansatz on Aer, on its logical qubits: exact values, or sampled ones.

    Values and shifted values are two programs, each with shots of its own.
    """

    def __init__(self, spec: SimulatedSpec, ansatz: Ansatz, seed: int) -> None:
        self._spec, self._seed = spec, seed
        deferred = ansatz.num_resets if ansatz.num_qubits > _MOST_MIXED_QUBITS else 0
        check_method_width(spec.method, ansatz.num_qubits + deferred)
        super().__init__(spec, ansatz, seed, spec.spsa)

    def report(self) -> Report:
        """Say what ran."""
        return self.report_on(self._program.circuit)

    def open_program(self, circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> OpenedCircuit:
        """Values from a program of their own."""
        self._program = self._open_stream(circuit, parameters, "values")
        return self._program

    def open_gradient(self) -> Gradient:
        """Parameter shift of a program of its own, with other shots."""
        return ParameterShift(self._ansatz, partial(self._open_stream, stream="shifted")).vjp

    def open_exact(self, circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> ExactProgram:
        """Values without shots, whatever the entry says."""
        return open_exact(
            circuit,
            parameters,
            self._ansatz.observables,
            method=self._spec.method,
            threads=self._spec.threads,
        )

    def _open_stream(
        self, circuit: QuantumCircuit, parameters: Sequence[Parameter], stream: str
    ) -> ExactProgram | _SampledProgram:
        program = self.open_exact(circuit, parameters)
        if self._spec.shots is None:
            return program
        return _SampledProgram(program, self._spec.shots, child_seed(self._seed, f"aer {stream}"))


class _AdjointAerExecutor(AerExecutor):
    """Aer for values, and qhq's exact engine wherever gradients are asked for.

    A training step of a quantum layer goes forward and back on the engine, as ``qhq train`` does, at a
    hundredth of Aer's time; its first one checks that the two agree. Values without gradients are Aer's own.
    """

    def __init__(self, spec: SimulatedSpec, ansatz: Ansatz, seed: int) -> None:
        # Before the base, which asks for the gradient.
        self._engine, self._agreed = StatevectorExecutor(ansatz, threads=spec.threads), False
        super().__init__(spec, ansatz, seed)

    def forward(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, Residual]:
        """Values (B, O) of the engine, in the precision of the inputs, and what ``backward`` goes on from.

        Raises:
            BackendError: If a shape does not fit, a value is not finite, or the engine differs from Aer.
        """
        checked = self._checked(inputs, weights)
        values, residual = self._engine.forward(inputs, weights)
        # Once is enough: circuit and rule stay, and every later step would pay Aer's time for it.
        if not self._agreed and len(values):
            rows, few = checked[0][:PARITY_ROWS], values[:PARITY_ROWS]
            distance = float(np.abs(few - self.expectations(rows, checked[1])).max())
            check_parity(Parity(distance, 0.0), parity_tolerance(values.dtype, self._program.circuit.size()))
            self._agreed = True
        return values, residual

    def backward(self, residual: Residual, cotangent: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) of a forward pass back to inputs (B, I) and weights (W,)."""
        return self._engine.backward(residual, cotangent)

    def open_gradient(self) -> Gradient:
        """The engine's."""
        return self._engine.vjp


def check_method_width(method: str, qubits: int) -> None:
    """Refuse what Aer could not hold: a state or density matrix, and a copy of it.

    Raises:
        BackendError: With the memory that it needs.
    """
    if method != "matrix_product_state":
        # A complex number has 16 bytes, and Aer copies the state as it hands it over.
        bits = qubits if method == "statevector" else 2 * qubits
        require_memory(
            32 << bits,
            f"Aer's {method.replace('_', ' ')} of {qubits} qubits",
            fix="Use fewer qubits (quantum.qubits), or the method matrix_product_state in the entry",
        )


def open_exact(
    circuit: QuantumCircuit,
    parameters: Sequence[Parameter],
    observables: Sequence[SparsePauliOp],
    *,
    method: str,
    threads: int = 0,
) -> ExactProgram:
    """Aer's exact values of a lowered circuit.

    A state that is reset is a mixture, of which Aer's statevector draws a sample. Its density matrix is
    exact; on more qubits than that holds, each reset goes on with a fresh qubit instead.

    Args:
        circuit: Gates and resets.
        parameters: Its parameters, in the order of the columns of a row of values.
        observables: On its qubits.
        method: How Aer simulates, where there are no resets.
        threads: Threads that Aer may use; 0 means all cores.
    """
    placed = tuple(observables)
    if count_resets(circuit):
        if circuit.num_qubits <= _MOST_MIXED_QUBITS:
            method = "density_matrix"
        else:
            circuit, placed = defer_resets(circuit, observables)
    simulator = AerSimulator(
        method=method,
        max_parallel_threads=threads,
        # One circuit for all rows instead of a bound copy a row: twice as fast.
        runtime_parameter_bind_enable=True,
    )
    return ExactProgram(_in_known_gates(circuit, simulator), tuple(parameters), placed, simulator)


class ExactProgram:
    """Expectation values from Aer's state; the same row gives the same values."""

    def __init__(
        self,
        circuit: QuantumCircuit,
        parameters: tuple[Parameter, ...],
        observables: tuple[SparsePauliOp, ...],
        simulator: AerSimulator,
    ) -> None:
        self.circuit, self.parameters = circuit, parameters
        self.observables, self.simulator = observables, simulator
        self._estimator = EstimatorV2.from_backend(simulator)

    def __call__(self, values: FloatArray) -> FloatArray:
        """Expectation values (N, O) at rows (N, P), from one broadcast PUB up to ROWS_PER_PUB rows."""
        chunks = by_chunks(self._run, values, ROWS_PER_PUB)
        return np.concatenate([np.zeros((0, len(self.observables))), *chunks])

    def _run(self, values: FloatArray) -> FloatArray:
        # Rows (N, 1) against observables (O,) broadcast to values (N, O).
        rows = BindingsArray({self.parameters: values[:, None, :]})
        # A precision of zero is how an Estimator is asked for exact values; left out, it draws.
        job = self._estimator.run([(self.circuit, list(self.observables), rows)], precision=0.0)
        return np.asarray(job_result(job)[0].data.evs, dtype=np.float64)


class _SampledProgram:
    """Expectation values from shots: each call draws anew, from child seeds of one seed in turn."""

    def __init__(self, exact: ExactProgram, shots: int, seed: int) -> None:
        self.circuit = exact.circuit
        self._parameters, self._simulator = exact.parameters, exact.simulator
        self._groups = measured_groups(exact.observables)
        self._measured = [group.measure(exact.circuit) for group in self._groups]
        self._outputs = len(exact.observables)
        # A seed of its own for each call: with the same one two batches would share their shots.
        self._shots, self._seed, self._calls = shots, seed, itertools.count()

    def __call__(self, values: FloatArray) -> FloatArray:
        """Estimates (N, O) at rows (N, P), one broadcast PUB a group up to SAMPLES_PER_PUB samples."""
        chunks = by_chunks(self._run, values, max(1, SAMPLES_PER_PUB // self._shots))
        return np.concatenate([np.zeros((0, self._outputs)), *chunks])

    def _run(self, values: FloatArray) -> FloatArray:
        sampler = SamplerV2.from_backend(
            self._simulator,
            default_shots=self._shots,
            seed=child_seed(self._seed, f"call {next(self._calls)}"),
        )
        rows = BindingsArray({self._parameters: values})
        results = job_result(sampler.run([(circuit, rows) for circuit in self._measured]))
        parts = [
            group.contribution(result.data.meas) for group, result in zip(self._groups, results, strict=True)
        ]
        total: FloatArray = np.sum(parts, axis=0)
        return total


def _in_known_gates(circuit: QuantumCircuit, simulator: AerSimulator) -> QuantumCircuit:
    """Write a lowered circuit in gates that Aer knows; qubits stay where they are."""
    if simulator.target.operation_names >= circuit.count_ops().keys():
        # Spares the transpiler, whose plugins take a second to import.
        return circuit
    try:
        transpiled: QuantumCircuit = transpile(circuit, simulator, optimization_level=0)
    except QiskitError as error:
        raise aer_error(error) from error
    transpiled.global_phase = 0  # it changes no expectation, and Aer stumbles over parameters in it
    return transpiled


def job_result(job: PrimitiveJob[Any]) -> Any:
    """What a job of Aer gives.

    Raises:
        BackendError: If Aer fails.
    """
    try:
        return job.result()
    except QiskitError as error:
        raise aer_error(error) from error


def aer_error(error: Exception) -> BackendError:
    """Error that Aer does not take a circuit."""
    return BackendError(
        "Aer must be able to run the circuit of the ansatz",
        got=f"{type(error).__name__}: {str(error).strip()}",
        fix="Use fewer qubits, or gates that Qiskit can decompose",
    )
