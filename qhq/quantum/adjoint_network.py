"""The exact engine behind the interface of qiskit-machine-learning, for a circuit of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.quantum_info.operators.base_operator import BaseOperator
from qiskit_machine_learning.neural_networks import NeuralNetwork

from qhq.engine.adjoint import StatevectorEngine
from qhq.errors import ConfigError

Array = NDArray[np.float64]


class AdjointNetwork(NeuralNetwork):
    """``EstimatorQNN`` with exact values, and exact gradients in one backward sweep an observable.

    The keywords are those of ``EstimatorQNN``, so that one name is all that changes; what belongs to an
    estimator (``estimator``, ``gradient``, ``default_precision``, ``pass_manager``) does not exist here.

    Args:
        circuit: Unitary circuit on n qubits.
        observables: Operators on n qubits; by default Z on all of them at once.
        input_params: Parameters that take the input data, I in all.
        weight_params: Parameters that are trained, W in all.
        input_gradients: Whether ``backward`` also gives gradients by inputs.

    Raises:
        ConfigError: If the circuit is not unitary, a parameter has no place, or an observable does not fit.

    >>> from qiskit.circuit.library import real_amplitudes, zz_feature_map
    >>> features, ansatz = zz_feature_map(2), real_amplitudes(2, reps=1)
    >>> network = AdjointNetwork(circuit=features.compose(ansatz),
    ...                          input_params=features.parameters, weight_params=ansatz.parameters)
    >>> network.forward([0.1, 0.2], np.zeros(4)).shape
    (1, 1)
    """

    def __init__(
        self,
        *,
        circuit: QuantumCircuit,
        observables: Sequence[BaseOperator] | BaseOperator | None = None,
        input_params: Sequence[Parameter] | None = None,
        weight_params: Sequence[Parameter] | None = None,
        input_gradients: bool = False,
    ) -> None:
        self.circuit = circuit
        self.observables = _as_paulis(observables, circuit.num_qubits)
        self.input_params, self.weight_params = tuple(input_params or ()), tuple(weight_params or ())
        # Gradients by weights are wanted sample by sample, which the engine gives for its inputs only.
        parameters = [*self.input_params, *self.weight_params]
        self._engine = StatevectorEngine(circuit, self.observables, parameters, [])
        super().__init__(
            num_inputs=len(self.input_params),
            num_weights=len(self.weight_params),
            sparse=False,
            output_shape=len(self.observables),
            input_gradients=input_gradients,
        )

    def _forward(self, input_data: Array | None, weights: Array | None) -> Array:
        return self._engine.expectations(self._rows(input_data, weights), _NO_WEIGHTS)

    def _backward(self, input_data: Array | None, weights: Array | None) -> tuple[Array | None, Array]:
        """Jacobians (B, O, I), None without input gradients, and (B, O, W)."""
        rows, outputs = self._rows(input_data, weights), self.output_shape[0]
        jacobian = np.empty((len(rows), outputs, rows.shape[1]))
        for output in range(outputs):
            cotangent = np.zeros((len(rows), outputs))
            cotangent[:, output] = 1.0
            jacobian[:, output], _ = self._engine.vjp(rows, _NO_WEIGHTS, cotangent)
        by_inputs, by_weights = np.split(jacobian, [self.num_inputs], axis=2)
        return by_inputs if self.input_gradients else None, by_weights

    def _rows(self, input_data: Array | None, weights: Array | None) -> Array:
        """One row (I + W) a sample: its inputs, then the weights."""
        inputs = np.zeros((1, 0)) if input_data is None else np.asarray(input_data, dtype=np.float64)
        shared = np.zeros(0) if weights is None else np.asarray(weights, dtype=np.float64)
        return np.hstack([inputs, np.broadcast_to(shared, (len(inputs), len(shared)))])

    def __getstate__(self) -> dict[str, Any]:
        """State without the engine, whose workspaces are not copied."""
        return {key: value for key, value in self.__dict__.items() if key != "_engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        parameters = [*self.input_params, *self.weight_params]
        self._engine = StatevectorEngine(self.circuit, self.observables, parameters, [])


_NO_WEIGHTS = np.zeros(0)


def _as_paulis(
    observables: Sequence[BaseOperator] | BaseOperator | None, qubits: int
) -> tuple[SparsePauliOp, ...]:
    if observables is None:
        return (SparsePauliOp("Z" * qubits),)
    listed = (observables,) if isinstance(observables, BaseOperator) else tuple(observables)
    return tuple(_as_pauli(each) for each in listed)


def _as_pauli(observable: Any) -> SparsePauliOp:
    if isinstance(observable, SparsePauliOp):
        return observable
    try:
        return SparsePauliOp(observable)
    except Exception:
        return _from_operator(observable)


def _from_operator(observable: Any) -> SparsePauliOp:
    try:
        return SparsePauliOp.from_operator(observable)
    except Exception as error:
        raise ConfigError(
            "An observable must be a Pauli operator, or a sum of them",
            got=f"{type(observable).__name__}",
            fix="Pass SparsePauliOp objects",
        ) from error
