"""A batch is its rows: whatever the circuit, one call gives what one call a row gives."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, ParameterVector
from qiskit.circuit.library import RVGate
from qiskit.quantum_info import SparsePauliOp

from qhq.engine import StatevectorEngine
from qhq.errors import ConfigError

OBSERVABLES = [SparsePauliOp("IZ"), SparsePauliOp(["XX", "ZI"], [0.5, 1.0])]


def curved(inputs: int, angles: int) -> StatevectorEngine:
    """Every angle of the inputs is curved, none of the weights."""
    x, w = ParameterVector("x", inputs), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    for angle in range(angles):
        circuit.ry(x[angle % inputs] ** (angle + 2), angle % 2)
    circuit.cx(0, 1)
    circuit.ry(w[0], 0)
    circuit.rx(w[1], 1)
    return StatevectorEngine(circuit, OBSERVABLES, list(x), list(w))


@pytest.mark.parametrize("inputs", [1, 2, 3])
@pytest.mark.parametrize("angles", [1, 2, 3, 5])
@pytest.mark.parametrize("batch", [1, 3, 17])
def test_batch_equals_its_rows(inputs, angles, batch):
    engine = curved(inputs, max(inputs, angles))
    generator = np.random.default_rng(batch)
    x, w = generator.normal(size=(batch, inputs)), generator.normal(size=2)
    cotangent = generator.normal(size=(batch, 2))
    values, (by_inputs, by_weights) = engine.expectations(x, w), engine.vjp(x, w, cotangent)
    rows = [engine.vjp(x[i : i + 1], w, cotangent[i : i + 1]) for i in range(batch)]
    one_by_one = np.vstack([engine.expectations(x[i : i + 1], w) for i in range(batch)])
    np.testing.assert_allclose(values, one_by_one, atol=1e-12)
    np.testing.assert_allclose(by_inputs, np.vstack([row[0] for row in rows]), atol=1e-12)
    np.testing.assert_allclose(by_weights, np.sum([row[1] for row in rows], axis=0), atol=1e-12)


def opaque(x):
    """A plain gate whose definition hides a parameter."""
    inside = QuantumCircuit(1)
    inside.rx(x, 0)
    gate = Gate("mine", 1, [])
    gate.definition = inside
    return gate


def test_plain_gate_is_opened():
    x = ParameterVector("x", 1)
    circuit = QuantumCircuit(1)
    circuit.append(opaque(x[0]), [0])
    engine = StatevectorEngine(circuit, [SparsePauliOp("Z")], list(x), [])
    np.testing.assert_allclose(engine.expectations([[0.3]], [])[0, 0], np.cos(0.3), atol=1e-12)


def test_gate_that_cannot_be_opened_is_named():
    x = ParameterVector("x", 2)
    circuit = QuantumCircuit(1)
    circuit.append(RVGate(x[0], x[1], 0.0), [0])
    with pytest.raises(ConfigError, match="Every gate must come apart"):
        StatevectorEngine(circuit, [SparsePauliOp("Z")], list(x), [])
