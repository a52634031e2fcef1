import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import efficient_su2, real_amplitudes, zz_feature_map
from qiskit.quantum_info import Operator, SparsePauliOp

from qhq.ansatz.assemble import Ansatz, build, build_ansatz, pauli_observables
from qhq.ansatz.spec import AnsatzSpec, list_ansaetze, load_ansatz
from qhq.errors import ConfigError
from tests.ansatz.circuits import NO_ENTANGLER, SPECS, built, matrix, random_values


# The lags of a reservoir share its qubits out, and parts have their own: test_reservoir.py, test_parts.py.
@pytest.mark.parametrize(
    "name", [each for each in list_ansaetze() if each not in ("reservoir", "side_by_side")]
)
@pytest.mark.parametrize(("qubits", "depth"), [(2, 1), (5, 3)])
def test_a_shipped_ansatz_builds_at_any_size(name, qubits, depth):
    ansatz = build(load_ansatz(name, {"qubits": qubits, "depth": depth}))
    assert (ansatz.num_qubits, ansatz.num_inputs, ansatz.num_outputs) == (qubits, qubits, qubits)
    assert set(ansatz.circuit.parameters) == set(ansatz.parameters)


@pytest.mark.parametrize(("gates", "per_qubit"), [("RY", 1), ("RX RZ", 2), ("Rot", 3), ("RX Rot", 4)])
def test_weights_are_one_a_gate_qubit_and_layer(gates, per_qubit):
    ansatz = build(AnsatzSpec.model_validate({"qubits": 3, "depth": 4, "blocks": [{"gates": gates}]}))
    assert ansatz.num_weights == 3 * 4 * per_qubit


@pytest.mark.parametrize("name", SPECS)
def test_parameters_are_named_in_order(name):
    ansatz = built(name)
    assert [each.name for each in ansatz.inputs] == [f"x[{index}]" for index in range(ansatz.num_inputs)]
    assert [each.name for each in ansatz.weights] == [f"w[{index}]" for index in range(ansatz.num_weights)]


@pytest.mark.parametrize(
    ("kind", "library"), [("real_amplitudes", real_amplitudes), ("efficient_su2", efficient_su2)]
)
@pytest.mark.parametrize("depth", [1, 3])
def test_a_library_block_over_all_layers_is_the_library_circuit(kind, library, depth):
    content = {"qubits": 3, "depth": depth, "blocks": [{"kind": kind}], "entangler": NO_ENTANGLER}
    ansatz = build(AnsatzSpec.model_validate(content))
    _, weights = random_values(ansatz, 1)
    expected = Operator(library(3, reps=depth).assign_parameters(weights)).data
    np.testing.assert_allclose(matrix(ansatz, np.concatenate([np.zeros(3), weights])), expected, atol=1e-12)


def test_the_feature_map_is_the_librarys():
    content = {"qubits": 3, "depth": 0, "encoding": {"kind": "zz_feature_map", "reps": 2}}
    ansatz = build(AnsatzSpec.model_validate(content))
    inputs, _ = random_values(ansatz, 1)
    expected = Operator(zz_feature_map(3, reps=2).assign_parameters(inputs[0])).data
    np.testing.assert_allclose(matrix(ansatz, inputs[0]), expected, atol=1e-12)


@pytest.mark.parametrize(("qubits", "gates"), [(1, 0), (2, 1), (3, 3), (5, 5)])
@pytest.mark.parametrize("gate", ["cx", "cz"])
def test_a_ring_never_undoes_itself(qubits, gates, gate):
    ansatz = build(AnsatzSpec.model_validate({"qubits": qubits, "entangler": {"gate": gate}}))
    assert ansatz.circuit.count_ops().get(gate, 0) == gates


@pytest.mark.parametrize(("pattern", "gates"), [("linear", 3), ("full", 6), ("none", 0)])
def test_an_entangler_has_its_pairs(pattern, gates):
    ansatz = build(AnsatzSpec.model_validate({"entangler": {"pattern": pattern}}))
    assert ansatz.circuit.num_nonlocal_gates() == gates


def test_reuploading_enters_the_inputs_before_each_layer():
    content = {"qubits": 3, "depth": 4, "encoding": {"hadamard": True, "gates": "RZ", "repeat": True}}
    counts = build(AnsatzSpec.model_validate(content)).circuit.count_ops()
    assert (counts["rz"], counts["h"]) == (12, 3)


def test_observables_are_read_by_label_and_by_qubit():
    by_label, by_qubit = pauli_observables(["IXZ", "X1 Z0"], 3)
    assert by_label.equiv(by_qubit)


def test_z_each_measures_the_qubits_in_order():
    assert [each.paulis.to_labels()[0] for each in pauli_observables("z_each", 3)] == ["IIZ", "IZI", "ZII"]


@pytest.mark.parametrize("text", ["ZZ", "Z3", "Z0 X0"])
def test_an_observable_that_does_not_fit_is_refused(text):
    with pytest.raises(ConfigError, match=f"'{text}' for 3 qubits"):
        pauli_observables([text], 3)


def test_a_parameter_without_a_role_is_refused():
    ansatz = built("ry")
    with pytest.raises(ConfigError, match=r"neither: w\[5\]"):
        Ansatz(ansatz.circuit, ansatz.inputs, ansatz.weights[:-1], ansatz.observables)


def test_a_parameter_with_two_roles_is_refused():
    ansatz = built("ry")
    with pytest.raises(ConfigError, match=r"twice: x\[0\]"):
        Ansatz(ansatz.circuit, ansatz.inputs, (*ansatz.weights, ansatz.inputs[0]), ansatz.observables)


def test_measurements_at_the_end_are_taken_out():
    ansatz = built("ry")
    measured = ansatz.circuit.copy()
    measured.measure_all()
    again = Ansatz(measured, ansatz.inputs, ansatz.weights, ansatz.observables)
    assert again.circuit.num_clbits == 0
    assert again.lowered == ansatz.lowered


def test_a_measurement_within_the_circuit_takes_a_qubit_more():
    ansatz = built("ry")
    measured = ansatz.circuit.copy()
    measured.measure_all()
    measured.h(0)
    again = Ansatz(measured, ansatz.inputs, ansatz.weights, ansatz.observables)
    assert (again.num_qubits, again.num_resets) == (ansatz.num_qubits + 1, 1)
    assert {each.num_qubits for each in again.observables} == {again.num_qubits}


def test_observables_of_another_width_are_refused():
    ansatz = built("ry")
    with pytest.raises(ConfigError, match="widths 2 for 3 qubits"):
        Ansatz(ansatz.circuit, ansatz.inputs, ansatz.weights, pauli_observables(["ZZ"], 2))


def test_observables_must_be_hermitian():
    ansatz = built("ry")
    with pytest.raises(ConfigError, match="complex coefficient"):
        Ansatz(ansatz.circuit, ansatz.inputs, ansatz.weights, (1j * ansatz.observables[0],))


# A circuit of Qiskit's, in memory.


def features_and_weights():
    return zz_feature_map(3), real_amplitudes(3, reps=1)


def test_a_circuit_in_memory_has_the_roles_that_it_is_given():
    features, weights = features_and_weights()
    circuit = features.compose(weights)
    by_prefix, by_objects = build_ansatz(circuit), build_ansatz(circuit, inputs=features.parameters)
    by_name = build_ansatz(circuit, inputs=["x[0]", "x[1]", "x[2]"])
    for ansatz in (by_prefix, by_objects, by_name):
        assert (ansatz.inputs, ansatz.weights) == (tuple(features.parameters), tuple(weights.parameters))
    assert [str(each.paulis[0]) for each in by_prefix.observables] == ["IIZ", "IZI", "ZII"]
    turned = build_ansatz(circuit, inputs=weights.parameters, angle_scaling="two_arctan")
    assert (turned.inputs, turned.angle_scaling) == (tuple(weights.parameters), "two_arctan")


@pytest.mark.parametrize(
    "observables", ["IIZ", ["IIZ"], ["Z0"], SparsePauliOp("IIZ"), [SparsePauliOp("IIZ")]]
)
def test_observables_of_a_circuit_in_memory_are_labels_or_operators(observables):
    features, weights = features_and_weights()
    ansatz = build_ansatz(features.compose(weights), observables=observables)
    assert ansatz.observables == (SparsePauliOp("IIZ"),)


def test_an_ansatz_is_given_back_and_a_name_is_built():
    ansatz = build_ansatz("reference", qubits=3, depth=2)
    assert ansatz.circuit.name == "reference"
    assert ansatz.num_weights == build(load_ansatz("reference", {"qubits": 3, "depth": 2})).num_weights
    assert build_ansatz(ansatz) is ansatz


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"qubits": 4}, ["as it was built", "qubits=4", "Known: angle_scaling, inputs, observables"]),
        ({"inputs": "y"}, ["inputs must name parameters", "'y'", "x[0]"]),
        ({"inputs": ["x[0]", "q"]}, ["inputs must name parameters", "'q'"]),
        ({"observables": ["IZQ"]}, ["An observable must be", "'IZQ'"]),
        ({"observables": 3}, ["An observable must be", "3"]),
        ({"observables": ["ZZZZ"]}, ["fit the circuit", "'ZZZZ' for 3 qubits"]),
        ({"angle_scaling": "pi"}, ["angle_scaling", "pi_tanh"]),
    ],
)
def test_what_a_circuit_in_memory_cannot_be_given_is_refused(keys, words):
    features, weights = features_and_weights()
    with pytest.raises(ConfigError) as error:
        build_ansatz(features.compose(weights), **keys)
    assert all(word in str(error.value) for word in words), error.value


def test_a_circuit_without_parameters_and_what_is_no_circuit_are_refused():
    with pytest.raises(ConfigError, match="free parameter for each input"):
        build_ansatz(QuantumCircuit(2))
    with pytest.raises(ConfigError, match="Got a int"):
        build_ansatz(3)
    with pytest.raises(ConfigError, match="already built"):
        build_ansatz(build_ansatz("reference"), depth=2)
