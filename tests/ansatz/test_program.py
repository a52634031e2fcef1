"""What an ansatz takes: roles, observables, and circuits that a transpiler has written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qiskit import transpile
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import CouplingMap

from qhq.ansatz.assemble import build
from qhq.ansatz.blocks import Entangler
from qhq.ansatz.program import Ansatz, count_facts, without_entanglers
from qhq.ansatz.spec import AnsatzSpec, load_ansatz
from qhq.backends.registry import open_backend
from qhq.errors import ConfigError
from qhq.quantum import AdjointNetwork

X, W = Parameter("x"), Parameter("w")
Z0, X1 = SparsePauliOp("IZ"), SparsePauliOp(["XI", "YZ"], [0.5, -1.0])


def circuit(*, measured=False):
    made = QuantumCircuit(2)
    made.ry(X, 0)
    made.cx(0, 1)
    made.swap(0, 1)
    made.rx(W * X, 1)
    if measured:
        made.measure_all()
    return made


def values(ansatz):
    return open_backend("statevector", ansatz, seed=0).expectations([[0.7]], [0.4])


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_observables_that_are_narrower_than_a_transpiled_circuit_follow_its_layout(level, measured):
    wide = transpile(
        circuit(measured=measured),
        GenericBackendV2(5, seed=1),
        initial_layout=[3, 1],
        optimization_level=level,
        seed_transpiler=2,
    )
    ansatz = Ansatz(wide, (X,), (W,), (Z0, X1))
    assert {each.num_qubits for each in ansatz.observables} == {ansatz.num_qubits} <= {2, 3, 4, 5}
    np.testing.assert_allclose(values(ansatz), values(Ansatz(circuit(), (X,), (W,), (Z0, X1))), atol=1e-12)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_observables_that_are_as_wide_as_it_are_on_its_own_qubits(level):
    moved = transpile(circuit(), basis_gates=["rz", "sx", "cx"], optimization_level=level)
    laid = tuple(each.apply_layout(moved.layout) for each in (Z0, X1))
    ansatz = Ansatz(moved, (X,), (W,), laid)
    np.testing.assert_allclose(values(ansatz), values(Ansatz(circuit(), (X,), (W,), (Z0, X1))), atol=1e-12)


def test_an_observable_of_a_third_width_is_refused():
    wide = transpile(circuit(), GenericBackendV2(5, seed=1))
    with pytest.raises(ConfigError, match="must act on all qubits"):
        Ansatz(wide, (X,), (W,), (SparsePauliOp("ZZZ"),))


@pytest.mark.parametrize("name", ["statevector", "aer"])
@pytest.mark.parametrize("level", [0, 3])
def test_a_circuit_transpiled_for_a_large_device_runs_on_the_qubits_in_use(level, name):
    wide = transpile(circuit(), GenericBackendV2(60, seed=1), optimization_level=level, seed_transpiler=2)
    wide.barrier()
    wide.delay(10, 59)
    laid = tuple(each.apply_layout(wide.layout) for each in (Z0, X1))
    for observables in ((Z0, X1), laid):
        ansatz = Ansatz(wide, (X,), (W,), observables)
        assert 2 <= ansatz.num_qubits <= 6
        found = open_backend(name, ansatz, seed=0).expectations([[0.7]], [0.4])
        np.testing.assert_allclose(found, values(Ansatz(circuit(), (X,), (W,), (Z0, X1))), atol=1e-12)
        network = AdjointNetwork(circuit=wide, observables=observables, input_params=[X], weight_params=[W])
        np.testing.assert_allclose(network.forward([0.7], [0.4]), found, atol=1e-12)


def test_a_qubit_that_an_observable_reads_stays_and_so_does_a_delay_with_a_parameter():
    wide = transpile(
        circuit(),
        GenericBackendV2(9, seed=1, coupling_map=CouplingMap.from_line(9)),
        initial_layout=[2, 1],
        optimization_level=0,
    )
    delay = Parameter("d")
    wide.delay(delay, 5)
    z = SparsePauliOp.from_sparse_list([("Z", [8], 0.5)], 9)  # the rest acts on 1 and 2
    ansatz = Ansatz(wide, (X, delay), (W,), (z,))
    assert ansatz.num_qubits == 4
    found = open_backend("statevector", ansatz, seed=0).expectations([[0.7, 3.0]], [0.4])
    np.testing.assert_allclose(found, [[0.5]])


def test_the_facts_of_the_reference_ansatz():
    facts = count_facts(build(AnsatzSpec(qubits=4, depth=2)))
    assert (facts.qubits, facts.inputs, facts.weights, facts.observables) == (4, 4, 8, 4)
    assert (facts.two_qubit_gates, facts.gates) == (8, {"ry": 12, "cx": 8})
    # A ring of CX is a staircase: as deep as it has gates.
    assert (facts.depth, facts.depth_2q) == (11, 8)


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
