"""Groups of qubits that nothing couples: several states are the one, in values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.assemble import build_ansatz
from qhq.ansatz.program import Ansatz, without_entanglers
from qhq.backends.local.registers import FEWEST_QUBITS, RegistersEngine, groups_of
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.engine import StatevectorEngine

X, W = ParameterVector("x", 2), ParameterVector("w", 4)


def mixed() -> Ansatz:
    """Groups 0 and 2, 1, 3 and 4, 5; an input and a weight are shared, and nobody reads qubit 5."""
    circuit = QuantumCircuit(6)
    circuit.ry(X[0], [0, 1, 5])
    circuit.rx(X[1] * W[0], 2)
    circuit.cx(0, 2)
    circuit.ry(W[0] + X[0], 1)
    circuit.ry(W[1], 3)
    circuit.rx(W[2], 4)
    circuit.ry(W[3], 5)
    # Qubits 3 and 4 are coupled by what is measured alone; the last observable is a number.
    texts = ["IIIZII", "IIIIXI", "IZZIII", "IIIIIZ", "IIIIII"]
    observables = [SparsePauliOp(each) for each in texts]
    observables[2] = observables[2] + 0.5 * SparsePauliOp("IXIIII")
    return Ansatz(circuit, tuple(X), tuple(W), tuple(observables))


def test_groups_are_what_neither_gate_nor_observable_couples():
    assert groups_of(mixed()) == [(0, 2), (1,), (3, 4), (5,)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_states_are_the_one(dtype):
    ansatz, rng = mixed(), np.random.default_rng(0)
    one = StatevectorEngine(ansatz.lowered, ansatz.observables, ansatz.inputs, ansatz.weights, threads=1)
    many = RegistersEngine(ansatz, groups_of(ansatz), threads=1)
    inputs, weights, cotangent = (rng.normal(size=size).astype(dtype) for size in ((5, 2), 4, (5, 5)))
    near = 1e-5 if dtype == np.float32 else 1e-12
    found, residual = many.forward(inputs, weights)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, one.expectations(inputs, weights), atol=near)
    np.testing.assert_array_equal(many.expectations(inputs, weights), found)
    for _ in range(2):  # and once more of the same forward pass
        pulled = many.backward(residual, cotangent)
        for each, wanted in zip(pulled, one.vjp(inputs, weights, cotangent), strict=True):
            np.testing.assert_allclose(each, wanted, atol=near)
            assert each.dtype == dtype


def test_a_wide_circuit_of_parts_has_a_state_of_each_and_a_coupled_one_has_one():
    parts = build_ansatz("side_by_side", parts=[{"qubits": 5}, {"qubits": FEWEST_QUBITS - 5}])
    assert isinstance(StatevectorExecutor(parts)._engine, RegistersEngine)
    coupled = build_ansatz("reference", qubits=FEWEST_QUBITS)
    assert isinstance(StatevectorExecutor(coupled)._engine, StatevectorEngine)
    assert len(groups_of(without_entanglers(coupled))) == FEWEST_QUBITS
