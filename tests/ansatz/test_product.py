"""Without entanglers: no gate on two qubits is left, and all that acts on one is still there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.assemble import build
from qhq.ansatz.catalogue import load_ansatz
from qhq.ansatz.product import without_entanglers
from qhq.ansatz.program import Ansatz
from qhq.ansatz.spec import AnsatzSpec, Entangler
from qhq.backends.registry import open_backend
from qhq.errors import ConfigError

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "circuits").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_no_shipped_circuit_keeps_a_gate_on_two_qubits(name):
    ansatz = build(load_ansatz(name, {}))
    product = without_entanglers(ansatz)
    assert product.circuit.num_nonlocal_gates() == 0
    assert (product.num_qubits, product.num_inputs) == (ansatz.num_qubits, ansatz.num_inputs)
    assert product.num_outputs == ansatz.num_outputs
    assert set(product.weights) <= set(ansatz.weights)


def test_it_is_the_circuit_that_a_spec_without_an_entangler_describes():
    spec = AnsatzSpec(qubits=3, depth=2)
    product = without_entanglers(build(spec))
    plain = build(spec.model_copy(update={"entangler": Entangler(pattern="none")}))
    rng = np.random.default_rng(0)
    inputs, weights = rng.normal(size=(5, 3)), rng.normal(size=6)
    values = [
        open_backend("statevector", each, seed=0).expectations(inputs, weights) for each in (product, plain)
    ]
    np.testing.assert_allclose(*values, atol=1e-12)


def test_an_output_listens_to_its_own_qubit_only():
    product = without_entanglers(build(AnsatzSpec(qubits=3, depth=2)))
    executor = open_backend("statevector", product, seed=0)
    weights = np.random.default_rng(1).normal(size=6)
    before, after = executor.expectations(np.array([[0.3, 0.4, 0.5], [0.3, 0.4, 1.5]]), weights)
    np.testing.assert_allclose(before[:2], after[:2], atol=1e-12)
    assert abs(before[2] - after[2]) > 1e-3


def test_an_input_that_enters_by_two_qubits_alone_is_refused():
    x, circuit = Parameter("x"), QuantumCircuit(2)
    circuit.rxx(x, 0, 1)
    with pytest.raises(ConfigError, match="Every input must still enter.*only such gates for x"):
        without_entanglers(Ansatz(circuit, (x,), (), (SparsePauliOp("ZI"),)))
